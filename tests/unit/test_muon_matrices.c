/* SPDX-License-Identifier: Apache-2.0 */
/* Muon's matrices of low rank and bad condition against the oracle; and matrices that are stepped
 * together against the same ones alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/oracle_muon.h"
#include "support/checks.h"
#include "support/numbers.h"
#include "support/random.h"

enum { FLOAT32, BFLOAT16 };
enum { BATCH = 1 };

static void set(hone_optimizer *optimizer, const char *name, double value)
{
    OK(hone_optimizer_set(optimizer, 0, name, value, &problem));
}

/* ---- hard matrices -------------------------------------------------------------------------- */

/* What one step with nothing but the matrix makes of it: minus the orthogonalised matrix. */
static void orthogonalise(const float *matrix, int64_t rows, int64_t columns, int products,
                          float *found)
{
    hone_context *const context = test_context(2, NULL);
    hone_optimizer *const optimizer = test_optimizer(context, "muon");
    set(optimizer, "lr", 1);
    set(optimizer, "momentum", 0);
    set(optimizer, "nesterov", 0);
    set(optimizer, "weight_decay", 0);
    set(optimizer, "products", products);
    const int64_t shape[] = {rows, columns};
    memset(found, 0, sizeof *found * (size_t)(rows * columns));
    const hone_tensor param = hone_tensor_view(found, HONE_F32, 2, shape);
    const hone_tensor grad = hone_tensor_view((void *)(uintptr_t)matrix, HONE_F32, 2, shape);
    OK(hone_optimizer_add(optimizer, "w", &param, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &grad, &problem));
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    hone_optimizer_free(optimizer);
    hone_context_free(context);
}

enum { HARD_ROWS = 96, HARD_COLUMNS = 160 };

/* What is not 0 of a null space grows by a^5 = 485 in five steps, so that exact arithmetic itself
 * makes this of one rounding of a matrix of low rank to float, relative to the norm of what it
 * leaves, which is about the root of the rank. The steps round several times. */
#define GROWTH (485 * 0x1p-24)

/* The sum of `rank` outer products of random vectors, the last of them `least` times the first. */
static void fill_hard(float *matrix, int rank, double least)
{
    struct random random = {11};
    double *const sum = calloc(HARD_ROWS * HARD_COLUMNS, sizeof *sum);
    assert_non_null(sum);
    for (int k = 0; k < rank; k++) {
        const double size = rank == 1 ? 1 : pow(least, k / (double)(rank - 1));
        double left[HARD_ROWS], right[HARD_COLUMNS];
        for (int i = 0; i < HARD_ROWS; i++)
            left[i] = size * random_signed(&random);
        for (int j = 0; j < HARD_COLUMNS; j++)
            right[j] = random_signed(&random);
        for (int i = 0; i < HARD_ROWS; i++)
            for (int j = 0; j < HARD_COLUMNS; j++)
                sum[i * HARD_COLUMNS + j] += left[i] * right[j];
    }
    for (int i = 0; i < HARD_ROWS * HARD_COLUMNS; i++)
        matrix[i] = (float)sum[i];
    free(sum);
}

static double relative_distance(const double *found, const double *wanted)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < HARD_ROWS * HARD_COLUMNS; i++) {
        difference += (found[i] - wanted[i]) * (found[i] - wanted[i]);
        size += wanted[i] * wanted[i];
    }
    return sqrt(difference / size);
}

static double library_distance(const float *matrix, int products, const double *wanted)
{
    static float moved[HARD_ROWS * HARD_COLUMNS];
    static double found[HARD_ROWS * HARD_COLUMNS];
    orthogonalise(matrix, HARD_ROWS, HARD_COLUMNS, products, moved);
    for (size_t i = 0; i < HARD_ROWS * HARD_COLUMNS; i++)
        found[i] = -(double)moved[i];
    return relative_distance(found, wanted);
}

/* With bfloat16, no farther from exact arithmetic than PyTorch's roundings. */
static void test_hard_matrices(void **state)
{
    (void)state;
    static const struct {
        int rank;
        double least;
    } cases[] = {{1, 1}, {8, 1}, {HARD_ROWS, 1e-3}, {HARD_ROWS, 1e-6}};
    static float matrix[HARD_ROWS * HARD_COLUMNS];
    static double update[HARD_ROWS * HARD_COLUMNS], wanted[HARD_ROWS * HARD_COLUMNS],
        rounded[HARD_ROWS * HARD_COLUMNS];
    for (int k = 0; k < 4; k++) {
        fill_hard(matrix, cases[k].rank, cases[k].least);
        for (size_t i = 0; i < HARD_ROWS * HARD_COLUMNS; i++)
            update[i] = (double)matrix[i];
        oracle_muon_options options = oracle_muon_default_options();
        oracle_muon_orthogonalize(&options, HARD_ROWS, HARD_COLUMNS, update, wanted);
        options.bfloat16 = true;
        oracle_muon_orthogonalize(&options, HARD_ROWS, HARD_COLUMNS, update, rounded);
        const double wide = library_distance(matrix, FLOAT32, wanted);
        const double narrow = library_distance(matrix, BFLOAT16, wanted);
        const double pytorch = relative_distance(rounded, wanted);
        const bool full = cases[k].rank == HARD_ROWS;
        const double allowed = full ? 1e-5 : 3 * GROWTH / sqrt(cases[k].rank);
        if (!(wide <= allowed) || !(narrow <= pytorch))
            fail_msg(
                "rank %d, least %g: %g and with bfloat16 %g from the oracle, allowed %g and %g",
                cases[k].rank, cases[k].least, wide, narrow, allowed, pytorch);
    }
}

/* ---- many matrices -------------------------------------------------------------------------- */

/* Batches, rows and columns: alone and shared by threads, by tiles and by CBLAS. */
static const int64_t shapes[][3] = {{1, 300, 64}, {1, 64, 300}, {1, 300, 64},  {1, 40, 50},
                                    {9, 64, 70},  {1, 16, 16},  {1, 200, 200}, {1, 40, 50}};
enum { COUNT = sizeof shapes / sizeof shapes[0], CALLS = 2 };

static size_t size_of(int k)
{
    return (size_t)(shapes[k][0] * shapes[k][1] * shapes[k][2]);
}

static void fill(float *values, size_t count, uint64_t seed)
{
    struct random random = {seed};
    for (size_t i = 0; i < count; i++)
        values[i] = (float)random_signed(&random);
}

/* Steps the matrices from first up to end in one optimizer. */
static void run(int threads, int products, int first, int end, float **params)
{
    hone_context *const context = test_context(threads, NULL);
    hone_optimizer *const optimizer = test_optimizer(context, "muon");
    float *grads[COUNT];
    set(optimizer, "products", products);
    set(optimizer, "matrices", BATCH);
    for (int k = first; k < end; k++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", k);
        grads[k] = malloc(size_of(k) * sizeof *grads[k]);
        assert_non_null(grads[k]);
        fill(params[k], size_of(k), (uint64_t)k + 1);
        const hone_tensor param = hone_tensor_view(params[k], HONE_F32, 3, shapes[k]);
        const hone_tensor grad = hone_tensor_view(grads[k], HONE_F32, 3, shapes[k]);
        OK(hone_optimizer_add(optimizer, name, &param, 0, NULL, &problem));
        OK(hone_optimizer_set_grad(optimizer, k - first, &grad, &problem));
    }
    for (int call = 0; call < CALLS; call++) {
        for (int k = first; k < end; k++)
            fill(grads[k], size_of(k), (uint64_t)(100 * (call + 1) + k));
        OK(hone_optimizer_step(optimizer, NULL, &problem));
    }
    for (int k = first; k < end; k++)
        free(grads[k]);
    hone_optimizer_free(optimizer);
    hone_context_free(context);
}

/* Whatever is stepped at once, and by however many threads, a matrix gets the bits
 * it gets alone. */
static void test_together(void **state)
{
    (void)state;
    float *together[COUNT], *alone[COUNT];
    for (int k = 0; k < COUNT; k++) {
        together[k] = malloc(size_of(k) * sizeof *together[k]);
        alone[k] = malloc(size_of(k) * sizeof *alone[k]);
        assert_true(together[k] != NULL && alone[k] != NULL);
    }
    for (int products = FLOAT32; products <= BFLOAT16; products++) {
        for (int k = 0; k < COUNT; k++)
            run(1, products, k, k + 1, alone);
        for (int threads = 2; threads <= (test_is_quick() ? 2 : 5); threads += 3) {
            run(threads, products, 0, COUNT, together);
            for (int k = 0; k < COUNT; k++)
                assert_memory_equal(together[k], alone[k], size_of(k) * sizeof *alone[k]);
        }
    }
    for (int k = 0; k < COUNT; k++) {
        free(together[k]);
        free(alone[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hard_matrices),
        cmocka_unit_test(test_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
