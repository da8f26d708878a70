/* SPDX-License-Identifier: Apache-2.0 */
/* Charts of characters. The plot is a raster of dots, one or eight to a character; each column of
 * dots holds all that the curve does within its width, so that nothing narrow is lost. */
#include "terminal/chart.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "terminal/axis.h"
#include "terminal/text.h"

enum { LEAST_COLUMNS = 30, MOST_COLUMNS = 160, LINES = 12, MOST_TICKS = 6, TICK_COLUMNS = 10 };

typedef struct chart {
    FILE *stream;
    const double *values;
    int64_t count;
    bool dots;
    int dots_across, dots_down; /* of a character */
    int columns, lines;         /* of the plot, in characters */
    int label_width;
    axis values_axis, steps_axis;
    unsigned char *raster; /* lines * columns sets of dots */
} chart;

/* ---- where it is drawn ------------------------------------------------------------------------ */

static bool speaks_utf8(void)
{
    const locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    if (locale == (locale_t)0)
        return false;
    const bool utf8 = strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
    freelocale(locale);
    return utf8;
}

chart_style chart_style_of(FILE *stream)
{
    const int descriptor = fileno(stream);
    const char *const terminal = getenv("TERM");
    if (isatty(descriptor) != 1)
        return (chart_style){80, false};
    const bool dumb = terminal != NULL && strcmp(terminal, "dumb") == 0;
    return (chart_style){text_columns(descriptor), !dumb && speaks_utf8()};
}

/* ---- the curve -------------------------------------------------------------------------------- */

static double value_at(const double *values, int64_t count, double at)
{
    const int64_t before = (int64_t)floor(at);
    if (before >= count - 1)
        return values[count - 1];
    const double part = at - (double)before;
    return values[before] + part * (values[before + 1] - values[before]);
}

void chart_span(const double *values, int64_t count, double from, double to, double *low,
                double *high)
{
    from = fmax(from, 0);
    to = fmin(to, (double)(count - 1));
    const double first = value_at(values, count, from), last = value_at(values, count, to);
    *low = fmin(first, last);
    *high = fmax(first, last);
    for (int64_t i = (int64_t)ceil(from); i <= (int64_t)floor(to); i++) {
        *low = fmin(*low, values[i]);
        *high = fmax(*high, values[i]);
    }
}

static int dot_line(const chart *c, double value)
{
    const double middle = (c->dots_down - 1) / 2.0; /* labels stand in the middle of their line */
    return (int)lround((1 - axis_place(&c->values_axis, value)) * (c->lines - 1) * c->dots_down +
                       middle);
}

static void set_dot(chart *c, int x, int y)
{
    /* the dots of a Braille character in Unicode's order: three rows of two, then the fourth */
    static const unsigned char bits[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    const int cell = y / c->dots_down * c->columns + x / c->dots_across;
    c->raster[cell] |= bits[y % c->dots_down][x % c->dots_across];
}

static void draw_curve(chart *c)
{
    const int across = c->columns * c->dots_across;
    const double width = (double)(c->count - 1) / (across - 1); /* in steps, of a dot */
    for (int x = 0; x < across; x++) {
        double low, high;
        chart_span(c->values, c->count, (x - 0.5) * width, (x + 0.5) * width, &low, &high);
        for (int y = dot_line(c, high); y <= dot_line(c, low); y++)
            set_dot(c, x, y);
    }
}

/* ---- lines of text ---------------------------------------------------------------------------- */

static void print_cell(const chart *c, unsigned char dots)
{
    if (dots == 0)
        fputc(' ', c->stream);
    else if (!c->dots)
        fputc('*', c->stream);
    else /* U+2800 and the dots, in UTF-8 */
        fprintf(c->stream, "\xe2%c%c", 0xa0 | dots >> 6, 0x80 | (dots & 0x3f));
}

static void print_plot(const chart *c)
{
    const int lines_per_tick = (c->lines - 1) / c->values_axis.ticks;
    char label[AXIS_LABEL_SIZE];
    for (int line = 0; line < c->lines; line++) {
        const bool at_tick = line % lines_per_tick == 0;
        const int tick = c->values_axis.ticks - line / lines_per_tick;
        fprintf(c->stream, "%*s %c", c->label_width,
                at_tick ? axis_label(label, &c->values_axis, tick) : "", at_tick ? '+' : '|');
        int used = c->columns;
        while (used > 0 && c->raster[line * c->columns + used - 1] == 0)
            used--;
        for (int x = 0; x < used; x++)
            print_cell(c, c->raster[line * c->columns + x]);
        fputc('\n', c->stream);
    }
}

static int tick_column(const chart *c, int tick)
{
    if (c->count == 1)
        return 0;
    return (int)lround(axis_value(&c->steps_axis, tick) / (double)(c->count - 1) *
                       (c->columns - 1));
}

/* The axis with its ticks, their numbers, and what they count. */
static void print_steps(const chart *c, const char *unit)
{
    char *const line = text_allocate((size_t)c->columns + AXIS_LABEL_SIZE);
    char label[AXIS_LABEL_SIZE];
    memset(line, '-', (size_t)c->columns);
    for (int tick = 0; tick <= c->steps_axis.ticks; tick++)
        line[tick_column(c, tick)] = '+';
    fprintf(c->stream, "%*s  %.*s\n", c->label_width, "", c->columns, line);
    memset(line, ' ', (size_t)c->columns + AXIS_LABEL_SIZE);
    int end = 0;
    for (int tick = 0; tick <= c->steps_axis.ticks; tick++) {
        const int length = (int)strlen(axis_label(label, &c->steps_axis, tick));
        int from = tick_column(c, tick) - length / 2;
        from = from + length > c->columns ? c->columns - length : from;
        from = from < 0 ? 0 : from;
        memcpy(line + from, label, (size_t)length);
        end = from + length;
    }
    fprintf(c->stream, "%*s  %.*s %s\n", c->label_width, "", end, line, unit);
    free(line);
}

/* ---- the chart -------------------------------------------------------------------------------- */

static void lay_out(chart *c, const chart_style *style, double lowest, double highest)
{
    c->values_axis = axis_over(lowest, highest, MOST_TICKS);
    c->lines = LINES / c->values_axis.ticks * c->values_axis.ticks + 1;
    char label[AXIS_LABEL_SIZE];
    for (int tick = 0; tick <= c->values_axis.ticks; tick++) {
        const int width = (int)strlen(axis_label(label, &c->values_axis, tick));
        c->label_width = width > c->label_width ? width : c->label_width;
    }
    int columns = style->columns < LEAST_COLUMNS ? LEAST_COLUMNS : style->columns;
    columns = columns > MOST_COLUMNS ? MOST_COLUMNS : columns;
    c->columns = columns - c->label_width - 8; /* axis, margin, the unit behind the last number */
    c->columns = c->columns < 8 ? 8 : c->columns;
    c->steps_axis = axis_within(c->count - 1, c->columns / TICK_COLUMNS + 1);
}

void chart_print(FILE *stream, const chart_style *style, const double *values, int64_t count,
                 bool from_zero, const char *unit)
{
    chart c = {.stream = stream, .values = values, .count = count, .dots = style->dots};
    c.dots_across = c.dots ? 2 : 1;
    c.dots_down = c.dots ? 4 : 1;
    double low, high;
    chart_span(values, count, 0, (double)(count - 1), &low, &high);
    lay_out(&c, style, from_zero ? 0 : low, high);
    const size_t cells = (size_t)(c.lines * c.columns);
    c.raster = memset(text_allocate(cells), 0, cells);
    draw_curve(&c);
    print_plot(&c);
    print_steps(&c, unit);
    free(c.raster);
}
