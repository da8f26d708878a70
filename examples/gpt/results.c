/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what gpt_train wrote and puts all runs in one table. */
#include "results.h"
#include "files.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading -------------------------------------------------------------------------------- */

/* The number behind `key` and a tab at the start of a line. */
static int find_value(const char *text, const char *key, const char *path, double *value)
{
    const size_t length = strlen(key);
    for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) != 0 || line[length] != '\t')
            continue;
        char *end;
        *value = strtod(line + length + 1, &end);
        if (*end == '\n')
            return 0;
    }
    return failure("'%s' has no line with a number for '%s'", path, key);
}

static int read_values(result *run, const char *text, const char *path)
{
    double state, steps, parameters, bytes;
    if (find_value(text, "held_out_loss", path, &run->held_out_loss) != 0 ||
        find_value(text, "ms_per_step", path, &run->ms_per_step) != 0 ||
        find_value(text, "optimizer_share", path, &run->optimizer_share) != 0 ||
        find_value(text, "state_bytes", path, &state) != 0 ||
        find_value(text, "parameters", path, &parameters) != 0 ||
        find_value(text, "text_bytes", path, &bytes) != 0 ||
        find_value(text, "step", path, &steps) != 0)
        return -1;
    run->state_bytes = (uint64_t)state;
    run->parameters = (int64_t)parameters;
    run->text_bytes = (int64_t)bytes;
    run->steps = (int64_t)steps;
    return 0;
}

/* The second column below the heading, of a file whose first column counts from 1. */
static int read_losses(result *run, const char *text, const char *path)
{
    run->losses = malloc((size_t)run->steps * sizeof *run->losses);
    if (run->losses == NULL)
        return failure("no memory for %" PRId64 " losses", run->steps);
    const char *line = strchr(text, '\n');
    for (int64_t i = 0; i < run->steps; i++) {
        char *end;
        if (line == NULL || strtoll(line + 1, &end, 10) != i + 1 || *end != '\t')
            return failure("'%s' has no loss of step %" PRId64, path, i + 1);
        run->losses[i] = strtod(end, &end);
        line = strchr(end, '\n');
    }
    return 0;
}

/* One line for every evaluation, below the heading. */
static int read_held_out(result *run, const char *text, const char *path)
{
    int lines = 0;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    run->held_out = calloc((size_t)lines + 1, sizeof *run->held_out);
    if (run->held_out == NULL)
        return failure("no memory for %d losses", lines);
    const char *line = strchr(text, '\n');
    while (line != NULL && line[1] != '\0') {
        evaluation *const next = &run->held_out[run->evaluations];
        char *end;
        next->step = strtoll(line + 1, &end, 10);
        if (*end != '\t' || next->step < 1 || next->step > run->steps)
            return failure("'%s' has a line without a step and a loss", path);
        next->loss = strtod(end, &end);
        run->evaluations++;
        line = strchr(end, '\n');
    }
    return 0;
}

static int read_part(result *run, const char *directory, const char *name,
                     int (*read)(result *, const char *, const char *))
{
    char path[PATH_SIZE];
    size_t size = 0;
    if (path_join(path, directory, name) != 0)
        return -1;
    char *const text = read_whole_file(path, &size);
    const int outcome = text != NULL ? read(run, text, path) : -1;
    free(text);
    return outcome;
}

int result_read(result *run, const char *directory)
{
    if (read_part(run, directory, "result.tsv", read_values) != 0)
        return -1;
    if (read_part(run, directory, "losses.tsv", read_losses) != 0)
        return -1;
    return read_part(run, directory, "held-out.tsv", read_held_out);
}

void result_free(result *run)
{
    free(run->losses);
    free(run->held_out);
    *run = (result){0};
}

/* ---- comparing ------------------------------------------------------------------------------ */

int results_compare(result *runs, int count)
{
    int reference = -1;
    for (int i = 0; i < count; i++)
        if (strcmp(runs[i].name, "adamw") == 0)
            reference = i;
    for (int i = 0; reference >= 0 && i < count; i++)
        for (int k = 0; runs[i].reached == 0 && k < runs[i].evaluations; k++)
            if (runs[i].held_out[k].loss <= runs[reference].held_out_loss)
                runs[i].reached = runs[i].held_out[k].step;
    return reference;
}

/* ---- the table ------------------------------------------------------------------------------ */

static const char *yes_or_no(int truth)
{
    return truth ? "yes" : "no";
}

static const char *step_or_dash(char text[24], int64_t step)
{
    snprintf(text, 24, step > 0 ? "%" PRId64 : "-", step);
    return text;
}

static void print_table(const result *runs, int count)
{
    char step[24];
    int width = (int)strlen("recipe");
    for (int i = 0; i < count; i++)
        if ((int)strlen(runs[i].name) > width)
            width = (int)strlen(runs[i].name);
    printf("%-*s  held-out loss  steps to adamw's  ms per step  optimizer  bytes of state  resumed "
           "bits "
           "equal\n",
           width, "recipe");
    for (int i = 0; i < count; i++)
        printf("%-*s  %13.4f  %16s  %11.1f  %8.1f%%  %14" PRIu64 "  %18s\n", width, runs[i].name,
               runs[i].held_out_loss, step_or_dash(step, runs[i].reached), runs[i].ms_per_step,
               100 * runs[i].optimizer_share, runs[i].state_bytes, yes_or_no(runs[i].same_bits));
}

/* Each run that was faster than the reference, in a sentence. */
static void print_faster(const result *runs, int count, int reference)
{
    for (int i = 0; reference >= 0 && i < count; i++)
        if (runs[i].reached > 0 && runs[i].reached < runs[reference].steps && i != reference)
            printf("%s has the held-out loss that %s ends with (%.4f) by step %" PRId64
                   " of %" PRId64 "\n",
                   runs[i].name, runs[reference].name, runs[reference].held_out_loss,
                   runs[i].reached, runs[i].steps);
}

int results_write(const result *runs, int count, int reference, const char *out)
{
    char step[24];
    print_table(runs, count);
    print_faster(runs, count, reference);
    char path[PATH_SIZE];
    if (path_join(path, out, "results.tsv") != 0)
        return -1;
    FILE *const file = fopen(path, "w");
    if (file == NULL)
        return failure("cannot write '%s': %s", path, strerror(errno));
    fprintf(file, "recipe\theld_out_loss\tms_per_step\toptimizer_share\tstate_bytes\tsame_"
                  "bits\tsteps_to_adamw\n");
    for (int i = 0; i < count; i++)
        fprintf(file, "%s\t%.6f\t%.3f\t%.5f\t%" PRIu64 "\t%s\t%s\n", runs[i].name,
                runs[i].held_out_loss, runs[i].ms_per_step, runs[i].optimizer_share,
                runs[i].state_bytes, yes_or_no(runs[i].same_bits),
                step_or_dash(step, runs[i].reached));
    return fclose(file) == 0 ? 0 : failure("cannot write '%s': %s", path, strerror(errno));
}
