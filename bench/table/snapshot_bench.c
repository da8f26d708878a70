/* SPDX-License-Identifier: Apache-2.0 */
/* How long a snapshot keeps training waiting: the time of hone_snapshot_take, beside a plain copy of
 * as many bytes into memory that is new to the process, as a snapshot's is, and into memory that it
 * has touched before. The plain copies come first, so that memory which the machine must fetch from
 * its host is there for the snapshot, too. Prints CSV: kind, rows copied, bytes, milliseconds of the
 * take, of both copies, and of the writing that training need not wait for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "support.h"

#define ROWS ((int64_t)1 << 19)
#define WIDTH 64
#define BATCH ((int64_t)65536)
#define ROUNDS 5
#define HUGE_PAGE ((size_t)2 << 20)

static double timed_copy(void *to, const void *from, size_t bytes)
{
    const double start = bench_now();
    memcpy(to, from, bytes);
    return bench_now() - start;
}

/* Into new memory, asked for as the library's is, and once more. */
static void copy(size_t bytes, double *fresh, double *warm)
{
    void *from = malloc(bytes), *to = NULL;
    if (from == NULL || posix_memalign(&to, HUGE_PAGE, bytes) != 0)
        exit(1);
    madvise(to, bytes, MADV_HUGEPAGE);
    memset(from, 1, bytes);
    *fresh = timed_copy(to, from, bytes);
    *warm = timed_copy(to, from, bytes);
    if (((char *)to)[bytes / 2] != 1)
        exit(1);
    free(from);
    free(to);
}

/* `bytes` are those of a snapshot like this. Returns the present one's. */
static uint64_t save(hone_table *table, hone_snapshot_kind kind, const char *directory,
                     uint64_t bytes)
{
    hone_snapshot *snapshot = NULL;
    hone_error error;
    double fresh = 0, warm = 0;
    if (bytes > 0)
        copy(bytes, &fresh, &warm);
    const double start = bench_now();
    bench_require(hone_snapshot_take(&snapshot, &table, 1, kind, &error), &error);
    const double took = bench_now() - start;
    const double writing = bench_now();
    bench_require(hone_snapshot_write(snapshot, directory, NULL, 0, &error), &error);
    const double wrote = bench_now() - writing;
    const uint64_t size = hone_snapshot_bytes(snapshot);
    if (bytes > 0)
        printf("%s,%lld,%llu,%.2f,%.2f,%.2f,%.2f\n",
               kind == HONE_SNAPSHOT_FULL ? "full" : "increment",
               (long long)hone_snapshot_rows(snapshot), (unsigned long long)size, 1e3 * took,
               1e3 * fresh, 1e3 * warm, 1e3 * wrote);
    hone_snapshot_free(snapshot);
    return size;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: %s EMPTY_DIRECTORY [THREADS]\n", argv[0]);
        return 2;
    }
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = argc == 3 ? atoi(argv[2]) : 1;
    hone_table_options o;
    hone_table_options_init(&o);
    o.width = WIDTH;
    hone_context *const context = bench_context(1);
    hone_table *table = NULL;
    hone_lookup *lookup = NULL;
    hone_error error;
    bench_require(hone_table_create(&table, context, "bench", &o, &error), &error);
    bench_require(hone_lookup_create(&lookup, table, &error), &error);
    int64_t *const keys = malloc((size_t)BATCH * sizeof *keys);
    float *const grads = calloc((size_t)(BATCH * WIDTH), sizeof *grads);
    const int64_t shape[] = {BATCH, WIDTH};
    const hone_tensor view = hone_tensor_view(grads, HONE_F32, 2, shape);
    uint64_t full = 0, increment = 0;
    printf("kind,rows,bytes,take_ms,fresh_copy_ms,warm_copy_ms,write_ms\n");
    for (int64_t b = 0; b <= ROWS / BATCH + ROUNDS; b++) {
        for (int64_t i = 0; i < BATCH; i++)
            keys[i] = (b * BATCH + i) * 0x9e3779b1 % ROWS;
        bench_require(
            hone_table_lookup(table, lookup, keys, BATCH, HONE_LOOKUP_TRAIN, NULL, &error), &error);
        bench_require(hone_table_apply(table, lookup, &view, NULL, &error), &error);
        for (int round = 0; b == ROWS / BATCH - 1 && round <= ROUNDS; round++)
            full = save(table, HONE_SNAPSHOT_FULL, argv[1], full);
        if (b >= ROWS / BATCH)
            increment = save(table, HONE_SNAPSHOT_INCREMENT, argv[1], increment);
    }
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
    free(keys);
    free(grads);
    return 0;
}
