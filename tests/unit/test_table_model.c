/* SPDX-License-Identifier: Apache-2.0 */
/* A table against a plain map: millions of random insertions, finds, erasures and gradients over
 * keys that crowd, with one and more threads. */
#include "table_subject.h"

/* ---- the model: open addressing by linear probing, keys never leave, only their state ----------
 */

#define MODEL_SLOTS ((size_t)1 << 21)

struct entry {
    int64_t key;
    int64_t row;
    float value;
    bool used, present;
};

static struct entry *model;

static struct entry *model_at(int64_t key)
{
    size_t at = (size_t)((uint64_t)key * 0x9e3779b97f4a7c15u >> 43);
    while (model[at].used && model[at].key != key)
        at = (at + 1) % MODEL_SLOTS;
    model[at].key = key;
    model[at].used = true;
    return &model[at];
}

/* ---- the run ----------------------------------------------------------------------------------
 */

#define MOST 20000

struct run {
    hone_table *table;
    uint64_t random;
    int64_t count;
    size_t operations;
    uint64_t range;
    int64_t keys[MOST], rows[MOST];
    float grads[MOST], out[MOST];
};

static int64_t draw_keys(struct run *run)
{
    const int64_t n = (int64_t)(next_random(&run->random) % MOST);
    const uint64_t kind = next_random(&run->random) % 3;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t r = next_random(&run->random) % run->range;
        /* small numbers, far apart ones, and ones that differ in high bits only */
        run->keys[i] = kind == 0   ? (int64_t)r - (int64_t)(run->range / 2)
                       : kind == 1 ? (int64_t)(r * 0x9e3779b97f4a7c15u)
                                   : (int64_t)(r << 44);
    }
    run->operations += (size_t)n;
    return n;
}

static void insert(struct run *run)
{
    hone_error error;
    const int64_t n = draw_keys(run);
    int64_t inserted, expected = 0;
    require(hone_table_insert(run->table, run->keys, n, run->rows, &inserted, &error), &error);
    for (int64_t i = 0; i < n; i++) {
        struct entry *const e = model_at(run->keys[i]);
        if (!e->present) {
            e->present = true;
            e->row = run->rows[i];
            e->value = 0;
            expected++;
        }
        assert_int_equal(run->rows[i], e->row);
    }
    assert_int_equal(inserted, expected);
    run->count += expected;
}

static void find(struct run *run)
{
    hone_error error;
    const int64_t n = draw_keys(run);
    int64_t missing, expected = 0;
    require(hone_table_find(run->table, run->keys, n, run->rows, &missing, &error), &error);
    for (int64_t i = 0; i < n; i++) {
        const struct entry *const e = model_at(run->keys[i]);
        assert_int_equal(run->rows[i], e->present ? e->row : -1);
        expected += !e->present;
    }
    assert_int_equal(missing, expected);
    const hone_tensor out = ROWS(run->out, HONE_F32, n, 1);
    require(hone_table_gather(run->table, run->rows, n, NULL, &out, &error), &error);
    for (int64_t i = 0; i < n; i++) {
        const struct entry *const e = model_at(run->keys[i]);
        if (run->out[i] != (e->present ? e->value : 0))
            fail_msg("key %lld: %.9g, expected %.9g", (long long)run->keys[i], (double)run->out[i],
                     (double)e->value);
    }
}

static void erase(struct run *run)
{
    hone_error error;
    const int64_t n = draw_keys(run);
    int64_t erased, expected = 0;
    require(hone_table_erase(run->table, run->keys, n, &erased, &error), &error);
    for (int64_t i = 0; i < n; i++) {
        struct entry *const e = model_at(run->keys[i]);
        expected += e->present;
        e->present = false;
    }
    assert_int_equal(erased, expected);
    run->count -= expected;
}

/* Plain gradient descent at rate 1 with whole gradients: exact in any order. */
static void learn(struct run *run)
{
    hone_error error;
    hone_table_report report;
    const int64_t n = draw_keys(run);
    int64_t absent = 0;
    for (int64_t i = 0; i < n; i++) {
        run->grads[i] = (float)(next_random(&run->random) % 9) - 4;
        struct entry *const e = model_at(run->keys[i]);
        absent += !e->present;
        if (e->present)
            e->value -= run->grads[i];
    }
    const hone_tensor grads = ROWS(run->grads, HONE_F32, n, 1);
    require(hone_table_apply_gradients(run->table, run->keys, n, &grads, &report, &error), &error);
    assert_int_equal(report.stale, absent);
}

static void compare_with_map(int threads, uint64_t range, size_t operations)
{
    hone_context *const context = make_context(threads, NULL);
    hone_table_options options = plain_options(1, "sgd");
    options.initial = HONE_INITIAL_CONSTANT;
    struct run *const run = calloc(1, sizeof *run);
    hone_error error;
    model = calloc(MODEL_SLOTS, sizeof *model);
    run->table = make_table(context, "t", &options);
    run->random = 11 + range;
    run->range = range;
    require(hone_table_set(run->table, "lr", 1, &error), &error);
    while (run->operations < operations) {
        const uint64_t what = next_random(&run->random) % 8;
        if (what < 3)
            insert(run);
        else if (what < 5)
            find(run);
        else if (what < 7)
            learn(run);
        else
            erase(run);
        assert_int_equal(hone_table_count(run->table), run->count);
    }
    hone_table_free(run->table);
    free(model);
    free(run);
    hone_context_free(context);
}

static void test_small_ranges_churn(void **state)
{
    (void)state;
    compare_with_map(1, 700, 1000000);
    compare_with_map(3, 9000, 2000000);
}

static void test_large_ranges_grow(void **state)
{
    (void)state;
    compare_with_map(1, 200000, 3000000);
    compare_with_map(2, 200000, 3000000);
    compare_with_map(4, 200000, 3000000);
}

/* The same records serve again and again: nothing grows where the number of keys does not. */
static void test_churn_does_not_decay(void **state)
{
    (void)state;
    enum { N = 30000 };
    static int64_t keys[N], rows[N];
    hone_context *const context = make_context(1, NULL);
    const hone_table_options options = plain_options(1, "sgd");
    hone_table *const table = make_table(context, "t", &options);
    hone_error error;
    uint64_t bytes = 0;
    for (int64_t round = 0; round < 200; round++) {
        for (int64_t i = 0; i < N; i++)
            keys[i] = round * N + i;
        require(hone_table_insert(table, keys, N, rows, NULL, &error), &error);
        if (round == 0)
            bytes = hone_table_bytes(table);
        require(hone_table_erase(table, keys, N, NULL, &error), &error);
    }
    assert_true(hone_table_bytes(table) <= bytes + bytes / 2);
    hone_table_free(table);
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_ranges_churn),
        cmocka_unit_test(test_large_ranges_grow),
        cmocka_unit_test(test_churn_does_not_decay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
