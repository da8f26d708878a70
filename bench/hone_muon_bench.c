/* SPDX-License-Identifier: Apache-2.0 */
/* hone-muon-bench: Muon over the 48 matrices of GPT-2 124M, with each kind of products. Alone it
 * prints times and rates; with --serve [LAYERS] it makes one step for every line of input ("float32" or
 * "bfloat16") and answers with its milliseconds, so that another program can take turns with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

#include "bench_measure.h"
#include "terminal/bar.h"

enum { KINDS = 4, REPETITIONS = 9 };
static const int64_t shapes[KINDS][2] = {{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}};
static int matrices = 12 * KINDS;
static const char *const words[] = {"float32", "bfloat16"};

struct model {
    hone_context *context;
    hone_optimizer *optimizer;
    hone_error error;
};

static void must(hone_status status, const hone_error *error)
{
    if (status == HONE_OK)
        return;
    fprintf(stderr, "hone-muon-bench: %s\n", error->message);
    exit(1);
}

/* Pseudo-random, from -1 up to 1. */
static float *filled(int64_t count, uint32_t seed)
{
    float *const values = malloc(sizeof *values * (size_t)count);
    if (values == NULL) {
        fprintf(stderr, "hone-muon-bench: out of memory\n");
        exit(1);
    }
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 8) / 8388608.0f - 1;
    }
    return values;
}

static void create(struct model *model, int threads)
{
    hone_error *const error = &model->error;
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = threads;
    must(hone_context_create(&model->context, &options, error), error);
    hone_spec *spec;
    must(hone_spec_create(&spec, model->context, "muon", error), error);
    must(hone_optimizer_create(&model->optimizer, model->context, spec, error), error);
    hone_spec_free(spec);
    for (int i = 0; i < matrices; i++) {
        const int64_t *const shape = shapes[i % KINDS];
        const int64_t count = shape[0] * shape[1];
        char name[16];
        snprintf(name, sizeof name, "h.%d.%d", i / KINDS, i % KINDS);
        const hone_tensor param = hone_tensor_view(filled(count, 1), HONE_F32, 2, shape);
        const hone_tensor grad =
            hone_tensor_view(filled(count, (uint32_t)i + 2), HONE_F32, 2, shape);
        int64_t index;
        must(hone_optimizer_add(model->optimizer, name, &param, 0, &index, error), error);
        must(hone_optimizer_set_grad(model->optimizer, index, &grad, error), error);
    }
}

/* The milliseconds of a step. */
static double step(struct model *model, int products)
{
    hone_error *const error = &model->error;
    must(hone_optimizer_set(model->optimizer, 0, "products", products, error), error);
    must(hone_optimizer_prepare(model->optimizer, error), error);
    const double begin = bar_now();
    must(hone_optimizer_step(model->optimizer, NULL, error), error);
    return (bar_now() - begin) * 1e3;
}

/* Operations of the products in a step by tiles: a symmetric one counts half. A matrix that is not square
 * takes three steps and then two at a time, each a Gram matrix, 4 k - 3 products of its size and one of
 * the matrix's. */
static double operations(void)
{
    static const int plain[] = {1, 1, 1, 1, 1, 0}, segments[] = {3, 2, 0};
    double sum = 0;
    for (int i = 0; i < matrices; i++) {
        const double rows = (double)shapes[i % KINDS][0], columns = (double)shapes[i % KINDS][1];
        const double n = rows < columns ? rows : columns, m = rows + columns - n;
        for (const int *k = n == m ? plain : segments; *k != 0; k++)
            sum += 3 * n * n * m + (4 * *k - 3) * n * n * n;
    }
    return sum;
}

static void report(struct model *model)
{
    double times[2][REPETITIONS];
    for (int i = -1; i < REPETITIONS; i++)
        for (int products = 0; products < 2; products++) {
            const double time = step(model, products);
            if (i >= 0) /* the first round warms up */
                times[products][i] = time;
        }
    printf("%d matrices of GPT-2 124M, %d threads, medians of %d steps\n", matrices,
           hone_context_threads(model->context), REPETITIONS);
    for (int products = 0; products < 2; products++) {
        const bench_quartiles time = bench_summarize(times[products], REPETITIONS);
        const double flop = operations();
        printf("%-9s %8.1f ms (%.1f to %.1f)  %.0f GFLOP  %.0f GFLOP/s\n", words[products],
               time.median, time.low, time.high, flop / 1e9, flop / time.median / 1e6);
    }
}

static void serve(struct model *model)
{
    char line[32];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        printf("%.3f\n", step(model, strcmp(line, words[1]) == 0));
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static struct model model;
    const bool serving = argc > 1 && strcmp(argv[1], "--serve") == 0;
    if (argc > 2)
        matrices = atoi(argv[2]) * KINDS;
    create(&model, 0);
    if (serving)
        serve(&model);
    else
        report(&model);
    hone_optimizer_free(model.optimizer);
    hone_context_free(model.context);
    return 0;
}
