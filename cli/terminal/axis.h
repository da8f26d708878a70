/* SPDX-License-Identifier: Apache-2.0 */
/* Round numbers for the axes of charts. */
#ifndef HONE_TERMINAL_AXIS_H
#define HONE_TERMINAL_AXIS_H

#include <stdint.h>

typedef struct axis {
    double step; /* between ticks: 1, 2 or 5 times a power of ten */
    int first;   /* where the axis starts, in steps */
    int ticks;   /* after the first one */
} axis;

/* Ticks that enclose low .. high, 0 <= low <= high, at most `most` after the first. */
axis axis_over(double low, double high, int most);

double axis_value(const axis *axis, int tick);
/* How far from the first tick (0) to the last one (1). */
double axis_place(const axis *axis, double value);

/* The ticks within 0 .. high, whole numbers, at most `most`. */
axis axis_within(int64_t high, int most);

/* The number at a tick, as people write it. */
enum { AXIS_LABEL_SIZE = 32 };
const char *axis_label(char text[AXIS_LABEL_SIZE], const axis *axis, int tick);

#endif
