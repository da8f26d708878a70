/* SPDX-License-Identifier: Apache-2.0 */
/* Holds the float64 model to every golden number: whoever compares the library with the model may
 * trust the model, and a golden number that was copied wrongly shows up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../golden/golden_numbers.h"
#include "oracle.h"
#include "oracle_muon.h"
#include "oracle_schedule.h"

static void expect_close(const char *name, const char *what, size_t call, size_t index,
                         double actual, double expected)
{
    if (!golden_close(actual, expected, GOLDEN_RELATIVE))
        fail_msg("%s: %s[%zu] after call %zu is %.17g, golden %.17g", name, what, index, call,
                 actual, expected);
}

static oracle_options options_of(const char *name, const char *rule, const golden_hyper *hypers)
{
    oracle_options options = oracle_default_options(rule);
    for (; hypers->name; hypers++)
        if (!oracle_set_option(&options, hypers->name, hypers->value))
            fail_msg("%s: the oracle has no option %s", name, hypers->name);
    return options;
}

/* The value a list gives to a name, or a default. */
static double hyper(const golden_hyper *hypers, const char *name, double otherwise)
{
    for (; hypers->name; hypers++)
        if (strcmp(hypers->name, name) == 0)
            return hypers->value;
    return otherwise;
}

/* ---- dense rules ---- */

static size_t check_call(const golden_case *c, oracle_state *state, size_t call)
{
    size_t checked = 0;
    for (const golden_expectation *e = c->expectations; e->slot; e++) {
        if (call < e->first_call || call >= e->first_call + e->calls)
            continue;
        const double *expected = e->values + (call - e->first_call) * c->n;
        const double *actual = oracle_slot(state, e->slot);
        assert_non_null(actual);
        for (size_t i = 0; i < c->n; i++)
            expect_close(c->name, e->slot, call, i, actual[i], expected[i]);
        checked++;
    }
    return checked;
}

static void run_case(const golden_case *c)
{
    oracle_options options = options_of(c->name, c->rule, c->hypers);
    oracle_state *state = oracle_state_create(c->n, c->param);
    size_t checked = 0;
    for (size_t call = 1; call <= c->calls; call++) {
        const double *grad = c->gradients + (call - 1) % c->gradient_rows * c->n;
        oracle_step(c->rule, &options, state, grad, c->mask);
        checked += check_call(c, state, call);
    }
    assert_int_equal(state->step, c->calls);
    size_t promised = 0;
    for (const golden_expectation *e = c->expectations; e->slot; e++)
        promised += e->calls;
    assert_int_equal(checked, promised);
    oracle_state_free(state);
}

static void test_dense_rules(void **unused)
{
    (void)unused;
    for (size_t g = 0; g < GOLDEN_DENSE_GROUPS; g++)
        for (size_t k = 0; k < *golden_dense_groups[g].count; k++)
            run_case(&golden_dense_groups[g].cases[k]);
}

/* ---- hash-table rows ---- */

static int64_t row_of(const golden_table_case *c, int64_t key)
{
    for (size_t row = 0; row < c->row_count; row++)
        if (c->rows[row].key == key)
            return (int64_t)row;
    return -1;
}

static void check_micro_step(const golden_table_case *c, oracle_table *table, size_t step)
{
    for (const golden_row_expectation *e = c->expectations; e->slot; e++) {
        if (e->micro_step != step)
            continue;
        const double *actual = oracle_table_slot(table, e->slot);
        assert_non_null(actual);
        bool power = strcmp(e->slot, "beta1") == 0 || strcmp(e->slot, "beta2") == 0;
        if (!power)
            actual += (size_t)row_of(c, e->key) * c->width;
        for (size_t d = 0; d < (power ? 1 : c->width); d++)
            expect_close(c->name, e->slot, step, d, actual[d], e->values[d]);
    }
}

static oracle_table *table_of(const golden_table_case *c)
{
    double *param = calloc(c->row_count * c->width, sizeof *param);
    assert_non_null(param);
    for (size_t row = 0; row < c->row_count; row++)
        for (size_t d = 0; d < c->width; d++)
            param[row * c->width + d] = c->rows[row].values[d];
    oracle_table *table = oracle_table_create(c->row_count, c->width, param);
    free(param);
    return table;
}

static void run_table_case(const golden_table_case *c)
{
    oracle_options options = options_of(c->name, c->rule, c->hypers);
    if (c->mean)
        options.grad_scale = 1 / (double)c->accumulate;
    oracle_table *table = table_of(c);
    for (size_t step = 1; step <= c->micro_steps; step++) {
        for (size_t k = 0; k < c->gradient_count; k++)
            if (c->gradients[k].micro_step == step)
                oracle_table_add(table, row_of(c, c->gradients[k].key), c->gradients[k].values);
        if (step % c->accumulate == 0)
            oracle_table_apply(c->rule, &options, table);
        check_micro_step(c, table, step);
    }
    assert_int_equal(table->step, c->micro_steps / c->accumulate);
    oracle_table_free(table);
}

/* The same numbers through PyTorch's SparseAdam, whose state is one flat tensor. */
static void run_torch_sparse_case(const golden_table_case *c)
{
    assert_int_equal(c->width, 1);
    assert_int_equal(c->row_count, 1);
    oracle_options options = options_of(c->name, c->rule, c->hypers);
    oracle_state *state = oracle_state_create(1, c->rows[0].values);
    for (size_t k = 0; k < c->gradient_count; k++) {
        size_t position = 0;
        oracle_torch_sparse_adam(&options, state, 1, &position, c->gradients[k].values);
        for (const golden_row_expectation *e = c->expectations; e->slot; e++)
            if (e->micro_step == k + 1)
                expect_close(c->name, "torch param", k + 1, 0, state->param[0], e->values[0]);
    }
    oracle_state_free(state);
}

static void test_table_rows(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < golden_table_count; k++) {
        run_table_case(&golden_table_cases[k]);
        if (golden_table_cases[k].torch_sparse_adam)
            run_torch_sparse_case(&golden_table_cases[k]);
    }
}

/* ---- Muon ---- */

static oracle_muon_adjust adjust_of(const char *name)
{
    if (strcmp(name, "match_rms_adamw") == 0)
        return ORACLE_MUON_MATCH_RMS_ADAMW;
    if (strcmp(name, "spectral_unclamped") == 0)
        return ORACLE_MUON_SPECTRAL_UNCLAMPED;
    assert_string_equal(name, "original");
    return ORACLE_MUON_ORIGINAL;
}

static oracle_muon_options muon_options_of(const golden_muon_case *c)
{
    oracle_muon_options options = oracle_muon_default_options();
    options.adjust = adjust_of(c->adjust_lr_fn);
    options.lr = hyper(c->hypers, "lr", options.lr);
    options.weight_decay = hyper(c->hypers, "weight_decay", options.weight_decay);
    options.momentum = hyper(c->hypers, "momentum", options.momentum);
    options.nesterov = hyper(c->hypers, "nesterov", options.nesterov) != 0;
    return options;
}

static void check_matrix(const golden_muon_case *c, const char *what, size_t call,
                         const double *actual, const double *expected)
{
    for (size_t i = 0; expected && i < c->rows * c->columns; i++)
        expect_close(c->name, what, call, i, actual[i], expected[i]);
}

static void test_muon(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < golden_muon_count; k++) {
        const golden_muon_case *c = &golden_muon_cases[k];
        oracle_muon_options options = muon_options_of(c);
        double param[6], buffer[6] = {0}, direction[6];
        assert_int_equal(c->rows * c->columns, 6);
        memcpy(param, c->param, sizeof param);
        for (size_t call = 0; call < GOLDEN_MUON_CALLS; call++) {
            oracle_muon_step(&options, c->rows, c->columns, param, buffer, c->gradients[call],
                             direction);
            check_matrix(c, "param", call + 1, param, c->expected_param[call]);
            check_matrix(c, "momentum_buffer", call + 1, buffer, c->expected_momentum_buffer[call]);
            check_matrix(c, "direction", call + 1, direction, c->expected_direction[call]);
        }
    }
}

static double frobenius_distance(size_t n, const double *a, const double *reference)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += (a[i] - reference[i]) * (a[i] - reference[i]);
        size += reference[i] * reference[i];
    }
    return sqrt(difference / size);
}

static void test_muon_bfloat16(void **unused)
{
    (void)unused;
    const golden_muon_case *c = &golden_muon_cases[0];
    oracle_muon_options options = muon_options_of(c);
    options.bfloat16 = true;
    double param[6], buffer[6] = {0}, direction[6];
    memcpy(param, c->param, sizeof param);
    oracle_muon_step(&options, c->rows, c->columns, param, buffer, c->gradients[0], direction);
    for (size_t i = 0; i < 6; i++)
        expect_close(c->name, "bfloat16 direction", 1, i, direction[i],
                     golden_muon_bfloat16_direction[i]);
    double distance = frobenius_distance(6, direction, c->expected_direction[0]);
    assert_true(fabs(distance - golden_muon_bfloat16_distance) < 5e-6);
}

/* ---- schedules ---- */

static double cyclic_value(const golden_schedule_case *c, uint64_t e)
{
    oracle_cyclic cyclic = {.base_lr = hyper(c->hypers, "base_lr", NAN),
                            .max_lr = hyper(c->hypers, "max_lr", NAN),
                            .step_size_up = hyper(c->hypers, "step_size_up", NAN),
                            .step_size_down = hyper(c->hypers, "step_size_down", NAN),
                            .gamma = hyper(c->hypers, "gamma", 1)};
    cyclic.mode = strcmp(c->mode, "triangular2") == 0 ? ORACLE_TRIANGULAR2 : ORACLE_TRIANGULAR;
    return oracle_cyclic_lr(&cyclic, e);
}

static double one_cycle_value(const golden_schedule_case *c, uint64_t e)
{
    oracle_one_cycle cycle = oracle_one_cycle_default(hyper(c->hypers, "max_lr", NAN),
                                                      hyper(c->hypers, "total_steps", NAN));
    cycle.pct_start = hyper(c->hypers, "pct_start", cycle.pct_start);
    return oracle_one_cycle_lr(&cycle, e);
}

static double plateau_value(const golden_schedule_case *c, uint64_t e)
{
    oracle_plateau plateau = oracle_plateau_create(false);
    plateau.factor = hyper(c->hypers, "factor", NAN);
    plateau.patience = (uint64_t)hyper(c->hypers, "patience", NAN);
    double lr = c->base;
    for (uint64_t k = 0; k <= e; k++)
        lr = oracle_plateau_step(&plateau, lr, c->metrics[k]);
    return lr;
}

static double schedule_value(const golden_schedule_case *c, uint64_t e)
{
    const golden_hyper *h = c->hypers;
    const char *s = c->schedule;
    uint64_t total_iters = (uint64_t)hyper(h, "total_iters", 0);
    double gamma = hyper(h, "gamma", NAN);
    double eta_min = hyper(h, "eta_min", 0);
    if (strcmp(s, "cosine_with_warmup") == 0)
        return c->base * oracle_cosine_with_warmup((uint64_t)hyper(h, "warmup_steps", 0),
                                                   (uint64_t)hyper(h, "training_steps", 0), true,
                                                   false, e);
    if (strcmp(s, "exponential_lr") == 0)
        return oracle_exponential_lr(c->base, gamma, e);
    if (strcmp(s, "cosine_annealing_lr") == 0)
        return oracle_cosine_annealing_lr(c->base, hyper(h, "T_max", NAN), eta_min, e);
    if (strcmp(s, "step_lr") == 0)
        return oracle_step_lr(c->base, (uint64_t)hyper(h, "step_size", 0), gamma, e);
    if (strcmp(s, "multi_step_lr") == 0)
        return oracle_multi_step_lr(c->base, c->milestones, c->milestone_count, gamma, e);
    if (strcmp(s, "constant_lr") == 0)
        return oracle_constant_lr(c->base, hyper(h, "factor", NAN), total_iters, e);
    if (strcmp(s, "linear_lr") == 0)
        return oracle_linear_lr(c->base, hyper(h, "start_factor", NAN), hyper(h, "end_factor", NAN),
                                total_iters, e);
    if (strcmp(s, "polynomial_lr") == 0)
        return oracle_polynomial_lr(c->base, total_iters, hyper(h, "power", NAN), e);
    if (strcmp(s, "cosine_annealing_warm_restarts") == 0)
        return oracle_cosine_annealing_warm_restarts(c->base, hyper(h, "T_0", NAN),
                                                     hyper(h, "T_mult", NAN), eta_min, (double)e);
    if (strcmp(s, "cyclic_lr") == 0)
        return cyclic_value(c, e);
    if (strcmp(s, "one_cycle_lr") == 0)
        return one_cycle_value(c, e);
    assert_string_equal(s, "reduce_lr_on_plateau");
    return plateau_value(c, e);
}

static void test_schedules(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < golden_schedule_count; k++) {
        const golden_schedule_case *c = &golden_schedule_cases[k];
        for (size_t e = 0; e < c->count; e++)
            expect_close(c->name, "value", e, 0, schedule_value(c, e), c->values[e]);
    }
}

/* ---- clipping and loss scaling ---- */

static void test_clipping(void **unused)
{
    (void)unused;
    const double *arrays[] = {golden_clip_first, golden_clip_second};
    const size_t sizes[] = {2, 1};
    for (size_t k = 0; k < golden_clip_count; k++) {
        const golden_clip_case *c = &golden_clip_cases[k];
        double total = oracle_total_norm(c->norm_type, 2, arrays, sizes);
        expect_close(c->name, "total", 1, 0, total, c->total);
        double coefficient = oracle_clip_coefficient(total, c->max_norm);
        const double before[] = {golden_clip_first[0], golden_clip_first[1], golden_clip_second[0]};
        for (size_t i = 0; c->values_after && i < 3; i++)
            expect_close(c->name, "gradient", 1, i, before[i] * coefficient, c->values_after[i]);
    }
}

static void test_loss_scale(void **unused)
{
    (void)unused;
    oracle_scaler scaler = oracle_scaler_create();
    scaler.scale = hyper(golden_scaler_hypers, "init_scale", NAN);
    scaler.growth_factor = hyper(golden_scaler_hypers, "growth_factor", NAN);
    scaler.backoff_factor = hyper(golden_scaler_hypers, "backoff_factor", NAN);
    scaler.growth_interval = (uint64_t)hyper(golden_scaler_hypers, "growth_interval", NAN);
    for (size_t k = 0; k < golden_scaler_count; k++) {
        oracle_scaler_update(&scaler, golden_scaler_steps[k].found_inf);
        expect_close("loss scale", "scale", k + 1, 0, scaler.scale, golden_scaler_steps[k].scale);
        assert_int_equal(scaler.growth_tracker, golden_scaler_steps[k].growth_tracker);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense_rules), cmocka_unit_test(test_table_rows),
        cmocka_unit_test(test_muon),        cmocka_unit_test(test_muon_bfloat16),
        cmocka_unit_test(test_schedules),   cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_loss_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
