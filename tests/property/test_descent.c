/* SPDX-License-Identifier: Apache-2.0 */
/* Every rule goes downhill: on a bowl whose axes differ by a factor of a hundred, and along
 * Rosenbrock's bent valley; uphill with maximize. The learning rate is the best of a few. */
#include <math.h>
#include <string.h>

#include "property/run.h"

#define MOST 8

struct landscape {
    const char *name;
    int64_t n;
    double start[MOST];
    double (*value)(const double *x, double *slope); /* writes the gradient, returns the height */
    int steps;
    double goal; /* fraction of the first height that must not be left */
};

static double bowl(const double *x, double *slope)
{
    double height = 0;
    for (int i = 0; i < MOST; i++) {
        const double curve = pow(100, i / (MOST - 1.0)) / 10;
        height += curve * x[i] * x[i] / 2;
        slope[i] = curve * x[i];
    }
    return height;
}

static double rosenbrock(const double *x, double *slope)
{
    const double across = x[1] - x[0] * x[0], along = 1 - x[0];
    slope[0] = -400 * x[0] * across - 2 * along;
    slope[1] = 200 * across;
    return 100 * across * across + along * along;
}

static const struct landscape landscapes[] = {
    {"bowl", MOST, {1, -1, 0.5, 2, -0.7, 1.5, -2, 1}, bowl, 1500, 1e-2},
    {"rosenbrock", 2, {-1.2, 1}, rosenbrock, 3000, 0.1},
};

/* The fraction of the first height that is left. */
static double descend(const hone_context *context, const struct run *run,
                      const struct landscape *land, bool uphill)
{
    hone_optimizer *const optimizer = test_optimizer(context, hone_rule_name(run->rule));
    assert_true(run_apply_hypers(run, optimizer));
    double x[MOST], slope[MOST];
    memcpy(x, land->start, sizeof x);
    const hone_tensor point = hone_tensor_view(x, HONE_F64, 1, &land->n);
    const hone_tensor gradient = hone_tensor_view(slope, HONE_F64, 1, &land->n);
    OK(hone_optimizer_add(optimizer, "x", &point, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &gradient, &problem));
    const double first = land->value(x, slope);
    for (int step = 0; step < land->steps; step++) {
        land->value(x, slope);
        for (int i = 0; i < MOST && uphill; i++)
            slope[i] = -slope[i];
        OK(hone_optimizer_step(optimizer, NULL, &problem));
    }
    hone_optimizer_free(optimizer);
    const double last = land->value(x, slope);
    return isfinite(last) ? last / first : (double)INFINITY;
}

static double best_of_rates(const hone_context *context, struct run run,
                            const struct landscape *land, bool uphill)
{
    const double rates[] = {1e-1, 1e-2, 1e-3};
    double best = (double)INFINITY;
    for (int i = 0; i < 3; i++) {
        assert_true(run_set(&run, "lr", rates[i]));
        best = fmin(best, descend(context, &run, land, uphill));
    }
    return best;
}

static void goes_down(const struct run *given, void *user)
{
    const hone_context *const context = user;
    struct run run = *given;
    run_set(&run, "weight_decay", 0); /* it pulls away from Rosenbrock's minimum */
    const int maximize = hone_rule_hyper_find(run.rule, "maximize");
    for (size_t i = 0; i < sizeof landscapes / sizeof landscapes[0]; i++) {
        const bool uphill = maximize >= 0 && run.value[maximize] != 0;
        const double left = best_of_rates(context, run, &landscapes[i], uphill);
        if (!(left <= landscapes[i].goal))
            fail_msg("%s: %g of the %s is left", run_text(&run), left, landscapes[i].name);
    }
}

static void test_descent(void **state)
{
    (void)state;
    hone_context *const context = test_context(1, NULL);
    run_each_variant(goes_down, context);
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_descent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
