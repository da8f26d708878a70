/* SPDX-License-Identifier: Apache-2.0 */
/* What a program does with hone: read a recipe, register parameters and gradients, step, save.
 * Everything else here is the text, the clock and the files. */
#include "training.h"
#include "recipe.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_OUT_BATCHES = 12 };

/* ---- opening -------------------------------------------------------------------------------- */

static int create_optimizer(training *run)
{
    hone_error error;
    if (hone_optimizer_create(&run->optimizer, run->context, run->spec, &error) != HONE_OK)
        return failure("%s", error.message);
    for (int i = 0; i < gpt_tensor_count(run->model); i++) {
        gpt_tensor *const tensor = gpt_tensor_at(run->model, i);
        const hone_tensor data = weights_view(&run->weights, i);
        const hone_tensor grad =
            hone_tensor_view(tensor->grad, HONE_F32, tensor->ndim, tensor->shape);
        int64_t index;
        if (hone_optimizer_add(run->optimizer, tensor->name, &data, HONE_GROUP_BY_NAME, &index,
                               &error) != HONE_OK ||
            hone_optimizer_set_grad(run->optimizer, index, &grad, &error) != HONE_OK)
            return failure("%s", error.message);
    }
    return 0;
}

static checkpoint_run saved_part(const training *run)
{
    return (checkpoint_run){.context = run->context,
                            .optimizer = run->optimizer,
                            .weights = &run->weights,
                            .config = &run->config,
                            .text = &run->text,
                            .seed = (uint64_t)run->options->seed};
}

static int resume(training *run)
{
    const char *const path = run->options->resume;
    if (path == NULL)
        return 0;
    const checkpoint_run part = saved_part(run);
    if (checkpoint_load(&part, path, &run->first) != 0)
        return -1;
    if (run->first >= run->options->steps)
        return failure("'%s' was saved after step %" PRId64 "; --steps is %" PRId64
                       " and must be larger",
                       path, run->first, run->options->steps);
    run->step = run->first;
    return 0;
}

static FILE *open_table(const training *run, const char *name, const char *heading)
{
    char path[PATH_SIZE];
    if (path_join(path, run->options->out, name) != 0)
        return NULL;
    FILE *const file = fopen(path, "w");
    if (file == NULL)
        failure("cannot write '%s': %s", path, strerror(errno));
    else
        fprintf(file, "%s\n", heading);
    return file;
}

static int open_tables(training *run)
{
    if (make_directories(run->options->out) != 0)
        return -1;
    run->losses = open_table(run, "losses.tsv", "step\tloss\tlearning_rate\tseconds");
    if (run->losses == NULL || run->options->evaluate_every == 0)
        return run->losses != NULL ? 0 : -1;
    run->held_out = open_table(run, "held-out.tsv", "step\tloss");
    return run->held_out != NULL ? 0 : -1;
}

static int allocate_buffers(training *run)
{
    const size_t tokens = (size_t)run->config.batch * (size_t)run->config.context;
    run->inputs = malloc(tokens);
    run->targets = malloc(tokens);
    run->seconds = calloc((size_t)(run->options->steps - run->first), sizeof *run->seconds);
    if (run->inputs == NULL || run->targets == NULL || run->seconds == NULL)
        return failure("no memory for batches and times");
    return 0;
}

static int load_text(training *run)
{
    char problem[PATH_SIZE + 256];
    const words *const paths = &run->options->text;
    if (corpus_load(&run->text, paths->at, paths->count, run->config.context, problem,
                    sizeof problem) != 0)
        return failure("%s", problem);
    return 0;
}

int training_open(training *run, const training_options *options)
{
    *run = (training){.options = options, .config = gpt_config_default()};
    hone_error error;
    if (path_stem(run->name, sizeof run->name, options->recipe) != 0 || load_text(run) != 0)
        return -1;
    if (hone_context_create(&run->context, NULL, &error) != HONE_OK)
        return failure("%s", error.message);
    run->model = gpt_create(&run->config, (uint64_t)options->seed);
    if (run->model == NULL)
        return failure("no memory for the model");
    if (recipe_load(&run->spec, run->context, options->recipe) != 0 ||
        recipe_check_patterns(run->spec, options->recipe, run->model) != 0 ||
        weights_create(&run->weights, run->model, run->spec) != 0)
        return -1;
    if (create_optimizer(run) != 0 || resume(run) != 0 || allocate_buffers(run) != 0)
        return -1;
    return open_tables(run);
}

void training_close(training *run)
{
    if (run->losses != NULL)
        fclose(run->losses);
    if (run->held_out != NULL)
        fclose(run->held_out);
    hone_optimizer_free(run->optimizer);
    hone_spec_free(run->spec);
    hone_context_free(run->context);
    weights_free(&run->weights);
    gpt_free(run->model);
    corpus_free(&run->text);
    free(run->inputs);
    free(run->targets);
    free(run->seconds);
    *run = (training){0};
}

/* ---- the loop ------------------------------------------------------------------------------- */

/* One step of training: a batch, the loss and its gradients, the optimizer and its schedule. */
static int take_step(training *run, double *loss, double *optimizer_seconds)
{
    const gpt_config *config = &run->config;
    corpus_batch(&run->text, (uint64_t)run->options->seed, run->step, config->batch,
                 config->context, run->inputs, run->targets);
    gpt_zero_gradients(run->model);
    *loss = gpt_loss_and_gradients(run->model, run->inputs, run->targets);
    const double before = progress_now();
    hone_error error;
    if (hone_optimizer_step(run->optimizer, NULL, &error) != HONE_OK ||
        hone_optimizer_schedule_step(run->optimizer, &error) != HONE_OK)
        return failure("%s", error.message);
    weights_publish(&run->weights);
    *optimizer_seconds = progress_now() - before;
    return 0;
}

static int save(const training *run)
{
    const int64_t every = run->options->save_every;
    if (run->step != run->options->steps && (every == 0 || run->step % every != 0))
        return 0;
    const checkpoint_run part = saved_part(run);
    return checkpoint_save(&part, run->options->out, run->step);
}

static void evaluate(training *run)
{
    const int64_t every = run->options->evaluate_every;
    if (run->held_out != NULL && run->step % every == 0)
        fprintf(run->held_out, "%" PRId64 "\t%.17g\n", run->step, training_held_out_loss(run));
}

static int step_and_record(training *run, progress *bar)
{
    double loss = 0, rate = 0, optimizer_seconds = 0;
    hone_error error;
    if (hone_optimizer_get(run->optimizer, 0, "lr", &rate, &error) != HONE_OK)
        return failure("%s", error.message);
    const double before = progress_now();
    if (take_step(run, &loss, &optimizer_seconds) != 0)
        return -1;
    const double seconds = progress_now() - before;
    run->seconds[run->step - run->first] = seconds;
    run->optimizer_seconds += optimizer_seconds;
    run->step++;
    fprintf(run->losses, "%" PRId64 "\t%.17g\t%.9g\t%.6f\n", run->step, loss, rate, seconds);
    evaluate(run);
    progress_update(bar, run->step, loss, rate, optimizer_seconds);
    return save(run);
}

int training_run(training *run)
{
    const int64_t tokens = (int64_t)run->config.batch * run->config.context;
    progress bar;
    progress_begin(&bar, stdout, run->name, run->first, run->options->steps, tokens);
    int result = 0;
    while (result == 0 && run->step < run->options->steps)
        result = step_and_record(run, &bar);
    progress_end(&bar);
    return result;
}

/* ---- results -------------------------------------------------------------------------------- */

double training_held_out_loss(training *run)
{
    const gpt_config *config = &run->config;
    double sum = 0;
    for (int i = 0; i < HELD_OUT_BATCHES; i++) {
        corpus_held_out_batch(&run->text, i, HELD_OUT_BATCHES, config->batch, config->context,
                              run->inputs, run->targets);
        sum += gpt_loss(run->model, run->inputs, run->targets);
    }
    return sum / HELD_OUT_BATCHES;
}

static int compare_seconds(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void write_lines(training *run, FILE *file, double held_out_loss)
{
    const size_t count = (size_t)(run->step - run->first);
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += run->seconds[i];
    /* The median: a machine that was busy for a second would spoil a mean. */
    qsort(run->seconds, count, sizeof *run->seconds, compare_seconds);
    fprintf(file, "rule\t%s\n", hone_rule_name(hone_spec_group_rule(run->spec, 0)));
    fprintf(file, "step\t%" PRId64 "\n", run->step);
    fprintf(file, "parameters\t%" PRId64 "\n", gpt_parameter_count(run->model));
    fprintf(file, "text_bytes\t%zu\n", run->text.train_size + run->text.held_out_size);
    fprintf(file, "held_out_loss\t%.17g\n", held_out_loss);
    fprintf(file, "ms_per_step\t%.6f\n", 1e3 * run->seconds[count / 2]);
    fprintf(file, "optimizer_share\t%.6f\n", run->optimizer_seconds / total);
    fprintf(file, "state_bytes\t%" PRIu64 "\n", hone_optimizer_state_bytes(run->optimizer));
}

static int close_table(FILE **table)
{
    FILE *const file = *table;
    *table = NULL;
    return file == NULL ? 0 : fclose(file);
}

int training_write_result(training *run, double held_out_loss)
{
    char path[PATH_SIZE];
    if (path_join(path, run->options->out, "result.tsv") != 0)
        return -1;
    FILE *const file = fopen(path, "w");
    if (file != NULL)
        write_lines(run, file, held_out_loss);
    if (file == NULL || fclose(file) != 0)
        return failure("cannot write '%s': %s", path, strerror(errno));
    if (close_table(&run->losses) != 0 || close_table(&run->held_out) != 0)
        return failure("cannot write the losses under '%s': %s", run->options->out,
                       strerror(errno));
    return 0;
}
