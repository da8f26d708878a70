/* SPDX-License-Identifier: Apache-2.0 */
/* Every rule that the oracle knows, under every combination of its options, against the oracle:
 * f64 runs that are left alone, and f32 steps that each start from the library's own values. Calls
 * without a gradient, multipliers and both clips are mixed in. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/oracle.h"
#include "property/run.h"

#define N 24
#define STEPS 7
#define MOST_SLOTS 4

struct match {
    const struct run *run;
    const char *rule;
    bool wide; /* f64 */
    oracle_options options;
    oracle_state *oracle;
    hone_optimizer *optimizer;
    double grad[N]; /* as stored */
    double tolerance[1 + MOST_SLOTS][N];
    struct random random;
    int64_t shape[1];
    hone_tensor param_view, grad_view;
};

/* ---- options -------------------------------------------------------------------------------- */

static void set_option(oracle_options *options, const struct run *run, int index)
{
    const hone_hyper *const hyper = hone_rule_hyper(run->rule, index);
    if (hyper->kind != HONE_CURVE) {
        assert_true(oracle_set_option(options, hyper->name, run->value[index]));
        return;
    }
    assert_string_equal(hyper->name, "clip_lambda");
    options->clip_none = isinf(run->value[index]);
    options->clip_scale = run->value[index];
    options->clip_power = run->power[index];
}

static double hyper(const struct run *run, const char *name, double otherwise)
{
    const int index = hone_rule_hyper_find(run->rule, name);
    return index < 0 ? otherwise : run->value[index];
}

/* ---- gradients ------------------------------------------------------------------------------ */

/* A learning rate of 0 leaves a parameter's bits alone even where the direction is NaN: what the
 * oracle does for its two rates. The decay of adamw_tf goes on without a learning rate; there the
 * direction has to stay finite instead. */
static bool decays_without_rate(const struct match *m)
{
    return strcmp(m->rule, "adamw_tf") == 0;
}

static void freeze_at_zero(struct match *m)
{
    if (m->options.lr != 0 || decays_without_rate(m))
        return;
    oracle_set_option(&m->options, "masked_lr", 0);
    oracle_set_option(&m->options, "unmasked_lr", 0);
}

static bool may_be_special(const struct match *m)
{
    return m->options.lr != 0 || !decays_without_rate(m);
}

/* Squares of the tiny ones vanish, in f32 earlier than in the oracle's f64: without eps, 0 / 0 and
 * tiny / 0 are then told apart by the order of a product, which no definition gives, and the root
 * of a negative mean square (alpha above 1) is NaN or 0. */
static double rare(struct match *m)
{
    static const double always[] = {0, -0.0, INFINITY, (double)-INFINITY, NAN, 1e-6, -1e6};
    static const double tiny[] = {1e-40, -1e-44, 3e-39};
    static const double wide[] = {1e200, 1e308, -1e-200, 5e-324, -1e-310};
    const bool fair = hyper(m->run, "eps", 1) != 0 && hyper(m->run, "alpha", 0) <= 1;
    const uint64_t kind = random_below(&m->random, 3);
    if (m->wide && kind == 0)
        return wide[random_below(&m->random, fair ? 5 : 2)];
    if (kind == 1 && fair)
        return tiny[random_below(&m->random, 3)];
    return always[random_below(&m->random, 7)];
}

static void next_gradient(struct match *m, bool special)
{
    for (size_t i = 0; i < N; i++) {
        const bool odd = special && may_be_special(m) && random_below(&m->random, 12) == 0;
        const double plain = random_signed(&m->random) * pow(10, random_signed(&m->random));
        m->grad[i] = number_round(m->grad_view.dtype, odd ? rare(m) : plain);
        number_write(m->grad_view.dtype, m->grad_view.data, i, m->grad[i]);
    }
}

/* ---- the oracle's side ---------------------------------------------------------------------- */

/* Both clips, as the step does them: values first, then the norm of what is left. */
static void clipped(const struct match *m, const double *grad, oracle_options *options, double *to)
{
    memcpy(to, grad, sizeof(double) * N);
    if (isfinite(m->run->clip_value))
        oracle_clip_value(N, to, m->run->clip_value);
    if (!isfinite(m->run->clip_norm))
        return;
    const double *const arrays[] = {to};
    const size_t sizes[] = {N};
    const double total = oracle_total_norm(m->run->clip_order, 1, arrays, sizes);
    options->clip_coef = oracle_clip_coefficient(total, m->run->clip_norm);
}

static void step_oracle(const struct match *m, oracle_state *state, const double *grad)
{
    oracle_options options = m->options;
    double given[N];
    clipped(m, grad, &options, given);
    oracle_step(m->rule, &options, state, given, NULL);
}

static const char *array_name(const struct match *m, int k)
{
    return k == 0 ? "param" : hone_rule_slot(m->run->rule, k - 1)->name;
}

static int array_count(const struct match *m)
{
    return 1 + hone_rule_slot_count(m->run->rule);
}

static oracle_state *copy_state(const struct match *m, double relative)
{
    struct random random = {m->random.state ^ 77};
    oracle_state *const copy = oracle_state_create(N, m->oracle->param);
    copy->step = m->oracle->step;
    copy->has_momentum_buffer = m->oracle->has_momentum_buffer;
    for (int k = 0; k < array_count(m); k++) {
        const double *const from = oracle_slot(m->oracle, array_name(m, k));
        double *const to = oracle_slot(copy, array_name(m, k));
        for (size_t i = 0; i < N; i++)
            to[i] = from[i] * (1 + relative * random_signed(&random));
    }
    return copy;
}

/* What an f32 step may be off by: how far the oracle moves when everything it reads is disturbed by
 * a few units in f32's last place, and a few units of the result itself. */
static void find_tolerance(struct match *m)
{
    oracle_state *const exact = copy_state(m, 0);
    step_oracle(m, exact, m->grad);
    memset(m->tolerance, 0, sizeof m->tolerance);
    for (int trial = 0; trial < 3; trial++) {
        random_bits(&m->random);
        oracle_state *const moved = copy_state(m, 1e-6);
        double grad[N];
        for (size_t i = 0; i < N; i++)
            grad[i] = m->grad[i] * (1 + 1e-6 * random_signed(&m->random));
        step_oracle(m, moved, grad);
        for (int k = 0; k < array_count(m); k++)
            for (size_t i = 0; i < N; i++) {
                const double a = oracle_slot(exact, array_name(m, k))[i];
                const double b = oracle_slot(moved, array_name(m, k))[i];
                const double off = 4 * fabs(a - b) + 2e-6 * fabs(a) + 1e-37;
                const bool lost = fabs(m->oracle->param[i]) > 1e15; /* its square may overflow */
                m->tolerance[k][i] = lost ? (double)INFINITY : fmax(m->tolerance[k][i], off);
            }
        oracle_state_free(moved);
    }
    oracle_state_free(exact);
}

/* ---- comparing ------------------------------------------------------------------------------ */

static bool agrees(double found, double wanted, double tolerance)
{
    if (isinf(tolerance))
        return true;
    if (isnan(found) || isnan(wanted))
        return isnan(found) && isnan(wanted);
    if (isinf(found) || isinf(wanted))
        return found == wanted || tolerance > fabs(wanted) || tolerance > 1e30;
    return fabs(found - wanted) <= tolerance;
}

static hone_tensor array_of(const struct match *m, int k)
{
    hone_tensor view = m->param_view;
    if (k > 0)
        OK(hone_optimizer_state(m->optimizer, 0, array_name(m, k), &view, &problem));
    return view;
}

static void compare(struct match *m, int step)
{
    for (int k = 0; k < array_count(m); k++) {
        const hone_tensor view = array_of(m, k);
        double *const wanted = oracle_slot(m->oracle, array_name(m, k));
        if (view.data == NULL)
            continue;
        for (size_t i = 0; i < N; i++) {
            const double found = number_read(view.dtype, view.data, i);
            const double tolerance = m->wide ? 1e-11 * fabs(wanted[i]) + 1e-13 : m->tolerance[k][i];
            if (!agrees(found, wanted[i], tolerance))
                fail_msg("%s step %d: %s[%zu] is %.17g, the oracle has %.17g (gradient %g)",
                         run_text(m->run), step, array_name(m, k), i, found, wanted[i], m->grad[i]);
            if (!m->wide)
                wanted[i] = found;
        }
    }
    uint64_t count;
    OK(hone_optimizer_step_count(m->optimizer, 0, &count, &problem));
    assert_int_equal(count, m->oracle->step);
}

/* ---- one combination ------------------------------------------------------------------------ */

static void set_up(struct match *m, void *param, void *grad)
{
    const struct run *const run = m->run;
    m->options = oracle_default_options(m->rule);
    for (int i = 0; i < hone_rule_hyper_count(run->rule); i++)
        set_option(&m->options, run, i);
    m->options.lr *= run->multiplier;
    freeze_at_zero(m);
    m->optimizer = test_optimizer(run->context, m->rule);
    assert_true(run_apply_hypers(run, m->optimizer));
    m->shape[0] = N;
    m->param_view = hone_tensor_view(param, run->param, 1, m->shape);
    m->grad_view = hone_tensor_view(grad, run->param, 1, m->shape);
    double start[N];
    for (size_t i = 0; i < N; i++) {
        start[i] = number_round(run->param, 2 * random_signed(&m->random));
        number_write(run->param, param, i, start[i]);
    }
    m->oracle = oracle_state_create(N, start);
    OK(hone_optimizer_add(m->optimizer, "p", &m->param_view, 0, NULL, &problem));
    OK(hone_optimizer_set_lr_multiplier(m->optimizer, 0, run->multiplier, &problem));
    OK(hone_optimizer_clip_norm(m->optimizer, run->clip_norm, run->clip_order,
                                HONE_NONFINITE_PROPAGATE, &problem));
    OK(hone_optimizer_clip_value(m->optimizer, run->clip_value, &problem));
}

static void match_run(const struct run *run, uint64_t seed, bool special)
{
    double param[N], grad[N];
    struct match m = {.run = run,
                      .rule = hone_rule_name(run->rule),
                      .wide = run->param == HONE_F64,
                      .random = {seed}};
    set_up(&m, param, grad);
    for (int step = 0; step < STEPS; step++) {
        next_gradient(&m, special);
        const bool missing = (run->missing >> step & 1) != 0;
        OK(hone_optimizer_set_grad(m.optimizer, 0, missing ? NULL : &m.grad_view, &problem));
        if (!missing && !m.wide)
            find_tolerance(&m);
        if (!missing)
            step_oracle(&m, m.oracle, m.grad);
        OK(hone_optimizer_step(m.optimizer, NULL, &problem));
        if (!missing)
            compare(&m, step);
    }
    hone_optimizer_free(m.optimizer);
    oracle_state_free(m.oracle);
}

struct progress {
    const hone_context *context;
    struct random random;
    size_t runs;
};

static void choose_surroundings(struct run *run, struct random *random)
{
    static const double multipliers[] = {1, 1, 0.5, 3, 0};
    static const double orders[] = {1, 2, 3, INFINITY};
    run->multiplier = multipliers[random_below(random, 5)];
    run->missing = random_below(random, 2) == 0 ? 0 : (uint32_t)random_below(random, 1 << STEPS);
    run->clip_order = orders[random_below(random, 4)];
    run->clip_norm = random_below(random, 3) == 0 ? 0.5 : (double)INFINITY;
    run->clip_value = random_below(random, 3) == 0 ? 0.75 : (double)INFINITY;
}

static void match_combination(const struct run *given, void *user)
{
    struct progress *const progress = user;
    if (!oracle_knows_rule(hone_rule_name(given->rule)))
        return;
    for (int i = 0; i < 4; i++) {
        struct run run = *given;
        run.context = progress->context;
        run.param = run.grad = i < 2 ? HONE_F64 : HONE_F32;
        choose_surroundings(&run, &progress->random);
        match_run(&run, random_bits(&progress->random), i % 2 == 1);
        progress->runs++;
    }
}

static void test_every_combination(void **state)
{
    (void)state;
    struct progress progress = {.context = test_context(1, NULL), .random = {1}};
    run_each_combination(match_combination, 23, &progress);
    print_message("%zu runs\n", progress.runs);
    assert_true(progress.runs >= (test_is_quick() ? 400u : 10000u));
    hone_context_free((hone_context *)(uintptr_t)progress.context);
}

/* ---- the two forms of an interpolation ------------------------------------------------------- */

/* RMSprop's mean of gradients is an interpolation of weight 1 - alpha, below -1/2 for alpha above
 * 1.5. Which of two forms computes it shows in the last bit: the oracle's has to come out. */
static void match_mean(const hone_context *context, double alpha)
{
    double param[N] = {0}, grad[N];
    int64_t shape[] = {N};
    const hone_tensor view = hone_tensor_view(param, HONE_F64, 1, shape);
    const hone_tensor gradient = hone_tensor_view(grad, HONE_F64, 1, shape);
    hone_optimizer *const optimizer = test_optimizer(context, "rmsprop");
    OK(hone_optimizer_set(optimizer, 0, "alpha", alpha, &problem));
    OK(hone_optimizer_set(optimizer, 0, "centered", 1, &problem));
    OK(hone_optimizer_add(optimizer, "p", &view, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &gradient, &problem));
    oracle_options options = oracle_default_options("rmsprop");
    options.alpha = alpha;
    options.centered = true;
    oracle_state *const oracle = oracle_state_create(N, param);
    struct random random = {9};
    for (int step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < N; i++)
            grad[i] = random_signed(&random);
        OK(hone_optimizer_step(optimizer, NULL, &problem));
        oracle_step("rmsprop", &options, oracle, grad, NULL);
        hone_tensor mean;
        OK(hone_optimizer_state(optimizer, 0, "grad_avg", &mean, &problem));
        for (size_t i = 0; i < N; i++) {
            const double found = ((const double *)mean.data)[i];
            const double wanted = oracle_slot(oracle, "grad_avg")[i];
            if (found != wanted)
                fail_msg("alpha %g, step %d: grad_avg[%zu] is %.17g, the oracle has %.17g", alpha,
                         step, i, found, wanted);
        }
    }
    hone_optimizer_free(optimizer);
    oracle_state_free(oracle);
}

static void test_interpolation_forms(void **state)
{
    (void)state;
    static const double alphas[] = {0, 0.4, 0.5, 0.6, 1, 1.4, 1.5, 1.6, 1.75, 3};
    hone_context *const context = test_context(1, NULL);
    for (size_t i = 0; i < sizeof alphas / sizeof alphas[0]; i++)
        match_mean(context, alphas[i]);
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_interpolation_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
