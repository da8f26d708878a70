/* SPDX-License-Identifier: Apache-2.0 */
/* gpt_train: trains the model with one recipe, from the start or from a checkpoint. */
#include "report.h"
#include "training.h"

static const char summary[] =
    "Trains a small GPT on the bytes of a text with the optimizer that a recipe describes.\n"
    "Writes losses.tsv, result.tsv and checkpoints (step-N/) to the output directory.";

static int train(const training_options *options)
{
    training run;
    int result = training_open(&run, options);
    if (result == 0)
        result = training_run(&run);
    if (result == 0) {
        const double loss = training_held_out_loss(&run);
        result = training_write_result(&run, loss);
        printf("%-8s held-out loss %.4f\n", run.name, loss);
    }
    training_close(&run);
    return result;
}

int main(int argc, char **argv)
{
    static const char *const default_text[] = {GPT_SOURCE_DIR};
    training_options options = {
        .text = {default_text, 1}, .out = "gpt-run", .steps = 300, .seed = 1};
    const argument table[] = {
        {"--recipe", "FILE", "the optimizer as a hone spec in JSON", .text = &options.recipe},
        {"--text", "PATH...", "files and directories to learn (hone's sources)",
         .list = &options.text},
        {"--steps", "N", "step to stop after (300)", .number = &options.steps},
        {"--out", "DIR", "where results go (gpt-run)", .text = &options.out},
        {"--resume", "DIR", "a checkpoint to go on from", .text = &options.resume},
        {"--save-every", "N", "steps between checkpoints (the last step is always saved)",
         .number = &options.save_every},
        {"--evaluate-every", "N", "steps between losses on held-out text (only at the end)",
         .number = &options.evaluate_every},
        {"--seed", "N", "of weights and batches (1)", .number = &options.seed},
    };
    report_as(argv[0]);
    const arguments_outcome outcome =
        arguments_read(argc, argv, table, sizeof table / sizeof table[0], summary);
    if (outcome == ARGUMENTS_HELP)
        return 0;
    if (outcome == ARGUMENTS_OK && options.recipe == NULL)
        failure("--recipe is missing; --help lists the options");
    if (outcome == ARGUMENTS_WRONG || options.recipe == NULL)
        return 2;
    return train(&options) == 0 ? 0 : 1;
}
