/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: every key is legal, rows are functions of seed, name and key, batches do not depend on
 * threads, and what is refused is refused whole. */
#include "table_subject.h"

#include <math.h>

#define MANY 40000

static hone_status lookup_all(hone_table *table, const int64_t *keys, int64_t n, float *out)
{
    hone_error error;
    hone_lookup *lookup = NULL;
    require(hone_lookup_create(&lookup, table, &error), &error);
    const hone_tensor view = ROWS(out, HONE_F32, n, hone_table_width(table));
    const hone_status status =
        hone_table_lookup(table, lookup, keys, n, HONE_LOOKUP_TRAIN, &view, &error);
    hone_lookup_free(lookup);
    return status;
}

static void test_every_key_is_legal(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    const hone_table_options options = plain_options(3, "sgd");
    hone_table *const table = make_table(context, "t", &options);
    const int64_t keys[] = {0, -1, 1, INT64_MIN, INT64_MAX, -2, INT64_MIN + 1, 0, -1};
    int64_t rows[COUNT(keys)], missing, count;
    hone_error error;
    require(hone_table_find(table, keys, COUNT(keys), rows, &missing, &error), &error);
    assert_int_equal(missing, COUNT(keys));
    require(hone_table_insert(table, keys, COUNT(keys), rows, &count, &error), &error);
    assert_int_equal(count, 7);
    for (int i = 0; i < 7; i++)
        assert_int_equal(rows[i], i);
    assert_int_equal(rows[7], 0);
    assert_int_equal(rows[8], 1);
    require(hone_table_erase(table, keys, COUNT(keys), &count, &error), &error);
    assert_int_equal(count, 7);
    assert_int_equal(hone_table_count(table), 0);
    require(hone_table_find(table, keys, COUNT(keys), rows, &missing, &error), &error);
    assert_int_equal(missing, COUNT(keys));
    hone_table_free(table);
    hone_context_free(context);
}

static void test_rows_are_functions_of_keys(void **state)
{
    (void)state;
    const hone_initial kinds[] = {HONE_INITIAL_CONSTANT,        HONE_INITIAL_UNIFORM,
                                  HONE_INITIAL_NORMAL,          HONE_INITIAL_TRUNCATED_NORMAL,
                                  HONE_INITIAL_XAVIER_UNIFORM,  HONE_INITIAL_XAVIER_NORMAL,
                                  HONE_INITIAL_KAIMING_UNIFORM, HONE_INITIAL_KAIMING_NORMAL};
    enum { WIDTH = 19, N = 3000 };
    static int64_t forward[N], backward[N];
    static float a[N][WIDTH], b[N][WIDTH];
    for (int i = 0; i < N; i++) {
        forward[i] = (int64_t)i * 977 - 1234567;
        backward[N - 1 - i] = forward[i];
    }
    hone_context *const one = make_context(1, "base"), *const two = make_context(2, NULL);
    for (size_t k = 0; k < COUNT(kinds); k++) {
        hone_table_options options = plain_options(WIDTH, "sgd");
        options.initial = kinds[k];
        options.initial_a = 0.5;
        options.initial_b = 0.75;
        hone_table *const first = make_table(one, "t", &options);
        hone_table *const second = make_table(two, "t", &options);
        hone_table *const other = make_table(two, "u", &options);
        assert_int_equal(lookup_all(first, forward, N, &a[0][0]), HONE_OK);
        assert_int_equal(lookup_all(second, backward, N, &b[0][0]), HONE_OK);
        double sum = 0;
        for (int i = 0; i < N; i++) {
            assert_memory_equal(a[i], b[N - 1 - i], sizeof a[i]);
            for (int d = 0; d < WIDTH; d++)
                sum += (double)a[i][d] / (N * WIDTH);
        }
        const double mean = k == 1 ? 0.625 : k == 0 || k == 2 || k == 3 ? 0.5 : 0;
        assert_true(fabs(sum - mean) < 0.02);
        assert_int_equal(lookup_all(other, forward, N, &b[0][0]), HONE_OK);
        assert_true(k == 0 || memcmp(a, b, sizeof a) != 0);
        hone_table_free(first);
        hone_table_free(second);
        hone_table_free(other);
    }
    hone_context_free(one);
    hone_context_free(two);
}

/* Mean and deviation of a normal, and no value beyond two deviations when truncated. */
static void test_normal_rows_have_their_moments(void **state)
{
    (void)state;
    enum { WIDTH = 64, N = 4000 };
    static int64_t keys[N];
    static float rows[N][WIDTH];
    for (int i = 0; i < N; i++)
        keys[i] = i;
    hone_context *const context = make_context(2, NULL);
    for (int truncated = 0; truncated < 2; truncated++) {
        hone_table_options options = plain_options(WIDTH, "sgd");
        options.initial = truncated ? HONE_INITIAL_TRUNCATED_NORMAL : HONE_INITIAL_NORMAL;
        options.initial_b = 1;
        hone_table *const table = make_table(context, "t", &options);
        assert_int_equal(lookup_all(table, keys, N, &rows[0][0]), HONE_OK);
        double sum = 0, squares = 0, most = 0;
        for (int i = 0; i < N * WIDTH; i++) {
            const double x = (double)rows[i / WIDTH][i % WIDTH];
            sum += x;
            squares += x * x;
            most = fmax(most, fabs(x));
        }
        const double deviation = sqrt(squares / (N * WIDTH));
        assert_true(fabs(sum / (N * WIDTH)) < 0.01);
        assert_true(fabs(deviation - (truncated ? 0.8796 : 1)) < 0.01); /* sqrt(0.7737) */
        assert_true(truncated ? most <= 2 && most > 1.99 : most > 4);
        hone_table_free(table);
    }
    hone_context_free(context);
}

/* The same batches on one and two threads and at every level: the same rows, the same bits. */
static void test_threads_and_levels_agree(void **state)
{
    (void)state;
    enum { WIDTH = 9, N = 20000, STEPS = 6 };
    static int64_t keys[N];
    static float grads[N * WIDTH], out[3][N * WIDTH];
    static int64_t rows[3][N];
    const char *const levels[] = {"base", NULL, NULL};
    for (int run = 0; run < 3; run++) {
        hone_context *const context = make_context(run == 2 ? 3 : 1, levels[run]);
        hone_table_options options = plain_options(WIDTH, "adamw");
        hone_table *const table = make_table(context, "t", &options);
        hone_lookup *lookup = NULL;
        hone_error error;
        require(hone_lookup_create(&lookup, table, &error), &error);
        uint64_t random = 1;
        for (int step = 0; step < STEPS; step++) {
            for (int i = 0; i < N; i++) {
                const uint64_t r = next_random(&random);
                keys[i] = (int64_t)(r % (r >> 60 == 0 ? 50 : MANY));
            }
            for (int i = 0; i < N * WIDTH; i++)
                grads[i] = random_float(&random);
            const hone_tensor view = ROWS(grads, HONE_F32, N, WIDTH);
            require(hone_table_lookup(table, lookup, keys, N, HONE_LOOKUP_TRAIN, NULL, &error),
                    &error);
            require(hone_table_apply(table, lookup, &view, NULL, &error), &error);
            if (step % 2 == 1)
                require(hone_table_erase(table, keys, N / 4, NULL, &error), &error);
        }
        const hone_tensor view = ROWS(out[run], HONE_F32, N, WIDTH);
        require(hone_table_insert(table, keys, N, rows[run], NULL, &error), &error);
        require(hone_table_gather(table, rows[run], N, NULL, &view, &error), &error);
        hone_lookup_free(lookup);
        hone_table_free(table);
        hone_context_free(context);
    }
    for (int run = 1; run < 3; run++) {
        assert_memory_equal(rows[0], rows[run], sizeof rows[0]);
        assert_memory_equal(out[0], out[run], sizeof out[0]);
    }
}

/* Of values for one row the last ones stay, whichever thread writes them. */
static void test_the_last_of_repeated_rows_stays(void **state)
{
    (void)state;
    enum { WIDTH = 2, N = 20000, ROWS_USED = 700 };
    static int64_t keys[N], rows[N];
    static float values[N][WIDTH], out[N][WIDTH];
    static double wide[N][WIDTH];
    for (int threads = 1; threads <= 3; threads++) {
        hone_context *const context = make_context(threads, NULL);
        const hone_table_options options = plain_options(WIDTH, "sgd");
        hone_table *const table = make_table(context, "t", &options);
        hone_error error;
        uint64_t random = 3;
        int last[ROWS_USED] = {0};
        for (int i = 0; i < N; i++) {
            keys[i] = (int64_t)(next_random(&random) % ROWS_USED);
            values[i][0] = values[i][1] = (float)i;
            last[keys[i]] = i;
        }
        require(hone_table_insert(table, keys, N, rows, NULL, &error), &error);
        const hone_tensor in = ROWS(values, HONE_F32, N, WIDTH),
                          view = ROWS(out, HONE_F32, N, WIDTH),
                          wide_view = ROWS(wide, HONE_F64, N, WIDTH);
        require(hone_table_scatter(table, rows, N, NULL, &in, &error), &error);
        require(hone_table_gather(table, rows, N, NULL, &view, &error), &error);
        require(hone_table_gather(table, rows, N, NULL, &wide_view, &error), &error);
        for (int i = 0; i < N; i++) {
            assert_memory_equal(out[i], values[last[keys[i]]], sizeof out[i]);
            assert_true(wide[i][0] == out[i][0] && wide[i][1] == out[i][1]);
        }
        hone_table_free(table);
        hone_context_free(context);
    }
}

/* A row that counts its own steps is a parameter of its own: the bits of a dense optimizer. */
static void test_rows_equal_parameters(void **state)
{
    (void)state;
    enum { WIDTH = 21, STEPS = 5 };
    hone_context *const context = make_context(1, NULL);
    hone_error error;
    const hone_dtype dtypes[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};
    for (int r = 0; r < hone_rule_count(); r++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            if (hone_rule_is_matrix(hone_rule_at(r)))
                continue;
            const char *const rule = hone_rule_name(hone_rule_at(r));
            hone_table_options options = plain_options(WIDTH, rule);
            options.dtype = dtypes[d];
            hone_table *const table = make_table(context, "t", &options);
            hone_spec *spec = NULL;
            hone_optimizer *optimizer = NULL;
            require(hone_spec_create(&spec, context, rule, &error), &error);
            require(hone_optimizer_create(&optimizer, context, spec, &error), &error);
            const int64_t key = 99, shape[] = {WIDTH};
            int64_t row, index;
            double values[WIDTH], found[WIDTH], grads[WIDTH];
            memset(values, 0, sizeof values);
            require(hone_table_insert(table, &key, 1, &row, NULL, &error), &error);
            const hone_tensor raw = ROWS(values, dtypes[d], 1, WIDTH);
            require(hone_table_gather(table, &row, 1, NULL, &raw, &error), &error);
            const hone_tensor param = hone_tensor_view(values, dtypes[d], 1, shape);
            require(hone_optimizer_add(optimizer, "p", &param, 0, &index, &error), &error);
            uint64_t random = 5;
            for (int step = 0; step < STEPS; step++) {
                const hone_dtype gdtype = dtypes[d] == HONE_F64 ? HONE_F64 : HONE_F32;
                for (int i = 0; i < WIDTH; i++)
                    if (gdtype == HONE_F64)
                        grads[i] = (double)random_float(&random);
                    else
                        ((float *)(void *)grads)[i] = random_float(&random);
                const hone_tensor dense = hone_tensor_view(grads, gdtype, 1, shape);
                const hone_tensor sparse = ROWS(grads, gdtype, 1, WIDTH);
                require(hone_optimizer_set_grad(optimizer, index, &dense, &error), &error);
                require(hone_optimizer_step(optimizer, NULL, &error), &error);
                require(hone_table_apply_gradients(table, &key, 1, &sparse, NULL, &error), &error);
                const int64_t other = step; /* rows come and go beside it */
                require(hone_table_insert(table, &other, 1, &row, NULL, &error), &error);
            }
            require(hone_table_find(table, &key, 1, &row, NULL, &error), &error);
            const hone_tensor after = ROWS(found, dtypes[d], 1, WIDTH);
            require(hone_table_gather(table, &row, 1, NULL, &after, &error), &error);
            assert_memory_equal(values, found, WIDTH * hone_dtype_size(dtypes[d]));
            hone_optimizer_free(optimizer);
            hone_spec_free(spec);
            hone_table_free(table);
        }
    hone_context_free(context);
}

static void test_pooling(void **state)
{
    (void)state;
    hone_context *const context = make_context(2, NULL);
    hone_table_options options = plain_options(2, "sgd");
    hone_table *const table = make_table(context, "t", &options);
    hone_lookup *lookup = NULL;
    hone_error error;
    require(hone_lookup_create(&lookup, table, &error), &error);
    require(hone_table_set(table, "lr", 1, &error), &error);
    const int64_t keys[] = {1, 2, 1, 3}, offsets[] = {0, 2, 2, 4};
    const float rows_in[3][2] = {{1, 2}, {10, 20}, {100, 200}};
    int64_t rows[3];
    require(hone_table_insert(table, (const int64_t[]){1, 2, 3}, 3, rows, NULL, &error), &error);
    const hone_tensor in = ROWS(rows_in, HONE_F32, 3, 2);
    require(hone_table_scatter(table, rows, 3, NULL, &in, &error), &error);
    float out[3][2];
    const hone_tensor view = ROWS(out, HONE_F32, 3, 2);
    const float values[] = {2, 3, 4, 5};
    static const int64_t four = 4;
    const hone_tensor given = hone_tensor_view((void *)(uintptr_t)values, HONE_F32, 1, &four);
    require(hone_table_lookup_bags(table, lookup, keys, 4, offsets, 3, NULL, HONE_POOLING_MEAN,
                                   HONE_LOOKUP_READ_ONLY, &view, &error),
            &error);
    assert_memory_equal(out, ((const float[3][2]){{5.5f, 11}, {0, 0}, {50.5f, 101}}), sizeof out);
    require(hone_table_lookup_bags(table, lookup, keys, 4, offsets, 3, &given, HONE_POOLING_SUM,
                                   HONE_LOOKUP_TRAIN, &view, &error),
            &error);
    assert_memory_equal(out, ((const float[3][2]){{32, 64}, {0, 0}, {504, 1008}}), sizeof out);
    /* the gradient of a bag reaches each key times its weight; key 1 is in two bags */
    const float grads_in[3][2] = {{1, 0}, {7, 7}, {0, 1}};
    const hone_tensor grads = ROWS(grads_in, HONE_F32, 3, 2);
    require(hone_table_apply(table, lookup, &grads, NULL, &error), &error);
    require(hone_table_gather(table, rows, 3, NULL, &view, &error), &error);
    assert_memory_equal(out, ((const float[3][2]){{-1, -2}, {7, 20}, {100, 195}}), sizeof out);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
}

/* Rows of F64 are weighted and averaged in double, and so are their gradients. */
static void test_pooling_in_double(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(1, "sgd");
    options.dtype = HONE_F64;
    options.initial = HONE_INITIAL_CONSTANT;
    options.initial_a = 0.1;
    hone_table *const table = make_table(context, "t", &options);
    hone_lookup *lookup = NULL;
    hone_error error;
    require(hone_lookup_create(&lookup, table, &error), &error);
    require(hone_table_set(table, "lr", 1, &error), &error);
    static const int64_t three = 3;
    const int64_t keys[] = {1, 2, 3}, offsets[] = {0, 3};
    double values[] = {0.1, 0.7, 1e-9}, out[3], grad = 0.3;
    const hone_tensor weights = hone_tensor_view(values, HONE_F64, 1, &three);
    const hone_tensor pooled = ROWS(out, HONE_F64, 1, 1), slope = ROWS(&grad, HONE_F64, 1, 1);
    const hone_tensor rows = ROWS(out, HONE_F64, 3, 1);
    require(hone_table_lookup_bags(table, lookup, keys, 3, offsets, 1, &weights, HONE_POOLING_MEAN,
                                   HONE_LOOKUP_TRAIN, &pooled, &error),
            &error);
    assert_true(fabs(out[0] - 0.1 * (0.1 + 0.7 + 1e-9) / 3) < 1e-17);
    require(hone_table_apply(table, lookup, &slope, NULL, &error), &error);
    require(hone_table_gather(table, hone_lookup_rows(lookup), 3, NULL, &rows, &error), &error);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(out[i] - (0.1 - 0.3 * values[i] / 3)) < 1e-16);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
}

/* A gradient that waits belongs to the row it was made for, not to the key's or the row's next. */
static void test_gradients_of_removed_rows_are_dropped(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(1, "sgd");
    options.initial = HONE_INITIAL_CONSTANT;
    hone_table *const table = make_table(context, "t", &options);
    hone_lookup *lookup = NULL;
    hone_error error;
    hone_table_report report;
    require(hone_lookup_create(&lookup, table, &error), &error);
    const float grad[] = {1, 1};
    const hone_tensor view = ROWS(grad, HONE_F32, 2, 1);
    for (int waiting = 0; waiting < 2; waiting++) {
        /* the last freed record is the first to serve again: 7 gets 6's, and 5 its own */
        const int64_t keys[] = {5, 6}, successor[] = {7, 5};
        require(hone_table_lookup(table, lookup, keys, 2, HONE_LOOKUP_TRAIN, NULL, &error), &error);
        if (waiting)
            require(hone_table_add_gradients(table, lookup, &view, &error), &error);
        require(hone_table_erase(table, keys, 2, NULL, &error), &error);
        int64_t rows[2];
        require(hone_table_insert(table, successor, 2, rows, NULL, &error), &error);
        assert_true(rows[0] == 1 && rows[1] == 0);
        if (waiting)
            require(hone_table_step(table, &report, &error), &error);
        else
            require(hone_table_apply(table, lookup, &view, &report, &error), &error);
        assert_int_equal(report.stale, 2);
        assert_int_equal(report.stepped, 0);
        float out[2];
        const hone_tensor now = ROWS(out, HONE_F32, 2, 1);
        require(hone_table_gather(table, rows, 2, NULL, &now, &error), &error);
        assert_true(out[0] == 0 && out[1] == 0);
        const int64_t back[] = {7, 5};
        require(hone_table_erase(table, back, 2, NULL, &error), &error);
    }
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
}

static void test_gradients_that_are_not_finite(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    for (int policy = HONE_ROW_PROPAGATE; policy <= HONE_ROW_QUARANTINE; policy++) {
        hone_table_options options = plain_options(1, "sgd");
        options.initial = HONE_INITIAL_CONSTANT;
        options.nonfinite = (hone_row_policy)policy;
        hone_table *const table = make_table(context, "t", &options);
        hone_error error;
        hone_table_report report = {0};
        const int64_t keys[] = {1, 2};
        int64_t rows[2];
        require(hone_table_insert(table, keys, 2, rows, NULL, &error), &error);
        const float grad[] = {NAN, 1};
        const hone_tensor view = ROWS(grad, HONE_F32, 2, 1);
        const hone_status status =
            hone_table_apply_gradients(table, keys, 2, &view, &report, &error);
        assert_int_equal(status, policy == HONE_ROW_ERROR ? HONE_ERROR_NONFINITE : HONE_OK);
        float out[2];
        const hone_tensor now = ROWS(out, HONE_F32, 2, 1);
        require(hone_table_gather(table, rows, 2, NULL, &now, &error), &error);
        assert_true(policy == HONE_ROW_PROPAGATE ? isnan(out[0]) : out[0] == 0);
        assert_true(policy == HONE_ROW_ERROR ? out[1] == 0 : out[1] < 0);
        assert_int_equal(report.quarantined, policy == HONE_ROW_QUARANTINE);
        assert_int_equal(hone_table_step_count(table), policy == HONE_ROW_ERROR ? 0 : 1);
        hone_table_free(table);
    }
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_is_legal),
        cmocka_unit_test(test_rows_are_functions_of_keys),
        cmocka_unit_test(test_normal_rows_have_their_moments),
        cmocka_unit_test(test_threads_and_levels_agree),
        cmocka_unit_test(test_the_last_of_repeated_rows_stays),
        cmocka_unit_test(test_rows_equal_parameters),
        cmocka_unit_test(test_pooling),
        cmocka_unit_test(test_pooling_in_double),
        cmocka_unit_test(test_gradients_of_removed_rows_are_dropped),
        cmocka_unit_test(test_gradients_that_are_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
