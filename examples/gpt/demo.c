/* SPDX-License-Identifier: Apache-2.0 */
/* gpt_demo: trains the same model with every recipe. Each run saves a checkpoint half-way; a second
 * process goes on from it and must end with the same bits. Then a table and a picture. */
#define _POSIX_C_SOURCE 200809L

#include "arguments.h"
#include "data.h"
#include "files.h"
#include "process.h"
#include "progress.h"
#include "report.h"
#include "results.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVALUATIONS = 15 }; /* of a run, on held-out text */

typedef struct demo {
    const char *out;
    words text, recipes;
    int64_t steps;
    char train[PATH_SIZE];    /* the program gpt_train */
    char snapshot[PATH_SIZE]; /* where the text is copied, so that all runs read the same */
} demo;

static const char summary[] =
    "Trains a small GPT with every recipe, checks that a run resumed from its checkpoint in a\n"
    "second process ends with the same bits, and compares the rules in a table and a picture.";

/* ---- one recipe ----------------------------------------------------------------------------- */

/* out/name, or out/name-resumed */
static int run_directory(char path[PATH_SIZE], const demo *all, const char *name, int resumed)
{
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s%s", name, resumed ? "-resumed" : "");
    return path_join(path, all->out, folder);
}

static int checkpoint_directory(char path[PATH_SIZE], const char *directory, int64_t step)
{
    char name[32];
    snprintf(name, sizeof name, "step-%06" PRId64, step);
    return path_join(path, directory, name);
}

/* Runs gpt_train; resume is NULL for a run from the start. */
static int train(const demo *all, const char *recipe, const char *out, const char *resume)
{
    char steps[32], half[32], evaluate[32];
    snprintf(steps, sizeof steps, "%" PRId64, all->steps);
    snprintf(half, sizeof half, "%" PRId64, all->steps / 2);
    /* A run from the start also tells how its held-out loss came down. */
    snprintf(evaluate, sizeof evaluate, "%" PRId64, (all->steps + EVALUATIONS - 1) / EVALUATIONS);
    const char *const arguments[] = {all->train,
                                     "--recipe",
                                     recipe,
                                     "--out",
                                     out,
                                     "--steps",
                                     steps,
                                     "--save-every",
                                     half,
                                     "--text",
                                     all->snapshot,
                                     resume != NULL ? "--resume" : "--evaluate-every",
                                     resume != NULL ? resume : evaluate,
                                     NULL};
    const int status = process_run(arguments);
    return status == 0 ? 0 : failure("'%s' ended with status %d", all->train, status);
}

/* 1 when both files of both last checkpoints hold the same bytes, 0 when not. */
static int compare_ends(const demo *all, const char *first, const char *second)
{
    static const char *const names[] = {"parameters.safetensors", "optimizer.safetensors"};
    char end_1[PATH_SIZE], end_2[PATH_SIZE], file_1[PATH_SIZE], file_2[PATH_SIZE];
    int all_same = 1;
    if (checkpoint_directory(end_1, first, all->steps) != 0 ||
        checkpoint_directory(end_2, second, all->steps) != 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        if (path_join(file_1, end_1, names[i]) != 0 || path_join(file_2, end_2, names[i]) != 0)
            return -1;
        const int same = same_files(file_1, file_2);
        if (same < 0)
            return -1;
        if (same == 0)
            failure("'%s' and '%s' differ", file_1, file_2);
        all_same = all_same && same;
    }
    return all_same;
}

static int run_recipe(const demo *all, const char *recipe, result *run)
{
    char whole[PATH_SIZE], resumed[PATH_SIZE], half[PATH_SIZE];
    if (path_stem(run->name, sizeof run->name, recipe) != 0 ||
        run_directory(whole, all, run->name, 0) != 0 ||
        run_directory(resumed, all, run->name, 1) != 0 ||
        checkpoint_directory(half, whole, all->steps / 2) != 0)
        return -1;
    if (train(all, recipe, whole, NULL) != 0)
        return -1;
    printf("%-8s again from step %" PRId64 " in a second process\n", run->name, all->steps / 2);
    if (train(all, recipe, resumed, half) != 0)
        return -1;
    run->same_bits = compare_ends(all, whole, resumed);
    if (run->same_bits < 0)
        return -1;
    printf("%-8s %s\n\n", run->name,
           run->same_bits ? "both ended with the same bits" : "THE BITS DIFFER");
    return result_read(run, whole);
}

/* ---- all recipes ---------------------------------------------------------------------------- */

static int finish(const demo *all, result *runs, int count, double start)
{
    printf("%" PRId64 " parameters, %" PRId64 " bytes of text, %" PRId64 " steps each, %.0f s\n\n",
           runs[0].parameters, runs[0].text_bytes, all->steps, progress_now() - start);
    const int reference = results_compare(runs, count);
    if (results_write(runs, count, reference, all->out) != 0 ||
        results_plot(runs, count, reference, all->out) != 0)
        return -1;
    int different = 0;
    for (int i = 0; i < count; i++)
        different += !runs[i].same_bits;
    if (different > 0)
        return failure("%d of %d resumed runs ended with other bits", different, count);
    return 0;
}

static int run_all(const demo *all, const name_list *recipes)
{
    const double start = progress_now();
    result *const runs = calloc((size_t)recipes->count, sizeof *runs);
    if (runs == NULL)
        return failure("no memory for results");
    int outcome = 0;
    for (int i = 0; outcome == 0 && i < recipes->count; i++)
        outcome = run_recipe(all, recipes->names[i], &runs[i]);
    if (outcome == 0)
        outcome = finish(all, runs, recipes->count, start);
    for (int i = 0; i < recipes->count; i++)
        result_free(&runs[i]);
    free(runs);
    return outcome;
}

/* Files stand for themselves, directories for their *.json. */
static int list_recipes(name_list *list, const words *paths)
{
    for (int i = 0; i < paths->count; i++) {
        const char *const dot = strrchr(paths->at[i], '.');
        const int is_file = dot != NULL && strcmp(dot, ".json") == 0;
        if ((is_file ? name_list_add(list, paths->at[i])
                     : list_directory(list, paths->at[i], ".json")) != 0)
            return -1;
    }
    return list->count > 0 ? 0 : failure("there is no recipe (*.json) in '%s'", paths->at[0]);
}

/* Copies the text to out/text. */
static int take_snapshot(demo *all)
{
    char problem[PATH_SIZE + 256];
    if (path_join(all->snapshot, all->out, "text") != 0 || make_directories(all->snapshot) != 0)
        return -1;
    if (corpus_copy(all->text.at, all->text.count, all->snapshot, problem, sizeof problem) != 0)
        return failure("%s", problem);
    return 0;
}

static int demonstrate(demo *all)
{
    name_list recipes = {0};
    /* Threads of the runs that wait should sleep: spinning takes the processor from those that
     * work when anything else runs on the machine. A setting of the user's own stays. */
    setenv("OMP_WAIT_POLICY", "passive", 0);
    int result = process_sibling(all->train, "gpt_train");
    if (result == 0)
        result = list_recipes(&recipes, &all->recipes);
    if (result == 0)
        result = take_snapshot(all);
    if (result == 0)
        result = run_all(all, &recipes);
    name_list_free(&recipes);
    return result;
}

int main(int argc, char **argv)
{
    static const char *const default_text[] = {GPT_SOURCE_DIR};
    static const char *const default_recipes[] = {GPT_RECIPES_DIR};
    demo all = {.out = "build/demo",
                .text = {default_text, 1},
                .recipes = {default_recipes, 1},
                .steps = 300};
    const argument table[] = {
        {"--out", "DIR", "where results go (build/demo)", .text = &all.out},
        {"--text", "PATH...", "files and directories to learn (hone's sources)", .list = &all.text},
        {"--recipes", "PATH...", "recipes, or directories of them (those of the example)",
         .list = &all.recipes},
        {"--steps", "N", "steps of each run (300)", .number = &all.steps},
    };
    report_as(argv[0]);
    const arguments_outcome outcome =
        arguments_read(argc, argv, table, sizeof table / sizeof table[0], summary);
    if (outcome == ARGUMENTS_HELP)
        return 0;
    if (outcome == ARGUMENTS_OK && all.steps < 2)
        failure("--steps is %" PRId64 "; a run with a half-way needs at least 2", all.steps);
    if (outcome == ARGUMENTS_WRONG || all.steps < 2)
        return 2;
    return demonstrate(&all) == 0 ? 0 : 1;
}
