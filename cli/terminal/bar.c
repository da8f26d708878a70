/* SPDX-License-Identifier: Apache-2.0 */
/* The progress bar: at most ten drawings a second, never wider than the terminal. */
#include "terminal/bar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "terminal/text.h"

#define APPEARS_AFTER 0.3 /* seconds: short work shows nothing */
#define BETWEEN 0.1

enum { CELLS = 30, LINE_SIZE = 256 };

double bar_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Whether standard error is a terminal that can be drawn on. */
static bool can_draw(void)
{
    const char *const terminal = getenv("TERM");
    return isatty(STDERR_FILENO) == 1 && (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

void bar_begin(bar *bar)
{
    *bar = (struct bar){.visible = can_draw(), .start = bar_now()};
}

void bar_make_room(void)
{
    if (can_draw())
        fputs("\r\033[K", stderr);
}

static void format_line(char line[LINE_SIZE], const char *label, int64_t done, int64_t total)
{
    if (total <= 0) {
        snprintf(line, LINE_SIZE, "%s", label);
        return;
    }
    char cells[CELLS + 1];
    const int64_t filled = (int64_t)((double)done / (double)total * CELLS);
    for (int i = 0; i < CELLS; i++)
        cells[i] = i < filled ? '#' : '.';
    cells[CELLS] = '\0';
    snprintf(line, LINE_SIZE, "[%s] %3.0f%%  %s (%lld of %lld)", cells,
             100.0 * (double)done / (double)total, label, (long long)done, (long long)total);
}

void bar_show(bar *bar, const char *label, int64_t done, int64_t total)
{
    if (!bar->visible)
        return;
    const double now = bar_now();
    const bool is_new = bar->label == NULL || strcmp(bar->label, label) != 0;
    if (now - bar->start < APPEARS_AFTER || (!is_new && now - bar->last_drawn < BETWEEN))
        return;
    char line[LINE_SIZE];
    format_line(line, label, done, total);
    fprintf(stderr, "\r%.*s\033[K", text_columns(STDERR_FILENO) - 1, line);
    fflush(stderr);
    bar->drawn = true;
    bar->label = label;
    bar->last_drawn = now;
}

void bar_end(bar *bar)
{
    if (bar->drawn)
        fputs("\r\033[K", stderr);
    bar->drawn = false;
}
