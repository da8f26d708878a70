/* SPDX-License-Identifier: Apache-2.0 */
/* End to end: batches of ids are looked up, their rows copied out, gradients summed per row and the
 * rows stepped. Ids come from a file of int64 numbers below `rows`, batch after batch; the rows are
 * there from the start. Trains a turn of so many batches for each line of its input, to the end of the
 * input or of the ids, and prints the median seconds of the turn's batches but the first, which finds
 * what others left in the caches. tools/table_peers.py runs it in turns with other libraries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define FILLED 65536

static int64_t *read_ids(const char *path, size_t *count)
{
    FILE *const file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        fprintf(stderr, "bench: '%s' cannot be read\n", path);
        exit(1);
    }
    *count = (size_t)ftell(file) / sizeof(int64_t);
    rewind(file);
    int64_t *const ids = bench_demand(malloc(*count * sizeof *ids));
    if (fread(ids, sizeof *ids, *count, file) != *count) {
        fprintf(stderr, "bench: '%s' ends early\n", path);
        exit(1);
    }
    fclose(file);
    return ids;
}

static void fill(hone_table *table, int64_t rows)
{
    int64_t *const keys = bench_demand(malloc(2 * FILLED * sizeof *keys));
    hone_error error;
    for (int64_t first = 0; first < rows; first += FILLED) {
        const int64_t n = rows - first < FILLED ? rows - first : FILLED;
        for (int64_t i = 0; i < n; i++)
            keys[i] = first + i;
        bench_require(hone_table_insert(table, keys, n, keys + FILLED, NULL, &error), &error);
    }
    free(keys);
}

struct subject {
    hone_table *table;
    hone_lookup *lookup;
    int64_t batch;
    hone_tensor out, grads;
};

static double train(const struct subject *subject, const int64_t *ids)
{
    hone_error error;
    const double start = bench_now();
    bench_require(hone_table_lookup(subject->table, subject->lookup, ids, subject->batch,
                                    HONE_LOOKUP_TRAIN, &subject->out, &error),
                  &error);
    bench_require(hone_table_apply(subject->table, subject->lookup, &subject->grads, NULL, &error),
                  &error);
    return bench_now() - start;
}

static void take_turns(const struct subject *subject, const int64_t *ids, size_t count, size_t turn)
{
    const size_t batch = (size_t)subject->batch, batches = count / batch;
    double *const took = bench_demand(malloc(turn * sizeof *took));
    for (size_t first = 0; first + turn <= batches; first += turn) {
        for (int c = getchar(); c != '\n'; c = getchar())
            if (c == EOF) {
                free(took);
                return;
            }
        for (size_t b = 0; b < turn; b++)
            took[b] = train(subject, ids + (first + b) * batch);
        printf("%.6f\n", bench_median(took + 1, turn - 1));
        fflush(stdout);
    }
    free(took);
}

/* Aligned as PyTorch's are. */
static float *make_values(size_t count)
{
    const size_t size = (count * sizeof(float) + 63) & ~(size_t)63;
    float *const values = bench_demand(aligned_alloc(64, size));
    memset(values, 0, size);
    return values;
}

int main(int argc, char **argv)
{
    if (argc != 8 || atoll(argv[7]) < 2) {
        fprintf(stderr, "usage: %s IDS rows width batch rule threads batches-of-a-turn >= 2\n",
                argv[0]);
        return 2;
    }
    const int64_t rows = atoll(argv[2]), width = atoll(argv[3]), batch = atoll(argv[4]);
    size_t count;
    int64_t *const ids = read_ids(argv[1], &count);
    hone_table_options o;
    hone_table_options_init(&o);
    o.width = width;
    o.rule = argv[5];
    hone_context *const context = bench_context(atoi(argv[6]));
    struct subject subject = {.batch = batch};
    hone_error error;
    bench_require(hone_table_create(&subject.table, context, "bench", &o, &error), &error);
    bench_require(hone_lookup_create(&subject.lookup, subject.table, &error), &error);
    fill(subject.table, rows);
    float *const grads = make_values((size_t)(batch * width));
    float *const out = make_values((size_t)(batch * width));
    for (int64_t i = 0; i < batch * width; i++)
        grads[i] = (float)(i % 17) * 0.01f - 0.08f;
    const int64_t shape[] = {batch, width};
    subject.grads = hone_tensor_view(grads, HONE_F32, 2, shape);
    subject.out = hone_tensor_view(out, HONE_F32, 2, shape);
    take_turns(&subject, ids, count, (size_t)atoll(argv[7]));
    hone_lookup_free(subject.lookup);
    hone_table_free(subject.table);
    hone_context_free(context);
    free(out);
    free(grads);
    free(ids);
    return 0;
}
