/* SPDX-License-Identifier: Apache-2.0 */
/* What a training run left behind, read back for the table and the picture. */
#ifndef GPT_RESULTS_H
#define GPT_RESULTS_H

#include <stdint.h>

typedef struct result {
    char name[64]; /* of the recipe */
    double held_out_loss;
    double ms_per_step;
    double optimizer_share;
    uint64_t state_bytes;
    int64_t parameters, text_bytes, steps;
    double *losses; /* one per step, from the first on */
    int same_bits;  /* 1 when the resumed run ended with the same bits */
} result;

/* Reads result.tsv and losses.tsv of the directory; release with result_free. */
int result_read(result *run, const char *directory);
void result_free(result *run);

/* Prints the table and writes it to results.tsv under out. */
int results_write(const result *runs, int count, const char *out);

/* Writes loss.tsv and loss.svg under out: a curve for every rule. Without gnuplot there is no
 * picture, which is a warning that says how to get it. */
int results_plot(const result *runs, int count, const char *out);

#endif
