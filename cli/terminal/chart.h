/* SPDX-License-Identifier: Apache-2.0 */
/* A curve drawn with characters: Braille dots on a terminal that speaks UTF-8, stars elsewhere. */
#ifndef HONE_TERMINAL_CHART_H
#define HONE_TERMINAL_CHART_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* How a stream is drawn on: the terminal's width and abilities, or 80 columns of ASCII. */
typedef struct chart_style {
    int columns;
    bool dots;
} chart_style;

chart_style chart_style_of(FILE *stream);

/* Values that are not below 0 (at least one), over their numbers from 0; `unit` names what those
 * count. The scale starts at 0, or near the lowest value. */
void chart_print(FILE *stream, const chart_style *style, const double *values, int64_t count,
                 bool from_zero, const char *unit);

/* Lowest and highest of the curve between two places of it, which may lie between values. */
void chart_span(const double *values, int64_t count, double from, double to, double *low,
                double *high);

#endif
