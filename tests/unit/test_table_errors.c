/* SPDX-License-Identifier: Apache-2.0 */
/* What tables refuse, in which words; and that a call that fails, for want of memory too, leaves
 * everything as it was. */
#include "support/fixtures.h"
#include "table_subject.h"

#include <math.h>

static void expect(hone_status found, const hone_error *error, hone_status status,
                   const char *sentence)
{
    assert_int_equal(found, status);
    if (strstr(error->message, sentence) == NULL)
        fail_msg("\"%s\" was expected in: %s", sentence, error->message);
}

static void refuse_options(const hone_table_options *options, hone_status status,
                           const char *sentence)
{
    hone_table *table = NULL;
    hone_error error;
    expect(hone_table_create(&table, context, "t", options, &error), &error, status, sentence);
    assert_null(table);
}

static void test_options(void **state)
{
    (void)state;
    hone_table_options o = plain_options(0, "sgd");
    refuse_options(&o, HONE_ERROR_RANGE, "width is 0; it must be 1 to 4096");
    o.width = 4097;
    refuse_options(&o, HONE_ERROR_RANGE, "width is 4097");
    o.width = 4;
    o.dtype = HONE_I32;
    refuse_options(&o, HONE_ERROR_DTYPE, "dtype is I32");
    o.dtype = HONE_F32;
    o.rule = "adamwww";
    refuse_options(&o, HONE_ERROR_NAME, "adamw");
    o.rule = "muon";
    refuse_options(&o, HONE_ERROR_UNSUPPORTED, "a rule over matrices");
    o.rule = "sgd";
    o.admit_probability = NAN;
    refuse_options(&o, HONE_ERROR_RANGE, "admit_probability");
    o.admit_probability = 1;
    o.admit_count = 0;
    refuse_options(&o, HONE_ERROR_RANGE, "admit_count is 0");
    o.admit_count = 1;
    o.max_bytes = 100;
    refuse_options(&o, HONE_ERROR_RANGE, "needs at least");
    o.max_bytes = 0;
    o.initial_b = -1;
    refuse_options(&o, HONE_ERROR_RANGE, "deviation");
    hone_table *table = NULL;
    hone_error error;
    o.initial_b = 1;
    expect(hone_table_create(&table, context, "", &o, &error), &error, HONE_ERROR_NAME, "empty");
    expect(hone_table_create(&table, context, "a@b", &o, &error), &error, HONE_ERROR_NAME, "'@'");
}

static void test_batches(void **state)
{
    (void)state;
    const hone_table_options o = plain_options(4, "sgd"), other = plain_options(4, "adam");
    hone_table *const table = make_table(context, "t", &o);
    hone_table *const second = make_table(context, "u", &other);
    hone_lookup *lookup = NULL;
    hone_error error;
    require(hone_lookup_create(&lookup, table, &error), &error);
    int64_t keys[2] = {1, 2}, rows[2];
    float values[8] = {0};
    expect(hone_table_insert(table, keys, -1, rows, NULL, &error), &error, HONE_ERROR_RANGE, "-1");
    expect(hone_table_insert(table, keys, (int64_t)1 << 32, rows, NULL, &error), &error,
           HONE_ERROR_RANGE, "2^32 - 2");
    hone_tensor view = ROWS(values, HONE_F32, 2, 4);
    for (int64_t n = -1; n <= (int64_t)1 << 32; n += ((int64_t)1 << 32) + 1) {
        const char *const message = n < 0 ? "a batch of -1 keys" : "a batch of 4294967296 keys";
        expect(hone_table_erase(table, keys, n, NULL, &error), &error, HONE_ERROR_RANGE, message);
        expect(hone_table_apply_gradients(table, keys, n, &view, NULL, &error), &error,
               HONE_ERROR_RANGE, message);
    }
    expect(hone_table_erase(table, NULL, 2, NULL, &error), &error, HONE_ERROR_ARGUMENT,
           "keys is NULL");
    expect(hone_table_find(table, NULL, 2, rows, NULL, &error), &error, HONE_ERROR_ARGUMENT,
           "keys is NULL");
    require(hone_table_insert(table, NULL, 0, NULL, NULL, &error), &error);
    require(hone_table_insert(table, keys, 2, rows, NULL, &error), &error);
    view = ROWS(values, HONE_F32, 2, 3);
    expect(hone_table_gather(table, rows, 2, NULL, &view, &error), &error, HONE_ERROR_SHAPE,
           "[2, 4]");
    view = ROWS(values, HONE_I32, 2, 4);
    expect(hone_table_gather(table, rows, 2, NULL, &view, &error), &error, HONE_ERROR_DTYPE, "I32");
    view = ROWS(values, HONE_F32, 2, 4);
    rows[1] = 2;
    expect(hone_table_scatter(table, rows, 2, NULL, &view, &error), &error, HONE_ERROR_RANGE,
           "row 1 is 2");
    rows[1] = 1;
    expect(hone_table_gather(second, rows, 0, "exp_avgg", &view, &error), &error, HONE_ERROR_NAME,
           "exp_avg");
    expect(hone_table_lookup(second, lookup, keys, 2, HONE_LOOKUP_TRAIN, NULL, &error), &error,
           HONE_ERROR_ARGUMENT, "not \"u\"");
    require(hone_table_lookup(table, lookup, keys, 2, HONE_LOOKUP_READ_ONLY, NULL, &error), &error);
    expect(hone_table_apply(table, lookup, &view, NULL, &error), &error, HONE_ERROR_ARGUMENT,
           "read-only");
    const int64_t offsets[3] = {0, 2, 1};
    expect(hone_table_lookup_bags(table, lookup, keys, 1, offsets, 2, NULL, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, NULL, &error),
           &error, HONE_ERROR_RANGE, "below the one before");
    const int64_t bag[] = {0, 1}, two = 2;
    const hone_tensor weights = hone_tensor_view(values, HONE_I32, 1, &bag[1]);
    expect(hone_table_lookup_bags(table, lookup, keys, 1, bag, 1, &weights, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, NULL, &error),
           &error, HONE_ERROR_DTYPE, "weights is I32; it must be F32, F64, BF16 or F16");
    const hone_tensor more = hone_tensor_view(values, HONE_F32, 1, &two);
    expect(hone_table_lookup_bags(table, lookup, keys, 1, bag, 1, &more, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, NULL, &error),
           &error, HONE_ERROR_SHAPE, "weights has 1 dimensions and 2 elements; it must be [1]");
    expect(hone_table_set(table, "lr", -1, &error), &error, HONE_ERROR_RANGE, "lr");
    expect(hone_table_set(table, "momentum", 0.9, &error), &error, HONE_ERROR_UNSUPPORTED,
           "momentum");
    expect(hone_table_set_grad_accum_steps(table, 0, false, &error), &error, HONE_ERROR_RANGE, "0");
    require(hone_table_lookup(table, lookup, keys, 2, HONE_LOOKUP_TRAIN, NULL, &error), &error);
    require(hone_table_add_gradients(table, lookup, &view, &error), &error);
    expect(hone_table_set_grad_accum_steps(table, 2, false, &error), &error, HONE_ERROR_ARGUMENT,
           "wait");
    hone_table_zero_grad(table);
    require(hone_table_set_grad_accum_steps(table, 2, false, &error), &error);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_table_free(second);
}

/* Empty batches are ordinary steps: the powers move, no row does. */
static void test_empty_batches(void **state)
{
    (void)state;
    const hone_table_options o = plain_options(4, "sparse_adam");
    hone_table *const table = make_table(context, "t", &o);
    hone_error error;
    hone_table_report report;
    const hone_tensor none = ROWS(NULL, HONE_F32, 0, 4);
    require(hone_table_apply_gradients(table, NULL, 0, &none, &report, &error), &error);
    assert_true(report.applied);
    assert_int_equal(report.stepped, 0);
    double one, two;
    hone_table_powers(table, &one, &two);
    assert_true(one == 0.9 && two == 0.999);
    require(hone_table_step(table, &report, &error), &error);
    assert_false(report.applied);
    assert_int_equal(hone_table_step_count(table), 1);
    hone_table_free(table);
}

/* What is missing is named, by every call that can say so. */
static void test_null(void **state)
{
    (void)state;
    const hone_table_options o = plain_options(4, "sgd");
    hone_table *const table = make_table(context, "t", &o);
    hone_table *const none[2] = {table, NULL};
    hone_lookup *lookup = NULL;
    hone_snapshot *snapshot = NULL;
    hone_error e;
    require(hone_lookup_create(&lookup, table, &e), &e);
    int64_t key = 1, row = 0, bags[2] = {0, 1};
    float values[4] = {0};
    double value;
    const hone_tensor view = ROWS(values, HONE_F32, 1, 4);
    const hone_eviction policy = {0};
#define REFUSE(call)                                   \
    do {                                               \
        expect(call, &e, HONE_ERROR_ARGUMENT, "NULL"); \
        memset(&e, 0, sizeof e);                       \
    } while (0)
    REFUSE(hone_table_find(NULL, &key, 1, &row, NULL, &e));
    REFUSE(hone_table_insert(NULL, &key, 1, &row, NULL, &e));
    REFUSE(hone_table_erase(NULL, &key, 1, NULL, &e));
    REFUSE(hone_table_gather(NULL, &row, 1, NULL, &view, &e));
    REFUSE(hone_table_gather(table, &row, 1, NULL, NULL, &e));
    REFUSE(hone_table_scatter(NULL, &row, 1, NULL, &view, &e));
    REFUSE(hone_table_scatter(table, &row, 1, NULL, NULL, &e));
    REFUSE(hone_table_keys(NULL, &key, &e));
    REFUSE(hone_table_lookup(NULL, lookup, &key, 1, HONE_LOOKUP_TRAIN, &view, &e));
    REFUSE(hone_table_lookup(table, NULL, &key, 1, HONE_LOOKUP_TRAIN, &view, &e));
    REFUSE(hone_table_lookup_bags(NULL, lookup, &key, 1, bags, 1, NULL, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, &view, &e));
    REFUSE(hone_table_lookup_bags(table, lookup, &key, 1, NULL, 1, NULL, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, &view, &e));
    REFUSE(hone_table_add_gradients(NULL, lookup, &view, &e));
    REFUSE(hone_table_add_gradients(table, NULL, &view, &e));
    REFUSE(hone_table_add_gradients(table, lookup, NULL, &e));
    REFUSE(hone_table_step(NULL, NULL, &e));
    REFUSE(hone_table_apply(NULL, lookup, &view, NULL, &e));
    REFUSE(hone_table_apply(table, lookup, NULL, NULL, &e));
    REFUSE(hone_table_apply_gradients(NULL, &key, 1, &view, NULL, &e));
    REFUSE(hone_table_apply_gradients(table, NULL, 1, &view, NULL, &e));
    REFUSE(hone_table_evict(NULL, &policy, 1, NULL, &e));
    REFUSE(hone_table_evict(table, NULL, 1, NULL, &e));
    REFUSE(hone_table_change_rule(NULL, &o, &e));
    REFUSE(hone_table_get(NULL, "lr", &value, &e));
    REFUSE(hone_table_set(NULL, "lr", 1, &e));
    REFUSE(hone_table_set_schedule(NULL, NULL, &e));
    REFUSE(hone_table_schedule_step(NULL, &e));
    REFUSE(hone_table_schedule_epoch(NULL, &e));
    REFUSE(hone_table_schedule_metric(NULL, 1, &e));
    REFUSE(hone_table_set_grad_accum_steps(NULL, 1, false, &e));
    REFUSE(hone_table_set_loss_scale(NULL, 1, &e));
    REFUSE(hone_table_set_step(NULL, 1, &e));
    REFUSE(hone_table_export(NULL, "x", 0, 1, &e));
    REFUSE(hone_table_export(table, NULL, 0, 1, &e));
    REFUSE(hone_table_import(NULL, "x", 0, 1, &e));
    REFUSE(hone_table_import(table, NULL, 0, 1, &e));
    REFUSE(hone_snapshot_take(NULL, none, 1, HONE_SNAPSHOT_FULL, &e));
    REFUSE(hone_snapshot_take(&snapshot, none, 2, HONE_SNAPSHOT_FULL, &e));
    REFUSE(hone_snapshot_restore(none, 2, ".", NULL, &e));
    REFUSE(hone_snapshot_restore(none, 1, NULL, NULL, &e));
    REFUSE(hone_snapshot_unpack(none, 2, "", 0, &e));
    REFUSE(hone_snapshot_unpack(none, 1, NULL, 1, &e));
    REFUSE(hone_snapshot_write(NULL, ".", NULL, 0, &e));
    REFUSE(hone_snapshot_pack(NULL, NULL, 0, NULL, &e));
    require(hone_snapshot_take(&snapshot, none, 1, HONE_SNAPSHOT_FULL, &e), &e);
    REFUSE(hone_snapshot_write(snapshot, NULL, NULL, 0, &e));
    REFUSE(hone_snapshot_write(snapshot, ".", NULL, 1, &e));
    hone_snapshot_free(snapshot);
    require(hone_snapshot_take(&snapshot, none, 1, HONE_SNAPSHOT_COPY, &e), &e);
    REFUSE(hone_snapshot_pack(snapshot, NULL, 0, NULL, &e));
    hone_snapshot_free(snapshot);
#undef REFUSE
    hone_lookup_free(lookup);
    hone_table_free(table);
}

/* A gradient that was refused together with its call leaves accumulation as it is. */
static void test_refused_gradient(void **state)
{
    (void)state;
    hone_table_options o = plain_options(1, "sgd");
    o.nonfinite = HONE_ROW_ERROR;
    hone_table *const table = make_table(context, "t", &o);
    hone_lookup *lookup = NULL;
    hone_table_report report;
    hone_error error;
    int64_t key = 1;
    float value = NAN;
    const hone_tensor view = ROWS(&value, HONE_F32, 1, 1);
    require(hone_lookup_create(&lookup, table, &error), &error);
    require(hone_table_lookup(table, lookup, &key, 1, HONE_LOOKUP_TRAIN, NULL, &error), &error);
    expect(hone_table_apply(table, lookup, &view, NULL, &error), &error, HONE_ERROR_NONFINITE,
           "nothing was stepped");
    value = 1;
    require(hone_table_set_grad_accum_steps(table, 2, false, &error), &error);
    require(hone_table_apply(table, lookup, &view, &report, &error), &error);
    assert_false(report.applied);
    hone_table_zero_grad(table); /* one of two: what waits stays */
    require(hone_table_step(table, &report, &error), &error);
    assert_true(report.applied);
    assert_int_equal(report.stepped, 1);
    hone_lookup_free(lookup);
    hone_table_free(table);
}

/* ---- memory that runs out ---------------------------------------------------------------------- */

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

/* New keys for a full table: a call that finds too little memory evicts nothing and tells of nothing;
 * with memory again the same rows go as in a table that never lacked any. */
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
    hone_snapshot *copy = NULL;
    size_t size = 0;
    require(hone_snapshot_take(&copy, from, 2, HONE_SNAPSHOT_COPY, &error), &error);
    require(hone_snapshot_pack(copy, NULL, 0, &size, &error), &error);
    void *const bytes = malloc(size);
    require(hone_snapshot_pack(copy, bytes, size, &size, &error), &error);
    hone_snapshot_free(copy);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_empty_batches),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_refused_gradient),
        cmocka_unit_test(test_growth_without_memory),
        cmocka_unit_test(test_eviction_without_memory),
        cmocka_unit_test(test_restore_without_memory),
    };
    return cmocka_run_group_tests(tests, open_single_context, close_context);
}
