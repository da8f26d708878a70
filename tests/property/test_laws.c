/* SPDX-License-Identifier: Apache-2.0 */
/* Laws of the frame around every rule: maximize, complex tensors, multipliers, clipping inside and
 * outside the step, gradients that are zero or missing, and what happens to non-finite ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "property/run.h"

static struct run_data data, plain;

static int set_up(void **state)
{
    (void)state;
    data = run_data_create(700, 5, 21, true);
    plain = run_data_create(9000, 4, 22, false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    run_data_free(&data);
    run_data_free(&plain);
    return 0;
}

static const hone_dtype formats[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};

/* ---- maximize, complex, multiplier ---------------------------------------------------------- */

static void maximize_negates(const struct run *given, void *user)
{
    (void)user;
    for (int f = 0; f < 4; f++) {
        struct run up = *given, down = *given;
        up.param = up.grad = down.param = down.grad = formats[f];
        if (!run_set(&up, "maximize", 1) || !run_set(&down, "maximize", 0))
            return;
        down.negate = true;
        assert_same_end("maximize is a negated gradient", &up, &down, &data);
    }
}

static void complex_is_pairs(const struct run *given, void *user)
{
    (void)user;
    for (int wide = 0; wide < 2; wide++)
        for (int wide_grad = 0; wide_grad < 2; wide_grad++) {
            struct run real = *given;
            real.param = wide ? HONE_F64 : HONE_F32;
            real.grad = wide_grad ? HONE_F64 : HONE_F32;
            real.clip_norm = 2;
            struct run complex = real;
            complex.param = wide ? HONE_C128 : HONE_C64;
            assert_same_end("complex is pairs of reals", &real, &complex, &data);
        }
}

static void multiplier_scales_lr(const struct run *given, void *user)
{
    (void)user;
    const int lr = hone_rule_hyper_find(given->rule, "lr");
    assert_true(lr >= 0);
    const double multipliers[] = {0.37, 0, 2.5};
    for (int i = 0; i < 3; i++) {
        struct run multiplied = *given, direct = *given;
        multiplied.multiplier = multipliers[i];
        direct.value[lr] = given->value[lr] * multipliers[i];
        assert_same_end("a multiplier is another lr", &multiplied, &direct, &data);
    }
}

static void test_frame(void **state)
{
    (void)state;
    run_each_variant(maximize_negates, NULL);
    run_each_variant(complex_is_pairs, NULL);
    run_each_variant(multiplier_scales_lr, NULL);
}

/* ---- clipping ------------------------------------------------------------------------------- */

/* Where gradients are stored in the type that the step computes in, clipping them first rounds
 * nothing that the step would not: same bits. The multiplied gradient of other formats is rounded
 * on its way back to memory, so those agree to the format's precision. */
static void clip_inside_is_outside(const struct run *given, void *user)
{
    (void)user;
    const double orders[] = {1, 2, 3.5, (double)INFINITY};
    for (int i = 0; i < 8; i++) {
        struct run inside = *given;
        inside.param = inside.grad = i % 2 == 0 ? HONE_F32 : HONE_F64;
        inside.clip_order = orders[i / 2];
        inside.clip_norm = i % 3 == 0 ? 1e6 : 0.25;
        inside.clip_value = i % 3 == 1 ? 0.4 : (double)INFINITY;
        struct run outside = inside;
        outside.clip_outside = true;
        assert_same_end("clip inside or before the step", &inside, &outside, &plain);
        assert_same_end("clip with non-finite gradients", &inside, &outside, &data);
    }
}

/* The limit is a number of every format, so no rounding is left to differ. */
static void value_clip_in_every_format(const struct run *given, void *user)
{
    (void)user;
    for (int p = 0; p < 4; p++)
        for (int g = 0; g < 4; g++) {
            struct run inside = *given;
            inside.param = formats[p];
            inside.grad = formats[g];
            inside.clip_value = 0.25;
            struct run outside = inside;
            outside.clip_outside = true;
            assert_same_end("value clip", &inside, &outside, &data);
        }
}

static void rounded_clip_is_near(const struct run *given, void *user)
{
    (void)user;
    struct run inside = *given;
    inside.param = HONE_F32;
    inside.grad = HONE_BF16;
    inside.clip_norm = 0.5;
    run_set(&inside, "eps", 1e-3); /* keeps the directions smooth in the gradient */
    struct run outside = inside;
    outside.clip_outside = true;
    double *const a = run_end(&inside, &plain), *const b = run_end(&outside, &plain);
    const int lr = hone_rule_hyper_find(given->rule, "lr");
    const double room = given->value[lr] * (double)plain.steps;
    for (size_t i = 0; i < plain.n; i++)
        if (fabs(a[i] - b[i]) > room)
            fail_msg("%s: param[%zu] is %g or %g", run_text(&inside), i, a[i], b[i]);
    free(a);
    free(b);
}

static void test_clipping(void **state)
{
    (void)state;
    run_each_variant(clip_inside_is_outside, NULL);
    run_each_variant(value_clip_in_every_format, NULL);
    run_each_variant(rounded_clip_is_near, NULL);
}

/* ---- zero and missing gradients ------------------------------------------------------------- */

static bool zero_gradient_is_defined(const struct run *run)
{
    const int eps = hone_rule_hyper_find(run->rule, "eps");
    return eps < 0 || run->value[eps] != 0; /* else 0 / 0 */
}

static void zero_gradient_moves_nothing(const struct run *given, void *user)
{
    (void)user;
    struct run_data zeros = data;
    zeros.grads = calloc(data.n * data.steps, sizeof *zeros.grads);
    assert_non_null(zeros.grads);
    struct run run = *given;
    run_set(&run, "weight_decay", 0);
    for (int f = 0; f < 4 && zero_gradient_is_defined(&run); f++) {
        run.param = run.grad = formats[f];
        double *const end = run_end(&run, &zeros);
        for (size_t i = 0; i < data.n; i++)
            if (!number_same(end[i], number_round(run.param, data.start[i])))
                fail_msg("%s: param[%zu] moved to %g", run_text(&run), i, end[i]);
        free(end);
    }
    free(zeros.grads);
}

/* The same calls with pauses between them. */
static void missing_gradients_change_nothing(const struct run *given, void *user)
{
    (void)user;
    struct run_data paused = {.n = data.n, .steps = 2 * data.steps, .start = data.start};
    paused.grads = calloc(paused.n * paused.steps, sizeof *paused.grads);
    assert_non_null(paused.grads);
    struct run with = *given;
    for (size_t step = 0; step < data.steps; step++) {
        memcpy(paused.grads + (2 * step + 1) * data.n, data.grads + step * data.n,
               sizeof(double) * data.n);
        with.missing |= 1u << 2 * step;
    }
    double *const a = run_end(given, &data), *const b = run_end(&with, &paused);
    const size_t count = run_end_count(given, &data);
    if (numbers_differ(a, b, count) < count)
        fail_msg("%s: pauses changed the end", run_text(given));
    free(a);
    free(b);
    free(paused.grads);
}

static void test_no_gradient(void **state)
{
    (void)state;
    run_each_variant(zero_gradient_moves_nothing, NULL);
    run_each_variant(missing_gradients_change_nothing, NULL);
}

/* ---- non-finite gradients ------------------------------------------------------------------- */

struct trial {
    hone_context *context;
    hone_optimizer *optimizer;
    double param[6], grad[6];
};

static const int64_t trial_shape[] = {6};

static void trial_start(struct trial *trial, const struct run *run)
{
    trial->context = test_context(1, NULL);
    trial->optimizer = test_optimizer(trial->context, hone_rule_name(run->rule));
    assert_true(run_apply_hypers(run, trial->optimizer));
    for (int i = 0; i < 6; i++) {
        trial->param[i] = i - 2.5;
        trial->grad[i] = 0.3 * i - 1;
    }
    const hone_tensor param = hone_tensor_view(trial->param, HONE_F64, 1, trial_shape);
    const hone_tensor grad = hone_tensor_view(trial->grad, HONE_F64, 1, trial_shape);
    OK(hone_optimizer_add(trial->optimizer, "p", &param, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(trial->optimizer, 0, &grad, &problem));
}

static void trial_stop(struct trial *trial)
{
    hone_optimizer_free(trial->optimizer);
    hone_context_free(trial->context);
}

static void assert_same_trial(const struct run *run, const struct trial *a, const struct trial *b)
{
    assert_memory_equal(a->param, b->param, sizeof a->param);
    for (int k = 0; k < hone_rule_slot_count(run->rule); k++) {
        const char *const slot = hone_rule_slot(run->rule, k)->name;
        hone_tensor x, y;
        OK(hone_optimizer_state(a->optimizer, 0, slot, &x, &problem));
        OK(hone_optimizer_state(b->optimizer, 0, slot, &y, &problem));
        assert_int_equal(x.data == NULL, y.data == NULL);
        if (x.data != NULL)
            assert_memory_equal(x.data, y.data, sizeof a->param);
    }
    uint64_t x, y;
    OK(hone_optimizer_step_count(a->optimizer, 0, &x, &problem));
    OK(hone_optimizer_step_count(b->optimizer, 0, &y, &problem));
    assert_int_equal(x, y);
}

/* A refused or skipped call leaves no trace: the run goes on as one that never made it. The call
 * stands first, so that it would also be the one to create states. */
static void nonfinite_leaves_no_trace(const struct run *run, hone_nonfinite policy, double bad)
{
    struct trial with, without;
    trial_start(&with, run);
    trial_start(&without, run);
    OK(hone_optimizer_clip_norm(with.optimizer, 1, 2, policy, &problem));
    OK(hone_optimizer_clip_norm(without.optimizer, 1, 2, policy, &problem));
    for (int step = 0; step < 3; step++) {
        const double good = with.grad[4];
        with.grad[4] = bad;
        hone_step_report report;
        memset(&report, 0x55, sizeof report);
        const hone_status status = hone_optimizer_step(with.optimizer, &report, &problem);
        if (policy == HONE_NONFINITE_ERROR) {
            assert_int_equal(status, HONE_ERROR_NONFINITE);
        } else {
            assert_int_equal(status, HONE_OK);
            assert_true(report.skipped && report.stepped == 0 && !isfinite(report.total_norm));
        }
        assert_same_trial(run, &with, &without);
        with.grad[4] = good;
        OK(hone_optimizer_step(with.optimizer, NULL, &problem));
        OK(hone_optimizer_step(without.optimizer, NULL, &problem));
        assert_same_trial(run, &with, &without);
    }
    trial_stop(&with);
    trial_stop(&without);
}

static void nonfinite_policies(const struct run *run, void *user)
{
    (void)user;
    nonfinite_leaves_no_trace(run, HONE_NONFINITE_ERROR, (double)NAN);
    nonfinite_leaves_no_trace(run, HONE_NONFINITE_ERROR, (double)INFINITY);
    nonfinite_leaves_no_trace(run, HONE_NONFINITE_SKIP, (double)NAN);
    nonfinite_leaves_no_trace(run, HONE_NONFINITE_SKIP, (double)-INFINITY);
    struct trial trial;
    trial_start(&trial, run);
    trial.grad[4] = (double)NAN;
    hone_step_report report;
    OK(hone_optimizer_clip_norm(trial.optimizer, 1, 2, HONE_NONFINITE_PROPAGATE, &problem));
    OK(hone_optimizer_step(trial.optimizer, &report, &problem));
    OK(hone_optimizer_step(trial.optimizer, &report, &problem)); /* ADOPT's first moves nothing */
    assert_true(!report.skipped && report.stepped == 1 && isnan(report.clip_coef));
    for (int i = 0; i < 6; i++)
        assert_true(isnan(trial.param[i]));
    trial_stop(&trial);
}

static void test_nonfinite(void **state)
{
    (void)state;
    run_each_variant(nonfinite_policies, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_no_gradient),
        cmocka_unit_test(test_nonfinite),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
