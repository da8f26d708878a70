/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for which memory runs out at any allocation: the call says so and changes nothing, and
 * with memory again it does what it would have done. */
#include "table_subject.h"

#include <unistd.h>

struct budget {
    int64_t left; /* allocations before the first that fails; all after it fail too */
    int64_t open;
};

static void *limited_allocate(size_t size, size_t alignment, void *user)
{
    struct budget *const budget = user;
    void *memory = NULL;
    if (budget->left-- <= 0 || posix_memalign(&memory, alignment, size) != 0)
        return NULL;
    budget->open++;
    return memory;
}

static void limited_release(void *memory, size_t size, void *user)
{
    (void)size;
    ((struct budget *)user)->open--;
    free(memory);
}

static hone_context *limited_context(struct budget *budget, int threads)
{
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = threads;
    options.allocator = (hone_allocator){limited_allocate, limited_release, budget};
    hone_context *limited = NULL;
    hone_error error;
    require(hone_context_create(&limited, &options, &error), &error);
    return limited;
}

enum { GROW = 30000 };

/* Grows a table by calls that may each fail; what fails leaves the count as it was, and with memory
 * again the same call succeeds. */
static void grow_with(int threads, int64_t step)
{
    struct budget budget = {.left = INT64_MAX};
    hone_context *const limited = limited_context(&budget, threads);
    hone_error error;
    const hone_table_options o = plain_options(8, "adamw");
    hone_table *table = NULL;
    int64_t tries = 0;
    do
        budget.left = tries++;
    while (hone_table_create(&table, limited, "t", &o, &error) == HONE_ERROR_MEMORY);
    assert_non_null(table);
    int64_t *const keys = malloc(GROW * sizeof *keys), *const rows = malloc(GROW * sizeof *rows);
    int64_t failures = 0;
    for (int64_t first = 0; first < 10 * GROW; first += GROW) {
        for (int64_t i = 0; i < GROW; i++)
            keys[i] = first + i;
        for (int64_t allowed = 0;; allowed += step) {
            const int64_t before = hone_table_count(table);
            budget.left = allowed;
            const hone_status status = hone_table_insert(table, keys, GROW, rows, NULL, &error);
            if (status == HONE_OK)
                break;
            failures++;
            assert_int_equal(status, HONE_ERROR_MEMORY);
            assert_int_equal(hone_table_count(table), before);
            int64_t missing;
            require(hone_table_find(table, keys, GROW, rows, &missing, &error), &error);
            assert_int_equal(missing, GROW);
        }
        for (int64_t i = 0; i < GROW; i++)
            assert_int_equal(rows[i], first + i);
    }
    assert_true(failures > 10);
    hone_lookup *lookup = NULL;
    float *const grads = calloc(GROW * 8, sizeof *grads);
    const hone_tensor view = ROWS(grads, HONE_F32, GROW, 8);
    for (budget.left = 0; hone_lookup_create(&lookup, table, &error) != HONE_OK; budget.left = 5)
        assert_null(lookup);
    for (int64_t allowed = 0;; allowed++) {
        budget.left = allowed;
        if (hone_table_lookup(table, lookup, keys, GROW, HONE_LOOKUP_TRAIN, NULL, &error) ==
                HONE_OK &&
            hone_table_add_gradients(table, lookup, &view, &error) == HONE_OK)
            break;
        assert_int_equal(error.status, HONE_ERROR_MEMORY);
    }
    budget.left = INT64_MAX;
    require(hone_table_step(table, NULL, &error), &error);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(limited);
    assert_int_equal(budget.open, 0);
    free(keys);
    free(rows);
    free(grads);
}

static void test_growth_without_memory(void **state)
{
    (void)state;
    grow_with(1, 1);
    grow_with(3, 1);
}

enum { NEW = 3000 };

static void count_evicted(int64_t key, const void *row, void *user)
{
    (void)key;
    (void)row;
    ++*(int64_t *)user;
}

/* A table under a budget, filled to it. */
static hone_table *fill(const hone_context *from, int64_t *told)
{
    hone_table_options o = plain_options(8, "adamw");
    o.max_bytes = 3000000;
    o.evicted = count_evicted;
    o.evicted_user = told;
    hone_table *const table = make_table(from, "t", &o);
    hone_error error;
    for (int64_t key = 0, row; *told == 0; key++)
        require(hone_table_insert(table, &key, 1, &row, NULL, &error), &error);
    *told = 0;
    return table;
}

static hone_status bring(hone_table *table, hone_lookup *lookup, const int64_t *keys, int64_t *rows,
                         hone_error *error)
{
    if (lookup == NULL)
        return hone_table_insert(table, keys, NEW, rows, NULL, error);
    const hone_status status =
        hone_table_lookup(table, lookup, keys, NEW, HONE_LOOKUP_TRAIN, NULL, error);
    if (status == HONE_OK)
        memcpy(rows, hone_lookup_rows(lookup), NEW * sizeof *rows);
    return status;
}

/* New keys for a full table: a call that finds too little memory evicts nothing and tells of
 * nothing; with memory again the same rows go as in a table that never lacked any. */
static void evict_with(int threads, bool look)
{
    struct budget budget = {.left = INT64_MAX};
    hone_context *const limited = limited_context(&budget, threads);
    int64_t told = 0, twin_told = 0, failures = 0;
    hone_table *const table = fill(limited, &told), *const twin = fill(limited, &twin_told);
    hone_lookup *lookup = NULL, *twin_lookup = NULL;
    hone_error error;
    if (look) {
        require(hone_lookup_create(&lookup, table, &error), &error);
        require(hone_lookup_create(&twin_lookup, twin, &error), &error);
    }
    const int64_t full = hone_table_count(table);
    const size_t size = (size_t)full * sizeof(int64_t);
    int64_t *const old = malloc(size), *const at = malloc(size), *const found = malloc(size);
    int64_t keys[NEW], rows[NEW], twin_rows[NEW], missing;
    for (int64_t round = 0; round < 8; round++) {
        require(hone_table_keys(table, old, &error), &error);
        require(hone_table_find(table, old, full, at, NULL, &error), &error);
        for (int64_t i = 0; i < NEW; i++)
            keys[i] = (round + 1) * 1000000 + i;
        for (int64_t allowed = 0;; allowed++) {
            told = 0;
            budget.left = allowed;
            const hone_status status = bring(table, lookup, keys, rows, &error);
            if (status == HONE_OK)
                break;
            failures++;
            assert_int_equal(status, HONE_ERROR_MEMORY);
            assert_int_equal(told, 0);
            assert_int_equal(hone_table_count(table), full);
            require(hone_table_find(table, old, full, found, NULL, &error), &error);
            assert_memory_equal(found, at, size);
            require(hone_table_find(table, keys, NEW, rows, &missing, &error), &error);
            assert_int_equal(missing, NEW);
        }
        budget.left = INT64_MAX;
        assert_int_equal(told, NEW);
        require(bring(twin, twin_lookup, keys, twin_rows, &error), &error);
        assert_memory_equal(rows, twin_rows, sizeof rows);
        require(hone_table_keys(table, old, &error), &error);
        require(hone_table_keys(twin, found, &error), &error);
        assert_memory_equal(old, found, size);
    }
    assert_true(failures >= 8);
    hone_lookup_free(lookup);
    hone_lookup_free(twin_lookup);
    hone_table_free(table);
    hone_table_free(twin);
    hone_context_free(limited);
    free(old);
    free(at);
    free(found);
}

static void test_eviction_without_memory(void **state)
{
    (void)state;
    for (int look = 0; look < 2; look++) {
        evict_with(1, look == 1);
        evict_with(3, look == 1);
    }
}

/* Sights are counted by calls that succeed alone: for want of memory, or of a budget, a key
 * comes no earlier. */
static void test_sights_without_memory(void **state)
{
    (void)state;
    struct budget budget = {.left = INT64_MAX};
    hone_context *const limited = limited_context(&budget, 1);
    hone_table_options o = plain_options(8, "adamw");
    o.max_bytes = 600000;
    o.admit_count = 4;
    o.admit_counters = 1000; /* so that keys share them */
    hone_table *const table = make_table(limited, "t", &o), *const twin =
                                                                make_table(limited, "t", &o);
    hone_lookup *lookup = NULL, *twin_lookup = NULL;
    hone_error error;
    require(hone_lookup_create(&lookup, table, &error), &error);
    require(hone_lookup_create(&twin_lookup, twin, &error), &error);
    enum { FEW = 300 };
    int64_t keys[FEW], failures = 0;
    static int64_t many[20000];
    for (int64_t i = 0; i < (int64_t)COUNT(many); i++)
        many[i] = i / 4;
    for (int64_t round = 0; round < 8; round++) {
        for (int64_t i = 0; i < FEW; i++)
            keys[i] = i * i % 200 + round;
        assert_int_equal(
            hone_table_lookup(table, lookup, many, COUNT(many), HONE_LOOKUP_TRAIN, NULL, &error),
            HONE_ERROR_RANGE);
        for (int64_t allowed = 0;; allowed++, failures++) {
            budget.left = allowed;
            const hone_status status =
                hone_table_lookup(table, lookup, keys, FEW, HONE_LOOKUP_TRAIN, NULL, &error);
            if (status == HONE_OK)
                break;
            assert_int_equal(status, HONE_ERROR_MEMORY);
        }
        budget.left = INT64_MAX;
        require(hone_table_lookup(twin, twin_lookup, keys, FEW, HONE_LOOKUP_TRAIN, NULL, &error),
                &error);
        assert_memory_equal(hone_lookup_rows(lookup), hone_lookup_rows(twin_lookup), sizeof keys);
    }
    assert_true(failures > 2);
    assert_true(hone_table_count(table) > 0);
    hone_lookup_free(lookup);
    hone_lookup_free(twin_lookup);
    hone_table_free(table);
    hone_table_free(twin);
    hone_context_free(limited);
}

/* A restore that finds too little memory, after one table or none, leaves both empty and their
 * settings as they were. */
static void test_restore_without_memory(void **state)
{
    (void)state;
    struct budget budget = {.left = INT64_MAX};
    hone_context *const limited = limited_context(&budget, 1);
    const hone_table_options o = plain_options(4, "sparse_adamw");
    hone_table *from[2], *to[2];
    hone_error error;
    int64_t keys[64], rows[64], failures = 0;
    for (int64_t i = 0; i < 64; i++)
        keys[i] = i;
    for (int t = 0; t < 2; t++) {
        from[t] = make_table(limited, t == 0 ? "t" : "u", &o);
        to[t] = make_table(limited, t == 0 ? "t" : "u", &o);
        require(hone_table_set(from[t], "lr", 0.5, &error), &error);
        require(hone_table_set_grad_accum_steps(from[t], 3, true, &error), &error);
        require(hone_table_insert(from[t], keys, 64, rows, NULL, &error), &error);
        require(hone_table_set(to[t], "lr", 0.25, &error), &error);
        require(hone_table_set_grad_accum_steps(to[t], 2, false, &error), &error);
    }
    size_t size;
    void *const bytes = pack_tables(from, 2, &size);
    for (int64_t allowed = 0;; allowed++) {
        budget.left = allowed;
        const hone_status status = hone_snapshot_unpack(to, 2, bytes, size, &error);
        budget.left = INT64_MAX;
        for (int t = 0; t < 2; t++) {
            double lr;
            bool mean;
            require(hone_table_get(to[t], "lr", &lr, &error), &error);
            assert_true(lr == (status == HONE_OK ? 0.5 : 0.25));
            assert_int_equal(hone_table_grad_accum_steps(to[t], &mean), status == HONE_OK ? 3 : 2);
            assert_int_equal(mean, status == HONE_OK);
            assert_int_equal(hone_table_count(to[t]), status == HONE_OK ? 64 : 0);
        }
        if (status == HONE_OK)
            break;
        assert_int_equal(status, HONE_ERROR_MEMORY);
        failures++;
    }
    assert_true(failures > 2);
    free(bytes);
    for (int t = 0; t < 2; t++) {
        hone_table_free(from[t]);
        hone_table_free(to[t]);
    }
    hone_context_free(limited);
    assert_int_equal(budget.open, 0);
}

/* An import that finds too little memory has changed nothing: neither rows that were there nor
 * those that would have had to go, nor what the next increment holds. */
static void test_import_without_memory(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct budget budget = {.left = INT64_MAX};
    hone_context *const limited = limited_context(&budget, 1);
    char path[] = "/tmp/hone-import-XXXXXX";
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    int64_t told = 0, failures = 0, keys[N], rows[N];
    hone_error error;
    const hone_table_options o = plain_options(8, "adamw");
    hone_table *const from = make_table(limited, "t", &o), *const table = fill(limited, &told);
    for (int64_t i = 0; i < N; i++)
        keys[i] = 1000000 - i;
    require(hone_table_insert(from, keys, N, rows, NULL, &error), &error);
    keys[0] = 3;
    require(hone_table_insert(from, keys, N, rows, NULL, &error), &error);
    require(hone_table_export(from, path, 0, 1, &error), &error);
    hone_snapshot *snapshot = NULL; /* from now on changes are listed */
    require(hone_snapshot_take(&snapshot, &table, 1, HONE_SNAPSHOT_FULL, &error), &error);
    char folder[] = "/tmp/hone-import-XXXXXX";
    assert_non_null(mkdtemp(folder));
    require(hone_snapshot_write(snapshot, folder, NULL, 0, &error), &error);
    hone_snapshot_free(snapshot);
    size_t size, found_size;
    void *const before = pack_tables(&table, 1, &size);
    for (int64_t tries = 0;; tries++, failures++) {
        budget.left = tries / 5; /* again and again: lists that have grown stay so */
        const hone_status status = hone_table_import(table, path, 0, 1, &error);
        budget.left = INT64_MAX;
        if (status == HONE_OK)
            break;
        assert_int_equal(status, HONE_ERROR_MEMORY);
        assert_int_equal(told, 0);
        void *const found = pack_tables(&table, 1, &found_size);
        assert_int_equal(found_size, size);
        assert_memory_equal(found, before, size);
        free(found);
        require(hone_snapshot_take(&snapshot, &table, 1, HONE_SNAPSHOT_INCREMENT, &error), &error);
        assert_int_equal(hone_snapshot_rows(snapshot), 0);
        hone_snapshot_free(snapshot); /* never written */
    }
    assert_true(failures > 5);
    assert_int_equal(told, N);
    require(hone_snapshot_take(&snapshot, &table, 1, HONE_SNAPSHOT_INCREMENT, &error), &error);
    assert_int_equal(hone_snapshot_rows(snapshot), N + 1);
    hone_snapshot_free(snapshot);
    free(before);
    hone_table_free(from);
    hone_table_free(table);
    hone_context_free(limited);
    assert_int_equal(budget.open, 0);
    close(descriptor);
    unlink(path);
    char file[128];
    snprintf(file, sizeof file, "%s/000000000001-full.safetensors", folder);
    unlink(file);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth_without_memory),
        cmocka_unit_test(test_eviction_without_memory),
        cmocka_unit_test(test_sights_without_memory),
        cmocka_unit_test(test_restore_without_memory),
        cmocka_unit_test(test_import_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
