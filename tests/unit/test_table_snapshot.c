/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of tables: full and increments restore a run to the bit, damage is found and named, a
 * killed writer leaves the last good state. */
#include "support/fixtures.h"
#include "table_subject.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIDTH 5
#define BATCH 700

/* ---- a run that is a function of its steps --------------------------------------------------- */

struct subject {
    hone_context *context;
    hone_table *tables[2];
    hone_lookup *lookups[2];
};

static void start(struct subject *s, int threads)
{
    s->context = make_context(threads, NULL);
    hone_table_options options = plain_options(WIDTH, "sparse_adamw");
    options.admit_count = 2;
    options.admit_counters = 5000;
    s->tables[0] = make_table(s->context, "items", &options);
    options = plain_options(WIDTH, "adamw");
    options.dtype = HONE_BF16;
    options.stochastic = true;
    options.max_bytes = 800000;
    s->tables[1] = make_table(s->context, "users", &options);
    hone_error error;
    require(hone_table_set_grad_accum_steps(s->tables[0], 2, true, &error), &error);
    for (int t = 0; t < 2; t++)
        require(hone_lookup_create(&s->lookups[t], s->tables[t], &error), &error);
}

static void stop(struct subject *s)
{
    for (int t = 0; t < 2; t++) {
        hone_lookup_free(s->lookups[t]);
        hone_table_free(s->tables[t]);
    }
    hone_context_free(s->context);
}

/* Step `step`, from 0; keys drift so that rows come and go. */
static void train(struct subject *s, uint64_t step)
{
    hone_error error;
    for (int t = 0; t < 2; t++) {
        uint64_t random = step * 2 + (uint64_t)t;
        int64_t keys[BATCH];
        float grads[BATCH * WIDTH];
        for (int i = 0; i < BATCH; i++)
            keys[i] = (int64_t)(step * 150 + next_random(&random) % 1500);
        for (int i = 0; i < BATCH * WIDTH; i++)
            grads[i] = random_float(&random);
        const hone_tensor view = ROWS(grads, HONE_F32, BATCH, WIDTH);
        require(hone_table_lookup(s->tables[t], s->lookups[t], keys, BATCH, HONE_LOOKUP_TRAIN, NULL,
                                  &error),
                &error);
        require(hone_table_apply(s->tables[t], s->lookups[t], &view, NULL, &error), &error);
        require(hone_table_erase(s->tables[t], keys, 20, NULL, &error), &error);
    }
}

static void save(struct subject *s, const char *directory, hone_snapshot_kind kind)
{
    hone_error error;
    hone_snapshot *snapshot = NULL;
    require(hone_snapshot_take(&snapshot, s->tables, 2, kind, &error), &error);
    require(hone_snapshot_write(snapshot, directory, NULL, 0, &error), &error);
    hone_snapshot_free(snapshot);
}

static void assert_same(const struct subject *a, const struct subject *b)
{
    hone_error error;
    for (int t = 0; t < 2; t++) {
        const int64_t n = hone_table_count(a->tables[t]);
        assert_int_equal(n, hone_table_count(b->tables[t]));
        const size_t size = (size_t)n * WIDTH * sizeof(float);
        int64_t *const keys = malloc((size_t)n * 4 * sizeof *keys);
        float *const x = malloc(2 * size), *const y = x + (size_t)n * WIDTH;
        require(hone_table_keys(a->tables[t], keys, &error), &error);
        require(hone_table_keys(b->tables[t], keys + n, &error), &error);
        require(hone_table_find(a->tables[t], keys, n, keys + 2 * n, NULL, &error), &error);
        require(hone_table_find(b->tables[t], keys, n, keys + 3 * n, NULL, &error), &error);
        assert_memory_equal(keys, keys + n, (size_t)n * sizeof *keys);
        assert_memory_equal(keys + 2 * n, keys + 3 * n, (size_t)n * sizeof *keys);
        const char *const slots[] = {NULL, "exp_avg", "exp_avg_sq"};
        for (int k = 0; k < 3; k++) {
            const hone_tensor vx = ROWS(x, HONE_F32, n, WIDTH), vy = ROWS(y, HONE_F32, n, WIDTH);
            require(hone_table_gather(a->tables[t], keys + 2 * n, n, slots[k], &vx, &error),
                    &error);
            require(hone_table_gather(b->tables[t], keys + 2 * n, n, slots[k], &vy, &error),
                    &error);
            assert_memory_equal(x, y, size);
        }
        free(keys);
        free(x);
    }
}

/* ---- directories ----------------------------------------------------------------------------- */

static void flip_byte(const char *directory, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *const file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, -100, SEEK_END);
    const int byte = fgetc(file);
    fseek(file, -100, SEEK_END);
    fputc(byte ^ 4, file);
    fclose(file);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_a_chain_restores_the_run(void **state)
{
    (void)state;
    char directory[FOLDER_SIZE];
    make_folder(directory);
    struct subject whole, again;
    hone_error error;
    hone_restore_report report;
    start(&whole, 1);
    for (uint64_t step = 0; step < 25; step++) {
        train(&whole, step);
        if (step == 6 || step == 9 || step == 10 || step == 15)
            save(&whole, directory, step == 6 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT);
    }
    for (int threads = 1; threads <= 3; threads += 2) {
        start(&again, threads);
        require(hone_snapshot_restore(again.tables, 2, directory, &report, &error), &error);
        assert_int_equal(report.files, 4);
        assert_string_equal(report.problem, "");
        for (uint64_t step = 16; step < 25; step++)
            train(&again, step);
        assert_same(&whole, &again);
        stop(&again);
    }
    stop(&whole);
    remove_folder(directory);
}

/* A damaged or missing increment: the state before it, and its name. */
static void test_damage_is_named(void **state)
{
    (void)state;
    for (int missing = 0; missing < 2; missing++) {
        char directory[FOLDER_SIZE], path[128];
        make_folder(directory);
        struct subject whole, again;
        hone_error error;
        hone_restore_report report;
        start(&whole, 1);
        start(&again, 1);
        for (uint64_t step = 0; step < 4; step++) {
            train(&whole, step);
            save(&whole, directory, step == 0 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT);
        }
        snprintf(path, sizeof path, "%s/000000000003-increment.safetensors", directory);
        if (missing)
            unlink(path);
        else
            flip_byte(directory, "000000000003-increment.safetensors");
        require(hone_snapshot_restore(again.tables, 2, directory, &report, &error), &error);
        assert_int_equal(report.files, 2);
        assert_non_null(strstr(report.problem, missing ? "000000000004" : "000000000003"));
        stop(&whole);
        start(&whole, 1);
        train(&whole, 0);
        train(&whole, 1);
        assert_same(&whole, &again);
        /* training goes on from there, and so does the chain */
        train(&again, 2);
        save(&again, directory, HONE_SNAPSHOT_INCREMENT);
        train(&whole, 2);
        stop(&again);
        start(&again, 1);
        require(hone_snapshot_restore(again.tables, 2, directory, &report, &error), &error);
        assert_int_equal(report.files, 3);
        assert_same(&whole, &again);
        /* nothing sound at all: an error, and the tables are empty */
        stop(&again);
        start(&again, 1);
        flip_byte(directory, "000000000001-full.safetensors");
        assert_int_equal(hone_snapshot_restore(again.tables, 2, directory, &report, &error),
                         HONE_ERROR_FORMAT);
        assert_non_null(strstr(error.message, "checksum"));
        assert_int_equal(hone_table_count(again.tables[0]), 0);
        stop(&whole);
        stop(&again);
        remove_folder(directory);
    }
}

/* What a snapshot held that was never written is in the next one. */
static void test_an_unwritten_snapshot_loses_nothing(void **state)
{
    (void)state;
    char directory[FOLDER_SIZE];
    make_folder(directory);
    struct subject whole, again;
    hone_error error;
    start(&whole, 1);
    start(&again, 1);
    hone_snapshot *snapshot = NULL, *second = NULL;
    assert_int_equal(
        hone_snapshot_take(&snapshot, whole.tables, 2, HONE_SNAPSHOT_INCREMENT, &error),
        HONE_ERROR_ARGUMENT);
    for (uint64_t step = 0; step < 8; step++) {
        train(&whole, step);
        if (step == 0) {
            save(&whole, directory, HONE_SNAPSHOT_FULL);
            continue;
        }
        const hone_snapshot_kind kind = step == 4 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT;
        require(hone_snapshot_take(&snapshot, whole.tables, 2, kind, &error), &error);
        assert_int_equal(hone_snapshot_take(&second, whole.tables, 2, kind, &error),
                         HONE_ERROR_ARGUMENT);
        if (step % 2 == 1)
            require(hone_snapshot_write(snapshot, directory, NULL, 0, &error), &error);
        else
            assert_int_equal(hone_snapshot_write(snapshot, "/nonexistent/place", NULL, 0, &error),
                             HONE_ERROR_IO);
        hone_snapshot_free(snapshot);
    }
    hone_restore_report report;
    require(hone_snapshot_restore(again.tables, 2, directory, &report, &error), &error);
    assert_int_equal(report.files, 5);
    assert_same(&whole, &again);
    stop(&whole);
    stop(&again);
    remove_folder(directory);
}

/* A file-size limit stops the writing after any number of bytes, as a full disk does: the error
 * says so, the files before it stay the state that is restored, and the same snapshot can be
 * written again when there is room. */
static void test_a_full_disk_loses_nothing(void **state)
{
    (void)state;
    static const rlim_t limits[] = {0, 7, 100, 4096, 30000};
    char directory[FOLDER_SIZE];
    make_folder(directory);
    struct subject whole;
    hone_error error;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*const handler)(int) = signal(SIGXFSZ, SIG_IGN);
    start(&whole, 1);
    train(&whole, 0);
    save(&whole, directory, HONE_SNAPSHOT_FULL);
    for (uint64_t step = 1; step <= COUNT(limits); step++) {
        train(&whole, step);
        hone_snapshot *snapshot = NULL;
        require(hone_snapshot_take(&snapshot, whole.tables, 2, HONE_SNAPSHOT_INCREMENT, &error),
                &error);
        struct rlimit limit = old;
        limit.rlim_cur = limits[step - 1];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        const hone_status status = hone_snapshot_write(snapshot, directory, NULL, 0, &error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, HONE_ERROR_IO);
        assert_non_null(strstr(error.message, "File too large"));
        struct subject again;
        hone_restore_report report;
        start(&again, 1);
        require(hone_snapshot_restore(again.tables, 2, directory, &report, &error), &error);
        assert_int_equal(report.files, step);
        assert_string_equal(report.problem, "");
        stop(&again);
        require(hone_snapshot_write(snapshot, directory, NULL, 0, &error), &error);
        hone_snapshot_free(snapshot);
        start(&again, 1);
        require(hone_snapshot_restore(again.tables, 2, directory, &report, &error), &error);
        assert_int_equal(report.files, step + 1);
        assert_same(&whole, &again);
        stop(&again);
    }
    signal(SIGXFSZ, handler);
    stop(&whole);
    remove_folder(directory);
}

/* An increment is as large as what changed, however many rows are free and sights counted; and the
 * free rows are used in the order in which they would have been. */
static void test_increments_hold_what_changed(void **state)
{
    (void)state;
    enum { N = 20000, FEW = 10 };
    static int64_t keys[N], rows[N], found[N];
    char directory[FOLDER_SIZE];
    make_folder(directory);
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(1, "sgd");
    options.admit_count = 2; /* with 2^20 counters */
    hone_table *const table = make_table(context, "t", &options);
    hone_lookup *lookup = NULL;
    hone_table *again = make_table(context, "t", &options);
    hone_error error;
    for (int64_t i = 0; i < N; i++)
        keys[i] = i;
    require(hone_lookup_create(&lookup, table, &error), &error);
    require(hone_table_insert(table, keys, N, rows, NULL, &error), &error);
    require(hone_table_erase(table, keys, N, NULL, &error), &error);
    for (int i = 0; i < 4; i++) {
        hone_snapshot *snapshot = NULL;
        if (i > 0) { /* from the list, and back to it */
            require(hone_table_insert(table, keys, 2 * FEW, rows, NULL, &error), &error);
            require(hone_table_erase(table, keys + i, FEW, NULL, &error), &error);
            require(hone_table_lookup(table, lookup, keys, FEW, HONE_LOOKUP_TRAIN, NULL, &error),
                    &error);
        }
        require(hone_snapshot_take(&snapshot, &table, 1,
                                   i == 0 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT, &error),
                &error);
        assert_true(i == 0 || hone_snapshot_bytes(snapshot) < 4000);
        if (i != 2)
            require(hone_snapshot_write(snapshot, directory, NULL, 0, &error), &error);
        hone_snapshot_free(snapshot);
    }
    require(hone_snapshot_restore(&again, 1, directory, NULL, &error), &error);
    require(hone_table_insert(table, keys, N, rows, NULL, &error), &error);
    require(hone_table_insert(again, keys, N, found, NULL, &error), &error);
    assert_memory_equal(rows, found, sizeof rows);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_table_free(again);
    hone_context_free(context);
    remove_folder(directory);
}

static void make_empty(const char *directory, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *const file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

/* A run that begins anew where another has left its files is the one that is restored. */
static void test_a_run_in_a_used_directory(void **state)
{
    (void)state;
    char directory[FOLDER_SIZE];
    make_folder(directory);
    make_empty(directory, "-1-full.safetensors"); /* not of ours, whatever number that may be */
    make_empty(directory, "+9-increment.safetensors");
    make_empty(directory, "7-full.safetensors");
    struct subject whole, again;
    hone_error error;
    hone_restore_report report;
    for (int run = 0; run < 2; run++) {
        start(&whole, 1);
        for (uint64_t step = 0; step < 5 - 2 * (uint64_t)run; step++) {
            train(&whole, step);
            save(&whole, directory, step == 0 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT);
        }
        start(&again, 1);
        require(hone_snapshot_restore(again.tables, 2, directory, &report, &error), &error);
        assert_int_equal(report.files, run == 0 ? 5 : 3);
        assert_int_equal(report.sequence, run == 0 ? 5 : 8);
        assert_string_equal(report.problem, "");
        assert_same(&whole, &again);
        stop(&again);
        stop(&whole);
    }
    /* numbers do not go on for ever */
    make_empty(directory, "999999999999-increment.safetensors");
    start(&whole, 1);
    hone_snapshot *snapshot = NULL;
    require(hone_snapshot_take(&snapshot, whole.tables, 2, HONE_SNAPSHOT_FULL, &error), &error);
    assert_int_equal(hone_snapshot_write(snapshot, directory, NULL, 0, &error), HONE_ERROR_RANGE);
    assert_non_null(strstr(error.message, "a snapshot of number 999999999999"));
    hone_snapshot_free(snapshot);
    stop(&whole);
    remove_folder(directory);
}

/* A snapshot of empty tables that is freed after a restore would have increments follow the wrong
 * file: restoring waits. */
static void test_restoring_waits_for_a_snapshot(void **state)
{
    (void)state;
    char directory[FOLDER_SIZE];
    make_folder(directory);
    struct subject whole, again;
    hone_error error;
    hone_snapshot *snapshot = NULL;
    start(&whole, 1);
    start(&again, 1);
    train(&whole, 0);
    save(&whole, directory, HONE_SNAPSHOT_FULL);
    require(hone_snapshot_take(&snapshot, again.tables, 2, HONE_SNAPSHOT_FULL, &error), &error);
    assert_int_equal(hone_snapshot_restore(again.tables, 2, directory, NULL, &error),
                     HONE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "a snapshot is at work"));
    hone_snapshot_free(snapshot);
    require(hone_snapshot_restore(again.tables, 2, directory, NULL, &error), &error);
    assert_same(&whole, &again);
    stop(&whole);
    stop(&again);
    remove_folder(directory);
}

/* Rows that came from memory are in no file: an increment would not hold them. */
static void test_rows_from_memory_need_a_full_snapshot(void **state)
{
    (void)state;
    struct subject whole, again;
    char directory[FOLDER_SIZE];
    hone_error error;
    hone_snapshot *snapshot = NULL;
    make_folder(directory);
    start(&whole, 1);
    start(&again, 1);
    save(&again, directory, HONE_SNAPSHOT_FULL); /* of empty tables */
    train(&whole, 0);
    train(&whole, 1);
    require(hone_snapshot_take(&snapshot, whole.tables, 2, HONE_SNAPSHOT_COPY, &error), &error);
    size_t size = 0;
    require(hone_snapshot_pack(snapshot, NULL, 0, &size, &error), &error);
    void *const bytes = malloc(size);
    require(hone_snapshot_pack(snapshot, bytes, size, &size, &error), &error);
    hone_snapshot_free(snapshot);
    require(hone_snapshot_unpack(again.tables, 2, bytes, size, &error), &error);
    assert_same(&whole, &again);
    assert_int_equal(
        hone_snapshot_take(&snapshot, again.tables, 2, HONE_SNAPSHOT_INCREMENT, &error),
        HONE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "an increment needs a full snapshot before it"));
    save(&again, directory, HONE_SNAPSHOT_FULL);
    stop(&again);
    start(&again, 1);
    require(hone_snapshot_restore(again.tables, 2, directory, NULL, &error), &error);
    assert_same(&whole, &again);
    stop(&whole);
    stop(&again);
    free(bytes);
    remove_folder(directory);
}

static void test_other_tables_are_refused(void **state)
{
    (void)state;
    char directory[FOLDER_SIZE];
    make_folder(directory);
    struct subject whole;
    hone_error error;
    start(&whole, 1);
    train(&whole, 0);
    save(&whole, directory, HONE_SNAPSHOT_FULL);
    struct {
        const char *name, *rule, *message;
        int64_t width;
        hone_dtype dtype;
        hone_bias bias;
        hone_decay decay;
        bool stochastic;
    } const cases[] = {
        {"items", "sparse_adamw", "width", WIDTH + 1, HONE_F32, 0, 0, false},
        {"items", "sparse_adamw", "BF16", WIDTH, HONE_BF16, 0, 0, false},
        {"items", "sparse_adam", "follows", WIDTH, HONE_F32, 0, 0, false},
        {"else", "sparse_adamw", "no table", WIDTH, HONE_F32, 0, 0, false},
        {"items", "sparse_adamw",
         "table \"items\" has the bias \"row\"; the snapshot's has \"table\"", WIDTH, HONE_F32,
         HONE_BIAS_ROW, 0, false},
        {"items", "sparse_adamw",
         "table \"items\" has the decay \"catch_up\"; the snapshot's has \"rate\"", WIDTH, HONE_F32,
         0, HONE_DECAY_CATCH_UP, false},
        {"users", "adamw",
         "table \"users\" has the decay \"l2\"; the snapshot's has \"the rule's\"", WIDTH,
         HONE_BF16, 0, HONE_DECAY_L2, true},
        {"users", "adamw",
         "table \"users\" has the rounding \"nearest\"; the snapshot's has \"stochastic\"", WIDTH,
         HONE_BF16, 0, 0, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        hone_table_options options = plain_options(cases[i].width, cases[i].rule);
        options.dtype = cases[i].dtype;
        options.bias = cases[i].bias;
        options.decay = cases[i].decay;
        options.stochastic = cases[i].stochastic;
        hone_table *table = make_table(whole.context, cases[i].name, &options);
        assert_int_equal(hone_snapshot_restore(&table, 1, directory, NULL, &error),
                         HONE_ERROR_MISMATCH);
        if (strstr(error.message, cases[i].message) == NULL)
            fail_msg("\"%s\" was expected in: %s", cases[i].message, error.message);
        assert_int_equal(hone_table_count(table), 0);
        hone_table_free(table);
    }
    assert_int_equal(hone_snapshot_restore(whole.tables, 2, directory, NULL, &error),
                     HONE_ERROR_ARGUMENT);
    stop(&whole);
    remove_folder(directory);
}

/* A child trains and saves; it is killed at any moment; what it left restores to
 * some whole step. */
static void test_killed_while_saving(void **state)
{
    (void)state;
    char directory[FOLDER_SIZE];
    make_folder(directory);
    hone_error error;
    hone_restore_report report;
    uint64_t random = 99, furthest = 0;
    for (int round = 0; round < 25; round++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct subject s;
            start(&s, 1);
            const hone_status status =
                hone_snapshot_restore(s.tables, 2, directory, &report, &error);
            if (status != HONE_OK && status != HONE_ERROR_IO)
                _exit(1);
            uint64_t step = hone_table_step_count(s.tables[1]);
            for (;; step++) {
                if (step % 10 == 0 || status == HONE_OK || step > 0)
                    save(&s, directory,
                         step % 10 == 0 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT);
                train(&s, step);
            }
        }
        const uint64_t patience = furthest == 0 ? (uint64_t)round + 1 : 1;
        usleep((useconds_t)(3000 + next_random(&random) % 40000 * patience));
        kill(child, SIGKILL);
        int how = 0;
        waitpid(child, &how, 0);
        assert_true(WIFSIGNALED(how));
        struct subject found, expected;
        start(&found, 2);
        const hone_status status =
            hone_snapshot_restore(found.tables, 2, directory, &report, &error);
        if (status == HONE_ERROR_IO) { /* killed before its first save */
            stop(&found);
            continue;
        }
        require(status, &error);
        assert_string_equal(report.problem, "");
        const uint64_t steps = hone_table_step_count(found.tables[1]);
        assert_true(steps >= furthest);
        furthest = steps;
        start(&expected, 1);
        for (uint64_t step = 0; step < steps; step++)
            train(&expected, step);
        assert_same(&expected, &found);
        stop(&expected);
        stop(&found);
    }
    assert_true(furthest > 0);
    remove_folder(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chain_restores_the_run),
        cmocka_unit_test(test_damage_is_named),
        cmocka_unit_test(test_an_unwritten_snapshot_loses_nothing),
        cmocka_unit_test(test_a_full_disk_loses_nothing),
        cmocka_unit_test(test_increments_hold_what_changed),
        cmocka_unit_test(test_a_run_in_a_used_directory),
        cmocka_unit_test(test_restoring_waits_for_a_snapshot),
        cmocka_unit_test(test_rows_from_memory_need_a_full_snapshot),
        cmocka_unit_test(test_other_tables_are_refused),
        cmocka_unit_test(test_killed_while_saving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
