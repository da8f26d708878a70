/* SPDX-License-Identifier: Apache-2.0 */
/* The picture: loss.tsv holds the numbers, loss.gnuplot draws them, gnuplot makes loss.svg. Each
 * curve is named at its right end, where the eye is, with the loss on held-out text. */
#include "files.h"
#include "process.h"
#include "report.h"
#include "results.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A batch's loss jumps about: the curves are means over this many steps to either side. */
enum { REACH = 12 };

/* Colours that stay apart for colour-blind eyes, after Okabe and Ito. */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                      "#e69f00", "#56b4e9", "#444444", "#b0a000"};
enum { N_COLOURS = sizeof colours / sizeof colours[0] };

/* Curves that lie on each other still show: the first is whole, the later ones leave gaps. */
static const char *const dashes[] = {"solid", "(12,12)", "(6,18)"};
enum { N_DASHES = sizeof dashes / sizeof dashes[0] };

/* The means of the steps around each, of fewer where the curve is steep at its start. */
static double *smooth(const result *run)
{
    double *const means = malloc((size_t)run->steps * sizeof *means);
    for (int64_t i = 0; means != NULL && i < run->steps; i++) {
        const int64_t reach = i / 3 < REACH ? i / 3 : REACH;
        const int64_t end = i + reach + 1 < run->steps ? i + reach + 1 : run->steps;
        double sum = 0;
        for (int64_t k = i - reach; k < end; k++)
            sum += run->losses[k];
        means[i] = sum / (double)(end - (i - reach));
    }
    return means;
}

static void write_numbers(FILE *file, const result *runs, double *const *means, int count)
{
    fprintf(file, "step");
    for (int i = 0; i < count; i++)
        fprintf(file, "\t%s\t%s mean", runs[i].name, runs[i].name);
    for (int64_t step = 0; step < runs[0].steps; step++) {
        fprintf(file, "\n%" PRId64, step + 1);
        for (int i = 0; i < count; i++)
            fprintf(file, "\t%.6f\t%.6f", runs[i].losses[step], means[i][step]);
    }
    fputc('\n', file);
}

/* Where the labels stand, in logarithms: at the ends of the curves, and where two come closer than
 * `gap` both give way, a little at a time until all have room. order sorts the runs from the top.
 */
static void place_labels(double *heights, int *order, double *const *means, const result *runs,
                         int count, double gap)
{
    for (int i = 0; i < count; i++) {
        heights[i] = log(means[i][runs[i].steps - 1]);
        int k = i;
        for (; k > 0 && heights[order[k - 1]] < heights[i]; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    for (int round = 0; round < 1000; round++)
        for (int k = 1; k < count; k++) {
            double *const above = &heights[order[k - 1]], *const below = &heights[order[k]];
            const double missing = gap - (*above - *below);
            if (!(missing > 0))
                continue;
            *above += missing / 2;
            *below -= missing / 2;
        }
}

static void write_label(FILE *script, const char *text, double height, const char *colour)
{
    fprintf(script,
            "set label \"%s\" at graph 1.02, first %.6g left noenhanced textcolor rgb \"%s\"\n",
            text, exp(height), colour);
}

static void write_labels(FILE *script, const result *runs, double *const *means, int count,
                         double gap)
{
    double *const heights = calloc((size_t)count, sizeof *heights);
    int *const order = calloc((size_t)count, sizeof *order);
    if (heights != NULL && order != NULL) {
        place_labels(heights, order, means, runs, count, gap);
        write_label(script, "held-out loss", heights[order[0]] + 1.3 * gap, "#666666");
        for (int i = 0; i < count; i++) {
            char text[128];
            snprintf(text, sizeof text, "%s  %.3f", runs[i].name, runs[i].held_out_loss);
            write_label(script, text, heights[i], colours[i % N_COLOURS]);
        }
    }
    free(heights);
    free(order);
}

/* The lowest and highest mean, so that the axis fits the curves and not the noise around them. */
static void find_range(const result *runs, double *const *means, int count, double *low,
                       double *high)
{
    *low = INFINITY;
    *high = 0;
    for (int i = 0; i < count; i++)
        for (int64_t step = 0; step < runs[i].steps; step++) {
            const double mean = means[i][step];
            *low = mean < *low ? mean : *low;
            *high = isfinite(mean) && mean > *high ? mean : *high;
        }
}

/* How many curves before this one lie within one per cent of it. */
static int covered(const result *runs, double *const *means, int index)
{
    int count = 0;
    for (int i = 0; i < index; i++) {
        double apart = 0;
        for (int64_t step = 0; step < runs[i].steps; step++)
            apart += fabs(log(means[i][step] / means[index][step]));
        count += apart < 0.01 * (double)runs[i].steps;
    }
    return count;
}

/* The run that was first to have the reference's last held-out loss; -1 if none was before it. */
static int find_fastest(const result *runs, int count, int reference)
{
    int fastest = -1;
    int64_t least = reference < 0 ? 0 : runs[reference].steps;
    for (int i = 0; i < count; i++)
        if (i != reference && runs[i].reached > 0 && runs[i].reached < least) {
            fastest = i;
            least = runs[i].reached;
        }
    return fastest;
}

/* A line upright at the step, with a sentence to its left: above it the curves are apart. */
static void write_comparison(FILE *script, const result *runs, int count, int reference)
{
    const int fastest = find_fastest(runs, count, reference);
    if (fastest < 0)
        return;
    const long long step = (long long)runs[fastest].reached;
    const char *const colour = colours[fastest % N_COLOURS];
    fprintf(script,
            "set arrow from %lld, graph 0 to %lld, graph 0.86 nohead linecolor rgb \"%s\" "
            "linewidth 1.4 dashtype (4,6)\n"
            "set label \"by step %lld %s has the held-out\\nloss that %s ends with\" at %lld, "
            "graph 0.93 left noenhanced offset -1,0 textcolor rgb \"%s\"\n",
            step, step, colour, step, runs[fastest].name, runs[reference].name, step, colour);
}

static void write_script(FILE *script, const result *runs, double *const *means, int count,
                         int reference)
{
    double low, high;
    find_range(runs, means, count, &low, &high);
    fprintf(script,
            "set terminal svg size 960,560 dynamic background \"white\" font \"DejaVu Sans,14\"\n"
            "set output \"loss.svg\"\n"
            "set datafile separator tab\n"
            "set key off\n"
            "set title \"A GPT of %.2f M parameters learns %.2f MB of text\" font \",17\" offset "
            "0,0.4\n"
            "set xlabel \"step\"\n"
            "set ylabel \"training loss, nats per byte (mean of 25 steps)\"\n"
            "set border 3 linecolor rgb \"#888888\"\n"
            "set tics nomirror out textcolor rgb \"#444444\"\n"
            "set ytics (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10)\n"
            "set grid ytics linecolor rgb \"#e4e4e4\" linetype 1\n"
            "set logscale y\n"
            "set lmargin 10\nset rmargin 19\nset tmargin 3.5\n"
            "set xrange [0:%" PRId64 "]\n"
            "set yrange [%.6g:%.6g]\n",
            1e-6 * (double)runs[0].parameters, 1e-6 * (double)runs[0].text_bytes, runs[0].steps,
            0.96 * low, 1.02 * high);
    write_labels(script, runs, means, count, log(high / low) / 22);
    write_comparison(script, runs, count, reference);
    for (int i = 0; i < count; i++)
        fprintf(script,
                "%s \"loss.tsv\" skip 1 using 1:%d with lines linewidth 2.4 dashtype %s "
                "linecolor rgb \"%s\"",
                i == 0 ? "plot" : ", \\\n    ", 2 * i + 3,
                dashes[covered(runs, means, i) % N_DASHES], colours[i % N_COLOURS]);
    fputc('\n', script);
}

static FILE *open_under(const char *out, const char *name)
{
    char path[PATH_SIZE];
    if (path_join(path, out, name) != 0)
        return NULL;
    FILE *const file = fopen(path, "w");
    if (file == NULL)
        failure("cannot write '%s': %s", path, strerror(errno));
    return file;
}

static int write_files(const result *runs, double *const *means, int count, int reference,
                       const char *out)
{
    FILE *const numbers = open_under(out, "loss.tsv");
    if (numbers == NULL)
        return -1;
    write_numbers(numbers, runs, means, count);
    if (fclose(numbers) != 0)
        return failure("cannot write '%s/loss.tsv': %s", out, strerror(errno));
    FILE *const script = open_under(out, "loss.gnuplot");
    if (script == NULL)
        return -1;
    write_script(script, runs, means, count, reference);
    return fclose(script) == 0
               ? 0
               : failure("cannot write '%s/loss.gnuplot': %s", out, strerror(errno));
}

/* gnuplot works inside `out`, so that the script names its files without a path and can be run
 * again by hand. */
static int draw(const char *out)
{
    const char *const arguments[] = {"gnuplot", "loss.gnuplot", NULL};
    const int status = process_run_in(out, arguments);
    if (status == 127)
        warning("gnuplot is not installed, so there is no picture; install it (tools/setup.sh "
                "does) and run: cd %s && gnuplot loss.gnuplot",
                out);
    else if (status != 0)
        return failure("gnuplot ended with status %d on '%s/loss.gnuplot'", status, out);
    else
        printf("the loss curves are in %s/loss.svg, their numbers in %s/loss.tsv\n", out, out);
    return 0;
}

int results_plot(const result *runs, int count, int reference, const char *out)
{
    double **const means = calloc((size_t)count, sizeof *means);
    int outcome = means != NULL ? 0 : failure("no memory for curves");
    for (int i = 0; outcome == 0 && i < count; i++) {
        means[i] = smooth(&runs[i]);
        outcome = means[i] != NULL ? 0 : failure("no memory for curves");
    }
    if (outcome == 0)
        outcome = write_files(runs, means, count, reference, out);
    for (int i = 0; means != NULL && i < count; i++)
        free(means[i]);
    free(means);
    return outcome == 0 ? draw(out) : -1;
}
