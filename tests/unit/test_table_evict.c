/* SPDX-License-Identifier: Apache-2.0 */
/* Admission and eviction: thresholds, chance, ages, norms and a byte budget that always holds. */
#include "table_subject.h"

static int64_t look(hone_table *table, hone_lookup *lookup, const int64_t *keys, int64_t n)
{
    hone_error error;
    require(hone_table_lookup(table, lookup, keys, n, HONE_LOOKUP_TRAIN, NULL, &error), &error);
    return hone_lookup_missing(lookup);
}

static void test_frequency_threshold(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(2, "sgd");
    options.admit_count = 3;
    hone_table *const table = make_table(context, "t", &options);
    hone_lookup *lookup = NULL;
    hone_error error;
    require(hone_lookup_create(&lookup, table, &error), &error);
    const int64_t keys[] = {1, 2, 1};
    assert_int_equal(look(table, lookup, keys, 3), 3);
    float out[6];
    const hone_tensor view = ROWS(out, HONE_F32, 3, 2);
    require(hone_table_lookup(table, lookup, keys, 3, HONE_LOOKUP_TRAIN, &view, &error), &error);
    assert_int_equal(hone_lookup_missing(lookup), 1); /* key 1 is seen a third and fourth time */
    assert_true(out[2] == 0 && out[3] == 0 && out[0] != 0);
    assert_int_equal(hone_table_count(table), 1);
    assert_int_equal(look(table, lookup, keys, 3), 0);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
}

static void test_probability(void **state)
{
    (void)state;
    enum { N = 20000 };
    static int64_t keys[N];
    for (int i = 0; i < N; i++)
        keys[i] = i;
    hone_context *const context = make_context(2, NULL);
    hone_table_options options = plain_options(1, "sgd");
    options.admit_probability = 0.25;
    int64_t first = 0;
    for (int run = 0; run < 2; run++) {
        hone_table *const table = make_table(context, "t", &options);
        hone_lookup *lookup = NULL;
        hone_error error;
        require(hone_lookup_create(&lookup, table, &error), &error);
        look(table, lookup, keys, N);
        const int64_t count = hone_table_count(table);
        assert_in_range(count, N / 4 - 500, N / 4 + 500);
        assert_true(run == 0 || count == first);
        first = count;
        look(table, lookup, keys, N);
        assert_in_range(hone_table_count(table), N * 7 / 16 - 500, N * 7 / 16 + 500);
        hone_lookup_free(lookup);
        hone_table_free(table);
    }
    hone_context_free(context);
}

static void test_policies(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(2, "sgd");
    hone_table *const table = make_table(context, "t", &options);
    hone_lookup *lookup = NULL;
    hone_error error;
    int64_t gone;
    require(hone_lookup_create(&lookup, table, &error), &error);
    const int64_t keys[] = {1, 2, 3, 4};
    hone_table_set_clock(table, 100);
    look(table, lookup, keys, 4);
    hone_table_set_clock(table, 160);
    look(table, lookup, keys, 3);
    look(table, lookup, keys, 2);
    /* not met in the last two lookups: 4 only */
    const hone_eviction age = {.unseen_lookups = 2};
    require(hone_table_evict(table, &age, 100, &gone, &error), &error);
    assert_int_equal(gone, 1);
    look(table, lookup, keys + 3, 1);
    hone_table_set_clock(table, 215);
    const hone_eviction time = {.unseen_time = 60};
    look(table, lookup, keys, 3);
    require(hone_table_evict(table, &time, 100, &gone, &error), &error);
    assert_int_equal(gone, 0);
    hone_table_set_clock(table, 220);
    require(hone_table_evict(table, &time, 100, &gone, &error), &error);
    assert_int_equal(gone, 1); /* 4 was last met at 160 */
    const hone_eviction rare = {.least_frequency = 4};
    require(hone_table_evict(table, &rare, 1, &gone, &error), &error);
    assert_int_equal(gone, 0); /* one row looked at: key 1, met four times */
    require(hone_table_evict(table, &rare, 3, &gone, &error), &error);
    assert_int_equal(gone, 1); /* key 3, met three times */
    const float values[] = {3, 4, 0.3f, 0.4f};
    int64_t rows[2];
    require(hone_table_find(table, keys, 2, rows, NULL, &error), &error);
    const hone_tensor view = ROWS(values, HONE_F32, 2, 2);
    require(hone_table_scatter(table, rows, 2, NULL, &view, &error), &error);
    const hone_eviction small = {.least_norm = 1};
    require(hone_table_evict(table, &small, 100, &gone, &error), &error);
    assert_int_equal(gone, 1);
    assert_int_equal(hone_table_count(table), 1);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
}

struct witness {
    int64_t count;
    bool gone[1 << 16];
};

static void watch(int64_t key, const void *row, void *user)
{
    struct witness *const witness = user;
    assert_true(*(const float *)row == (float)key);
    assert_false(witness->gone[key]);
    witness->gone[key] = true;
    witness->count++;
}

static void test_budget(void **state)
{
    (void)state;
    enum { WIDTH = 16, N = 1000, MOST = 50000 };
    static struct witness witness;
    hone_context *const context = make_context(2, NULL);
    for (int rare = 0; rare < 2; rare++) {
        memset(&witness, 0, sizeof witness);
        hone_table_options options = plain_options(WIDTH, "adamw");
        options.initial = HONE_INITIAL_CONSTANT;
        options.max_bytes = 3 << 20;
        options.evict_rare = rare == 1;
        options.evicted = watch;
        options.evicted_user = &witness;
        hone_table *const table = make_table(context, "t", &options);
        hone_lookup *lookup = NULL;
        hone_error error;
        require(hone_lookup_create(&lookup, table, &error), &error);
        int64_t keys[N + 10], rows[N];
        static float values[N][WIDTH];
        for (int64_t first = 0; first < MOST; first += N) {
            for (int64_t i = 0; i < N; i++) {
                keys[i] = first + i;
                for (int d = 0; d < WIDTH; d++)
                    values[i][d] = (float)keys[i];
            }
            for (int64_t i = 0; i < 10; i++)
                keys[N + i] = i; /* always in use, so they stay */
            look(table, lookup, keys, N + 10);
            require(hone_table_find(table, keys, N, rows, NULL, &error), &error);
            const hone_tensor view = ROWS(values, HONE_F32, N, WIDTH);
            require(hone_table_scatter(table, rows, N, NULL, &view, &error), &error);
            assert_true(hone_table_bytes(table) <= options.max_bytes);
        }
        assert_int_equal(hone_table_count(table) + witness.count, MOST);
        assert_true(witness.count > MOST / 2);
        for (int64_t i = 0; i < 10; i++)
            assert_false(witness.gone[i]);
        /* a batch of all rows but five, and five new keys: just those five go */
        const int64_t full = hone_table_count(table), gone = witness.count;
        int64_t *const all = malloc((size_t)full * sizeof *all);
        require(hone_table_keys(table, all, &error), &error);
        for (int64_t i = 0; i < 5; i++)
            all[full / 2 + i] = MOST + i;
        assert_int_equal(look(table, lookup, all, full), 0);
        assert_int_equal(witness.count, gone + 5);
        assert_int_equal(hone_table_count(table), full); /* none had to be made again */
        int64_t missing;
        int64_t *const places = malloc((size_t)full * sizeof *places);
        require(hone_table_find(table, all, full, places, &missing, &error), &error);
        assert_int_equal(missing, 0);
        free(all);
        free(places);
        /* a batch that cannot fit is refused and nothing goes */
        static int64_t many[MOST];
        for (int64_t i = 0; i < MOST; i++)
            many[i] = MOST + i;
        const int64_t before = hone_table_count(table);
        assert_int_equal(
            hone_table_lookup(table, lookup, many, MOST, HONE_LOOKUP_TRAIN, NULL, &error),
            HONE_ERROR_RANGE);
        assert_non_null(strstr(error.message, "budget"));
        assert_int_equal(hone_table_count(table), before);
        hone_lookup_free(lookup);
        hone_table_free(table);
    }
    hone_context_free(context);
}

/* A table of 8-wide rows under a budget, filled to it by `insert`. */
static hone_table *full_table(const hone_context *context, hone_table_options *options)
{
    options->max_bytes = 2 << 20;
    hone_table *const table = make_table(context, "t", options);
    hone_error error;
    for (int64_t key = 0, row, before = -1; hone_table_count(table) != before; key++) {
        before = hone_table_count(table);
        require(hone_table_insert(table, &key, 1, &row, NULL, &error), &error);
    }
    return table;
}

/* Rows that no lookup has met go like any other, but never those that the batch itself has. */
static void test_budget_of_inserted_keys(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(8, "sgd");
    hone_table *const table = full_table(context, &options);
    hone_error error;
    const int64_t full = hone_table_count(table), n = full / 3;
    int64_t *const keys = malloc((size_t)full * 2 * sizeof *keys), *const rows = keys + full;
    require(hone_table_keys(table, keys, &error), &error);
    for (int64_t round = 0; round < 10; round++) {
        for (int64_t i = n; i < 2 * n; i++)
            keys[i] = 1000000 + round * n + i; /* a third is there, a third is new */
        int64_t inserted, missing;
        require(hone_table_insert(table, keys, 2 * n, rows, &inserted, &error), &error);
        assert_int_equal(inserted, n);
        assert_int_equal(hone_table_count(table), full);
        require(hone_table_find(table, keys, 2 * n, rows, &missing, &error), &error);
        assert_int_equal(missing, 0);
    }
    free(keys);
    hone_table_free(table);
    hone_context_free(context);
}

/* No row makes room for a key that admission refuses. */
static void test_refused_keys_need_no_room(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(8, "sgd");
    options.admit_count = 2;
    hone_table *const table = full_table(context, &options);
    hone_lookup *lookup = NULL;
    hone_error error;
    require(hone_lookup_create(&lookup, table, &error), &error);
    const int64_t full = hone_table_count(table), keys[] = {-1, -2, -3};
    assert_int_equal(look(table, lookup, keys, 3), 3);
    int64_t *const all = malloc((size_t)full * 2 * sizeof *all), missing;
    require(hone_table_keys(table, all, &error), &error);
    assert_int_equal(hone_table_count(table), full);
    assert_int_equal(look(table, lookup, keys, 3), 0); /* now three rows go */
    require(hone_table_find(table, all, full, all + full, &missing, &error), &error);
    assert_int_equal(missing, 3);
    free(all);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frequency_threshold),
        cmocka_unit_test(test_probability),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_budget_of_inserted_keys),
        cmocka_unit_test(test_refused_keys_need_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
