/* SPDX-License-Identifier: Apache-2.0 */
/* What the float64 model must obey where no golden number reaches: identities between rules and
 * masks, calls that change nothing, NaN, and schedules' recurrences against their closed forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "oracle.h"
#include "oracle_muon.h"
#include "oracle_schedule.h"

#define N 4
static const char *const rules[] = {"sgd", "adam", "adamw", "rmsprop", "adopt", "adamw_tf"};
#define RULES (sizeof rules / sizeof rules[0])

static const double param[N] = {1, -2, 0.5, 0.25};
static const double gradients[3][N] = {
    {0.1, -0.2, 0.3, 0.02}, {0.3, -0.1, -0.3, 0.01}, {-0.2, 0.4, 0.1, -0.5}};

static const char *const slots[] = {"param",           "exp_avg",    "exp_avg_sq", "max_exp_avg_sq",
                                    "momentum_buffer", "square_avg", "grad_avg"};

static void expect_same_bits(oracle_state *a, oracle_state *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->step, b->step);
    for (size_t k = 0; k < sizeof slots / sizeof slots[0]; k++)
        assert_memory_equal(oracle_slot(a, slots[k]), oracle_slot(b, slots[k]),
                            a->n * sizeof(double));
}

static oracle_options busy_options(const char *rule)
{
    oracle_options o = oracle_default_options(rule);
    o.weight_decay = 0.05;
    o.momentum = 0.8;
    o.amsgrad = true;
    o.centered = true;
    o.decouple = true;
    return o;
}

static oracle_state *run(const char *rule, const oracle_options *o, const bool *mask)
{
    oracle_state *state = oracle_state_create(N, param);
    for (size_t k = 0; k < 3; k++)
        oracle_step(rule, o, state, gradients[k], mask);
    return state;
}

static void test_options_by_name(void **unused)
{
    (void)unused;
    oracle_options o = oracle_default_options("adopt");
    assert_true(o.beta2 == 0.9999 && o.eps == 1e-6 && o.lr == 1e-3 && o.weight_decay == 0);
    assert_true(oracle_default_options("rmsprop").lr == 1e-2);
    assert_true(oracle_default_options("adamw").weight_decay == 1e-2);
    assert_true(oracle_set_option(&o, "nesterov", 1) && o.nesterov);
    assert_true(oracle_set_option(&o, "masked_lr", 0.5) && o.two_rates && o.masked_lr == 0.5);
    assert_false(oracle_set_option(&o, "learning_rate", 1));
    assert_false(oracle_knows_rule("lion"));
}

static void test_mask_chooses_between_two_runs(void **unused)
{
    (void)unused;
    const bool mask[N] = {true, false, false, true};
    for (size_t r = 0; r < RULES; r++) {
        oracle_options o = busy_options(rules[r]);
        o.lr = 1e-2;
        oracle_state *high = run(rules[r], &o, NULL);
        o.lr = 1e-4;
        oracle_state *low = run(rules[r], &o, NULL);
        o.two_rates = true;
        o.masked_lr = 1e-2;
        o.unmasked_lr = 1e-4;
        oracle_state *both = run(rules[r], &o, mask);
        oracle_state *without = run(rules[r], &o, NULL);
        expect_same_bits(without, low);
        for (size_t i = 0; i < N; i++)
            assert_true(both->param[i] == (mask[i] ? high : low)->param[i]);
        assert_true(high->param[0] != low->param[0]);
        oracle_state_free(high);
        oracle_state_free(low);
        oracle_state_free(both);
        oracle_state_free(without);
    }
}

static void test_rate_zero_freezes(void **unused)
{
    (void)unused;
    const bool mask[N] = {true, false, false, true};
    double poisoned[N] = {0.1, NAN, 0.2, 0.3};
    for (size_t r = 0; r < RULES; r++) {
        oracle_options o = busy_options(rules[r]);
        o.two_rates = true;
        o.unmasked_lr = 0;
        oracle_state *state = oracle_state_create(N, param);
        oracle_step(rules[r], &o, state, poisoned, mask);
        oracle_step(rules[r], &o, state, poisoned, mask);
        assert_true(state->param[1] == param[1] && state->param[2] == param[2]);
        assert_true(state->param[0] != param[0]);
        oracle_state_free(state);
    }
}

static void test_calls_that_change_nothing(void **unused)
{
    (void)unused;
    for (size_t r = 0; r < RULES; r++) {
        oracle_options o = busy_options(rules[r]);
        oracle_state *state = run(rules[r], &o, NULL);
        oracle_state *same = run(rules[r], &o, NULL);
        oracle_step(rules[r], &o, state, NULL, NULL);
        o.found_inf = true;
        oracle_step(rules[r], &o, state, gradients[0], NULL);
        expect_same_bits(state, same);
        oracle_state_free(state);
        oracle_state_free(same);
    }
}

/* Powers of two, so that scaling the gradient by hand gives the same bits. */
static void test_gradient_factors(void **unused)
{
    (void)unused;
    for (size_t r = 0; r < RULES; r++) {
        oracle_options o = busy_options(rules[r]);
        o.maximize = true;
        o.grad_scale = 0.25;
        o.clip_coef = 0.5;
        oracle_state *state = oracle_state_create(N, param);
        oracle_step(rules[r], &o, state, gradients[0], NULL);
        oracle_options plain = busy_options(rules[r]);
        oracle_state *by_hand = oracle_state_create(N, param);
        double scaled[N];
        for (size_t i = 0; i < N; i++)
            scaled[i] = -gradients[0][i] / 8;
        oracle_step(rules[r], &plain, by_hand, scaled, NULL);
        expect_same_bits(state, by_hand);
        oracle_state_free(state);
        oracle_state_free(by_hand);
    }
}

static void test_sgd_momentum_switched_on_late(void **unused)
{
    (void)unused;
    oracle_options o = oracle_default_options("sgd");
    o.dampening = 0.5;
    oracle_state *state = oracle_state_create(N, param);
    oracle_step("sgd", &o, state, gradients[0], NULL);
    assert_true(state->param[0] == 1 - 1e-3 * 0.1);
    o.momentum = 0.9;
    oracle_step("sgd", &o, state, gradients[1], NULL);
    assert_memory_equal(state->momentum_buffer, gradients[1], sizeof gradients[1]);
    oracle_step("sgd", &o, state, gradients[2], NULL);
    assert_true(state->momentum_buffer[0] == 0.9 * 0.3 + 0.5 * -0.2);
    oracle_state_free(state);
}

static void test_nan_is_kept(void **unused)
{
    (void)unused;
    const double poisoned[N] = {NAN, 0.1, 0.1, 0.1};
    for (size_t r = 0; r < RULES; r++) {
        oracle_options o = busy_options(rules[r]);
        oracle_state *state = oracle_state_create(N, param);
        oracle_step(rules[r], &o, state, poisoned, NULL);
        oracle_step(rules[r], &o, state, gradients[0], NULL);
        assert_true(isnan(state->param[0]));
        assert_true(!isnan(state->param[1]));
        oracle_state_free(state);
    }
}

/* Under a constant gradient the variance is rounding noise of either sign; the root of a negative
 * one would be NaN. */
static void test_centered_rmsprop_stays_finite(void **unused)
{
    (void)unused;
    oracle_options o = oracle_default_options("rmsprop");
    o.centered = true;
    o.alpha = 0.3;
    size_t negative = 0;
    for (size_t k = 1; k < 50; k++) {
        const double constant = 1.0 / (double)k;
        oracle_state *state = oracle_state_create(1, param);
        for (size_t call = 0; call < 100; call++) {
            oracle_step("rmsprop", &o, state, &constant, NULL);
            if (state->square_avg[0] - state->grad_avg[0] * state->grad_avg[0] < 0)
                negative++;
            assert_true(isfinite(state->param[0]));
        }
        oracle_state_free(state);
    }
    assert_true(negative > 0);
}

/* An interpolation of weight 1 is its second value to the last bit. */
static void test_beta1_zero_keeps_the_gradient(void **unused)
{
    (void)unused;
    oracle_options o = oracle_default_options("adam");
    o.beta1 = 0;
    oracle_state *state = run("adam", &o, NULL);
    assert_memory_equal(state->exp_avg, gradients[2], sizeof gradients[2]);
    oracle_state_free(state);
}

static void test_adopt_clip(void **unused)
{
    (void)unused;
    oracle_options o = oracle_default_options("adopt");
    o.beta1 = 0;
    o.lr = 1;
    oracle_state *state = oracle_state_create(1, (const double[]){0});
    const double tiny = 1e-9, huge = 1;
    oracle_step("adopt", &o, state, &tiny, NULL);
    for (uint64_t completed = 1; completed <= 16; completed++) {
        state->param[0] = 0;
        state->exp_avg_sq[0] = 0;
        oracle_step("adopt", &o, state, &huge, NULL);
        assert_true(fabs(state->param[0] + pow((double)completed, 0.25)) < 1e-15);
    }
    o.clip_power = 0;
    o.clip_scale = 3;
    state->param[0] = 0;
    state->exp_avg_sq[0] = 0;
    oracle_step("adopt", &o, state, &huge, NULL);
    assert_true(state->param[0] == -3);
    oracle_state_free(state);
}

static void test_torch_sparse_adam_presence(void **unused)
{
    (void)unused;
    oracle_options o = oracle_default_options("sparse_adam");
    oracle_state *split = oracle_state_create(N, param);
    oracle_state *whole = oracle_state_create(N, param);
    oracle_torch_sparse_adam(&o, split, 3, (const size_t[]){2, 0, 2},
                             (const double[]){0.25, 0, 0.5});
    oracle_torch_sparse_adam(&o, whole, 2, (const size_t[]){0, 2}, (const double[]){0, 0.75});
    expect_same_bits(split, whole);
    assert_true(split->param[1] == param[1] && split->param[2] != param[2]);
    oracle_torch_sparse_adam(&o, split, 0, NULL, NULL);
    assert_int_equal(split->step, 2);
    assert_true(split->param[2] == whole->param[2]);
    oracle_torch_sparse_adam(&o, split, 1, (const size_t[]){2}, (const double[]){0});
    assert_true(split->param[2] < whole->param[2]);
    oracle_state_free(split);
    oracle_state_free(whole);
}

static void test_table_absent_and_skipped(void **unused)
{
    (void)unused;
    oracle_options o = oracle_default_options("sparse_adamw");
    oracle_table *table = oracle_table_create(2, 2, param);
    oracle_table_add(table, -1, gradients[0]);
    oracle_table_apply("sparse_adamw", &o, table);
    assert_memory_equal(table->param, param, sizeof param);
    assert_true(table->beta1_power == 0.9 && table->step == 1);
    oracle_table_add(table, 1, gradients[0]);
    o.found_inf = true;
    oracle_table_apply("sparse_adamw", &o, table);
    assert_true(table->step == 1 && !table->touched[1]);
    assert_memory_equal(table->param, param, sizeof param);
    oracle_table_free(table);
}

static void test_norms_and_clips(void **unused)
{
    (void)unused;
    const double values[4] = {-3, NAN, INFINITY, 0.5};
    const double *one = values;
    const size_t all = 4, first = 1, none = 0;
    assert_true(oracle_total_norm(2, 0, NULL, NULL) == 0);
    assert_true(oracle_total_norm(INFINITY, 1, &one, &none) == 0);
    assert_true(fabs(oracle_total_norm(0.5, 1, &one, &first) - 3) < 1e-14);
    assert_true(isnan(oracle_total_norm(2, 1, &one, &all)));
    assert_true(isnan(oracle_total_norm(INFINITY, 1, &one, &all)));
    assert_true(oracle_clip_coefficient(INFINITY, 1) == 0);
    assert_true(isnan(oracle_clip_coefficient(NAN, 1)));
    assert_true(oracle_clip_coefficient(1, 2) == 1);
    double clipped[4];
    memcpy(clipped, values, sizeof clipped);
    oracle_clip_value(4, clipped, 1);
    assert_true(clipped[0] == -1 && isnan(clipped[1]) && clipped[2] == 1 && clipped[3] == 0.5);
}

static void test_loss_scale_ends_with_float32(void **unused)
{
    (void)unused;
    oracle_scaler scaler = oracle_scaler_create();
    scaler.scale = 0x1p127;
    scaler.growth_interval = 1;
    oracle_scaler_update(&scaler, false);
    assert_true(scaler.scale == 0x1p127 && scaler.growth_tracker == 0);
    scaler.scale = 3;
    assert_true(oracle_scaler_inverse(&scaler) == (double)(1.0f / 3.0f));
}

static void test_muon(void **unused)
{
    (void)unused;
    oracle_muon_options o = oracle_muon_default_options();
    double matrix[4] = {1, 2, 3, 4}, buffer[4] = {0}, direction[4];
    const double zero[4] = {0};
    oracle_muon_step(&o, 2, 2, matrix, buffer, NULL, NULL);
    assert_true(matrix[3] == 4);
    oracle_muon_step(&o, 2, 2, matrix, buffer, zero, direction);
    assert_true(matrix[3] == 4 * (1 - 1e-3 * 0.1) && direction[0] == 0);
    o.found_inf = true;
    oracle_muon_step(&o, 2, 2, matrix, buffer, param, NULL);
    assert_true(buffer[0] == 0);
    /* The update of AdamW's size looks at the longer side, also of a wide matrix. */
    oracle_muon_options wide = oracle_muon_default_options();
    wide.adjust = ORACLE_MUON_MATCH_RMS_ADAMW;
    wide.lr = 1;
    wide.weight_decay = 0;
    double row[4] = {0}, row_buffer[4] = {0};
    oracle_muon_step(&wide, 1, 4, row, row_buffer, param, direction);
    assert_true(fabs(row[0] + 0.4 * direction[0]) < 1e-15 && direction[0] != 0);
    /* A tie goes to the even bfloat16; without iterations and below the floor nothing else acts. */
    wide.bfloat16 = true;
    wide.steps = 0;
    wide.eps = 1;
    const double ties[2] = {0.5 + 0x1p-9, 0.5 + 0x3p-9};
    oracle_muon_orthogonalize(&wide, 1, 2, ties, direction);
    assert_true(direction[0] == 0.5 && direction[1] == 0.5 + 0x1p-7);
    /* Polar Express reaches orthogonal rows; the list's triples are used in their order. */
    const double list[5][3] = {{8.28721201814563, -23.595886519098837, 17.300387312530933},
                               {4.107059111542203, -2.9478499167379106, .5448431082926601},
                               {3.9486908534822946, -2.908902115962949, .5518191394370137},
                               {3.3184196573706015, -2.488488024314874, .51004894012372},
                               {2.300652019954817, -1.6689039845747493, .4188073119525673}};
    o.coefficients = list;
    o.coefficient_count = 5;
    oracle_muon_orthogonalize(&o, 2, 2, param, direction);
    double dot = direction[0] * direction[2] + direction[1] * direction[3];
    double length = direction[0] * direction[0] + direction[1] * direction[1];
    assert_true(fabs(dot) < 1e-2 && fabs(length - 1) < 2e-2);
}

static void expect_ratio(double actual, double expected)
{
    assert_true(fabs(actual - expected) <= 1e-12 * fabs(expected) + 1e-18);
}

static void test_recurrences(void **unused)
{
    (void)unused;
    const double pi = acos(-1), b = 1e-3, eta = 1e-4;
    const double T = 7, start = 0.25, end = 0.9, power = 0.9;
    double linear = b * start, polynomial = b, cosine = b;
    for (uint64_t k = 1; k <= 40; k++) {
        double e = (double)k;
        if (e <= T)
            linear *= 1 + (end - start) / (T * start + (e - 1) * (end - start));
        if (e < T)
            polynomial *= pow((1 - e / T) / (1 - (e - 1) / T), power);
        if (e > T && fmod(e - 1 - T, 2 * T) == 0)
            cosine += (b - eta) * (1 - cos(pi / T)) / 2;
        else
            cosine = (1 + cos(pi * e / T)) / (1 + cos(pi * (e - 1) / T)) * (cosine - eta) + eta;
        expect_ratio(linear, oracle_linear_lr(b, start, end, 7, k));
        expect_ratio(cosine, oracle_cosine_annealing_lr(b, T, eta, k));
        if (e < T)
            expect_ratio(polynomial, oracle_polynomial_lr(b, 7, power, k));
    }
}

static void test_cycles(void **unused)
{
    (void)unused;
    oracle_one_cycle cycle = oracle_one_cycle_default(1e-3, 11);
    cycle.pct_start = 0.4;
    cycle.linear = true;
    assert_true(fabs(oracle_one_cycle_lr(&cycle, 0) - 4e-5) < 1e-18);
    assert_true(fabs(oracle_one_cycle_momentum(&cycle, 10) - 0.95) < 1e-15);
    assert_true(isnan(oracle_one_cycle_lr(&cycle, 11)));
    cycle.total_steps = 10;
    cycle.three_phase = true;
    expect_ratio(oracle_one_cycle_lr(&cycle, 1), 4e-5 + (1e-3 - 4e-5) / 3);
    expect_ratio(oracle_one_cycle_lr(&cycle, 3), 1e-3);
    expect_ratio(oracle_one_cycle_lr(&cycle, 6), 4e-5);
    expect_ratio(oracle_one_cycle_lr(&cycle, 9), 4e-9);
    expect_ratio(oracle_one_cycle_momentum(&cycle, 3), 0.85);
    expect_ratio(oracle_one_cycle_momentum(&cycle, 6), 0.95);
    oracle_cyclic cyclic = {ORACLE_EXP_RANGE, 1, 3, 2, 4, 0.5, 0.8, 0.9};
    expect_ratio(oracle_cyclic_lr(&cyclic, 2), 1 + 2 * 0.25);
    expect_ratio(oracle_cyclic_lr(&cyclic, 3), 1 + 2 * 0.75 * 0.125);
    expect_ratio(oracle_cyclic_momentum(&cyclic, 2), 0.9 - 0.1 * 0.25);
    expect_ratio(oracle_cosine_annealing_warm_restarts(1, 2, 3, 0, 3.5),
                 0.5 + cos(acos(-1) / 4) / 2);
    assert_true(oracle_cosine_with_warmup(4, 8, true, true, 0) == 0.25);
    assert_true(oracle_cosine_with_warmup(2, 6, false, false, 8) > 0.4);
}

static void test_sequence_and_plateau(void **unused)
{
    (void)unused;
    const uint64_t milestones[] = {3, 5};
    uint64_t local;
    assert_true(oracle_sequential_index(milestones, 2, 2, &local) == 0 && local == 2);
    assert_true(oracle_sequential_index(milestones, 2, 3, &local) == 1 && local == 0);
    assert_true(oracle_sequential_index(milestones, 2, 9, &local) == 2 && local == 4);
    oracle_plateau plateau = oracle_plateau_create(true);
    plateau.patience = 0;
    plateau.cooldown = 2;
    plateau.min_lr = 0.5;
    plateau.factor = 0.25;
    const double expected[] = {8, 2, 2, 2, 0.5, 0.5, 0.5, 0.5};
    double lr = 8;
    for (size_t k = 0; k < 8; k++) {
        lr = oracle_plateau_step(&plateau, lr, 1);
        assert_true(lr == expected[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_by_name),
        cmocka_unit_test(test_mask_chooses_between_two_runs),
        cmocka_unit_test(test_rate_zero_freezes),
        cmocka_unit_test(test_calls_that_change_nothing),
        cmocka_unit_test(test_gradient_factors),
        cmocka_unit_test(test_sgd_momentum_switched_on_late),
        cmocka_unit_test(test_nan_is_kept),
        cmocka_unit_test(test_centered_rmsprop_stays_finite),
        cmocka_unit_test(test_beta1_zero_keeps_the_gradient),
        cmocka_unit_test(test_adopt_clip),
        cmocka_unit_test(test_torch_sparse_adam_presence),
        cmocka_unit_test(test_table_absent_and_skipped),
        cmocka_unit_test(test_norms_and_clips),
        cmocka_unit_test(test_loss_scale_ends_with_float32),
        cmocka_unit_test(test_muon),
        cmocka_unit_test(test_recurrences),
        cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_sequence_and_plateau),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
