/* SPDX-License-Identifier: Apache-2.0 */
/* The program of README.md: AdamW, from a recipe in JSON, walks three numbers to their targets.
 * It needs the library alone: cc quickstart.c $(pkg-config --cflags --libs hone) */

#include <hone/hone.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    const char *json =
        "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.1, \"weight_decay\": 0}";
    const int64_t shape[] = {3};
    float weight[3] = {0}, grad[3] = {0}, target[3] = {1, -2, 3};
    hone_tensor w = hone_tensor_view(weight, HONE_F32, 1, shape);
    hone_tensor g = hone_tensor_view(grad, HONE_F32, 1, shape);
    hone_context *context = NULL;
    hone_spec *spec = NULL;
    hone_optimizer *optimizer = NULL;
    hone_error error;
    int failed = hone_context_create(&context, NULL, &error) ||
                 hone_spec_parse(&spec, context, json, strlen(json), &error) ||
                 hone_optimizer_create(&optimizer, context, spec, &error) ||
                 hone_optimizer_add(optimizer, "w", &w, HONE_GROUP_BY_NAME, NULL, &error) ||
                 hone_optimizer_set_grad(optimizer, 0, &g, &error);
    for (int step = 0; !failed && step < 300; step++) {
        for (int i = 0; i < 3; i++)
            grad[i] = 2 * (weight[i] - target[i]);
        failed = hone_optimizer_step(optimizer, NULL, &error) != HONE_OK;
    }
    printf("%s: %.2f %.2f %.2f\n", failed ? error.message : "ok", weight[0], weight[1], weight[2]);
    hone_optimizer_free(optimizer);
    hone_spec_free(spec);
    hone_context_free(context);
    return failed;
}
