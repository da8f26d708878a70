/* SPDX-License-Identifier: Apache-2.0 */
/* Draws the bar at most ten times a second and never wider than the terminal, so that it costs
 * the training nothing and one carriage return is enough to draw it again. */
#define _DEFAULT_SOURCE

#include "progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 512, BAR_SIZE = 24 };

double progress_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int terminal_columns(FILE *stream)
{
    struct winsize size = {0};
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

void progress_begin(progress *bar, FILE *stream, const char *label, int64_t first, int64_t total,
                    int64_t tokens_per_step)
{
    *bar = (progress){.stream = stream,
                      .label = label,
                      .first = first,
                      .total = total,
                      .tokens_per_step = tokens_per_step,
                      .is_terminal = isatty(fileno(stream)),
                      .start = progress_now()};
    bar->last_tenth = total > 0 ? (int)(10 * first / total) : 10;
}

static void format_seconds(char *text, size_t size, double seconds)
{
    const long whole = (long)(seconds + 0.5);
    if (whole < 3600)
        snprintf(text, size, "%ld:%02ld", whole / 60, whole % 60);
    else
        snprintf(text, size, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

static void format_rate(char *text, size_t size, double per_second)
{
    if (per_second >= 1e6)
        snprintf(text, size, "%.2fM", per_second * 1e-6);
    else if (per_second >= 1e3)
        snprintf(text, size, "%.1fk", per_second * 1e-3);
    else
        snprintf(text, size, "%.0f", per_second);
}

static void format_numbers(const progress *bar, int64_t step, double learning_rate, char *text,
                           size_t size)
{
    const double elapsed = progress_now() - bar->start;
    const double safe = elapsed > 1e-9 ? elapsed : 1e-9;
    const double done = (double)(step - bar->first);
    const int finished = step >= bar->total || done <= 0;
    char rate[32];
    char clock[32];
    format_rate(rate, sizeof rate, done * (double)bar->tokens_per_step / safe);
    format_seconds(clock, sizeof clock,
                   finished ? elapsed : elapsed * (double)(bar->total - step) / done);
    snprintf(text, size, "loss %.3f  lr %.2e  %s tok/s  opt %.1f%%  %s %s", bar->smooth_loss,
             learning_rate, rate, 100.0 * bar->optimizer_seconds / safe, finished ? "took" : "left",
             clock);
}

static void draw_bar(const progress *bar, int64_t step, const char *numbers)
{
    char cells[BAR_SIZE + 1];
    const int filled = bar->total > 0 ? (int)(BAR_SIZE * step / bar->total) : BAR_SIZE;
    for (int i = 0; i < BAR_SIZE; i++)
        cells[i] = i < filled ? '#' : '.';
    cells[BAR_SIZE] = '\0';
    char line[LINE_SIZE];
    const int percent = bar->total > 0 ? (int)(100 * step / bar->total) : 100;
    const int columns = terminal_columns(bar->stream);
    snprintf(line, sizeof line, "%-8s [%s] %3d%%  %s", bar->label, cells, percent, numbers);
    /* A narrow terminal loses the bar first: the numbers are worth more. */
    if ((int)strlen(line) >= columns)
        snprintf(line, sizeof line, "%-8s %3d%%  %s", bar->label, percent, numbers);
    fprintf(bar->stream, "\r%.*s\033[K", columns - 1, line);
    fflush(bar->stream);
}

static void print_line(const progress *bar, int64_t step, const char *numbers)
{
    fprintf(bar->stream, "%-8s step %lld of %lld  %s\n", bar->label, (long long)step,
            (long long)bar->total, numbers);
    fflush(bar->stream);
}

void progress_update(progress *bar, int64_t step, double loss, double learning_rate,
                     double step_optimizer_seconds)
{
    const double now = progress_now();
    const int is_first = step == bar->first + 1;
    const int is_last = step >= bar->total;
    bar->optimizer_seconds += step_optimizer_seconds;
    bar->smooth_loss = is_first ? loss : bar->smooth_loss + 0.1 * (loss - bar->smooth_loss);
    const int tenth = bar->total > 0 ? (int)(10 * step / bar->total) : 10;
    if (bar->is_terminal ? !is_first && !is_last && now - bar->last_drawn < 0.1
                         : tenth == bar->last_tenth)
        return;
    char numbers[LINE_SIZE / 2];
    format_numbers(bar, step, learning_rate, numbers, sizeof numbers);
    if (bar->is_terminal)
        draw_bar(bar, step, numbers);
    else
        print_line(bar, step, numbers);
    bar->last_drawn = now;
    bar->last_tenth = tenth;
}

void progress_end(progress *bar)
{
    if (bar->is_terminal)
        fputc('\n', bar->stream);
    fflush(bar->stream);
}
