/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of random unique rows of a table far beyond the caches, against a bare loop that moves the
 * same bytes in the same order with the same prefetch. Prints CSV: what, threads, width, rows in the
 * table, millions of rows per second; the loop reads and writes values and both moments of each row
 * and reads its gradient. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>
#include <sys/mman.h>

#include "support.h"

#define BATCH 65536
#define AHEAD 16 /* with requests up to the second cache: faster than 2 to 8, and than the first */
#define HUGE_PAGE ((size_t)1 << 21)

/* A permutation of 0..n-1, so that batches are unique. */
static int64_t *shuffled(int64_t n)
{
    int64_t *const order = bench_demand(malloc((size_t)n * sizeof *order));
    uint64_t state = 1;
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t j = (int64_t)bench_random(&state, (uint64_t)(i + 1));
        const int64_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    return order;
}

/* The bytes of a step and no arithmetic to speak of. */
static double bare_loop(int64_t rows, size_t width, const int64_t *order, const float *grads,
                        int threads)
{
    const size_t stride = 3 * width;
    const size_t size = ((size_t)rows * stride * sizeof(float) + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    float *const records = aligned_alloc(HUGE_PAGE, size);
    madvise(records, size, MADV_HUGEPAGE); /* as the table asks for */
    memset(records, 0, size);
    const int64_t batches = rows / BATCH;
    const double start = bench_now();
    for (int64_t b = 0; b < batches; b++) {
        const int64_t *const list = order + b * BATCH;
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t i = 0; i < BATCH; i++) {
            if (i + AHEAD < BATCH)
                for (size_t k = 0; k < stride; k += 16)
                    __builtin_prefetch(records + (size_t)list[i + AHEAD] * stride + k, 0, 2);
            float *const w = records + (size_t)list[i] * stride, *const m = w + width,
                         *const v = m + width;
            const float *const g = grads + (size_t)i * width;
#pragma omp simd
            for (size_t d = 0; d < width; d++) {
                m[d] += g[d];
                v[d] += g[d];
                w[d] -= g[d];
            }
        }
    }
    const double took = bench_now() - start;
    free(records);
    return (double)(batches * BATCH) / took / 1e6;
}

static double steps(int64_t rows, size_t width, const int64_t *order, const float *grads,
                    int threads, const char *rule, double *looked_up)
{
    hone_context *const context = bench_context(threads);
    hone_table *table = NULL;
    hone_lookup *lookup = NULL;
    hone_error error;
    hone_table_options o;
    hone_table_options_init(&o);
    o.width = (int64_t)width;
    o.rule = rule;
    o.initial = HONE_INITIAL_CONSTANT;
    bench_require(hone_table_create(&table, context, "bench", &o, &error), &error);
    bench_require(hone_lookup_create(&lookup, table, &error), &error);
    int64_t *const found = bench_demand(malloc(BATCH * sizeof *found));
    int64_t *const keys = bench_demand(malloc(BATCH * sizeof *keys));
    for (int64_t first = 0; first < rows; first += BATCH) {
        for (int64_t i = 0; i < BATCH; i++)
            keys[i] = first + i;
        bench_require(hone_table_insert(table, keys, BATCH, found, NULL, &error), &error);
    }
    const int64_t shape[] = {BATCH, (int64_t)width};
    const hone_tensor view = hone_tensor_view((void *)(uintptr_t)grads, HONE_F32, 2, shape);
    double looking = 0, learning = 0;
    const int64_t batches = rows / BATCH;
    for (int64_t b = 0; b < batches; b++) {
        const double start = bench_now();
        bench_require(hone_table_lookup(table, lookup, order + b * BATCH, BATCH, HONE_LOOKUP_TRAIN,
                                        NULL, &error),
                      &error);
        const double middle = bench_now();
        bench_require(hone_table_apply(table, lookup, &view, NULL, &error), &error);
        looking += middle - start;
        learning += bench_now() - middle;
    }
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
    free(found);
    free(keys);
    *looked_up = (double)(batches * BATCH) / looking / 1e6;
    return (double)(batches * BATCH) / learning / 1e6;
}

int main(int argc, char **argv)
{
    const int64_t rows = (argc > 1 ? atoll(argv[1]) : 1 << 21) / BATCH * BATCH;
    const size_t width = argc > 2 ? (size_t)atoll(argv[2]) : 64;
    const int most = argc > 3 ? atoi(argv[3]) : omp_get_num_procs();
    const int rounds = argc > 4 ? atoi(argv[4]) : 1;
    if (rows < BATCH || width < 1 || width > 4096) {
        fprintf(stderr, "usage: %s [rows >= %d] [width 1..4096] [threads] [rounds]\n", argv[0],
                BATCH);
        return 2;
    }
    int64_t *const order = shuffled(rows);
    float *const grads = bench_demand(malloc((size_t)BATCH * width * sizeof *grads));
    for (size_t i = 0; i < (size_t)BATCH * width; i++)
        grads[i] = (float)(i % 17) * 0.01f - 0.08f;
    printf("what,threads,width,rows,Mrows_per_s,lookup_Mrows_per_s\n");
    for (int run = 0; run < rounds * most; run++) {
        const int threads = run % most + 1;
        const char *const rules[] = {"sparse_adamw", "adamw", "rowwise_adagrad"};
        printf("bare loop,%d,%zu,%lld,%.2f,\n", threads, width, (long long)rows,
               bare_loop(rows, width, order, grads, threads));
        for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
            double looked_up;
            const double speed = steps(rows, width, order, grads, threads, rules[i], &looked_up);
            printf("%s,%d,%zu,%lld,%.2f,%.2f\n", rules[i], threads, width, (long long)rows, speed,
                   looked_up);
        }
        fflush(stdout);
    }
    free(order);
    free(grads);
    return 0;
}
