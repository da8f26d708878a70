/* SPDX-License-Identifier: Apache-2.0 */
/* Tables, a gnuplot script that names its files without a path, and gnuplot run inside `out`. */
#include "picture.h"
#include "files.h"
#include "process.h"
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Colours that stay apart for colour-blind eyes, after Okabe and Ito. */
static const char *const colours[] = {"#d55e00", "#0072b2", "#009e73"};
enum { N_COLOURS = sizeof colours / sizeof colours[0] };

typedef struct drawing {
    const tuning_run *runs;
    const movement *ways;
    int count;
} drawing;

static void write_losses(FILE *file, const drawing *what)
{
    fprintf(file, "step");
    for (int i = 0; i < what->count; i++)
        fprintf(file, "\t%s, new text\t%s, first text", what->runs[i].plan.label,
                what->runs[i].plan.label);
    for (int k = 0; k < what->runs[0].points; k++) {
        fprintf(file, "\n%lld", (long long)what->runs[0].steps[k]);
        for (int i = 0; i < what->count; i++)
            fprintf(file, "\t%.6f\t%.6f", what->runs[i].losses[k][NEW_TEXT],
                    what->runs[i].losses[k][FIRST_TEXT]);
    }
    fputc('\n', file);
}

static void write_movement(FILE *file, const drawing *what)
{
    fprintf(file, "distance");
    for (int i = 0; i < what->count; i++)
        fprintf(file, "\t%s, masked weights\t%s, other weights", what->runs[i].plan.label,
                what->runs[i].plan.label);
    for (int bin = 0; bin < MOVEMENT_BINS; bin++) {
        fprintf(file, "\n%.6g", pow(10, MOVEMENT_LOWEST + (bin + 0.5) / 10));
        for (int i = 0; i < what->count; i++)
            fprintf(file, "\t%.6g\t%.6g", 100 * what->ways[i].share[MASKED][bin],
                    100 * what->ways[i].share[UNMASKED][bin]);
    }
    fputc('\n', file);
}

/* Column pairs 2,3 4,5 ...: the first of each whole, the second dashed, in the run's colour. */
static void write_curves(FILE *script, const drawing *what, const char *table, const char *whole,
                         const char *dashed)
{
    for (int i = 0; i < what->count; i++)
        for (int k = 0; k < 2; k++)
            fprintf(script,
                    "%s \"%s\" skip 1 using 1:%d with lines linewidth 2.2 dashtype %s "
                    "linecolor rgb \"%s\" title \"%s, %s\"",
                    i + k == 0 ? "plot" : ", \\\n    ", table, 2 * i + k + 2, k == 0 ? "1" : "2",
                    colours[i % N_COLOURS], what->runs[i].plan.label, k == 0 ? whole : dashed);
    fputc('\n', script);
}

static void write_script(FILE *script, const drawing *what)
{
    fprintf(script, "set terminal svg size 1200,560 dynamic background \"white\" font "
                    "\"DejaVu Sans,13\"\n"
                    "set output \"finetune.svg\"\n"
                    "set datafile separator tab\n"
                    "set border 3 linecolor rgb \"#888888\"\n"
                    "set tics nomirror out textcolor rgb \"#444444\"\n"
                    "set grid ytics linecolor rgb \"#e4e4e4\" linetype 1\n"
                    "set key below vertical maxrows 2 noenhanced samplen 1.8 font \",12\"\n"
                    "set bmargin 6.5\n"
                    "set multiplot layout 1,2\n"
                    "set title \"Loss on held-out text\"\n"
                    "set xlabel \"step of fine-tuning\" offset 0,0.4\n"
                    "set ylabel \"nats per byte\"\n");
    write_curves(script, what, "losses.tsv", "new text", "first text");
    fprintf(script,
            "set title \"How far weights moved\"\n"
            "set xlabel \"distance from the pre-trained weight\" offset 0,0.4\n"
            "set ylabel \"%% of the weights of the kind, per tenth of a decade\"\n"
            "set logscale x\n"
            "set format x \"10^{%%L}\"\n"
            "set xrange [1e%d:1]\n",
            MOVEMENT_LOWEST);
    write_curves(script, what, "movement.tsv", "in masks", "others");
    fprintf(script, "unset multiplot\n");
}

static int write_file(const drawing *what, const char *out, const char *name,
                      void (*write)(FILE *file, const drawing *what))
{
    char path[PATH_SIZE];
    if (path_join(path, out, name) != 0)
        return -1;
    FILE *const file = fopen(path, "w");
    if (file != NULL)
        write(file, what);
    if (file == NULL || fclose(file) != 0)
        return failure("cannot write '%s': %s", path, strerror(errno));
    return 0;
}

int picture_draw(const tuning_run *runs, const movement *ways, int count, const char *out)
{
    const drawing what = {runs, ways, count};
    if (write_file(&what, out, "losses.tsv", write_losses) != 0 ||
        write_file(&what, out, "movement.tsv", write_movement) != 0 ||
        write_file(&what, out, "finetune.gnuplot", write_script) != 0)
        return -1;
    const char *const arguments[] = {"gnuplot", "finetune.gnuplot", NULL};
    const int status = process_run_in(out, arguments);
    if (status == 127)
        warning("gnuplot is not installed, so there is no picture; install it (tools/setup.sh "
                "does) and run: cd %s && gnuplot finetune.gnuplot",
                out);
    else if (status != 0)
        return failure("gnuplot ended with status %d on '%s/finetune.gnuplot'", status, out);
    else
        printf("the picture is %s/finetune.svg\n", out);
    return 0;
}
