/* SPDX-License-Identifier: Apache-2.0 */
/* States: views, storage types, copies in every format, counters and bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"
#include "support/numbers.h"

struct place {
    hone_context *context;
    hone_optimizer *optimizer; /* adam */
    float w[3], g[3];
    int64_t length[1];
    hone_tensor w_view, g_view;
};

static struct place place;

static int set_up(void **state)
{
    (void)state;
    memset(&place, 0, sizeof place);
    place.context = test_context(1, NULL);
    place.optimizer = test_optimizer(place.context, "adam");
    place.length[0] = 3;
    place.w_view = hone_tensor_view(place.w, HONE_F32, 1, place.length);
    place.g_view = hone_tensor_view(place.g, HONE_F32, 1, place.length);
    OK(hone_optimizer_add(place.optimizer, "w", &place.w_view, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(place.optimizer, 0, &place.g_view, &problem));
    place.g[0] = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_optimizer_free(place.optimizer);
    hone_context_free(place.context);
    return 0;
}

static void step(void)
{
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
}

static hone_tensor slot(const char *name)
{
    hone_tensor view;
    memset(&view, 0x55, sizeof view);
    OK(hone_optimizer_state(place.optimizer, 0, name, &view, &problem));
    return view;
}

static void test_views(void **state)
{
    (void)state;
    hone_tensor view = slot("exp_avg");
    assert_true(view.data == NULL && view.ndim == 0 && view.dtype == HONE_F32);
    step();
    view = slot("exp_avg");
    assert_true(view.ndim == 1 && view.shape[0] == 3 && view.strides == NULL);
    assert_true(view.device == HONE_CPU && ((float *)view.data)[0] == 0.1f);
    ((float *)view.data)[1] = 8; /* writable between steps */
    step();
    assert_true(((float *)view.data)[1] == 8 + 0.1f * (0 - 8.0f));
    assert_ptr_equal(slot("exp_avg").data, view.data); /* and it does not move */
    assert_null(slot("max_exp_avg_sq").data);
    FAILS(HONE_ERROR_NAME, "parameter \"w\": rule adam has no state named \"momentum_buffer\"",
          hone_optimizer_state(place.optimizer, 0, "momentum_buffer", &view, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "the name of a state is NULL",
          hone_optimizer_state(place.optimizer, 0, NULL, &view, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "parameter 1 does not exist; there are 1",
          hone_optimizer_state(place.optimizer, 1, "exp_avg", &view, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "view is NULL",
          hone_optimizer_state(place.optimizer, 0, "exp_avg", NULL, &problem));
}

static void test_bytes(void **state)
{
    (void)state;
    assert_int_equal(hone_optimizer_state_bytes(place.optimizer), 0);
    step();
    assert_int_equal(hone_optimizer_state_bytes(place.optimizer), 2 * 3 * 4);
    OK(hone_optimizer_set(place.optimizer, 0, "amsgrad", 1, &problem));
    OK(hone_optimizer_set_state_dtype(place.optimizer, 0, "max_exp_avg_sq", HONE_F64, &problem));
    step();
    assert_int_equal(hone_optimizer_state_bytes(place.optimizer), 2 * 3 * 4 + 3 * 8);
}

/* ---- storage types -------------------------------------------------------------------------- */

static void check_default(hone_dtype param, hone_dtype state)
{
    double values[8] = {0}, grads[8] = {0};
    const int64_t two[] = {2};
    hone_optimizer *const optimizer = test_optimizer(place.context, "adam");
    const hone_tensor view = hone_tensor_view(values, param, 1, two);
    const hone_tensor grad = hone_tensor_view(grads, param, 1, two);
    OK(hone_optimizer_add(optimizer, "p", &view, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &grad, &problem));
    hone_tensor before, after;
    OK(hone_optimizer_state(optimizer, 0, "exp_avg", &before, &problem));
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    OK(hone_optimizer_state(optimizer, 0, "exp_avg", &after, &problem));
    assert_int_equal(before.dtype, state);
    assert_int_equal(after.dtype, state);
    const bool complex = param == HONE_C64 || param == HONE_C128;
    assert_int_equal(after.ndim, complex ? 2 : 1);
    assert_int_equal(after.shape[after.ndim - 1], 2);
    hone_optimizer_free(optimizer);
}

static void test_default_dtypes(void **state)
{
    (void)state;
    check_default(HONE_F32, HONE_F32);
    check_default(HONE_F64, HONE_F64);
    check_default(HONE_BF16, HONE_F32);
    check_default(HONE_F16, HONE_F32);
    check_default(HONE_C64, HONE_F32);
    check_default(HONE_C128, HONE_F64);
}

static void test_state_dtype(void **state)
{
    (void)state;
    hone_optimizer *const o = place.optimizer;
    OK(hone_optimizer_set_state_dtype(o, 0, NULL, HONE_BF16, &problem));
    OK(hone_optimizer_set_state_dtype(o, 0, "exp_avg_sq", HONE_F64, &problem));
    step();
    assert_int_equal(slot("exp_avg").dtype, HONE_BF16);
    assert_int_equal(slot("exp_avg_sq").dtype, HONE_F64);
    OK(hone_optimizer_set_state_dtype(o, 0, NULL, HONE_F32, &problem));
    step(); /* what exists keeps its type */
    assert_int_equal(slot("exp_avg").dtype, HONE_BF16);
    FAILS(HONE_ERROR_DTYPE, "a state cannot be stored as I32; F32, F64, BF16 and F16 are possible",
          hone_optimizer_set_state_dtype(o, 0, NULL, HONE_I32, &problem));
    FAILS(HONE_ERROR_DTYPE, NULL, hone_optimizer_set_state_dtype(o, 0, NULL, HONE_C64, &problem));
    FAILS(HONE_ERROR_DTYPE, NULL,
          hone_optimizer_set_state_dtype(o, 0, NULL, (hone_dtype)99, &problem));
    FAILS(HONE_ERROR_NAME, "adam has no state named \"buffer\"",
          hone_optimizer_set_state_dtype(o, 0, "buffer", HONE_F32, &problem));
}

/* A type chosen after a slot was made ready does not change what is said of it. */
static void test_prepared_dtype(void **state)
{
    (void)state;
    OK(hone_optimizer_prepare(place.optimizer, &problem));
    OK(hone_optimizer_set_state_dtype(place.optimizer, 0, NULL, HONE_BF16, &problem));
    const hone_tensor before = slot("exp_avg");
    step();
    assert_null(before.data);
    assert_int_equal(slot("exp_avg").dtype, before.dtype);
}

/* ---- set_state ------------------------------------------------------------------------------ */

static void test_set_state(void **state)
{
    (void)state;
    const hone_dtype dtypes[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};
    const double values[] = {1.00390625, -3.1415926535, 70000};
    for (int from = 0; from < 4; from++)
        for (int to = 0; to < 4; to++) {
            hone_optimizer *const optimizer = test_optimizer(place.context, "adam");
            OK(hone_optimizer_add(optimizer, "w", &place.w_view, 0, NULL, &problem));
            OK(hone_optimizer_set_state_dtype(optimizer, 0, NULL, dtypes[to], &problem));
            void *const stored = numbers_store(dtypes[from], values, 3);
            const hone_tensor given = hone_tensor_view(stored, dtypes[from], 1, place.length);
            OK(hone_optimizer_set_state(optimizer, 0, "exp_avg", &given, &problem));
            hone_tensor view;
            OK(hone_optimizer_state(optimizer, 0, "exp_avg", &view, &problem));
            assert_int_equal(view.dtype, dtypes[to]);
            for (size_t i = 0; i < 3; i++)
                assert_true(
                    number_same(number_read(dtypes[to], view.data, i),
                                number_round(dtypes[to], number_read(dtypes[from], stored, i))));
            free(stored);
            hone_optimizer_free(optimizer);
        }
}

/* Also one that no step has needed yet, and before the first step: the step goes on from it. */
static void test_set_state_first(void **state)
{
    (void)state;
    hone_optimizer *const sgd = test_optimizer(place.context, "sgd");
    OK(hone_optimizer_set(sgd, 0, "momentum", 0.5, &problem));
    OK(hone_optimizer_add(sgd, "w", &place.w_view, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(sgd, 0, &place.g_view, &problem));
    OK(hone_optimizer_prepare(sgd, &problem));
    float buffer[] = {4, 4, 4};
    const hone_tensor given = hone_tensor_view(buffer, HONE_F32, 1, place.length);
    OK(hone_optimizer_set_state(sgd, 0, "momentum_buffer", &given, &problem));
    buffer[0] = 99; /* it was copied */
    OK(hone_optimizer_step(sgd, NULL, &problem));
    hone_tensor view;
    OK(hone_optimizer_state(sgd, 0, "momentum_buffer", &view, &problem));
    assert_true(((float *)view.data)[0] == 0.5f * 4 + 1);
    hone_optimizer_free(sgd);
}

static hone_status set_state(const hone_tensor *values)
{
    return hone_optimizer_set_state(place.optimizer, 0, "exp_avg", values, &problem);
}

static void test_bad_set_state(void **state)
{
    (void)state;
    hone_tensor values = place.g_view;
    FAILS(HONE_ERROR_ARGUMENT, "the new exp_avg of \"w\": the tensor is NULL", set_state(NULL));
    values.dtype = HONE_I32;
    FAILS(HONE_ERROR_DTYPE, "the new exp_avg of \"w\" is I32; F32, F64, BF16 or F16 can be copied",
          set_state(&values));
    values.dtype = HONE_C64;
    FAILS(HONE_ERROR_DTYPE, NULL, set_state(&values));
    values = place.g_view;
    values.shape = (int64_t[]){2};
    FAILS(HONE_ERROR_SHAPE, NULL, set_state(&values));
    values.shape = (int64_t[]){3, 1};
    values.ndim = 2;
    FAILS(HONE_ERROR_SHAPE, NULL, set_state(&values));
    values = place.g_view;
    values.device = HONE_CUDA;
    FAILS(HONE_ERROR_UNSUPPORTED, NULL, set_state(&values));
    FAILS(HONE_ERROR_NAME, NULL,
          hone_optimizer_set_state(place.optimizer, 0, "nothing", &place.g_view, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_set_state(place.optimizer, 4, "exp_avg", &place.g_view, &problem));
    assert_null(slot("exp_avg").data);
    assert_int_equal(hone_optimizer_state_bytes(place.optimizer), 0);
}

static void test_complex_state(void **state)
{
    (void)state;
    float pairs[] = {1, 2, 3, 4}, grads[4] = {0};
    const int64_t two[] = {2}, square[] = {2, 2};
    hone_optimizer *const optimizer = test_optimizer(place.context, "adam");
    const hone_tensor param = hone_tensor_view(pairs, HONE_C64, 1, two);
    const hone_tensor values = hone_tensor_view(grads, HONE_F32, 2, square);
    const hone_tensor flat = hone_tensor_view(grads, HONE_F32, 1, two);
    OK(hone_optimizer_add(optimizer, "c", &param, 0, NULL, &problem));
    FAILS(HONE_ERROR_SHAPE, NULL,
          hone_optimizer_set_state(optimizer, 0, "exp_avg", &flat, &problem));
    OK(hone_optimizer_set_state(optimizer, 0, "exp_avg", &values, &problem));
    hone_optimizer_free(optimizer);
}

/* ---- counters ------------------------------------------------------------------------------- */

/* The count is the t of the bias correction: a large one makes it vanish. */
static void test_counters(void **state)
{
    (void)state;
    uint64_t count = 7;
    OK(hone_optimizer_step_count(place.optimizer, 0, &count, &problem));
    assert_int_equal(count, 0);
    OK(hone_optimizer_set_step_count(place.optimizer, 0, (uint64_t)1 << 40, &problem));
    step();
    OK(hone_optimizer_step_count(place.optimizer, 0, &count, &problem));
    assert_true(count == ((uint64_t)1 << 40) + 1);
    const double uncorrected = -1e-3 * 0.1 / (sqrt(1e-3) + 1e-8);
    assert_true(fabs((double)place.w[0] - uncorrected) < 1e-8);
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_step_count(place.optimizer, 1, &count, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_set_step_count(place.optimizer, -1, 3, &problem));
}

/* Powers of the betas stay exact to the last digits however large the count: with b1 = 0 and one
 * gradient, sqrt(1 - b2^t) is all that the move depends on. */
static void test_large_counts(void **state)
{
    (void)state;
    const double beta2 = 1 - 0x1p-30;
    const uint64_t counts[] = {1, 1000, 123456789, ((uint64_t)1 << 32) - 1};
    for (int i = 0; i < 4; i++) {
        double w = 0, g = 2;
        const hone_tensor param = hone_tensor_view(&w, HONE_F64, 0, NULL);
        const hone_tensor grad = hone_tensor_view(&g, HONE_F64, 0, NULL);
        hone_optimizer *const adam = test_optimizer(place.context, "adam");
        OK(hone_optimizer_set(adam, 0, "beta1", 0, &problem));
        OK(hone_optimizer_set(adam, 0, "beta2", beta2, &problem));
        OK(hone_optimizer_set(adam, 0, "eps", 0, &problem));
        OK(hone_optimizer_add(adam, "w", &param, 0, NULL, &problem));
        OK(hone_optimizer_set_grad(adam, 0, &grad, &problem));
        OK(hone_optimizer_set_step_count(adam, 0, counts[i] - 1, &problem));
        OK(hone_optimizer_step(adam, NULL, &problem));
        /* 1 - b2^t without the cancellation, through logarithms. */
        const double correction = -expm1((double)counts[i] * log1p(-0x1p-30));
        const double wanted = -1e-3 * g / (sqrt((1 - beta2) * g * g) / sqrt(correction));
        const double room = counts[i] < 10000 ? 1e-7 : 1e-13; /* b2^t is near 1 there */
        assert_true(fabs(w - wanted) <= room * fabs(wanted));
        hone_optimizer_free(adam);
    }
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(test_views),           PLACED(test_bytes),          PLACED(test_default_dtypes),
        PLACED(test_state_dtype),     PLACED(test_prepared_dtype), PLACED(test_set_state),
        PLACED(test_set_state_first), PLACED(test_bad_set_state),  PLACED(test_complex_state),
        PLACED(test_counters),        PLACED(test_large_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
