/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar of one line for a training run: loss, learning rate, tokens a second, the
 * optimizer's share of the time, time left. In a pipe it prints a plain line every tenth. */
#ifndef GPT_PROGRESS_H
#define GPT_PROGRESS_H

#include <stdint.h>
#include <stdio.h>

typedef struct progress {
    FILE *stream;
    const char *label; /* borrowed */
    int64_t first;     /* step the run starts at; not 0 when it was resumed */
    int64_t total;     /* step the run ends at */
    int64_t tokens_per_step;
    int is_terminal;
    double start; /* seconds of the monotonic clock */
    double last_drawn;
    int last_tenth;
    double optimizer_seconds;
    double smooth_loss; /* what the bar shows; a single batch's loss jumps about */
} progress;

/* Seconds of the monotonic clock. */
double progress_now(void);

/* Steps first to total - 1 are about to run. Writes to stream, and draws a bar only when that is
 * a terminal. */
void progress_begin(progress *bar, FILE *stream, const char *label, int64_t first, int64_t total,
                    int64_t tokens_per_step);

/* After each step: step steps are done in all (so the last call has step == total), of which the
 * optimizer took step_optimizer_seconds in this one. */
void progress_update(progress *bar, int64_t step, double loss, double learning_rate,
                     double step_optimizer_seconds);

/* Ends the line. */
void progress_end(progress *bar);

#endif
