/* SPDX-License-Identifier: Apache-2.0 */
/* How long a snapshot keeps training waiting: the time of hone_snapshot_take after a batch of rows
 * has been stepped, beside a copy of as many bytes in a row. Prints CSV: kind, rows copied, bytes,
 * milliseconds of the take, of the copy, and of the writing that training need not wait for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hone/hone.h>

#define ROWS ((int64_t)1 << 19)
#define WIDTH 64
#define BATCH ((int64_t)65536)
#define ROUNDS 5

static void require(hone_status status, const hone_error *error)
{
    if (status == HONE_OK)
        return;
    fprintf(stderr, "bench: %s\n", error->message);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double copy(uint64_t bytes)
{
    char *const from = malloc(bytes), *const to = malloc(bytes);
    memset(from, 1, bytes);
    memset(to, 2, bytes);
    const double start = now();
    memcpy(to, from, bytes);
    const double took = now() - start;
    if (to[bytes / 2] != 1)
        exit(1);
    free(from);
    free(to);
    return took;
}

static void save(hone_table *table, hone_snapshot_kind kind, const char *directory)
{
    hone_snapshot *snapshot = NULL;
    hone_error error;
    const double start = now();
    require(hone_snapshot_take(&snapshot, &table, 1, kind, &error), &error);
    const double took = now() - start;
    const uint64_t bytes = hone_snapshot_bytes(snapshot);
    const double copied = copy(bytes), writing = now();
    require(hone_snapshot_write(snapshot, directory, NULL, 0, &error), &error);
    printf("%s,%lld,%llu,%.2f,%.2f,%.2f\n", kind == HONE_SNAPSHOT_FULL ? "full" : "increment",
           (long long)hone_snapshot_rows(snapshot), (unsigned long long)bytes, 1e3 * took,
           1e3 * copied, 1e3 * (now() - writing));
    hone_snapshot_free(snapshot);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s EMPTY_DIRECTORY\n", argv[0]);
        return 2;
    }
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = 1;
    hone_table_options o;
    hone_table_options_init(&o);
    o.width = WIDTH;
    hone_context *context = NULL;
    hone_table *table = NULL;
    hone_lookup *lookup = NULL;
    hone_error error;
    require(hone_context_create(&context, &options, &error), &error);
    require(hone_table_create(&table, context, "bench", &o, &error), &error);
    require(hone_lookup_create(&lookup, table, &error), &error);
    int64_t *const keys = malloc((size_t)BATCH * sizeof *keys);
    float *const grads = calloc((size_t)(BATCH * WIDTH), sizeof *grads);
    const int64_t shape[] = {BATCH, WIDTH};
    const hone_tensor view = hone_tensor_view(grads, HONE_F32, 2, shape);
    printf("kind,rows,bytes,take_ms,copy_ms,write_ms\n");
    for (int64_t b = 0; b < ROWS / BATCH + ROUNDS; b++) {
        for (int64_t i = 0; i < BATCH; i++)
            keys[i] = (b * BATCH + i) * 0x9e3779b1 % ROWS;
        require(hone_table_lookup(table, lookup, keys, BATCH, HONE_LOOKUP_TRAIN, NULL, &error),
                &error);
        require(hone_table_apply(table, lookup, &view, NULL, &error), &error);
        if (b == ROWS / BATCH - 1)
            save(table, HONE_SNAPSHOT_FULL, argv[1]);
        if (b >= ROWS / BATCH)
            save(table, HONE_SNAPSHOT_INCREMENT, argv[1]);
    }
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
    free(keys);
    free(grads);
    return 0;
}
