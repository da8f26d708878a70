/* SPDX-License-Identifier: Apache-2.0 */
/* The step: reports, clipping options, closures, zero_grad, empty and 0-dim tensors, and tensors
 * past 2^31 elements (HONE_TEST_LARGE=1). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "support/checks.h"
#include "support/numbers.h"

struct place {
    hone_context *context;
    hone_optimizer *optimizer; /* sgd with lr 1: p -= g */
    double w[2], v[2], gw[2], gv[2];
    int64_t length[1];
};

static struct place place;

static void add(const char *name, double *param, double *grad)
{
    const hone_tensor param_view = hone_tensor_view(param, HONE_F64, 1, place.length);
    const hone_tensor grad_view = hone_tensor_view(grad, HONE_F64, 1, place.length);
    int64_t index;
    OK(hone_optimizer_add(place.optimizer, name, &param_view, 0, &index, &problem));
    OK(hone_optimizer_set_grad(place.optimizer, index, &grad_view, &problem));
}

static int set_up(void **state)
{
    (void)state;
    memset(&place, 0, sizeof place);
    place.context = test_context(1, NULL);
    place.optimizer = test_optimizer(place.context, "sgd");
    place.length[0] = 2;
    OK(hone_optimizer_set(place.optimizer, 0, "lr", 1, &problem));
    add("w", place.w, place.gw);
    add("v", place.v, place.gv);
    place.gw[0] = 3;
    place.gv[1] = -4;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_optimizer_free(place.optimizer);
    hone_context_free(place.context);
    return 0;
}

static hone_step_report step(void)
{
    hone_step_report report;
    memset(&report, 0x55, sizeof report);
    OK(hone_optimizer_step(place.optimizer, &report, &problem));
    return report;
}

static uint64_t count_of(int64_t index)
{
    uint64_t count = 99;
    OK(hone_optimizer_step_count(place.optimizer, index, &count, &problem));
    return count;
}

static void test_report(void **state)
{
    (void)state;
    hone_step_report report = step();
    assert_true(report.stepped == 2 && isnan(report.total_norm) && report.clip_coef == 1);
    assert_false(report.skipped);
    OK(hone_optimizer_clip_norm(place.optimizer, 2, 2, HONE_NONFINITE_PROPAGATE, &problem));
    report = step();
    assert_true(report.total_norm == 5 && report.clip_coef == 2 / (5 + 1e-6));
    assert_true(place.w[0] == -3 - 3 * report.clip_coef);
    assert_true(place.gw[0] == 3); /* gradients are not written */
    OK(hone_optimizer_clip_norm(place.optimizer, 100, 1, HONE_NONFINITE_PROPAGATE, &problem));
    report = step();
    assert_true(report.total_norm == 7 && report.clip_coef == 1);
    OK(hone_optimizer_clip_value(place.optimizer, 0.5, &problem));
    report = step();
    assert_true(report.total_norm == 1); /* of what the value clip leaves */
    OK(hone_optimizer_clip_norm(place.optimizer, (double)INFINITY, 2, HONE_NONFINITE_SKIP,
                                &problem));
    report = step();
    assert_true(report.clip_coef == 1 && isfinite(report.total_norm) && report.stepped == 2);
}

static void test_missing_gradients(void **state)
{
    (void)state;
    OK(hone_optimizer_set_grad(place.optimizer, 1, NULL, &problem));
    assert_int_equal(step().stepped, 1);
    assert_true(count_of(0) == 1 && count_of(1) == 0);
    assert_true(place.v[1] == 0);
    OK(hone_optimizer_zero_grad(place.optimizer, true, &problem));
    OK(hone_optimizer_clip_norm(place.optimizer, 1, 2, HONE_NONFINITE_ERROR, &problem));
    const hone_step_report report = step(); /* no gradient at all */
    assert_true(report.stepped == 0 && report.total_norm == 0 && report.clip_coef == 1);
    assert_true(count_of(0) == 1 && place.w[0] == -3);
}

static void test_zero_grad(void **state)
{
    (void)state;
    OK(hone_optimizer_zero_grad(place.optimizer, false, &problem));
    assert_true(place.gw[0] == 0 && place.gv[1] == 0);
    assert_int_equal(step().stepped, 2); /* zero gradients still step */
    place.gw[0] = 5;
    OK(hone_optimizer_zero_grad(place.optimizer, true, &problem));
    assert_true(place.gw[0] == 5); /* dropped, not written */
    assert_int_equal(step().stepped, 0);
    assert_true(place.w[0] == 0);
}

static void test_clip_options(void **state)
{
    (void)state;
    hone_optimizer *const o = place.optimizer;
    OK(hone_optimizer_clip_norm(o, 1, 2, HONE_NONFINITE_PROPAGATE, &problem));
    FAILS(HONE_ERROR_RANGE, "max_norm is 0; it must be above 0 (infinity: no clipping)",
          hone_optimizer_clip_norm(o, 0, 2, HONE_NONFINITE_PROPAGATE, &problem));
    FAILS(HONE_ERROR_RANGE, NULL,
          hone_optimizer_clip_norm(o, (double)NAN, 2, HONE_NONFINITE_PROPAGATE, &problem));
    FAILS(HONE_ERROR_RANGE,
          "the norm's order p is 0.5; it must be at least 1 (infinity: the maximum)",
          hone_optimizer_clip_norm(o, 1, 0.5, HONE_NONFINITE_PROPAGATE, &problem));
    FAILS(HONE_ERROR_RANGE, NULL,
          hone_optimizer_clip_norm(o, 1, (double)NAN, HONE_NONFINITE_PROPAGATE, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "policy 7 is none of hone_nonfinite",
          hone_optimizer_clip_norm(o, 1, 2, (hone_nonfinite)7, &problem));
    FAILS(HONE_ERROR_RANGE, "the clip value is -1; it must be above 0 (infinity: no clipping)",
          hone_optimizer_clip_value(o, -1, &problem));
    FAILS(HONE_ERROR_RANGE, NULL, hone_optimizer_clip_value(o, (double)NAN, &problem));
    assert_true(step().clip_coef == 1 / (5 + 1e-6)); /* what stood before still holds */
}

static void test_nonfinite_sentence(void **state)
{
    (void)state;
    place.gw[1] = (double)INFINITY;
    OK(hone_optimizer_clip_norm(place.optimizer, 1, 3, HONE_NONFINITE_ERROR, &problem));
    FAILS(
        HONE_ERROR_NONFINITE,
        "the gradients' total norm of order 3 is inf, first by that of \"w\"; nothing was stepped",
        hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_true(count_of(0) == 0 && place.w[0] == 0 && place.v[1] == 0);
}

/* ---- closures ------------------------------------------------------------------------------- */

struct closure_calls {
    int count, answer;
    bool drop;
};

static int closure(double *loss, void *user)
{
    struct closure_calls *const calls = user;
    calls->count++;
    *loss = 2.5;
    place.gw[0] = 10;
    if (calls->drop)
        hone_optimizer_zero_grad(place.optimizer, true, NULL);
    return calls->answer;
}

static void test_closure(void **state)
{
    (void)state;
    struct closure_calls calls = {0};
    double loss = 0;
    hone_step_report report;
    OK(hone_optimizer_step_closure(place.optimizer, closure, &calls, &loss, &report, &problem));
    assert_true(calls.count == 1 && loss == 2.5 && report.stepped == 2);
    assert_true(place.w[0] == -10); /* the closure's gradient, not the one before */
    OK(hone_optimizer_step_closure(place.optimizer, closure, &calls, NULL, NULL, &problem));
    calls.drop = true;
    OK(hone_optimizer_step_closure(place.optimizer, closure, &calls, &loss, &report, &problem));
    assert_true(report.stepped == 0 && place.w[0] == -20);
}

static void test_failing_closure(void **state)
{
    (void)state;
    struct closure_calls calls = {.answer = 3};
    double loss = 0;
    FAILS(HONE_ERROR_CLOSURE, "the closure returned 3; nothing was stepped",
          hone_optimizer_step_closure(place.optimizer, closure, &calls, &loss, NULL, &problem));
    assert_true(calls.count == 1 && loss == 0 && place.w[0] == 0 && count_of(0) == 0);
    FAILS(HONE_ERROR_ARGUMENT, "closure is NULL",
          hone_optimizer_step_closure(place.optimizer, NULL, NULL, &loss, NULL, &problem));
}

/* ---- sizes ---------------------------------------------------------------------------------- */

/* Empty tensors count their steps and have states; nothing is read at their address. */
static void test_empty(void **state)
{
    (void)state;
    const int64_t rows[] = {3, 0};
    hone_optimizer *const optimizer = test_optimizer(place.context, "adam");
    const hone_tensor empty = hone_tensor_view(NULL, HONE_F32, 2, rows);
    OK(hone_optimizer_add(optimizer, "empty", &empty, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &empty, &problem));
    OK(hone_optimizer_clip_norm(optimizer, 1, 2, HONE_NONFINITE_ERROR, &problem));
    hone_step_report report;
    OK(hone_optimizer_step(optimizer, &report, &problem));
    assert_true(report.stepped == 1 && report.total_norm == 0);
    uint64_t count;
    OK(hone_optimizer_step_count(optimizer, 0, &count, &problem));
    assert_int_equal(count, 1);
    hone_tensor view;
    OK(hone_optimizer_state(optimizer, 0, "exp_avg", &view, &problem));
    assert_true(view.data != NULL && view.ndim == 2 && view.shape[0] == 3 && view.shape[1] == 0);
    assert_int_equal(hone_optimizer_state_bytes(optimizer), 0);
    OK(hone_optimizer_zero_grad(optimizer, false, &problem));
    OK(hone_optimizer_zero_grad(optimizer, true, &problem));
    hone_optimizer_free(optimizer);
}

static void test_zero_dimensions(void **state)
{
    (void)state;
    double value = 1, grad = 0.5;
    const hone_tensor scalar = hone_tensor_view(&value, HONE_F64, 0, NULL);
    const hone_tensor scalar_grad = hone_tensor_view(&grad, HONE_F64, 0, NULL);
    int64_t index;
    OK(hone_optimizer_add(place.optimizer, "scalar", &scalar, 0, &index, &problem));
    OK(hone_optimizer_set_grad(place.optimizer, index, &scalar_grad, &problem));
    assert_int_equal(step().stepped, 3);
    assert_true(value == 0.5);
    hone_tensor view;
    OK(hone_optimizer_set(place.optimizer, 0, "momentum", 0.5, &problem));
    step();
    OK(hone_optimizer_state(place.optimizer, index, "momentum_buffer", &view, &problem));
    assert_true(view.ndim == 0 && *(double *)view.data == 0.5);
}

/* A gradient that is almost everywhere an untouched page; only the last elements matter. */
static void test_large(void **state)
{
    (void)state;
    const char *const wanted = getenv("HONE_TEST_LARGE");
    if (wanted == NULL || strcmp(wanted, "1") != 0)
        SKIP("it needs 9 GB; HONE_TEST_LARGE=1 runs it");
    const int64_t shape[] = {((int64_t)1 << 31) + 5};
    const size_t bytes = (size_t)shape[0] * 2;
    uint16_t *const param = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint16_t *const grad = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(param != MAP_FAILED && grad != MAP_FAILED);
    const size_t places[] = {0, (size_t)1 << 31, ((size_t)1 << 31) + 4};
    for (int i = 0; i < 3; i++)
        number_write(HONE_BF16, grad, places[i], i + 1);
    hone_optimizer *const optimizer = test_optimizer(place.context, "sgd");
    const hone_tensor param_view = hone_tensor_view(param, HONE_BF16, 1, shape);
    const hone_tensor grad_view = hone_tensor_view(grad, HONE_BF16, 1, shape);
    OK(hone_optimizer_set(optimizer, 0, "lr", 0.5, &problem));
    OK(hone_optimizer_add(optimizer, "large", &param_view, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &grad_view, &problem));
    OK(hone_optimizer_clip_norm(optimizer, 100, 1, HONE_NONFINITE_ERROR, &problem));
    hone_step_report report;
    OK(hone_optimizer_step(optimizer, &report, &problem));
    assert_true(report.total_norm == 6);
    for (int i = 0; i < 3; i++)
        assert_true(number_read(HONE_BF16, param, places[i]) == -0.5 * (i + 1));
    assert_true(number_read(HONE_BF16, param, places[1] - 1) == 0);
    hone_optimizer_free(optimizer);
    munmap(param, bytes);
    munmap(grad, bytes);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(test_report),
        PLACED(test_missing_gradients),
        PLACED(test_zero_grad),
        PLACED(test_clip_options),
        PLACED(test_nonfinite_sentence),
        PLACED(test_closure),
        PLACED(test_failing_closure),
        PLACED(test_empty),
        PLACED(test_zero_dimensions),
        PLACED(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
