/* SPDX-License-Identifier: Apache-2.0 */
/* The switches of tables and the row-wise presets, in float64 against the formulas written out. */
#include "support/fixtures.h"
#include "table_subject.h"

#include <math.h>

#define WIDTH 3
#define LR 0.01
#define WD 0.1
#define B1 0.9
#define B2 0.99
#define EPS 1e-8

static hone_error error;

static hone_table *make(const char *rule, hone_bias bias, hone_decay decay)
{
    hone_table_options o = plain_options(WIDTH, rule);
    o.dtype = HONE_F64;
    o.bias = bias;
    o.decay = decay;
    o.initial = HONE_INITIAL_CONSTANT;
    o.initial_a = 0.5;
    hone_table *const table = make_table(context, "t", &o);
    require(hone_table_set(table, "lr", LR, &error), &error);
    require(hone_table_set(table, "weight_decay", WD, &error), &error);
    hone_table_set(table, "beta1", B1, NULL);
    hone_table_set(table, "beta2", B2, NULL);
    return table;
}

static void apply(hone_table *table, int64_t key, const double *grad)
{
    int64_t row;
    const hone_tensor view = ROWS(grad, HONE_F64, 1, WIDTH);
    require(hone_table_insert(table, &key, 1, &row, NULL, &error), &error);
    require(hone_table_apply_gradients(table, &key, 1, &view, NULL, &error), &error);
}

static void read_row(hone_table *table, int64_t key, const char *slot, double *values,
                     int64_t width)
{
    int64_t row;
    const hone_tensor view = ROWS(values, HONE_F64, 1, width);
    require(hone_table_find(table, &key, 1, &row, NULL, &error), &error);
    require(hone_table_gather(table, &row, 1, slot, &view, &error), &error);
}

static void near(double found, double expected)
{
    if (!(fabs(found - expected) <= 1e-13 * (1 + fabs(expected))))
        fail_msg("%.17g, expected %.17g", found, expected);
}

static const double grad[WIDTH] = {0.1, -0.2, 0.3};

static void test_decay(void **state)
{
    (void)state;
    const struct {
        hone_decay decay;
        double keep, l2;
    } cases[] = {{HONE_DECAY_NONE, 1, 0},
                 {HONE_DECAY_L2, 1, WD},
                 {HONE_DECAY_RATE, 1 - LR * WD, 0},
                 {HONE_DECAY_RAW, 1 - WD, 0},
                 {HONE_DECAY_DEFAULT, 1, WD}}; /* sgd's own is L2 */
    for (size_t i = 0; i < COUNT(cases); i++) {
        hone_table *const table = make("sgd", HONE_BIAS_DEFAULT, cases[i].decay);
        double found[WIDTH];
        apply(table, 1, grad);
        read_row(table, 1, NULL, found, WIDTH);
        for (int d = 0; d < WIDTH; d++)
            near(found[d], 0.5 * cases[i].keep - LR * (grad[d] + cases[i].l2 * 0.5));
        hone_table_free(table);
    }
}

/* Rows that sit out steps end where a dense parameter with zero gradients would. */
static void test_catch_up(void **state)
{
    (void)state;
    hone_table *const table = make("sgd", HONE_BIAS_DEFAULT, HONE_DECAY_CATCH_UP);
    double dense[2] = {0.5, 0.5}, found[WIDTH];
    const int turns[] = {0, 1, 1, 1, 0, 1};
    apply(table, 0, grad);
    dense[0] = dense[0] * (1 - LR * WD) - LR * grad[0];
    int64_t row;
    require(hone_table_insert(table, (const int64_t[]){1}, 1, &row, NULL, &error), &error);
    for (size_t i = 1; i < COUNT(turns); i++) {
        apply(table, turns[i], grad);
        for (int k = 0; k < 2; k++)
            dense[k] = dense[k] * (1 - LR * WD) - (k == turns[i] ? LR * grad[0] : 0);
    }
    /* looking a row up in training catches it up too, before its values are copied */
    hone_lookup *lookup = NULL;
    const int64_t keys[] = {0, 1, 0};
    double copied[3 * WIDTH];
    const hone_tensor out = ROWS(copied, HONE_F64, 3, WIDTH);
    require(hone_lookup_create(&lookup, table, &error), &error);
    require(hone_table_lookup(table, lookup, keys, 3, HONE_LOOKUP_TRAIN, &out, &error), &error);
    for (int k = 0; k < 2; k++) {
        read_row(table, k, NULL, found, WIDTH);
        near(found[0], dense[k]);
        near(copied[k * WIDTH], dense[k]);
    }
    near(copied[2 * WIDTH], dense[0]);
    hone_lookup_free(lookup);
    hone_table_free(table);
}

/* The first step of a row that appears at the table's fourth: whose count corrects it? */
static void test_bias_correction(void **state)
{
    (void)state;
    const hone_bias biases[] = {HONE_BIAS_TABLE, HONE_BIAS_GLOBAL, HONE_BIAS_ROW,
                                HONE_BIAS_DEFAULT};
    const double steps[] = {4, 100, 1, 1};
    for (size_t i = 0; i < COUNT(biases); i++) {
        hone_table *const table = make("adamw", biases[i], HONE_DECAY_NONE);
        double found[WIDTH];
        for (int k = 0; k < 3; k++)
            apply(table, 7, grad);
        require(hone_table_set_step(table, 100, &error), &error);
        apply(table, 8, grad);
        read_row(table, 8, NULL, found, WIDTH);
        for (int d = 0; d < WIDTH; d++) {
            const double m = (1 - B1) * grad[d], v = (1 - B2) * grad[d] * grad[d];
            const double bias1 = 1 - pow(B1, steps[i]), bias2 = 1 - pow(B2, steps[i]);
            near(found[d], 0.5 - LR / bias1 * m / (sqrt(v) / sqrt(bias2) + EPS));
        }
        hone_table_free(table);
    }
}

static double mean_square(const double *g)
{
    return (g[0] * g[0] + g[1] * g[1] + g[2] * g[2]) / WIDTH;
}

static void test_rowwise_adagrad(void **state)
{
    (void)state;
    hone_table *const table = make("rowwise_adagrad", HONE_BIAS_DEFAULT, HONE_DECAY_DEFAULT);
    double w[WIDTH] = {0.5, 0.5, 0.5}, sum = 0, found[WIDTH];
    for (int step = 1; step <= 4; step++) {
        const double g[WIDTH] = {0.1 * step, -0.2, 0.3 / step};
        apply(table, 1, g);
        sum += mean_square(g);
        for (int d = 0; d < WIDTH; d++)
            w[d] = w[d] * (1 - LR * WD) - LR / (sqrt(sum) + EPS) * g[d];
        read_row(table, 1, NULL, found, WIDTH);
        for (int d = 0; d < WIDTH; d++)
            near(found[d], w[d]);
        read_row(table, 1, "sum", found, 1);
        near(found[0], sum);
    }
    hone_table_free(table);
}

static void test_rowwise_adam(void **state)
{
    (void)state;
    hone_table *const table = make("rowwise_adam", HONE_BIAS_DEFAULT, HONE_DECAY_DEFAULT);
    double w[WIDTH] = {0.5, 0.5, 0.5}, m[WIDTH] = {0}, v = 0, found[WIDTH];
    for (int step = 1; step <= 4; step++) {
        const double g[WIDTH] = {0.1 * step, -0.2, 0.3 / step};
        apply(table, 1, g);
        v = B2 * v + (1 - B2) * mean_square(g);
        const double root = sqrt(v / (1 - pow(B2, step))) + EPS;
        for (int d = 0; d < WIDTH; d++) {
            m[d] = B1 * m[d] + (1 - B1) * g[d];
            w[d] = w[d] * (1 - LR * WD) - LR / (1 - pow(B1, step)) / root * m[d];
        }
        read_row(table, 1, NULL, found, WIDTH);
        for (int d = 0; d < WIDTH; d++)
            near(found[d], w[d]);
        read_row(table, 1, "exp_avg", found, WIDTH);
        for (int d = 0; d < WIDTH; d++)
            near(found[d], m[d]);
        read_row(table, 1, "exp_avg_sq", found, 1);
        near(found[0], v);
    }
    hone_table_free(table);
}

/* L2 decay is a part of the gradient, of its mean square too. */
static void test_rowwise_l2(void **state)
{
    (void)state;
    const char *const rules[] = {"rowwise_adagrad", "rowwise_adam"};
    for (int adam = 0; adam < 2; adam++) {
        hone_table *const table = make(rules[adam], HONE_BIAS_DEFAULT, HONE_DECAY_L2);
        require(hone_table_set(table, "maximize", 1, &error), &error);
        double w[WIDTH] = {0.5, 0.5, 0.5}, m[WIDTH] = {0}, v = 0, found[WIDTH];
        for (int step = 1; step <= 3; step++) {
            const double given[WIDTH] = {0.1 * step, -0.2, 0.3 / step};
            double g[WIDTH];
            for (int d = 0; d < WIDTH; d++)
                g[d] = WD * w[d] - given[d];
            apply(table, 1, given);
            v = adam == 1 ? B2 * v + (1 - B2) * mean_square(g) : v + mean_square(g);
            for (int d = 0; d < WIDTH; d++) {
                m[d] = B1 * m[d] + (1 - B1) * g[d];
                w[d] -= adam == 1 ? LR / (1 - pow(B1, step)) * m[d] /
                                        (sqrt(v / (1 - pow(B2, step))) + EPS)
                                  : LR / (sqrt(v) + EPS) * g[d];
            }
            read_row(table, 1, NULL, found, WIDTH);
            for (int d = 0; d < WIDTH; d++)
                near(found[d], w[d]);
        }
        hone_table_free(table);
    }
}

/* ---- 16 bits --------------------------------------------------------------------------------- */

enum { HALF_ROWS = 4000 };

/* Rows of one element, 1 at first; they and their states are bf16. */
static hone_table *half_table(const char *rule, bool stochastic, hone_decay decay)
{
    static int64_t keys[HALF_ROWS], rows[HALF_ROWS];
    hone_table_options o = plain_options(1, rule);
    o.dtype = o.state_dtype = HONE_BF16;
    o.stochastic = stochastic;
    o.decay = decay;
    o.initial = HONE_INITIAL_CONSTANT;
    o.initial_a = 1;
    hone_table *const table = make_table(context, "t", &o);
    for (int i = 0; i < HALF_ROWS; i++)
        keys[i] = i;
    require(hone_table_insert(table, keys, HALF_ROWS, rows, NULL, &error), &error);
    return table;
}

/* So many gradients of 1 for each row. */
static void step_half(hone_table *table, int steps)
{
    static int64_t keys[HALF_ROWS];
    static float grads[HALF_ROWS];
    for (int i = 0; i < HALF_ROWS; i++) {
        keys[i] = i;
        grads[i] = 1;
    }
    const hone_tensor view = ROWS(grads, HONE_F32, HALF_ROWS, 1);
    for (int step = 0; step < steps; step++)
        require(hone_table_apply_gradients(table, keys, HALF_ROWS, &view, NULL, &error), &error);
}

static void mean_is(const hone_table *table, const char *slot, double expected, double tolerance)
{
    static int64_t rows[HALF_ROWS];
    static float out[HALF_ROWS];
    double mean = 0;
    for (int i = 0; i < HALF_ROWS; i++)
        rows[i] = i;
    const hone_tensor now = ROWS(out, HONE_F32, HALF_ROWS, 1);
    require(hone_table_gather(table, rows, HALF_ROWS, slot, &now, &error), &error);
    for (int i = 0; i < HALF_ROWS; i++)
        mean += (double)out[i];
    mean /= HALF_ROWS;
    if (!(fabs(mean - expected) <= tolerance))
        fail_msg("the mean of %s is %.9g, expected %.9g", slot == NULL ? "rows" : slot, mean,
                 expected);
}

/* Stochastic rounding moves bf16 rows by steps that rounding to nearest would lose, on average. */
static void test_stochastic_rows(void **state)
{
    (void)state;
    for (int stochastic = 0; stochastic < 2; stochastic++) {
        hone_table *const table = half_table("sgd", stochastic == 1, HONE_DECAY_DEFAULT);
        require(hone_table_set(table, "lr", 1e-4, &error), &error);
        step_half(table, 20);
        mean_is(table, NULL, stochastic ? 1 - 20 * 1e-4 : 1, stochastic ? 3e-4 : 0);
        hone_table_free(table);
    }
}

/* And their states: a second moment of 1/2 moves by 0.0005, an eighth of the space
 * between two values. */
static void test_stochastic_states(void **state)
{
    (void)state;
    static int64_t rows[HALF_ROWS];
    static float halves[HALF_ROWS];
    for (int i = 0; i < HALF_ROWS; i++) {
        rows[i] = i;
        halves[i] = 0.5f;
    }
    const hone_tensor view = ROWS(halves, HONE_F32, HALF_ROWS, 1);
    for (int stochastic = 0; stochastic < 2; stochastic++) {
        hone_table *const table = half_table("sparse_adam", stochastic == 1, HONE_DECAY_DEFAULT);
        require(hone_table_scatter(table, rows, HALF_ROWS, "exp_avg_sq", &view, &error), &error);
        step_half(table, 20);
        mean_is(table, "exp_avg_sq", stochastic ? 1 - 0.5 * pow(0.999, 20) : 0.5,
                stochastic ? 1e-3 : 0);
        hone_table_free(table);
    }
}

/* And what a lookup makes up for: five steps' decay of 0.0001, lost otherwise. */
static void test_stochastic_catch_up(void **state)
{
    (void)state;
    static int64_t keys[HALF_ROWS];
    for (int i = 0; i < HALF_ROWS; i++)
        keys[i] = i;
    const hone_tensor nothing = ROWS(NULL, HONE_F32, 0, 1);
    for (int stochastic = 0; stochastic < 2; stochastic++) {
        hone_table *const table = half_table("sgd", stochastic == 1, HONE_DECAY_CATCH_UP);
        hone_lookup *lookup = NULL;
        require(hone_lookup_create(&lookup, table, &error), &error);
        require(hone_table_set(table, "lr", 0.01, &error), &error);
        require(hone_table_set(table, "weight_decay", 0.01, &error), &error);
        for (int step = 0; step < 5; step++)
            require(hone_table_apply_gradients(table, NULL, 0, &nothing, NULL, &error), &error);
        require(hone_table_lookup(table, lookup, keys, HALF_ROWS, HONE_LOOKUP_TRAIN, NULL, &error),
                &error);
        mean_is(table, NULL, stochastic ? pow(1 - 1e-4, 5) : 1, stochastic ? 1e-4 : 0);
        hone_lookup_free(lookup);
        hone_table_free(table);
    }
}

/* Rule and values from a recipe's group that takes the table's name. */
static void test_spec(void **state)
{
    (void)state;
    const char json[] = "{\"optimizer_type\":\"adam\",\"groups\":[{\"match\":\"t*\","
                        "\"optimizer_type\":\"sgd\",\"learning_rate\":0.25}]}";
    hone_spec *spec = NULL;
    require(hone_spec_parse(&spec, context, json, sizeof json - 1, &error), &error);
    hone_table_options o = plain_options(WIDTH, NULL);
    o.spec = spec;
    o.dtype = HONE_F64;
    o.initial = HONE_INITIAL_CONSTANT;
    hone_table *const table = make_table(context, "t", &o);
    hone_spec_free(spec);
    double found[WIDTH];
    apply(table, 1, grad);
    read_row(table, 1, NULL, found, WIDTH);
    for (int d = 0; d < WIDTH; d++)
        near(found[d], -0.25 * grad[d]);
    hone_table_free(table);
}

/* A row-wise preset has one second moment and keeps no greatest one. */
static void test_no_rowwise_amsgrad(void **state)
{
    (void)state;
    const char *const rules[] = {"rowwise_adagrad", "rowwise_adam"};
    hone_spec *spec = NULL;
    require(hone_spec_create(&spec, context, "adamw", &error), &error);
    require(hone_spec_set(spec, 0, "amsgrad", 1, &error), &error);
    for (int adam = 0; adam < 2; adam++) {
        hone_table *table = make(rules[adam], HONE_BIAS_DEFAULT, HONE_DECAY_DEFAULT);
        require(hone_table_set(table, "amsgrad", 0, &error), &error);
        assert_int_equal(hone_table_set(table, "amsgrad", 1, &error), HONE_ERROR_UNSUPPORTED);
        assert_non_null(strstr(error.message, "amsgrad is 1; \"rowwise_ada"));
        double value = 2;
        require(hone_table_get(table, "amsgrad", &value, &error), &error);
        assert_true(value == 0);
        hone_table_free(table);
        hone_table_options o = plain_options(WIDTH, rules[adam]);
        o.spec = spec;
        assert_int_equal(hone_table_create(&table, context, "t", &o, &error),
                         HONE_ERROR_UNSUPPORTED);
    }
    hone_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decay),
        cmocka_unit_test(test_catch_up),
        cmocka_unit_test(test_bias_correction),
        cmocka_unit_test(test_rowwise_adagrad),
        cmocka_unit_test(test_rowwise_adam),
        cmocka_unit_test(test_rowwise_l2),
        cmocka_unit_test(test_stochastic_rows),
        cmocka_unit_test(test_stochastic_states),
        cmocka_unit_test(test_stochastic_catch_up),
        cmocka_unit_test(test_spec),
        cmocka_unit_test(test_no_rowwise_amsgrad),
    };
    return cmocka_run_group_tests(tests, open_single_context, close_context);
}
