/* SPDX-License-Identifier: Apache-2.0 */
/* SVG written piece by piece; all lengths are in its user units, pixels at the size it asks for. */
#include "curves_svg.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "output_pair.h"
#include "report.h"
#include "terminal/axis.h"
#include "terminal/chart.h"
#include "terminal/text.h"

enum {
    WIDTH = 760,
    LEFT = 76, /* of the plot: room for numbers */
    PLOT_WIDTH = 656,
    PLOT_HEIGHT = 168,
    TITLE_HEIGHT = 40,   /* above a plot */
    NUMBERS_HEIGHT = 44, /* below it */
    PANEL_HEIGHT = TITLE_HEIGHT + PLOT_HEIGHT + NUMBERS_HEIGHT,
    MARGIN = 8,
    MOST_TICKS_UP = 5,
    MOST_TICKS_ALONG = 10,
    MOST_MARKS = 40 /* that many values are marked one by one */
};

/* Colours that stay apart for colour-blind eyes, after Okabe and Ito. */
static const char *const colours[CURVE_KINDS] = {"#0072b2", "#d55e00", "#009e73"};

typedef struct panel {
    FILE *file;
    const curves *curves;
    const curve *curve;
    axis up, along;
    double top; /* of the plot in the picture */
} panel;

/* ---- text ------------------------------------------------------------------------------------- */

/* What has a meaning in XML is written as an entity. */
static void put_text(FILE *file, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '&':
            fputs("&amp;", file);
            break;
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        default:
            fputc(*text, file);
        }
}

static void put_line(FILE *file, double x1, double y1, double x2, double y2, const char *class)
{
    fprintf(file, "<line class=\"%s\" x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\"/>\n", class,
            x1, y1, x2, y2);
}

static void put_label(FILE *file, double x, double y, const char *anchor, const char *text)
{
    fprintf(file, "<text x=\"%.2f\" y=\"%.2f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, text);
}

/* ---- places ----------------------------------------------------------------------------------- */

static double x_of(const panel *p, double step)
{
    const double last = (double)(p->curves->steps - 1);
    return LEFT + (last > 0 ? step / last * PLOT_WIDTH : 0);
}

static double y_of(const panel *p, double value)
{
    return p->top + PLOT_HEIGHT * (1 - axis_place(&p->up, value));
}

/* ---- a panel ---------------------------------------------------------------------------------- */

static void put_title(const panel *p)
{
    const curve_range range = curve_find_range(p->curve, p->curves->steps);
    char high[TEXT_NUMBER_SIZE], last[TEXT_NUMBER_SIZE];
    snprintf(high, sizeof high, "%.6g", range.high);
    snprintf(last, sizeof last, "%.6g", p->curve->values[p->curves->steps - 1]);
    fprintf(p->file, "<text class=\"title\" x=\"%d\" y=\"%.2f\">", LEFT, p->top - 22);
    put_text(p->file, p->curve->title);
    fprintf(p->file, "</text>\n<text x=\"%d\" y=\"%.2f\">", LEFT, p->top - 7);
    if (p->curve->owner != NULL) {
        put_text(p->file, p->curve->owner);
        fputs(", ", p->file);
    }
    fprintf(p->file, "highest %s at %s %lld, last %s</text>\n", high, p->curves->unit,
            (long long)range.highest_at, last);
}

static void put_grid(const panel *p)
{
    const double bottom = p->top + PLOT_HEIGHT, right = LEFT + PLOT_WIDTH;
    char label[AXIS_LABEL_SIZE];
    for (int tick = 0; tick <= p->up.ticks; tick++) {
        const double y = y_of(p, axis_value(&p->up, tick));
        put_line(p->file, LEFT, y, right, y, tick == 0 ? "axis" : "grid");
        put_label(p->file, LEFT - 8, y + 4, "end", axis_label(label, &p->up, tick));
    }
    for (int tick = 0; tick <= p->along.ticks; tick++) {
        const double x = x_of(p, axis_value(&p->along, tick));
        put_line(p->file, x, bottom, x, bottom + 5, "axis");
        put_label(p->file, x, bottom + 18, "middle", axis_label(label, &p->along, tick));
    }
    put_label(p->file, LEFT + PLOT_WIDTH / 2.0, bottom + 34, "middle", p->curves->unit);
}

/* Every value, or where they are more than the picture can show, the span of each half pixel. */
static void put_curve(const panel *p)
{
    const double *const values = p->curve->values;
    const int64_t count = p->curves->steps;
    fprintf(p->file, "<polyline class=\"curve\" stroke=\"%s\" points=\"", colours[p->curve->kind]);
    if (count <= 2 * PLOT_WIDTH) {
        for (int64_t i = 0; i < count; i++)
            fprintf(p->file, "%s%.2f,%.2f", i == 0 ? "" : " ", x_of(p, (double)i),
                    y_of(p, values[i]));
    } else {
        const double half = (double)(count - 1) / (2 * PLOT_WIDTH);
        for (int i = 0; i <= 2 * PLOT_WIDTH; i++) {
            double low, high;
            chart_span(values, count, (i - 0.5) * half, (i + 0.5) * half, &low, &high);
            fprintf(p->file, "%s%.2f,%.2f %.2f,%.2f", i == 0 ? "" : " ", LEFT + i / 2.0,
                    y_of(p, i % 2 == 0 ? high : low), LEFT + i / 2.0,
                    y_of(p, i % 2 == 0 ? low : high));
        }
    }
    fputs("\"/>\n", p->file);
    for (int64_t i = 0; count <= MOST_MARKS && i < count; i++)
        fprintf(p->file, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"2.6\" fill=\"%s\"/>\n",
                x_of(p, (double)i), y_of(p, values[i]), colours[p->curve->kind]);
}

static void put_panel(FILE *file, const curves *curves, const curve *curve, int number)
{
    panel p = {.file = file, .curves = curves, .curve = curve};
    p.top = MARGIN + number * PANEL_HEIGHT + TITLE_HEIGHT;
    const curve_range range = curve_find_range(curve, curves->steps);
    p.up = axis_over(curve->kind == CURVE_MOMENTUM ? range.low : 0, range.high, MOST_TICKS_UP);
    p.along = axis_within(curves->steps - 1, MOST_TICKS_ALONG);
    put_title(&p);
    put_grid(&p);
    put_curve(&p);
}

/* ---- the picture ------------------------------------------------------------------------------ */

static void put_picture(FILE *file, const curves *curves)
{
    int panels = 0;
    for (int i = 0; i < curves->count; i++)
        panels += !curves->list[i].same;
    const int height = panels * PANEL_HEIGHT + 2 * MARGIN;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\">\n"
            "<style>\n"
            "text { font: 12px sans-serif; fill: #555 }\n"
            ".title { font: bold 14px sans-serif; fill: #222 }\n"
            ".grid { stroke: #e4e4e4 }\n"
            ".axis { stroke: #888 }\n"
            ".curve { fill: none; stroke-width: 2; stroke-linejoin: round; "
            "stroke-linecap: round }\n"
            "</style>\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
            WIDTH, height, WIDTH, height, WIDTH, height);
    int number = 0;
    for (int i = 0; i < curves->count; i++)
        if (!curves->list[i].same)
            put_panel(file, curves, &curves->list[i], number++);
    fputs("</svg>\n", file);
}

int curves_write_svg(const curves *curves, const char *path)
{
    output to;
    int code = output_begin(&to, path);
    FILE *const file = code == EXIT_DONE ? fopen(to.temporary, "wb") : NULL;
    if (code == EXIT_DONE && file == NULL)
        code = report_failure("cannot write \"%s\": %s", path, strerror(errno));
    if (file != NULL) {
        put_picture(file, curves);
        const int failed = ferror(file);
        if (fclose(file) != 0 || failed)
            code = report_failure("cannot write \"%s\": %s", path, strerror(errno));
    }
    if (code == EXIT_DONE)
        code = output_commit_alone(&to);
    output_end(&to);
    return code;
}
