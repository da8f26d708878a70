/* SPDX-License-Identifier: Apache-2.0 */
/* What a training run left behind, read back for the table and the picture. */
#ifndef GPT_RESULTS_H
#define GPT_RESULTS_H

#include <stdint.h>

typedef struct evaluation {
    int64_t step;
    double loss; /* on held-out text */
} evaluation;

typedef struct result {
    char name[64]; /* of the recipe */
    double held_out_loss;
    double ms_per_step;
    double optimizer_share;
    uint64_t state_bytes;
    int64_t parameters, text_bytes, steps;
    double *losses; /* one per step, from the first on */
    evaluation *held_out;
    int evaluations;
    int64_t
        reached; /* the step by which the held-out loss was that of the reference's end; 0: never */
    int same_bits; /* 1 when the resumed run ended with the same bits */
} result;

/* Reads result.tsv, losses.tsv and held-out.tsv of the directory; release with result_free. */
int result_read(result *run, const char *directory);
void result_free(result *run);

/* Fills in `reached` of all runs. The reference is the run named "adamw"; without one, nothing has
 * been reached. Returns its index, or -1. */
int results_compare(result *runs, int count);

/* Prints the table and writes it to results.tsv under out. */
int results_write(const result *runs, int count, int reference, const char *out);

/* Writes loss.tsv and loss.svg under out: a curve for every recipe, and where the one that is first
 * to reach the reference's last held-out loss does so. Without gnuplot there is no
 * picture, which is a warning that says how to get it. */
int results_plot(const result *runs, int count, int reference, const char *out);

#endif
