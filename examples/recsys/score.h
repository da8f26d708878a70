/* SPDX-License-Identifier: Apache-2.0 */
/* AUC over the latest predictions, each made before its event was learnt from; and one line of
 * progress: a bar on a terminal, a plain line now and then in a pipe. */
#ifndef RECSYS_SCORE_H
#define RECSYS_SCORE_H

#include <stddef.h>
#include <stdint.h>

enum { SCORE_WINDOW = 1 << 16 };

typedef struct score {
    float chance[SCORE_WINDOW];
    float clicked[SCORE_WINDOW];
    size_t count; /* predictions so far */
    double shown; /* the AUC on display */
} score;

void score_add(score *s, const float *chance, const float *clicked, size_t n);
double score_auc(const score *s); /* 0.5 without both kinds of events */

typedef struct progress {
    int64_t first, total;
    double start, drawn;
    int tenth, terminal;
} progress;

void progress_begin(progress *p, int64_t first, int64_t total);
/* `done` of the steps; what follows the bar is `text`. */
void progress_show(progress *p, int64_t done, const char *text);
double progress_seconds(const progress *p);

#endif
