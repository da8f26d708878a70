/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of random calls on tables of random making. At any moment a second run is restored from the
 * first one's files, with another number of threads, and told the same calls: everything that a
 * copy holds stays the same, and so does what each call answers. */
#include "support/checks.h"
#include "support/fixtures.h"
#include "table_subject.h"

#include <math.h>

#define TABLES 2
#define MOST_KEYS 700
#define MOST_WIDTH 6
#define CALLS 80

static hone_error error;

/* ---- tables of random making ----------------------------------------------------------------- */

struct kind {
    hone_table_options options;
    const char *schedule; /* NULL: none */
};

struct run {
    hone_context *context;
    hone_table *tables[TABLES];
    hone_lookup *lookups[TABLES];
    uint64_t evicted; /* changes with every key that is told of */
};

static void note_evicted(int64_t key, const void *row, void *user)
{
    struct run *const run = user;
    run->evicted = run->evicted * 31 + (uint64_t)key + *(const unsigned char *)row;
}

static uint64_t below(uint64_t *random, uint64_t end)
{
    return next_random(random) % end;
}

static const char *draw_rule(uint64_t *random)
{
    static const char *const presets[] = {"sparse_adam", "sparse_adamw", "sparse_adamw_tf",
                                          "rowwise_adagrad", "rowwise_adam"};
    if (below(random, 2) == 0)
        return presets[below(random, COUNT(presets))];
    const hone_rule *rule;
    do
        rule = hone_rule_at((int)below(random, (uint64_t)hone_rule_count()));
    while (hone_rule_is_matrix(rule));
    return hone_rule_name(rule);
}

static struct kind draw_kind(uint64_t *random)
{
    static const hone_dtype dtypes[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};
    static const char *const schedules[] = {NULL, "{\"type\":\"exponential\",\"gamma\":0.9}",
                                            "{\"type\":\"cosine_annealing\",\"T_max\":7}"};
    struct kind kind = {.schedule = schedules[below(random, COUNT(schedules))]};
    hone_table_options *const o = &kind.options;
    *o = plain_options(1 + (int64_t)below(random, MOST_WIDTH), draw_rule(random));
    o->dtype = dtypes[below(random, 4)];
    o->stochastic = below(random, 2) == 0;
    o->bias = (hone_bias)below(random, HONE_BIAS_ROW + 1);
    o->decay = (hone_decay)below(random, HONE_DECAY_CATCH_UP + 1);
    o->nonfinite = (hone_row_policy)below(random, HONE_ROW_QUARANTINE + 1);
    o->admit_count = 1 + (uint32_t)below(random, 3);
    o->admit_counters = 100 + below(random, 1000);
    o->admit_probability = below(random, 3) == 0 ? 0.5 : 1;
    o->max_bytes = below(random, 2) == 0 ? 0 : 400000;
    o->evict_rare = below(random, 2) == 0;
    return kind;
}

static void start(struct run *run, const struct kind *kinds, int threads)
{
    static const char *const names[TABLES] = {"a", "b"};
    *run = (struct run){.context = make_context(threads, NULL)};
    for (int t = 0; t < TABLES; t++) {
        hone_table_options options = kinds[t].options;
        hone_schedule *schedule = NULL;
        options.evicted = note_evicted;
        options.evicted_user = run;
        run->tables[t] = make_table(run->context, names[t], &options);
        require(hone_lookup_create(&run->lookups[t], run->tables[t], &error), &error);
        hone_table_set(run->tables[t], "weight_decay", 0.01, NULL);
        if (kinds[t].schedule == NULL)
            continue;
        require(hone_schedule_parse(&schedule, run->context, kinds[t].schedule,
                                    strlen(kinds[t].schedule), &error),
                &error);
        require(hone_table_set_schedule(run->tables[t], schedule, &error), &error);
        hone_schedule_free(schedule);
    }
}

static void stop(struct run *run)
{
    for (int t = 0; t < TABLES; t++) {
        hone_lookup_free(run->lookups[t]);
        hone_table_free(run->tables[t]);
    }
    hone_context_free(run->context);
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct batch {
    int64_t n, keys[MOST_KEYS];
    float grads[MOST_KEYS * MOST_WIDTH];
};

static void draw_batch(struct batch *b, uint64_t *random)
{
    const uint64_t range = below(random, 2) == 0 ? 200 : 4000;
    b->n = (int64_t)below(random, MOST_KEYS);
    for (int64_t i = 0; i < b->n; i++)
        b->keys[i] = (int64_t)below(random, range) - 100;
    for (int64_t i = 0; i < b->n * MOST_WIDTH; i++)
        b->grads[i] = below(random, 3000) == 0 ? NAN : random_float(random);
}

/* Looks the batch up, one by one or in bags, and learns from it; rows may go between the two. */
static hone_status learn(hone_table *table, hone_lookup *lookup, const struct batch *b,
                         uint64_t *random)
{
    const int64_t width = hone_table_width(table), offsets[] = {0, b->n / 3, b->n / 3, b->n};
    const bool bags = below(random, 3) == 0;
    const hone_tensor grads = ROWS(b->grads, HONE_F32, bags ? 3 : b->n, width);
    hone_status status =
        bags ? hone_table_lookup_bags(table, lookup, b->keys, b->n, offsets, 3, NULL,
                                      HONE_POOLING_MEAN, HONE_LOOKUP_TRAIN, NULL, &error)
             : hone_table_lookup(table, lookup, b->keys, b->n, HONE_LOOKUP_TRAIN, NULL, &error);
    if (status == HONE_OK && below(random, 3) == 0)
        status = hone_table_erase(table, b->keys, b->n / 3, NULL, &error);
    if (status == HONE_OK && below(random, 2) == 0)
        return hone_table_add_gradients(table, lookup, &grads, &error);
    return status == HONE_OK ? hone_table_apply(table, lookup, &grads, NULL, &error) : status;
}

static hone_status set_something(hone_table *table, uint64_t *random)
{
    const uint64_t value = 1 + below(random, 4);
    switch (below(random, 6)) {
    case 0:
        return hone_table_set(table, "lr", 0.01 * (double)value, &error);
    case 1:
        return hone_table_set_step(table, value, &error);
    case 2:
        return hone_table_schedule_step(table, &error);
    case 3:
        return hone_table_set_loss_scale(table, (double)value, &error);
    case 4:
        hone_table_set_clock(table, below(random, 20));
        return HONE_OK;
    default:
        return hone_table_set_grad_accum_steps(table, (int64_t)value, value % 2 == 0, &error);
    }
}

static hone_status call(struct run *run, int t, const struct batch *b, uint64_t random)
{
    hone_table *const table = run->tables[t];
    int64_t rows[MOST_KEYS];
    const hone_eviction policies[] = {
        {.unseen_lookups = 3}, {.unseen_time = 9}, {.least_frequency = 2}, {.least_norm = 0.02}};
    switch (below(&random, 10)) {
    case 0:
        return hone_table_erase(table, b->keys, b->n, NULL, &error);
    case 1:
        return hone_table_insert(table, b->keys, b->n, rows, NULL, &error);
    case 2:
        return hone_table_evict(table, &policies[below(&random, 4)], 300, NULL, &error);
    case 3:
        hone_table_zero_grad(table);
        return HONE_OK;
    case 4:
        return hone_table_step(table, NULL, &error);
    case 5:
        return set_something(table, &random);
    default:
        return learn(table, run->lookups[t], b, &random);
    }
}

/* ---- saving and comparing -------------------------------------------------------------------- */

/* A snapshot, which the disk has room for or not. True: it was written. */
static bool save(struct run *run, const char *folder, bool full, uint64_t *random)
{
    const hone_snapshot_kind kind =
        full || below(random, 4) == 0 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT;
    const bool room = below(random, 3) > 0;
    hone_snapshot *snapshot = NULL;
    require(hone_snapshot_take(&snapshot, run->tables, TABLES, kind, &error), &error);
    if (room)
        require(hone_snapshot_write(snapshot, folder, NULL, 0, &error), &error);
    hone_snapshot_free(snapshot);
    return room;
}

static void assert_same(struct run *a, struct run *b, uint64_t story)
{
    size_t size, other;
    void *const bytes = pack_tables(a->tables, TABLES, &size), *const others = pack_tables(
                                                                   b->tables, TABLES, &other);
    if (size != other || memcmp(bytes, others, size) != 0)
        fail_msg("story %llu: copies of %zu and %zu bytes differ", (unsigned long long)story, size,
                 other);
    free(bytes);
    free(others);
}

static void tell(uint64_t story)
{
    static struct batch b;
    struct run first, second;
    struct kind kinds[TABLES];
    char folder[FOLDER_SIZE];
    uint64_t random = story;
    bool saved = false, twins = false;
    make_folder(folder);
    for (int t = 0; t < TABLES; t++)
        kinds[t] = draw_kind(&random);
    start(&first, kinds, 1 + (int)(story % 2));
    for (int i = 0; i < CALLS; i++) {
        const int t = (int)below(&random, TABLES);
        draw_batch(&b, &random);
        const uint64_t what = next_random(&random);
        const hone_status status = call(&first, t, &b, what);
        assert_true(status == HONE_OK || status == HONE_ERROR_NONFINITE ||
                    status == HONE_ERROR_ARGUMENT || status == HONE_ERROR_RANGE);
        if (twins) {
            assert_int_equal(call(&second, t, &b, what), status);
            assert_int_equal(second.evicted, first.evicted);
        }
        if (below(&random, 8) > 0 || !save(&first, folder, !saved, &random))
            continue;
        saved = true;
        if (twins) {
            assert_same(&first, &second, story);
            stop(&second);
        }
        start(&second, kinds, 3 - (int)(story % 2));
        require(hone_snapshot_restore(second.tables, TABLES, folder, NULL, &error), &error);
        assert_same(&first, &second, story);
        second.evicted = first.evicted;
        twins = true;
    }
    if (twins) {
        assert_same(&first, &second, story);
        stop(&second);
    }
    stop(&first);
    remove_folder(folder);
}

static void test_restored_runs_go_on(void **state)
{
    (void)state;
    const uint64_t stories = test_is_quick() ? 20 : 200;
    for (uint64_t story = 1; story <= stories; story++)
        tell(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_restored_runs_go_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
