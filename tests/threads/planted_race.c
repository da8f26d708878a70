/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads step one optimizer, which its interface forbids: both write the same weight, so
 * ThreadSanitizer has to report a race inside hone. Fails by itself if a call does. */
#include <stdio.h>
#include <string.h>

#include <hone/hone.h>

int main(void)
{
    const char *const json = "{\"optimizer_type\": \"sgd\", \"learning_rate\": 0.1}";
    const int64_t shape[] = {64};
    float weight[64] = {0}, grad[64] = {0};
    const hone_tensor w = hone_tensor_view(weight, HONE_F32, 1, shape);
    const hone_tensor g = hone_tensor_view(grad, HONE_F32, 1, shape);
    hone_context *context = NULL;
    hone_spec *spec = NULL;
    hone_optimizer *optimizer = NULL;
    hone_error error;
    int failed = hone_context_create(&context, NULL, &error) ||
                 hone_spec_parse(&spec, context, json, strlen(json), &error) ||
                 hone_optimizer_create(&optimizer, context, spec, &error) ||
                 hone_optimizer_add(optimizer, "w", &w, HONE_GROUP_BY_NAME, NULL, &error) ||
                 hone_optimizer_set_grad(optimizer, 0, &g, &error) ||
                 hone_optimizer_step(optimizer, NULL, &error);
    if (failed)
        fprintf(stderr, "%s\n", error.message);
#pragma omp parallel for num_threads(2) reduction(+ : failed)
    for (int step = 0; step < 200; step++)
        failed += hone_optimizer_step(optimizer, NULL, NULL) != HONE_OK;
    hone_optimizer_free(optimizer);
    hone_spec_free(spec);
    hone_context_free(context);
    return failed != 0;
}
