/* SPDX-License-Identifier: Apache-2.0 */
/* The presets of hash tables against the golden numbers of RecIS's arithmetic in float64. */
#include "table_subject.h"

#include <math.h>

#include "golden/golden_table.c"

static void set_rows(hone_table *table, const golden_table_case *c)
{
    hone_error error;
    for (size_t i = 0; i < c->row_count; i++) {
        int64_t row;
        require(hone_table_insert(table, &c->rows[i].key, 1, &row, NULL, &error), &error);
        const hone_tensor values = ROWS(c->rows[i].values, HONE_F64, 1, (int64_t)c->width);
        require(hone_table_scatter(table, &row, 1, NULL, &values, &error), &error);
    }
}

static void micro_step(hone_table *table, hone_lookup *lookup, const golden_table_case *c,
                       size_t step)
{
    hone_error error;
    int64_t keys[8];
    double grads[8 * 2];
    size_t n = 0;
    for (size_t i = 0; i < c->gradient_count; i++)
        if (c->gradients[i].micro_step == step) {
            keys[n] = c->gradients[i].key;
            memcpy(&grads[n * c->width], c->gradients[i].values, c->width * sizeof *grads);
            n++;
        }
    const hone_tensor view = ROWS(grads, HONE_F64, (int64_t)n, (int64_t)c->width);
    require(hone_table_lookup(table, lookup, keys, (int64_t)n, HONE_LOOKUP_TRAIN, NULL, &error),
            &error);
    require(hone_table_apply(table, lookup, &view, NULL, &error), &error);
    hone_table_zero_grad(table);
}

static void check(const golden_table_case *c, hone_table *table, size_t step)
{
    hone_error error;
    for (const golden_row_expectation *e = c->expectations; e->slot != NULL; e++) {
        if (e->micro_step != step)
            continue;
        double found[2] = {0};
        size_t n = 1;
        if (strcmp(e->slot, "beta1") == 0 || strcmp(e->slot, "beta2") == 0) {
            double power[2];
            hone_table_powers(table, &power[0], &power[1]);
            found[0] = power[e->slot[4] - '1'];
        } else {
            int64_t row;
            require(hone_table_find(table, &e->key, 1, &row, NULL, &error), &error);
            const hone_tensor view = ROWS(found, HONE_F64, 1, (int64_t)c->width);
            const char *const slot = strcmp(e->slot, "param") == 0 ? NULL : e->slot;
            require(hone_table_gather(table, &row, 1, slot, &view, &error), &error);
            n = c->width;
        }
        for (size_t i = 0; i < n; i++)
            if (fabs(found[i] - e->values[i]) > 5e-12 * fabs(e->values[i]) + 1e-14)
                fail_msg("%s, step %zu, key %lld, %s[%zu]: %.17g, expected %.17g", c->name, step,
                         (long long)e->key, e->slot, i, found[i], e->values[i]);
    }
}

static void test_golden_traces(void **state)
{
    (void)state;
    hone_context *const context = make_context(2, NULL);
    hone_error error;
    for (size_t k = 0; k < golden_table_count; k++) {
        const golden_table_case *const c = &golden_table_cases[k];
        hone_table_options options = plain_options((int64_t)c->width, c->rule);
        options.dtype = HONE_F64;
        hone_table *const table = make_table(context, "t", &options);
        hone_lookup *lookup = NULL;
        require(hone_lookup_create(&lookup, table, &error), &error);
        for (const golden_hyper *h = c->hypers; h->name != NULL; h++)
            require(hone_table_set(table, h->name, h->value, &error), &error);
        require(hone_table_set_grad_accum_steps(table, (int64_t)c->accumulate, c->mean, &error),
                &error);
        set_rows(table, c);
        for (size_t step = 1; step <= c->micro_steps; step++) {
            micro_step(table, lookup, c, step);
            check(c, table, step);
        }
        hone_lookup_free(lookup);
        hone_table_free(table);
    }
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden_traces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
