/* SPDX-License-Identifier: Apache-2.0 */
/* The library against what PyTorch's own optimizers and clipping computed: every case, call and
 * slot of the files in torch/, whose README says what they hold. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"
#include "support/numbers.h"

/* One case of one file. */
struct example {
    const hone_context *context;
    const hone_file *file;
    json_t *json;
    const char *id;
    hone_dtype dtype; /* of the reals */
    double rtol, atol;
    size_t compared;
};

static double number(const json_t *json, const char *key)
{
    const json_t *const value = json_object_get(json, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static const char *text(const json_t *json, const char *key)
{
    const char *const value = json_string_value(json_object_get(json, key));
    assert_non_null(value);
    return value;
}

static hone_dtype dtype_named(const char *name)
{
    const char *const names[] = {"f32", "f64", "bf16", "f16"};
    const hone_dtype dtypes[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return dtypes[i];
    fail_msg("dtype %s", name);
    return HONE_F32;
}

/* A tensor of the case as doubles; released with free. */
static double *load(const struct example *example, const char *tensor, size_t *count)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s", example->id, tensor);
    const int64_t index = hone_file_find(example->file, name);
    if (index < 0)
        fail_msg("there is no tensor %s", name);
    hone_tensor view;
    OK(hone_file_tensor(example->file, index, &view, &problem));
    *count = (size_t)hone_tensor_numel(&view);
    double *const values = malloc(sizeof *values * (*count + 1));
    assert_non_null(values);
    numbers_load(view.dtype, view.data, values, *count);
    return values;
}

static bool agrees(const struct example *example, double found, double wanted)
{
    if (isnan(wanted) || isnan(found))
        return isnan(wanted) && isnan(found);
    if (isinf(wanted) || isinf(found))
        return found == wanted;
    return fabs(found - wanted) <= example->atol + example->rtol * fabs(wanted);
}

static void compare(struct example *example, const char *what, size_t call, const double *wanted,
                    const hone_tensor *found, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double value = found->data == NULL ? 0 : number_read(found->dtype, found->data, i);
        example->compared++;
        if (!agrees(example, value, wanted[i]))
            fail_msg("%s: %s[%zu] after call %zu is %.9g, torch has %.9g", example->id, what, i,
                     call, value, wanted[i]);
    }
}

/* ---- rules ---------------------------------------------------------------------------------- */

/* Flags last, because some need other values first. */
static void set_hypers(hone_optimizer *optimizer, const json_t *hypers)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)hypers, key, value)
    {
        if (json_is_number(value))
            OK(hone_optimizer_set(optimizer, 0, key, json_number_value(value), &problem));
        else if (json_is_object(value))
            OK(hone_optimizer_set_curve(optimizer, 0, key, number(value, "scale"),
                                        number(value, "power"), &problem));
        else if (json_is_null(value))
            OK(hone_optimizer_set_curve(optimizer, 0, key, (double)INFINITY, 0, &problem));
    }
    json_object_foreach((json_t *)(uintptr_t)hypers, key, value)
    {
        if (json_is_boolean(value))
            OK(hone_optimizer_set(optimizer, 0, key, json_is_true(value), &problem));
    }
}

static bool is_missing(const json_t *example, size_t call)
{
    const json_t *const missing = json_object_get(example, "missing");
    for (size_t i = 0; i < json_array_size(missing); i++)
        if (json_integer_value(json_array_get(missing, i)) == (json_int_t)call)
            return true;
    return false;
}

static hone_dtype parameter_dtype(const struct example *example)
{
    if (!json_is_true(json_object_get(example->json, "complex")))
        return example->dtype;
    return example->dtype == HONE_F32 ? HONE_C64 : HONE_C128;
}

static void compare_state(struct example *example, const hone_optimizer *optimizer, size_t call,
                          size_t n)
{
    const json_t *const slots = json_object_get(example->json, "slots");
    for (size_t k = 0; k < json_array_size(slots); k++) {
        const char *const slot = json_string_value(json_array_get(slots, k));
        size_t count;
        double *const wanted = load(example, slot, &count);
        hone_tensor view;
        OK(hone_optimizer_state(optimizer, 0, slot, &view, &problem));
        compare(example, slot, call, wanted + call * n, &view, n);
        free(wanted);
    }
    const json_t *const counters = json_object_get(example->json, "counters");
    uint64_t steps = 0;
    OK(hone_optimizer_step_count(optimizer, 0, &steps, &problem));
    if (counters != NULL)
        assert_int_equal(steps, json_integer_value(json_array_get(counters, call)));
}

static void run_steps(struct example *example, hone_optimizer *optimizer, const hone_tensor *param)
{
    const size_t n = (size_t)number(example->json, "n");
    const size_t steps = (size_t)number(example->json, "steps");
    size_t count;
    double *const grads = load(example, "grads", &count);
    double *const wanted = load(example, "theta", &count);
    for (size_t call = 0; call < steps; call++) {
        void *const grad = numbers_store(example->dtype, grads + call * n, n);
        hone_tensor grad_view = *param;
        grad_view.data = grad;
        const hone_tensor *const given = is_missing(example->json, call) ? NULL : &grad_view;
        OK(hone_optimizer_set_grad(optimizer, 0, given, &problem));
        OK(hone_optimizer_step(optimizer, NULL, &problem));
        compare(example, "theta", call, wanted + call * n, param, n);
        compare_state(example, optimizer, call, n);
        OK(hone_optimizer_set_grad(optimizer, 0, NULL, &problem));
        free(grad);
    }
    free(grads);
    free(wanted);
}

static void run_rule(struct example *example)
{
    hone_optimizer *const optimizer = test_optimizer(example->context, text(example->json, "rule"));
    set_hypers(optimizer, json_object_get(example->json, "hypers"));
    OK(hone_optimizer_set_state_dtype(optimizer, 0, NULL, example->dtype, &problem));
    const json_t *const lengths = json_object_get(example->json, "shape");
    int64_t shape[8];
    const size_t ndim = json_array_size(lengths);
    assert_true(ndim <= 8);
    for (size_t i = 0; i < ndim; i++)
        shape[i] = json_integer_value(json_array_get(lengths, i));
    size_t n;
    double *const start = load(example, "theta0", &n);
    void *const param = numbers_store(example->dtype, start, n);
    const hone_tensor view =
        hone_tensor_view(param, parameter_dtype(example), (int32_t)ndim, shape);
    OK(hone_optimizer_add(optimizer, "p", &view, 0, NULL, &problem));
    run_steps(example, optimizer, &view);
    hone_optimizer_free(optimizer);
    free(start);
    free(param);
}

/* ---- clipping ------------------------------------------------------------------------------- */

#define MOST_TENSORS 8

static double order_named(const char *name)
{
    return strcmp(name, "inf") == 0 ? (double)INFINITY : strtod(name, NULL);
}

static void clip(struct example *example, const hone_tensor *const *grads, int64_t count)
{
    const json_t *const json = example->json;
    if (strcmp(text(json, "kind"), "value") == 0) {
        OK(hone_clip_grad_value(example->context, grads, count, number(json, "clip_value"),
                                &problem));
        return;
    }
    double total;
    OK(hone_clip_grad_norm(example->context, grads, count, number(json, "max_norm"),
                           order_named(text(json, "norm_type")), false, &total, &problem));
    size_t one;
    double *const wanted = load(example, "total", &one);
    const hone_tensor found = {.data = &total, .dtype = HONE_F64};
    compare(example, "total", 0, wanted, &found, 1);
    free(wanted);
}

static void run_clip(struct example *example)
{
    const int64_t count = (int64_t)number(example->json, "tensors");
    hone_tensor view[MOST_TENSORS];
    int64_t length[MOST_TENSORS];
    const hone_tensor *grads[MOST_TENSORS + 1] = {NULL};
    char name[32];
    assert_true(count <= MOST_TENSORS);
    for (int64_t i = 0; i < count; i++) {
        size_t n;
        snprintf(name, sizeof name, "grad.%lld", (long long)i);
        double *const values = load(example, name, &n);
        length[i] = (int64_t)n;
        void *const stored = numbers_store(example->dtype, values, n);
        view[i] = hone_tensor_view(stored, example->dtype, 1, &length[i]);
        grads[i + (i > 0)] = &view[i]; /* a missing gradient stands at 1 */
        free(values);
    }
    clip(example, grads, count + 1);
    for (int64_t i = 0; i < count; i++) {
        size_t n;
        snprintf(name, sizeof name, "clipped.%lld", (long long)i);
        double *const wanted = load(example, name, &n);
        compare(example, name, 0, wanted, &view[i], n);
        free(wanted);
        free(view[i].data);
    }
}

/* ---- files ---------------------------------------------------------------------------------- */

typedef void run_fn(struct example *example);

static void run_file(const char *name, size_t least_cases, run_fn *run)
{
    hone_context *const context = test_context(1, NULL);
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/torch/%s.safetensors", HONE_SOURCE_DIR, name);
    hone_file *file;
    OK(hone_file_open(&file, context, path, &problem));
    json_t *const cases = json_loads(hone_file_metadata(file, "cases"), 0, NULL);
    assert_true(json_array_size(cases) >= least_cases);
    size_t compared = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *const json = json_array_get(cases, i);
        struct example example = {.context = context, .file = file, .json = json};
        example.id = text(json, "id");
        example.dtype = dtype_named(text(json, "dtype"));
        example.rtol = number(json, "rtol");
        example.atol = number(json, "atol");
        run(&example);
        compared += example.compared;
    }
    print_message("%s: %zu cases, %zu numbers, torch %s\n", name, json_array_size(cases), compared,
                  hone_file_metadata(file, "torch_version"));
    json_decref(cases);
    hone_file_close(file);
    hone_context_free(context);
}

static void test_rule(void **state)
{
    run_file(*state, 60, run_rule);
}

static void test_clip(void **state)
{
    run_file(*state, 68, run_clip);
}

#define RULE_TEST(rule)                            \
    {                                              \
        "torch " rule, test_rule, NULL, NULL, rule \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE_TEST("sgd"),     RULE_TEST("adam"),  RULE_TEST("adamw"),
        RULE_TEST("rmsprop"), RULE_TEST("adopt"), {"torch clip", test_clip, NULL, NULL, "clip"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
