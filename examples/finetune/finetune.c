/* SPDX-License-Identifier: Apache-2.0 */
/* finetune: a small GPT learns one text, then another with 5 % of its weights moving at 100 times
 * the rate of the rest. Told are the losses on both texts and how far the weights moved, beside
 * plain AdamW at either rate. */
#define _POSIX_C_SOURCE 200809L

#include "arguments.h"
#include "constant_gradient.h"
#include "files.h"
#include "movement.h"
#include "picture.h"
#include "progress.h"
#include "report.h"
#include "tuning.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct session {
    const char *out;
    words texts[N_TEXTS];
    int64_t pretrain_steps, steps, seed;
} session;

static const double fraction = 0.05;
#define FAST_RATE 1e-3
#define SLOW_RATE 1e-5

enum { MASKED_RUN, FAST_RUN, SLOW_RUN, N_RUNS };

static const char summary[] =
    "Pre-trains a small GPT on one text and fine-tunes it on another with 5 % of the weights "
    "moving\n"
    "at 100 times the rate of the rest, beside plain AdamW at either rate.";

/* ---- a gradient that never changes ---------------------------------------------------------- */

static int show_constant_gradient(void)
{
    enum { STEPS = 1000 };
    hone_context *context = NULL;
    hone_error error;
    if (hone_context_create(&context, NULL, &error) != HONE_OK)
        return failure("%s", error.message);
    constant_ways one, two;
    int result = constant_one_pass(&one, context, FAST_RATE, SLOW_RATE, STEPS);
    if (result == 0)
        result = constant_two_passes(&two, context, FAST_RATE, SLOW_RATE, STEPS);
    hone_context_free(context);
    if (result != 0)
        return -1;
    const double wanted = FAST_RATE / SLOW_RATE, ratio = one.masked / one.unmasked;
    printf("two weights, %d steps of one constant gradient, rates %g and %g:\n", STEPS, FAST_RATE,
           SLOW_RATE);
    printf("  one masked AdamW step (hone)      moved %.9f and %.9f, ratio %.9f\n", one.masked,
           one.unmasked, ratio);
    printf(
        "  two steps, gradients zeroed       moved %.9f and %.9f, ratio %.2f: momentum leaks\n\n",
        two.masked, two.unmasked, two.masked / two.unmasked);
    if (!(fabs(ratio / wanted - 1) < 1e-9))
        return failure("under a constant gradient the ratio is %.12g; it must be %g", ratio,
                       wanted);
    return 0;
}

/* ---- the model ------------------------------------------------------------------------------ */

static int pretrain(tuner *all, const session *wish)
{
    char recipe[512];
    const long long steps = wish->pretrain_steps;
    snprintf(recipe, sizeof recipe,
             "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.002, \"betas\": [0.9, 0.99], "
             "\"weight_decay\": 0.1, \"clip_grad_norm\": 1.0, \"schedule\": {\"type\": "
             "\"cosine_with_warmup\", \"total_steps\": %lld, \"warmup_steps\": %lld, "
             "\"warmup_from_one\": true, \"min_factor\": 0.05}}",
             steps, steps / 15);
    const tuning_plan plan = {"pre-train", recipe, FIRST_TEXT, false, steps};
    tuning_run run;
    const int result = tuner_train(all, &plan, &run);
    tuning_run_free(&run);
    tuner_keep(all);
    return result;
}

/* The masks as a file that "hone mask info" reads. */
static int save_masks(const tuner *all, const char *out)
{
    char path[PATH_SIZE];
    hone_error error;
    if (path_join(path, out, "masks.safetensors") != 0)
        return -1;
    if (hone_mask_set_save(all->masks, path, &error) != HONE_OK)
        return failure("%s", error.message);
    return 0;
}

#define RECIPE(rates) "{\"optimizer_type\": \"adamw\", \"weight_decay\": 0.01, " rates "}"
#define TEXT_OF(value) #value
#define RATE(name, value) "\"" name "\": " TEXT_OF(value)

static int run_all(tuner *all, const session *wish, tuning_run runs[N_RUNS])
{
    const tuning_plan plans[N_RUNS] = {
        {"masked", RECIPE(RATE("masked_lr", FAST_RATE) ", " RATE("unmasked_lr", SLOW_RATE)),
         NEW_TEXT, true, wish->steps},
        {"fast", RECIPE(RATE("lr", FAST_RATE)), NEW_TEXT, false, wish->steps},
        {"slow", RECIPE(RATE("lr", SLOW_RATE)), NEW_TEXT, false, wish->steps},
    };
    int result = 0;
    for (int i = 0; result == 0 && i < N_RUNS; i++) {
        tuner_restore(all);
        result = tuner_train(all, &plans[i], &runs[i]);
    }
    return result;
}

/* ---- what came of it ------------------------------------------------------------------------ */

static void print_losses(const tuning_run runs[N_RUNS])
{
    static const char *const words_for[N_RUNS] = {"5 % at 1e-3, rest at 1e-5", "all at 1e-3",
                                                  "all at 1e-5"};
    printf("\nheld-out loss, nats per byte      new text           first text\n");
    for (int i = 0; i < N_RUNS; i++) {
        const double *const before = runs[i].losses[0];
        const double *const after = runs[i].losses[runs[i].points - 1];
        printf("%-7s %-25s %.3f -> %.3f     %.3f -> %.3f\n", runs[i].plan.label, words_for[i],
               before[NEW_TEXT], after[NEW_TEXT], before[FIRST_TEXT], after[FIRST_TEXT]);
    }
}

static void print_movement(const tuning_run runs[N_RUNS], const movement ways[N_RUNS])
{
    printf(
        "\ndistance moved     median: masked   others  ratio      mean: masked   others  ratio\n");
    for (int i = 0; i < N_RUNS; i++) {
        const movement *const way = &ways[i];
        printf("%-7s          %16.3e %8.2e %6.1f %17.3e %8.2e %6.1f\n", runs[i].plan.label,
               way->median[MASKED], way->median[UNMASKED],
               way->median[MASKED] / way->median[UNMASKED], way->mean[MASKED], way->mean[UNMASKED],
               way->mean[MASKED] / way->mean[UNMASKED]);
    }
    const double ratio = ways[MASKED_RUN].median[MASKED] / ways[MASKED_RUN].median[UNMASKED];
    const double alone = ways[FAST_RUN].median[MASKED] / ways[FAST_RUN].median[UNMASKED];
    printf(
        "With one rate for all (fast) the masked weights moved %.2f times as far as the others:\n"
        "AdamW divides every step by the usual size of the weight's gradient, so that a larger\n"
        "gradient alone is no longer way. Of the ratio of %.0f that leaves %.0f to the rates.\n\n",
        alone, ratio, ratio / alone);
}

/* One step moves a weight by at most lr times the largest |m| / sqrt(v), which by Cauchy-Schwarz is
 * (1 - b1) / sqrt((1 - b2) (1 - b1^2 / b2)) = 7.27 for AdamW's betas, and by lr times the decay.
 * A slow weight that went beyond has been moved at the fast rate. */
static int check_slow_weights(const movement *way, int64_t steps)
{
    const double b1 = 0.9, b2 = 0.999, decay = 0.01, largest_weight = 10;
    const double reach = (1 - b1) / sqrt((1 - b2) * (1 - b1 * b1 / b2)) + decay * largest_weight;
    const double limit = SLOW_RATE * reach * (double)steps;
    if (way->most[UNMASKED] > limit)
        return failure("a weight outside the masks moved %.3e in %lld steps; at rate %g AdamW "
                       "reaches at most %.3e",
                       way->most[UNMASKED], (long long)steps, SLOW_RATE, limit);
    if (!(way->median[MASKED] > 10 * way->median[UNMASKED]))
        return failure(
            "the masked weights moved %.3e (median), the others %.3e; at a hundred times "
            "the rate that should be at least ten times as far",
            way->median[MASKED], way->median[UNMASKED]);
    return 0;
}

static int report(const tuner *all, const session *wish, const tuning_run runs[N_RUNS])
{
    movement ways[N_RUNS];
    for (int i = 0; i < N_RUNS; i++)
        if (movement_measure(&ways[i], runs[i].moved, all->masked, all->count) != 0)
            return -1;
    print_losses(runs);
    print_movement(runs, ways);
    if (picture_draw(runs, ways, N_RUNS, wish->out) != 0)
        return -1;
    return check_slow_weights(&ways[MASKED_RUN], wish->steps);
}

static int demonstrate(const session *wish)
{
    const double start = progress_now();
    tuner all = {0};
    tuning_run runs[N_RUNS] = {0};
    int result = make_directories(wish->out);
    if (result == 0)
        result = show_constant_gradient();
    if (result == 0)
        result = tuner_open(&all, wish->texts, wish->seed);
    if (result == 0)
        result = pretrain(&all, wish);
    if (result == 0)
        result = tuner_choose_weights(&all, fraction);
    if (result == 0)
        result = save_masks(&all, wish->out);
    if (result == 0)
        result = run_all(&all, wish, runs);
    if (result == 0)
        result = report(&all, wish, runs);
    for (int i = 0; i < N_RUNS; i++)
        tuning_run_free(&runs[i]);
    tuner_close(&all);
    if (result == 0)
        printf("%.0f s in all\n", progress_now() - start);
    return result;
}

int main(int argc, char **argv)
{
    static const char *const first_text[] = {FINETUNE_SOURCE_DIR "/src",
                                             FINETUNE_SOURCE_DIR "/include"};
    static const char *const new_text[] = {
        FINETUNE_SOURCE_DIR "/docs", FINETUNE_SOURCE_DIR "/README.md",
        FINETUNE_SOURCE_DIR "/ARCHITECTURE.md", FINETUNE_SOURCE_DIR "/CONTRIBUTING.md"};
    session wish = {.out = "build/finetune",
                    .texts = {{first_text, 2}, {new_text, 4}},
                    .pretrain_steps = 250,
                    .steps = 150,
                    .seed = 1};
    const argument table[] = {
        {"--out", "DIR", "where results go (build/finetune)", .text = &wish.out},
        {"--first-text", "PATH...", "what is learnt first (hone's sources)",
         .list = &wish.texts[FIRST_TEXT]},
        {"--text", "PATH...", "what is learnt then (hone's documentation)",
         .list = &wish.texts[NEW_TEXT]},
        {"--pretrain-steps", "N", "steps on the first text (250)", .number = &wish.pretrain_steps},
        {"--steps", "N", "steps of each run on the new text (150)", .number = &wish.steps},
        {"--seed", "N", "of the first weights (1)", .number = &wish.seed},
    };
    report_as(argv[0]);
    const arguments_outcome outcome =
        arguments_read(argc, argv, table, sizeof table / sizeof table[0], summary);
    if (outcome == ARGUMENTS_HELP)
        return 0;
    if (outcome == ARGUMENTS_WRONG)
        return 2;
    return demonstrate(&wish) == 0 ? 0 : 1;
}
