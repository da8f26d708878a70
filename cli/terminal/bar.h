/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar of one line on standard error. It appears only on a terminal, only when the work
 * has already taken a moment, and leaves no trace when it ends. */
#ifndef HONE_TERMINAL_BAR_H
#define HONE_TERMINAL_BAR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct bar {
    bool visible; /* standard error is a terminal */
    bool drawn;
    double start, last_drawn; /* seconds of the monotonic clock */
    const char *label;        /* drawn last; borrowed */
} bar;

double bar_now(void); /* seconds of the monotonic clock */

void bar_begin(bar *bar);

/* `done` of `total` units of the work that `label` names; a total of 0 shows the label alone. */
void bar_show(bar *bar, const char *label, int64_t done, int64_t total);

void bar_end(bar *bar);

/* Before anything else is written to standard error: wipes the line if it is a terminal's. */
void bar_make_room(void);

#endif
