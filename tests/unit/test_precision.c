/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept beside 16-bit parameters: updates that plain rounding loses must move the weights,
 * in every way of keeping them, with the same bits at every thread count and level; and the loss
 * scale and accumulation around a step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"
#include "support/cmocka_all.h"

#define N 20000

static uint16_t param[N], reference[N];
static float grad[N];
static const int64_t shape[] = {N};

static float of_bf16(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static hone_optimizer *make(hone_context *context, const char *rule, hone_precision precision,
                            double lr)
{
    hone_optimizer *const optimizer = test_optimizer(context, rule);
    for (int i = 0; i < N; i++) {
        param[i] = 0x3f80; /* 1 */
        grad[i] = 1 + (float)(i % 7);
    }
    const hone_tensor p = hone_tensor_view(param, HONE_BF16, 1, shape);
    const hone_tensor g = hone_tensor_view(grad, HONE_F32, 1, shape);
    OK(hone_optimizer_add(optimizer, "p", &p, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &g, &problem));
    OK(hone_optimizer_set(optimizer, 0, "lr", lr, &problem));
    OK(hone_optimizer_set(optimizer, 0, "weight_decay", 0, &problem));
    OK(hone_optimizer_set_precision(optimizer, 0, precision, &problem));
    return optimizer;
}

static double mean(void)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += (double)of_bf16(param[i]);
    return sum / N;
}

/* 1000 steps of 1e-5 each, a four-hundredth of bf16's step at 1: plain rounding never moves. */
static double run(hone_precision precision, int threads, const char *cpu)
{
    hone_context *const context = test_context(threads, cpu);
    hone_optimizer *const optimizer = make(context, "adamw", precision, 1e-5);
    const int steps = test_is_quick() ? 200 : 1000;
    for (int i = 0; i < steps; i++)
        OK(hone_optimizer_step(optimizer, NULL, &problem));
    hone_optimizer_free(optimizer);
    hone_context_free(context);
    return (1 - mean()) / (1e-5 * steps);
}

static void test_stagnation(void **state)
{
    (void)state;
    assert_true(run(HONE_PRECISION_PLAIN, 1, NULL) == 0);
    const hone_precision kinds[] = {HONE_PRECISION_MASTER, HONE_PRECISION_STOCHASTIC,
                                    HONE_PRECISION_KAHAN};
    for (int k = 0; k < 3; k++) {
        const double moved = run(kinds[k], 1, NULL);
        /* A stored value is the nearest bf16: half a step of 2^-8 off at most, on average. */
        const double off = kinds[k] == HONE_PRECISION_STOCHASTIC ? 0.1 : 0.25;
        if (!test_is_quick() && fabs(moved - 1) > off)
            fail_msg("precision %d moved %g of the way", (int)kinds[k], moved);
        memcpy(reference, param, sizeof param);
        run(kinds[k], 3, NULL);
        assert_memory_equal(param, reference, sizeof param);
        run(kinds[k], 2, "base");
        assert_memory_equal(param, reference, sizeof param);
    }
}

/* Masters and compensation of a precision that is left are gone, and start anew when it returns. */
static void test_switch(void **state)
{
    (void)state;
    hone_context *const context = test_context(1, NULL);
    hone_optimizer *const optimizer = make(context, "sgd", HONE_PRECISION_MASTER, 0.25);
    hone_tensor view;
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    OK(hone_optimizer_state(optimizer, 0, "master", &view, &problem));
    assert_true(((float *)view.data)[0] == 0.75f);
    OK(hone_optimizer_set_precision(optimizer, 0, HONE_PRECISION_PLAIN, &problem));
    OK(hone_optimizer_state(optimizer, 0, "master", &view, &problem));
    assert_null(view.data);
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    OK(hone_optimizer_set_precision(optimizer, 0, HONE_PRECISION_MASTER, &problem));
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    OK(hone_optimizer_state(optimizer, 0, "master", &view, &problem));
    assert_true(((float *)view.data)[0] == 0.25f);
    hone_optimizer_free(optimizer);
    hone_context_free(context);
}

/* torch's GradScaler by the golden numbers of the reference: init 8, growth 2, backoff .5, interval
 * 2, found_inf 0, 0, 1, 0, 0, 0, 0; a skipped step changes nothing and is counted. */
static void test_scaler(void **state)
{
    (void)state;
    static const bool found[] = {false, false, true, false, false, false, false};
    static const double scales[] = {8, 16, 8, 8, 16, 16, 32};
    hone_context *const context = test_context(2, NULL);
    hone_optimizer *const optimizer = make(context, "sgd", HONE_PRECISION_PLAIN, 0.125);
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    scaler.scale = 8;
    scaler.growth_interval = 2;
    OK(hone_optimizer_set_scaler(optimizer, &scaler, &problem));
    for (int i = 0; i < 7; i++) {
        memcpy(reference, param, sizeof param);
        for (int k = 0; k < N; k++)
            grad[k] = (float)hone_optimizer_loss_scale(optimizer) * 0.5f;
        if (found[i])
            grad[N - 1] = INFINITY;
        hone_step_report report;
        OK(hone_optimizer_step(optimizer, &report, &problem));
        assert_int_equal(report.skipped, found[i]);
        assert_true(hone_optimizer_loss_scale(optimizer) == scales[i]);
        assert_int_equal(memcmp(param, reference, sizeof param) == 0, found[i]);
    }
    assert_int_equal(hone_optimizer_skipped(optimizer), 1);
    uint64_t count;
    OK(hone_optimizer_step_count(optimizer, 0, &count, &problem));
    assert_int_equal(count, 6);
    assert_true(of_bf16(param[0]) == 1 - 6 * 0.0625f);
    hone_optimizer_free(optimizer);
    hone_context_free(context);
}

/* The clamp makes an infinite entry finite; the scaler sees it all the same, with the norm's clip
 * or without, and whatever the order of the norm. */
static void test_scaler_beside_value_clip(void **state)
{
    (void)state;
    static const double norms[] = {(double)INFINITY, 1}, orders[] = {2, (double)INFINITY};
    static const float strange[] = {INFINITY, -INFINITY, NAN};
    hone_context *const context = test_context(2, NULL);
    for (int i = 0; i < 12; i++) {
        hone_optimizer *const optimizer = make(context, "sgd", HONE_PRECISION_PLAIN, 0.125);
        hone_scaler scaler;
        hone_scaler_init(&scaler);
        OK(hone_optimizer_set_scaler(optimizer, &scaler, &problem));
        OK(hone_optimizer_clip_value(optimizer, 0.5, &problem));
        OK(hone_optimizer_clip_norm(optimizer, norms[i % 2], orders[i / 2 % 2],
                                    HONE_NONFINITE_PROPAGATE, &problem));
        grad[N - 1] = strange[i / 4];
        memcpy(reference, param, sizeof param);
        hone_step_report report;
        OK(hone_optimizer_step(optimizer, &report, &problem));
        assert_true(report.skipped);
        assert_true(isnan(report.total_norm));
        assert_true(hone_optimizer_loss_scale(optimizer) == scaler.scale / 2);
        assert_memory_equal(param, reference, sizeof param);
        grad[N - 1] = 1e30f;
        OK(hone_optimizer_step(optimizer, &report, &problem));
        assert_false(report.skipped);
        assert_memory_not_equal(param, reference, sizeof param);
        hone_optimizer_free(optimizer);
    }
    hone_context_free(context);
}

/* Finite gradients whose powers overflow: no reason to back off. The norm is infinite, so its
 * clip makes zeros of them, as torch's does, and a policy that asks about the norm still
 * stops the step. */
static void check_overflowing_norm(hone_dtype dtype, double order, hone_nonfinite policy)
{
    static const int64_t two[] = {2};
    float narrow[] = {1, 1}, narrow_grad[] = {3 * 65536.f, 4 * 65536.f};
    double wide[] = {1, 1}, wide_grad[] = {3e160, 4e160};
    const bool is_wide = dtype == HONE_F64, stopped = policy != HONE_NONFINITE_PROPAGATE;
    const hone_tensor p = hone_tensor_view(is_wide ? (void *)wide : narrow, dtype, 1, two);
    const hone_tensor g =
        hone_tensor_view(is_wide ? (void *)wide_grad : narrow_grad, dtype, 1, two);
    hone_context *const context = test_context(1, NULL);
    hone_optimizer *const optimizer = test_optimizer(context, "sgd");
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    OK(hone_optimizer_add(optimizer, "p", &p, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &g, &problem));
    OK(hone_optimizer_set_scaler(optimizer, &scaler, &problem));
    OK(hone_optimizer_clip_norm(optimizer, 1, order, policy, &problem));
    hone_step_report report = {.skipped = !stopped};
    const hone_status status = hone_optimizer_step(optimizer, &report, &problem);
    assert_int_equal(status, policy == HONE_NONFINITE_ERROR ? HONE_ERROR_NONFINITE : HONE_OK);
    if (status == HONE_OK) {
        assert_int_equal(report.skipped, stopped);
        assert_true(isinf(report.total_norm) && report.clip_coef == 0);
    }
    OK(hone_optimizer_scaler(optimizer, &scaler) ? HONE_OK : HONE_ERROR_ARGUMENT);
    assert_true(scaler.scale == 65536);
    assert_int_equal(scaler.growth_tracker, 1);
    assert_int_equal(hone_optimizer_skipped(optimizer), stopped);
    assert_true(is_wide ? wide[0] == 1 && wide[1] == 1 : narrow[0] == 1 && narrow[1] == 1);
    hone_optimizer_free(optimizer);
    hone_context_free(context);
}

static void test_scaler_beside_overflowing_norm(void **state)
{
    (void)state;
    for (int policy = HONE_NONFINITE_PROPAGATE; policy <= HONE_NONFINITE_SKIP; policy++) {
        check_overflowing_norm(HONE_F32, 1000, (hone_nonfinite)policy);
        check_overflowing_norm(HONE_F64, 2, (hone_nonfinite)policy);
    }
}

/* However many steps are skipped, the scale stays above 0, and what a checkpoint holds
 * can be loaded. */
static void test_scaler_bounds(void **state)
{
    (void)state;
    hone_context *const context = test_context(1, NULL);
    hone_optimizer *const optimizer = make(context, "sgd", HONE_PRECISION_PLAIN, 0.125);
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    scaler.min_scale = (double)INFINITY;
    FAILS(HONE_ERROR_RANGE,
          "the loss scale's bounds are inf and inf; the first must be finite and 0 or more, the "
          "second above 0 and at least the first",
          hone_optimizer_set_scaler(optimizer, &scaler, &problem));
    scaler.min_scale = scaler.max_scale = 0;
    FAILS(HONE_ERROR_RANGE,
          "the loss scale's bounds are 0 and 0; the first must be finite and 0 or more, the "
          "second above 0 and at least the first",
          hone_optimizer_set_scaler(optimizer, &scaler, &problem));
    hone_scaler_init(&scaler);
    for (int i = 0; i < 3000; i++)
        hone_scaler_update(&scaler, true);
    assert_true((float)scaler.scale > 0);
    assert_false(hone_optimizer_scaler(NULL, &scaler));
    assert_true(hone_optimizer_loss_scale(NULL) == 1 && hone_optimizer_skipped(NULL) == 0);
    OK(hone_optimizer_set_scaler(optimizer, &scaler, &problem));
    hone_optimizer_free(optimizer);
    hone_context_free(context);
}

/* Four micro-batches give the bits of their sum in one step, where the sum is exact. */
static void test_accumulation(void **state)
{
    (void)state;
    hone_context *const context = test_context(2, NULL);
    for (int mean_of = 0; mean_of < 2; mean_of++) {
        hone_optimizer *optimizer = make(context, "adamw", HONE_PRECISION_MASTER, 0.01);
        for (int i = 0; i < N; i++)
            grad[i] *= mean_of ? 1 : 4;
        OK(hone_optimizer_step(optimizer, NULL, &problem));
        memcpy(reference, param, sizeof param);
        hone_optimizer_free(optimizer);
        optimizer = make(context, "adamw", HONE_PRECISION_MASTER, 0.01);
        OK(hone_optimizer_set_grad_accum_steps(optimizer, 4, mean_of != 0, &problem));
        for (int i = 0; i < 4; i++) {
            hone_step_report report;
            OK(hone_optimizer_step(optimizer, &report, &problem));
            assert_int_equal(report.stepped, i == 3);
            if (i < 3)
                FAILS(HONE_ERROR_ARGUMENT, NULL,
                      hone_optimizer_set_grad_accum_steps(optimizer, 2, false, &problem));
        }
        assert_memory_equal(param, reference, sizeof param);
        hone_optimizer_free(optimizer);
    }
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stagnation),
                                       cmocka_unit_test(test_switch),
                                       cmocka_unit_test(test_scaler),
                                       cmocka_unit_test(test_scaler_beside_value_clip),
                                       cmocka_unit_test(test_scaler_beside_overflowing_norm),
                                       cmocka_unit_test(test_scaler_bounds),
                                       cmocka_unit_test(test_accumulation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
