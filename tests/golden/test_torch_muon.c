/* SPDX-License-Identifier: Apache-2.0 */
/* Muon against torch.optim.Muon: torch/muon.safetensors, which torch/README.md describes. Hone starts
 * each call from torch's parameter, so that the bfloat16 errors of torch do not add up. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"
#include "support/numbers.h"

#define DIRECTION_ALLOWED 3e-2
#define BUFFER_ALLOWED 1e-6

static double *load(const hone_file *file, const char *id, const char *tensor, size_t *count)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s", id, tensor);
    const int64_t index = hone_file_find(file, name);
    if (index < 0)
        fail_msg("there is no tensor %s", name);
    hone_tensor view;
    OK(hone_file_tensor(file, index, &view, &problem));
    *count = (size_t)hone_tensor_numel(&view);
    double *const values = malloc(sizeof *values * (*count + 1));
    assert_non_null(values);
    numbers_load(view.dtype, view.data, values, *count);
    return values;
}

static double number(const json_t *hypers, const char *key, double otherwise)
{
    const json_t *const value = json_object_get(hypers, key);
    return value == NULL ? otherwise : json_number_value(value);
}

static hone_optimizer *optimizer_of(const hone_context *context, json_t *hypers, int products)
{
    hone_optimizer *const optimizer = test_optimizer(context, "muon");
    OK(hone_optimizer_set(optimizer, 0, "products", products, &problem));
    const char *key;
    json_t *value;
    json_object_foreach(hypers, key, value)
    {
        if (json_is_array(value)) {
            double triple[1][3];
            for (size_t k = 0; k < 3; k++)
                triple[0][k] = json_number_value(json_array_get(value, k));
            OK(hone_optimizer_set_coefficients(optimizer, 0, (const double(*)[3])triple, 1,
                                               &problem));
        } else if (json_is_string(value)) {
            const bool rms = strcmp(json_string_value(value), "match_rms_adamw") == 0;
            OK(hone_optimizer_set(optimizer, 0, key, rms, &problem));
        } else {
            const double set =
                json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
            OK(hone_optimizer_set(optimizer, 0, key, set, &problem));
        }
    }
    return optimizer;
}

/* The change beyond decay, hone's against torch's. */
static double distance(const double *before, const double *found, const double *wanted, size_t n,
                       double keep)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        const double move = wanted[i] - keep * before[i];
        difference += (found[i] - wanted[i]) * (found[i] - wanted[i]);
        size += move * move;
    }
    return sqrt(difference / size);
}

static void check_case(const hone_context *context, const hone_file *file, json_t *json,
                       int products)
{
    const char *const id = json_string_value(json_object_get(json, "id"));
    json_t *const hypers = json_object_get(json, "hypers");
    const bool wide = strcmp(json_string_value(json_object_get(json, "dtype")), "f64") == 0;
    const hone_dtype dtype = wide ? HONE_F64 : HONE_F32;
    size_t n, all;
    double *before = load(file, id, "start", &n);
    double *const grads = load(file, id, "grad", &all),
                  *const params = load(file, id, "param", &all),
                  *const buffers = load(file, id, "momentum_buffer", &all);
    int64_t shape[2];
    for (size_t i = 0; i < 2; i++)
        shape[i] = json_integer_value(json_array_get(json_object_get(json, "shape"), i));
    hone_optimizer *const optimizer = optimizer_of(context, hypers, products);
    void *const stored = numbers_store(dtype, before, n);
    const hone_tensor param = hone_tensor_view(stored, dtype, 2, shape);
    OK(hone_optimizer_add(optimizer, "w", &param, 0, NULL, &problem));
    const double keep = 1 - number(hypers, "lr", 1e-3) * number(hypers, "weight_decay", 0.1);
    for (size_t call = 0; call < all / n; call++) {
        const double *const from = call == 0 ? before : params + (call - 1) * n;
        void *const grad = numbers_store(dtype, grads + call * n, n);
        const hone_tensor view = hone_tensor_view(grad, dtype, 2, shape);
        for (size_t i = 0; i < n; i++)
            number_write(dtype, stored, i, from[i]);
        OK(hone_optimizer_set_grad(optimizer, 0, &view, &problem));
        OK(hone_optimizer_step(optimizer, NULL, &problem));
        OK(hone_optimizer_set_grad(optimizer, 0, NULL, &problem));
        double *const found = malloc(sizeof *found * n);
        assert_non_null(found);
        numbers_load(dtype, stored, found, n);
        const double apart = distance(from, found, params + call * n, n, keep);
        if (!(apart <= DIRECTION_ALLOWED))
            fail_msg("%s products %d call %zu: %g from torch", id, products, call, apart);
        hone_tensor buffer;
        OK(hone_optimizer_state(optimizer, 0, "momentum_buffer", &buffer, &problem));
        for (size_t i = 0; i < n; i++)
            assert_true(fabs(number_read(dtype, buffer.data, i) - buffers[call * n + i]) <=
                        BUFFER_ALLOWED * (1 + fabs(buffers[call * n + i])));
        free(found);
        free(grad);
    }
    hone_optimizer_free(optimizer);
    free(stored);
    free(before);
    free(grads);
    free(params);
    free(buffers);
}

static void test_every_case(void **state)
{
    (void)state;
    hone_context *const context = test_context(1, NULL);
    hone_file *file;
    OK(hone_file_open(&file, context, HONE_SOURCE_DIR "/tests/golden/torch/muon.safetensors",
                      &problem));
    json_t *const cases = json_loads(hone_file_metadata(file, "cases"), 0, NULL);
    assert_true(json_array_size(cases) >= 30);
    for (size_t i = 0; i < json_array_size(cases); i++)
        for (int products = 0; products < 2; products++)
            check_case(context, file, json_array_get(cases, i), products);
    json_decref(cases);
    hone_file_close(file);
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_case)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
