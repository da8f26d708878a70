/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizers and their parameters: creation, names, memory that may not overlap, gradients that do
 * not fit, new addresses, multipliers, counters; and NULL wherever a pointer goes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"

struct place {
    hone_context *context;
    hone_optimizer *optimizer; /* sgd with lr 1: p -= g */
    double w[4], v[4], g[4];
    int64_t length[1];
    hone_tensor w_view, v_view, g_view;
};

static struct place place;

static int set_up(void **state)
{
    (void)state;
    memset(&place, 0, sizeof place);
    place.context = test_context(1, NULL);
    place.optimizer = test_optimizer(place.context, "sgd");
    OK(hone_optimizer_set(place.optimizer, 0, "lr", 1, &problem));
    place.length[0] = 4;
    place.w_view = hone_tensor_view(place.w, HONE_F64, 1, place.length);
    place.v_view = hone_tensor_view(place.v, HONE_F64, 1, place.length);
    place.g_view = hone_tensor_view(place.g, HONE_F64, 1, place.length);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_optimizer_free(place.optimizer);
    hone_context_free(place.context);
    return 0;
}

static int64_t add(const char *name, const hone_tensor *tensor)
{
    int64_t index = -7;
    OK(hone_optimizer_add(place.optimizer, name, tensor, 0, &index, &problem));
    return index;
}

static hone_status try_add(const char *name, const hone_tensor *tensor)
{
    const int64_t count = hone_optimizer_count(place.optimizer);
    int64_t index = -7;
    const hone_status status =
        hone_optimizer_add(place.optimizer, name, tensor, 0, &index, &problem);
    assert_int_equal(index, -7);
    assert_int_equal(hone_optimizer_count(place.optimizer), count);
    return status;
}

/* ---- creation ------------------------------------------------------------------------------- */

static void test_create(void **state)
{
    (void)state;
    hone_spec *spec;
    OK(hone_spec_create(&spec, place.context, "adam", &problem));
    hone_optimizer *made = NULL;
    FAILS(HONE_ERROR_ARGUMENT, "optimizer is NULL",
          hone_optimizer_create(NULL, place.context, spec, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "context is NULL",
          hone_optimizer_create(&made, NULL, spec, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "spec is NULL",
          hone_optimizer_create(&made, place.context, NULL, &problem));
    assert_null(made);
    OK(hone_optimizer_create(&made, place.context, spec, &problem));
    hone_spec_free(spec); /* it was copied */
    assert_ptr_equal(hone_optimizer_context(made), place.context);
    assert_int_equal(hone_optimizer_group_count(made), 1);
    assert_string_equal(hone_rule_name(hone_optimizer_group_rule(made, 0)), "adam");
    assert_int_equal(hone_optimizer_count(made), 0);
    assert_int_equal(hone_optimizer_state_bytes(made), 0);
    OK(hone_optimizer_step(made, NULL, &problem)); /* nothing to do is no error */
    hone_optimizer_free(made);
    hone_optimizer_free(NULL);
}

static int closure(double *loss, void *user)
{
    (void)user;
    *loss = 1;
    return 0;
}

static void test_null_optimizer(void **state)
{
    (void)state;
    const char *const sentence = "optimizer is NULL";
    hone_tensor view;
    double value;
    uint64_t count;
    int64_t index;
    int group;
#define REFUSED(call) FAILS(HONE_ERROR_ARGUMENT, sentence, call)
    REFUSED(hone_optimizer_add_group(NULL, "sgd", &group, &problem));
    REFUSED(hone_optimizer_get(NULL, 0, "lr", &value, &problem));
    REFUSED(hone_optimizer_set(NULL, 0, "lr", 1, &problem));
    REFUSED(hone_optimizer_set_curve(NULL, 0, "clip_lambda", 1, 1, &problem));
    REFUSED(hone_optimizer_set_curve_callback(NULL, 0, "clip_lambda", NULL, NULL, &problem));
    REFUSED(hone_optimizer_set_state_dtype(NULL, 0, NULL, HONE_F32, &problem));
    REFUSED(hone_optimizer_set_precision(NULL, 0, HONE_PRECISION_MASTER, &problem));
    REFUSED(hone_optimizer_set_grad_accum_steps(NULL, 2, false, &problem));
    REFUSED(hone_optimizer_add(NULL, "w", &place.w_view, 0, &index, &problem));
    REFUSED(hone_optimizer_tensor(NULL, 0, &view, &problem));
    REFUSED(hone_optimizer_rebind(NULL, 0, &place.w_view, &problem));
    REFUSED(hone_optimizer_set_grad(NULL, 0, &place.g_view, &problem));
    REFUSED(hone_optimizer_set_lr_multiplier(NULL, 0, 1, &problem));
    REFUSED(hone_optimizer_lr_multiplier(NULL, 0, &value, &problem));
    REFUSED(hone_optimizer_clip_norm(NULL, 1, 2, HONE_NONFINITE_PROPAGATE, &problem));
    REFUSED(hone_optimizer_clip_value(NULL, 1, &problem));
    REFUSED(hone_optimizer_step(NULL, NULL, &problem));
    REFUSED(hone_optimizer_prepare(NULL, &problem));
    REFUSED(hone_optimizer_step_closure(NULL, closure, NULL, NULL, NULL, &problem));
    REFUSED(hone_optimizer_zero_grad(NULL, true, &problem));
    REFUSED(hone_optimizer_step_count(NULL, 0, &count, &problem));
    REFUSED(hone_optimizer_set_step_count(NULL, 0, 1, &problem));
    REFUSED(hone_optimizer_state(NULL, 0, "momentum_buffer", &view, &problem));
    REFUSED(hone_optimizer_set_state(NULL, 0, "momentum_buffer", &place.g_view, &problem));
#undef REFUSED
    assert_null(hone_optimizer_context(NULL));
    assert_null(hone_optimizer_spec(NULL));
    assert_int_equal(hone_optimizer_group_count(NULL), 0);
    assert_null(hone_optimizer_group_rule(NULL, 0));
    assert_int_equal(hone_optimizer_count(NULL), 0);
    assert_int_equal(hone_optimizer_find(NULL, "w"), -1);
    assert_null(hone_optimizer_name(NULL, 0));
    assert_int_equal(hone_optimizer_group_of(NULL, 0), -1);
    assert_int_equal(hone_optimizer_state_bytes(NULL), 0);
}

static void test_null_results(void **state)
{
    (void)state;
    add("w", &place.w_view);
    FAILS(HONE_ERROR_ARGUMENT, "tensor is NULL",
          hone_optimizer_tensor(place.optimizer, 0, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "multiplier is NULL",
          hone_optimizer_lr_multiplier(place.optimizer, 0, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "count is NULL",
          hone_optimizer_step_count(place.optimizer, 0, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_get(place.optimizer, 0, "lr", NULL, &problem));
    OK(hone_optimizer_add(place.optimizer, "v", &place.v_view, 0, NULL, &problem));
}

/* ---- names ---------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    FAILS(HONE_ERROR_ARGUMENT, "a parameter needs a name; this one's is NULL",
          try_add(NULL, &place.w_view));
    FAILS(HONE_ERROR_NAME, "a parameter needs a name; this one's is empty",
          try_add("", &place.w_view));
    FAILS(HONE_ERROR_NAME,
          "parameter \"a@b\": a name may not hold '@', which separates parameter and state in "
          "checkpoints",
          try_add("a@b", &place.w_view));
    char name[] = "layer.0.weight";
    assert_int_equal(add(name, &place.w_view), 0);
    name[0] = 'p'; /* it was copied */
    assert_string_equal(hone_optimizer_name(place.optimizer, 0), "layer.0.weight");
    FAILS(HONE_ERROR_NAME, "parameter \"layer.0.weight\" is registered already; names are unique",
          try_add("layer.0.weight", &place.v_view));
    assert_int_equal(hone_optimizer_find(place.optimizer, "layer.0.weight"), 0);
    assert_int_equal(hone_optimizer_find(place.optimizer, "player.0.weight"), -1);
    assert_int_equal(hone_optimizer_find(place.optimizer, NULL), -1);
    assert_null(hone_optimizer_name(place.optimizer, 1));
    assert_null(hone_optimizer_name(place.optimizer, -1));
}

#define MANY 3000

static void test_many_names(void **state)
{
    (void)state;
    float *const values = calloc(MANY, sizeof *values);
    assert_non_null(values);
    const int64_t one[] = {1};
    char name[64];
    for (int i = 0; i < MANY; i++) { /* addresses neither rising nor falling */
        const hone_tensor view = hone_tensor_view(values + (i * 7) % MANY, HONE_F32, 1, one);
        snprintf(name, sizeof name, "tensor.%d", i);
        assert_int_equal(add(name, &view), i);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "tensor.%d", i);
        assert_int_equal(hone_optimizer_find(place.optimizer, name), i);
        const hone_tensor again = hone_tensor_view(values + i, HONE_F32, 1, one);
        if (i % 97 == 0)
            FAILS(HONE_ERROR_ARGUMENT, NULL, try_add("twice", &again));
    }
    assert_int_equal(hone_optimizer_count(place.optimizer), MANY);
    free(values);
}

/* ---- memory --------------------------------------------------------------------------------- */

static void test_overlap(void **state)
{
    (void)state;
    const int64_t two[] = {2}, none[] = {0};
    double row[8] = {0};
    const hone_tensor middle = hone_tensor_view(row + 3, HONE_F64, 1, two);
    add("middle", &middle);
    FAILS(
        HONE_ERROR_ARGUMENT,
        "parameter \"again\" overlaps the memory of parameter \"middle\"; a tensor can be stepped "
        "only once",
        try_add("again", &middle));
    for (int first = 0; first < 7; first++) {
        const hone_tensor part = hone_tensor_view(row + first, HONE_F64, 1, two);
        if (first >= 2 && first <= 4)
            FAILS(HONE_ERROR_ARGUMENT, NULL, try_add("part", &part));
    }
    const int64_t eight[] = {8};
    const hone_tensor around = hone_tensor_view(row, HONE_F64, 1, eight);
    FAILS(HONE_ERROR_ARGUMENT, NULL, try_add("around", &around));
    const hone_tensor before =
        hone_tensor_view(row + 1, HONE_F64, 1, two); /* touches, no overlap */
    const hone_tensor after = hone_tensor_view(row + 5, HONE_F64, 1, two);
    add("before", &before);
    add("after", &after);
    const hone_tensor empty = hone_tensor_view(row + 4, HONE_F64, 1, none);
    add("empty", &empty);
    add("empty too", &empty);
}

static hone_status set_grad(const hone_tensor *grad)
{
    return hone_optimizer_set_grad(place.optimizer, 0, grad, &problem);
}

static void test_gradient_overlap(void **state)
{
    (void)state;
    add("w", &place.w_view);
    FAILS(HONE_ERROR_ARGUMENT, "the gradient of \"w\" overlaps the memory of parameter \"w\"",
          set_grad(&place.w_view));
    OK(set_grad(&place.v_view));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    add("v", &place.v_view); /* now the gradient lies in a parameter */
    const double before[] = {place.w[0], place.w[1]};
    FAILS(HONE_ERROR_ARGUMENT,
          "the gradient of \"w\" overlaps the memory of parameter \"v\", which came there later",
          hone_optimizer_step(place.optimizer, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_memory_equal(before, place.w, sizeof before);
    OK(set_grad(&place.g_view));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    OK(hone_optimizer_set_grad(place.optimizer, 1, &place.g_view, &problem)); /* shared is fine */
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
}

static void test_gradient_misfits(void **state)
{
    (void)state;
    FAILS(HONE_ERROR_ARGUMENT, "parameter 0 does not exist; there are 0", set_grad(NULL));
    add("w", &place.w_view);
    hone_tensor grad = place.g_view;
    grad.shape = (int64_t[]){2, 2};
    grad.ndim = 2;
    FAILS(HONE_ERROR_SHAPE, "the gradient of \"w\" has shape [2, 2]; the parameter has [4]",
          set_grad(&grad));
    grad.shape = (int64_t[]){3};
    grad.ndim = 1;
    FAILS(HONE_ERROR_SHAPE, NULL, set_grad(&grad));
    grad = place.g_view;
    grad.dtype = HONE_I32;
    FAILS(HONE_ERROR_DTYPE,
          "the gradient of \"w\" is I32; a parameter of type F64 takes F32, F64, BF16 or F16",
          set_grad(&grad));
    grad.dtype = HONE_C64;
    FAILS(HONE_ERROR_DTYPE, NULL, set_grad(&grad));
    grad = place.g_view;
    grad.data = NULL;
    FAILS(HONE_ERROR_ARGUMENT, "the gradient of \"w\": data is NULL for 4 elements",
          set_grad(&grad));
    grad.data = (char *)place.g + 4;
    FAILS(HONE_ERROR_ARGUMENT, NULL, set_grad(&grad));
    grad = place.g_view;
    grad.strides = (int64_t[]){2};
    FAILS(HONE_ERROR_SHAPE, NULL, set_grad(&grad));
    grad = place.g_view;
    grad.device = HONE_CUDA;
    FAILS(HONE_ERROR_UNSUPPORTED, NULL, set_grad(&grad));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    uint64_t count = 9;
    OK(hone_optimizer_step_count(place.optimizer, 0, &count, &problem));
    assert_int_equal(count, 0); /* none of them was taken */
}

/* The same address with another type is another gradient. */
static void test_gradient_of_another_type(void **state)
{
    (void)state;
    add("w", &place.w_view);
    OK(set_grad(&place.g_view));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    hone_tensor single = place.g_view;
    single.dtype = HONE_F32;
    ((float *)(void *)place.g)[3] = 5;
    OK(set_grad(&single));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_true(place.w[3] == -5 && place.w[1] == 0);
}

static void test_complex_gradient(void **state)
{
    (void)state;
    hone_tensor complex = place.w_view;
    const int64_t two[] = {2};
    complex.dtype = HONE_C128;
    complex.shape = two;
    add("c", &complex);
    hone_tensor grad = place.g_view;
    grad.shape = two;
    FAILS(HONE_ERROR_DTYPE,
          "the gradient of \"c\" is F64; a parameter of type C128 takes C64 or C128",
          set_grad(&grad));
    grad.dtype = HONE_C128;
    OK(set_grad(&grad));
}

/* ---- one parameter -------------------------------------------------------------------------- */

static void test_view_of_parameter(void **state)
{
    (void)state;
    int64_t shape[] = {2, 2};
    hone_tensor given = hone_tensor_view(place.w, HONE_F64, 2, shape);
    add("w", &given);
    shape[0] = 77; /* it was copied */
    hone_tensor view;
    OK(hone_optimizer_tensor(place.optimizer, 0, &view, &problem));
    assert_ptr_equal(view.data, place.w);
    assert_int_equal(view.ndim, 2);
    assert_int_equal(view.shape[0], 2);
    assert_int_equal(hone_optimizer_group_of(place.optimizer, 0), 0);
    assert_int_equal(hone_optimizer_group_of(place.optimizer, 1), -1);
    FAILS(HONE_ERROR_ARGUMENT, "parameter 1 does not exist; there are 1",
          hone_optimizer_tensor(place.optimizer, 1, &view, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "parameter -1 does not exist; there are 1",
          hone_optimizer_tensor(place.optimizer, -1, &view, &problem));
}

static void test_multiplier(void **state)
{
    (void)state;
    add("w", &place.w_view);
    double value = 9;
    OK(hone_optimizer_lr_multiplier(place.optimizer, 0, &value, &problem));
    assert_true(value == 1);
    FAILS(HONE_ERROR_RANGE,
          "the learning-rate multiplier of \"w\" is -1; it must be finite and at least 0",
          hone_optimizer_set_lr_multiplier(place.optimizer, 0, -1, &problem));
    FAILS(HONE_ERROR_RANGE, NULL,
          hone_optimizer_set_lr_multiplier(place.optimizer, 0, (double)NAN, &problem));
    FAILS(HONE_ERROR_RANGE, NULL,
          hone_optimizer_set_lr_multiplier(place.optimizer, 0, (double)INFINITY, &problem));
    OK(hone_optimizer_set_lr_multiplier(place.optimizer, 0, 0.25, &problem));
    OK(hone_optimizer_lr_multiplier(place.optimizer, 0, &value, &problem));
    assert_true(value == 0.25);
    place.g[1] = 4;
    OK(set_grad(&place.g_view));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_true(place.w[1] == -1);
}

static void test_rebind(void **state)
{
    (void)state;
    OK(hone_optimizer_set(place.optimizer, 0, "momentum", 0.5, &problem));
    add("w", &place.w_view);
    for (int i = 0; i < 4; i++)
        place.g[i] = 1;
    OK(set_grad(&place.g_view));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    memcpy(place.v, place.w, sizeof place.v);
    OK(hone_optimizer_rebind(place.optimizer, 0, &place.v_view, &problem));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_true(place.w[0] == -1);
    assert_true(place.v[0] == -2.5); /* the state went along */
    add("old place", &place.w_view); /* which is free again */

    hone_tensor other = place.v_view;
    FAILS(HONE_ERROR_ARGUMENT,
          "parameter \"w\" overlaps the memory of parameter \"old place\"; a tensor can be stepped "
          "only once",
          hone_optimizer_rebind(place.optimizer, 0, &place.w_view, &problem));
    other.dtype = HONE_F32;
    FAILS(HONE_ERROR_DTYPE, "parameter \"w\" is F64; it cannot become F32",
          hone_optimizer_rebind(place.optimizer, 0, &other, &problem));
    other = place.v_view;
    other.shape = (int64_t[]){3};
    FAILS(HONE_ERROR_SHAPE, "the new address of \"w\" has shape [3]; the parameter has [4]",
          hone_optimizer_rebind(place.optimizer, 0, &other, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_rebind(place.optimizer, 0, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_rebind(place.optimizer, 5, &place.v_view, &problem));
    OK(hone_optimizer_rebind(place.optimizer, 0, &place.v_view, &problem)); /* to itself */
    FAILS(HONE_ERROR_ARGUMENT, NULL, try_add("v", &place.v_view));
}

static void test_rebind_into_gradient(void **state)
{
    (void)state;
    add("w", &place.w_view);
    OK(set_grad(&place.g_view));
    OK(hone_optimizer_rebind(place.optimizer, 0, &place.g_view, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_step(place.optimizer, NULL, &problem));
    OK(set_grad(&place.v_view));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(test_create),
        PLACED(test_null_optimizer),
        PLACED(test_null_results),
        PLACED(test_names),
        PLACED(test_many_names),
        PLACED(test_overlap),
        PLACED(test_gradient_overlap),
        PLACED(test_gradient_misfits),
        PLACED(test_gradient_of_another_type),
        PLACED(test_complex_gradient),
        PLACED(test_view_of_parameter),
        PLACED(test_multiplier),
        PLACED(test_rebind),
        PLACED(test_rebind_into_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
