/* SPDX-License-Identifier: Apache-2.0 */
/* Another rule for a table under a byte budget, with admission and eviction: rows that fit go on as
 * those of a table that had the rule from the start, to the bit; rows that do not fit are
 * refused with the numbers, and a refusal, also for want of memory, changes nothing that any
 * later call could tell. */
#include "support/counting_allocator.h"
#include "support/fixtures.h"
#include "table_subject.h"

#include "table/table_internal.h"

enum { WIDTH = 8, BATCH = 900, BUDGET = 2 << 20 };

static hone_error error;

struct subject {
    hone_table *table;
    hone_lookup *lookup;
};

static struct subject start(const hone_context *from, const hone_table_options *options)
{
    struct subject s = {.table = make_table(from, "t", options)};
    require(hone_lookup_create(&s.lookup, s.table, &error), &error);
    return s;
}

static void stop(struct subject *s)
{
    hone_lookup_free(s->lookup);
    hone_table_free(s->table);
}

/* Batch `step`: keys of a range, so that rows repeat, and with them gradients. */
static void look(struct subject *s, uint64_t step, uint64_t range)
{
    uint64_t random = step;
    int64_t keys[BATCH];
    for (int i = 0; i < BATCH; i++)
        keys[i] = (int64_t)(step * 300 + next_random(&random) % range);
    require(hone_table_lookup(s->table, s->lookup, keys, BATCH, HONE_LOOKUP_TRAIN, NULL, &error),
            &error);
}

static void learn(struct subject *s, uint64_t step)
{
    uint64_t random = ~step;
    float grads[BATCH * WIDTH];
    for (int i = 0; i < BATCH * WIDTH; i++)
        grads[i] = random_float(&random);
    const hone_tensor view = ROWS(grads, HONE_F32, BATCH, WIDTH);
    require(hone_table_apply(s->table, s->lookup, &view, NULL, &error), &error);
}

static void erase_some(struct subject *s, uint64_t step)
{
    int64_t keys[50];
    for (int64_t i = 0; i < 50; i++)
        keys[i] = (int64_t)step * 300 + 7 * i;
    require(hone_table_erase(s->table, keys, 50, NULL, &error), &error);
}

static void train(struct subject *s, uint64_t from, uint64_t to)
{
    for (uint64_t step = from; step < to; step++) {
        look(s, step, 1500);
        learn(s, step);
        erase_some(s, step);
        assert_true(s->table->options.max_bytes == 0 ||
                    hone_table_bytes(s->table) <= s->table->options.max_bytes);
    }
}

/* ---- all that a table holds ------------------------------------------------------------------ */

struct state {
    void *bytes;
    size_t size;
};

static struct state state_of(hone_table *table)
{
    struct state found;
    found.bytes = pack_tables(&table, 1, &found.size);
    return found;
}

/* Frees the first. */
static void assert_state(struct state expected, hone_table *table)
{
    struct state found = state_of(table);
    assert_int_equal(found.size, expected.size);
    assert_memory_equal(found.bytes, expected.bytes, found.size);
    free(found.bytes);
    free(expected.bytes);
}

static void assert_same(hone_table *a, hone_table *b)
{
    assert_state(state_of(a), b);
}

static void take_values(hone_table *to, const hone_table *from)
{
    const int64_t n = hone_table_count(from);
    int64_t *const keys = malloc((size_t)n * 2 * sizeof *keys), *const rows = keys + n;
    float *const values = malloc((size_t)n * WIDTH * sizeof *values);
    const hone_tensor view = ROWS(values, HONE_F32, n, WIDTH);
    require(hone_table_keys(from, keys, &error), &error);
    require(hone_table_find(from, keys, n, rows, NULL, &error), &error);
    require(hone_table_gather(from, rows, n, NULL, &view, &error), &error);
    require(hone_table_scatter(to, rows, n, NULL, &view, &error), &error);
    free(keys);
    free(values);
}

/* The keys 0 to n - 1, seen often enough. */
static void fill(struct subject *s, int64_t n)
{
    int64_t *const keys = malloc((size_t)n * sizeof *keys), *const rows = malloc((size_t)n * 8);
    for (int64_t i = 0; i < n; i++)
        keys[i] = i;
    require(hone_table_insert(s->table, keys, n, rows, NULL, &error), &error);
    free(keys);
    free(rows);
}

static void count_evicted(int64_t key, const void *row, void *user)
{
    (void)key;
    (void)row;
    ++*(int64_t *)user;
}

static hone_table_options budget_options(const char *rule)
{
    hone_table_options options = plain_options(WIDTH, rule);
    options.max_bytes = BUDGET;
    return options;
}

/* How many rows of a rule the budget holds. */
static int64_t capacity(const hone_context *from, const char *rule)
{
    const hone_table_options options = budget_options(rule);
    struct subject s = start(from, &options);
    for (int64_t first = 0, before = -1; hone_table_count(s.table) != before; first += BATCH) {
        int64_t keys[BATCH], rows[BATCH];
        before = hone_table_count(s.table);
        for (int64_t i = 0; i < BATCH; i++)
            keys[i] = first + i;
        require(hone_table_insert(s.table, keys, BATCH, rows, NULL, &error), &error);
    }
    const int64_t count = hone_table_count(s.table);
    stop(&s);
    return count;
}

/* ---- rows that fit --------------------------------------------------------------------------- */

/* The twin has the rule from the start, meets the same keys, and is given the values: nothing may
 * tell the two apart, then or when there are more keys than the new rule's budget holds. A lookup
 * made before the change may be learnt from after it. */
static void fits(const char *rule, uint32_t admit_count, bool rare, int threads)
{
    hone_context *const context = make_context(threads, NULL);
    int64_t evicted = 0, twin_evicted = 0;
    hone_table_options options = budget_options("sgd"), wanted = budget_options(rule);
    options.admit_count = wanted.admit_count = admit_count;
    options.admit_counters = wanted.admit_counters = 3000; /* so that keys share them */
    options.evict_rare = wanted.evict_rare = rare;
    options.evicted = wanted.evicted = count_evicted;
    options.evicted_user = &evicted;
    wanted.evicted_user = &twin_evicted;
    struct subject s = start(context, &options), twin = start(context, &wanted);
    train(&s, 0, 12);
    for (uint64_t step = 0; step < 12; step++) {
        look(&twin, step, 1500);
        erase_some(&twin, step);
    }
    look(&s, 12, 1500);
    look(&twin, 12, 1500);
    take_values(twin.table, s.table);
    assert_true(hone_table_count(s.table) > 1000);
    require(hone_table_change_rule(s.table, &wanted, &error), &error);
    assert_true(hone_table_bytes(s.table) <= BUDGET);
    assert_same(s.table, twin.table);
    learn(&s, 12);
    learn(&twin, 12);
    assert_int_equal(evicted, 0);
    train(&s, 13, 60);
    train(&twin, 13, 60);
    assert_same(s.table, twin.table);
    assert_true(evicted > 500);
    assert_int_equal(evicted, twin_evicted);
    stop(&s);
    stop(&twin);
    hone_context_free(context);
}

static void test_rows_that_fit_go_on(void **state)
{
    (void)state;
    fits("adamw", 1, false, 1);
    fits("adamw", 2, true, 3);
    fits("sparse_adamw", 2, false, 1);
    fits("rowwise_adam", 1, true, 1);
    fits("sgd", 2, false, 1); /* the same rule: states and steps begin anew */
}

/* From larger rows to smaller ones there is room for more of them. */
static void test_smaller_rows_leave_room(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    const int64_t small = capacity(context, "adamw"), large = capacity(context, "sgd");
    assert_true(large > small);
    hone_table_options options = budget_options("adamw"), wanted = budget_options("sgd");
    struct subject s = start(context, &options);
    fill(&s, small);
    require(hone_table_change_rule(s.table, &wanted, &error), &error);
    int64_t told = 0;
    s.table->options.evicted = count_evicted;
    s.table->options.evicted_user = &told;
    fill(&s, large);
    assert_int_equal(told, 0);
    assert_int_equal(hone_table_count(s.table), large);
    assert_true(hone_table_bytes(s.table) <= BUDGET);
    stop(&s);
    hone_context_free(context);
}

/* ---- rows that do not ------------------------------------------------------------------------ */

static void expect_refusal(hone_table *table, const hone_table_options *wanted, const char *words)
{
    struct state before = state_of(table);
    assert_int_equal(hone_table_change_rule(table, wanted, &error), HONE_ERROR_RANGE);
    if (strstr(error.message, words) == NULL)
        fail_msg("\"%s\" was expected in: %s", words, error.message);
    assert_state(before, table);
}

static void test_the_last_row_that_fits(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    const int64_t most = capacity(context, "adamw");
    for (int64_t over = 0; over < 2; over++) {
        hone_table_options options = budget_options("sgd"), wanted = budget_options("adamw");
        struct subject s = start(context, &options);
        fill(&s, most + over);
        if (over == 0) {
            require(hone_table_change_rule(s.table, &wanted, &error), &error);
            assert_true(hone_table_bytes(s.table) <= BUDGET);
            assert_int_equal(hone_table_count(s.table), most);
        } else {
            char words[200];
            snprintf(
                words, sizeof words,
                "table \"t\" has %lld rows, %lld of them with keys; by the new rule the budget "
                "of %d bytes holds %lld",
                (long long)most + 1, (long long)most + 1, BUDGET, (long long)most);
            expect_refusal(s.table, &wanted, words);
        }
        stop(&s);
    }
    hone_context_free(context);
}

/* Row numbers stay, so what counts are rows, not keys; and a budget may hold no row at all. */
static void test_few_keys_of_many_rows(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    const int64_t most = capacity(context, "adamw"), large = capacity(context, "sgd");
    hone_table_options options = budget_options("sgd"), wanted = budget_options("adamw");
    struct subject s = start(context, &options);
    fill(&s, large);
    int64_t *const keys = malloc((size_t)large * sizeof *keys);
    for (int64_t i = 0; i < large; i++)
        keys[i] = i;
    require(hone_table_erase(s.table, keys, large - 3, NULL, &error), &error);
    free(keys);
    char words[200];
    snprintf(words, sizeof words,
             "%lld rows, 3 of them with keys; by the new rule the budget of %d "
             "bytes holds %lld",
             (long long)large, BUDGET, (long long)most);
    expect_refusal(s.table, &wanted, words);
    stop(&s);
    options.width = 1100; /* one row of sgd fits what the index leaves, and none of adamw */
    options.max_bytes = (4 << 16) + 6000;
    s = start(context, &options);
    fill(&s, 1);
    expect_refusal(s.table, &wanted, "max_bytes is 268144; a table of this width and rule needs");
    stop(&s);
    hone_context_free(context);
}

/* Keys of which so many agree in the first bits of their places that segments split and stay empty,
 * as a stranger could choose them. */
static void crowd(struct subject *s)
{
    enum { GROUPS = 3, OF_GROUP = 1500 };
    static int64_t keys[OF_GROUP], rows[OF_GROUP];
    for (uint64_t group = 0; group < GROUPS; group++) {
        size_t count = 0;
        for (int64_t key = 0; count < OF_GROUP; key++) {
            const uint64_t hash = hone_index_hash(key, s->table->stream);
            if (hone_index_place(hash) >> 56 == 60 * group + 17 && hone_index_bucket(hash) < 16)
                keys[count++] = key;
        }
        require(hone_table_insert(s->table, keys, OF_GROUP, rows, NULL, &error), &error);
    }
    assert_true(hone_table_bytes(s->table) <= BUDGET);
}

/* The index takes more than large rows leave; and where these are there first, no
 * more than that. */
static void test_an_index_that_is_too_large(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = budget_options("sgd"), wanted = budget_options("adamw");
    struct subject s = start(context, &options);
    crowd(&s);
    char words[200];
    snprintf(words, sizeof words, "its index takes %llu bytes; by the new rule the rows leave it ",
             (unsigned long long)hone_table_index_bytes(s.table));
    expect_refusal(s.table, &wanted, words);
    require(hone_table_change_rule(s.table, &options, &error), &error); /* smaller rows leave it */
    assert_true(hone_table_bytes(s.table) <= BUDGET);
    stop(&s);
    s = start(context, &options);
    require(hone_table_change_rule(s.table, &wanted, &error), &error);
    crowd(&s);
    fill(&s, capacity(context, "adamw"));
    assert_true(hone_table_bytes(s.table) <= BUDGET);
    stop(&s);
    hone_context_free(context);
}

/* A refusal leaves no trace that training could find, evictions, admission and
 * increments included. */
static void test_a_refusal_leaves_no_trace(void **state)
{
    (void)state;
    char folder[FOLDER_SIZE];
    hone_context *const context = make_context(2, NULL);
    hone_table_options options = budget_options("sgd"), wanted = budget_options("adamw");
    options.admit_count = 2;
    options.admit_counters = 3000;
    struct subject s = start(context, &options), twin = start(context, &options),
                   again = start(context, &options);
    make_folder(folder);
    train(&s, 0, 40); /* 11,000 keys */
    train(&twin, 0, 40);
    for (uint64_t step = 40; step < 80; step++) {
        hone_snapshot *snapshot = NULL;
        const hone_snapshot_kind kind = step == 40 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT;
        require(hone_snapshot_take(&snapshot, &s.table, 1, kind, &error), &error);
        require(hone_snapshot_write(snapshot, folder, NULL, 0, &error), &error);
        hone_snapshot_free(snapshot);
        look(&s, step, 1500);
        assert_int_equal(hone_table_change_rule(s.table, &wanted, &error), HONE_ERROR_RANGE);
        learn(&s, step);
        erase_some(&s, step);
        train(&twin, step, step + 1);
    }
    assert_same(s.table, twin.table);
    assert_true(s.table->removals > 80 * 50); /* rows were evicted */
    hone_restore_report report;
    require(hone_snapshot_restore(&again.table, 1, folder, &report, &error), &error);
    assert_int_equal(report.files, 40);
    train(&again, 79, 80);
    assert_same(again.table, twin.table);
    stop(&s);
    stop(&twin);
    stop(&again);
    remove_folder(folder);
    hone_context_free(context);
}

/* ---- memory that runs out -------------------------------------------------------------------- */

/* At each allocation in turn: nothing has changed, increments go on, and with memory again the
 * change is as it would have been. */
static void test_memory_runs_out(void **state)
{
    (void)state;
    struct counting counting = {0};
    hone_context_options context_options;
    hone_context_options_init(&context_options);
    context_options.threads = 1;
    context_options.allocator = counting_allocator(&counting);
    hone_context *context = NULL;
    require(hone_context_create(&context, &context_options, &error), &error);
    hone_table_options options = budget_options("sgd"), wanted = budget_options("adamw");
    options.admit_count = wanted.admit_count = 2;
    options.admit_counters = wanted.admit_counters = 3000;
    struct subject s = start(context, &options), twin = start(context, &options);
    char folder[FOLDER_SIZE];
    make_folder(folder);
    train(&s, 0, 10);
    train(&twin, 0, 10);
    hone_snapshot *snapshot = NULL;
    require(hone_snapshot_take(&snapshot, &s.table, 1, HONE_SNAPSHOT_FULL, &error), &error);
    require(hone_snapshot_write(snapshot, folder, NULL, 0, &error), &error);
    hone_snapshot_free(snapshot);
    hone_status status = HONE_ERROR_MEMORY;
    size_t failures = 0;
    for (size_t k = 1;; k++, failures++) {
        struct state before = state_of(s.table);
        const size_t blocks = counting.blocks, bytes = counting.bytes;
        counting.fail_at = counting.calls + k;
        status = hone_table_change_rule(s.table, &wanted, &error);
        counting.fail_at = 0;
        if (status == HONE_OK) {
            free(before.bytes);
            break;
        }
        assert_int_equal(status, HONE_ERROR_MEMORY);
        assert_int_equal(counting.blocks, blocks);
        assert_int_equal(counting.bytes, bytes);
        assert_state(before, s.table);
        require(hone_snapshot_take(&snapshot, &s.table, 1, HONE_SNAPSHOT_INCREMENT, &error),
                &error);
        assert_int_equal(hone_snapshot_rows(snapshot), 0);
        require(hone_snapshot_write(snapshot, folder, NULL, 0, &error), &error);
        hone_snapshot_free(snapshot);
    }
    assert_true(failures > 10);
    assert_int_equal(hone_snapshot_take(&snapshot, &s.table, 1, HONE_SNAPSHOT_INCREMENT, &error),
                     HONE_ERROR_ARGUMENT);
    require(hone_table_change_rule(twin.table, &wanted, &error), &error);
    assert_same(s.table, twin.table);
    train(&s, 10, 50);
    train(&twin, 10, 50);
    assert_same(s.table, twin.table);
    stop(&s);
    stop(&twin);
    remove_folder(folder);
    hone_context_free(context);
    assert_int_equal(counting.blocks, 0);
    assert_int_equal(counting.wrong, 0);
}

/* ---- decay that is owed ---------------------------------------------------------------------- */

/* Rows that the last steps did not touch have their decay before the rule goes that owes it: as in
 * a table all of whose rows are met just before, which makes up for it too. */
static void test_decay_is_made_up_for(void **state)
{
    (void)state;
    static const hone_dtype dtypes[] = {HONE_F32, HONE_BF16};
    hone_context *const context = make_context(2, NULL);
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        hone_table_options options = plain_options(WIDTH, "adamw");
        options.decay = HONE_DECAY_CATCH_UP;
        options.dtype = dtypes[d];
        options.stochastic = true; /* of the 16-bit one */
        hone_table_options wanted = options;
        wanted.rule = "sgd";
        wanted.decay = HONE_DECAY_DEFAULT;
        struct subject s = start(context, &options), met = start(context, &options);
        require(hone_table_set(s.table, "weight_decay", 0.5, &error), &error);
        require(hone_table_set(met.table, "weight_decay", 0.5, &error), &error);
        require(hone_table_set(s.table, "lr", 0.1, &error), &error);
        require(hone_table_set(met.table, "lr", 0.1, &error), &error);
        train(&s, 0, 15);
        train(&met, 0, 15);
        const int64_t n = hone_table_count(s.table);
        int64_t *const keys = malloc((size_t)n * 2 * sizeof *keys), *const rows = keys + n;
        float *const values = malloc((size_t)n * 3 * WIDTH * sizeof *values);
        float *const expected = values + n * WIDTH, *const before = expected + n * WIDTH;
        const hone_tensor view = ROWS(values, HONE_F32, n, WIDTH),
                          was = ROWS(before, HONE_F32, n, WIDTH),
                          wants = ROWS(expected, HONE_F32, n, WIDTH);
        require(hone_table_keys(s.table, keys, &error), &error);
        require(hone_table_find(s.table, keys, n, rows, NULL, &error), &error);
        require(hone_table_gather(s.table, rows, n, NULL, &was, &error), &error);
        require(hone_table_change_rule(s.table, &wanted, &error), &error);
        require(hone_table_gather(s.table, rows, n, NULL, &view, &error), &error);
        require(
            hone_table_lookup(met.table, met.lookup, keys, n, HONE_LOOKUP_TRAIN, &wants, &error),
            &error);
        assert_memory_equal(values, expected, (size_t)n * WIDTH * sizeof *values);
        assert_memory_not_equal(values, before, (size_t)n * WIDTH * sizeof *values);
        free(keys);
        free(values);
        stop(&s);
        stop(&met);
    }
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_that_fit_go_on),
        cmocka_unit_test(test_smaller_rows_leave_room),
        cmocka_unit_test(test_the_last_row_that_fits),
        cmocka_unit_test(test_few_keys_of_many_rows),
        cmocka_unit_test(test_an_index_that_is_too_large),
        cmocka_unit_test(test_a_refusal_leaves_no_trace),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_decay_is_made_up_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
