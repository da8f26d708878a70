/* SPDX-License-Identifier: Apache-2.0 */
/* What a program does with hone's masks: make one for every tensor from gradients, give the whole
 * set to an optimizer by name, and step as ever. */
#include "tuning.h"
#include "progress.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_OUT_BATCHES = 4, GRADIENT_BATCHES = 8 };

/* All runs see the same batches; those that choose the weights are others. */
enum { TRAINING_SEED = 1, GRADIENT_SEED = 2 };

/* ---- opening -------------------------------------------------------------------------------- */

static int load_texts(tuner *all, const words texts[N_TEXTS])
{
    char problem[4096 + 256];
    for (int i = 0; i < N_TEXTS; i++)
        if (corpus_load(&all->texts[i], texts[i].at, texts[i].count, all->config.context, problem,
                        sizeof problem) != 0)
            return failure("%s", problem);
    return 0;
}

int tuner_open(tuner *all, const words texts[N_TEXTS], int64_t seed)
{
    *all = (tuner){.config = gpt_config_default()};
    if (load_texts(all, texts) != 0)
        return -1;
    hone_error error;
    if (hone_context_create(&all->context, NULL, &error) != HONE_OK)
        return failure("%s", error.message);
    const size_t tokens = (size_t)all->config.batch * (size_t)all->config.context;
    all->model = gpt_create(&all->config, (uint64_t)seed);
    if (all->model == NULL)
        return failure("no memory for the model");
    all->count = gpt_parameter_count(all->model);
    all->inputs = malloc(tokens);
    all->targets = malloc(tokens);
    all->kept = malloc((size_t)all->count * sizeof *all->kept);
    all->masked = calloc((size_t)all->count, 1);
    if (all->inputs == NULL || all->targets == NULL || all->kept == NULL || all->masked == NULL)
        return failure("no memory for batches and copies of the weights");
    return 0;
}

void tuner_close(tuner *all)
{
    hone_mask_set_free(all->masks);
    hone_context_free(all->context);
    gpt_free(all->model);
    for (int i = 0; i < N_TEXTS; i++)
        corpus_free(&all->texts[i]);
    free(all->inputs);
    free(all->targets);
    free(all->kept);
    free(all->masked);
    *all = (tuner){0};
}

/* ---- weights -------------------------------------------------------------------------------- */

static void copy_weights(tuner *all, float *weights)
{
    for (int i = 0; i < gpt_tensor_count(all->model); i++) {
        const gpt_tensor *const tensor = gpt_tensor_at(all->model, i);
        memcpy(weights, tensor->data, (size_t)tensor->count * sizeof *weights);
        weights += tensor->count;
    }
}

void tuner_keep(tuner *all)
{
    copy_weights(all, all->kept);
}

void tuner_restore(tuner *all)
{
    const float *weights = all->kept;
    for (int i = 0; i < gpt_tensor_count(all->model); i++) {
        gpt_tensor *const tensor = gpt_tensor_at(all->model, i);
        memcpy(tensor->data, weights, (size_t)tensor->count * sizeof *weights);
        weights += tensor->count;
    }
}

/* The batch and its loss; gradients are added to those of the model. */
static double pull(tuner *all, int text, uint64_t seed, int64_t step)
{
    corpus_batch(&all->texts[text], seed, step, all->config.batch, all->config.context, all->inputs,
                 all->targets);
    return gpt_loss_and_gradients(all->model, all->inputs, all->targets);
}

static hone_status add_mask(tuner *all, gpt_tensor *tensor, double fraction, uint8_t *masked,
                            hone_error *error)
{
    const hone_tensor grad = hone_tensor_view(tensor->grad, HONE_F32, tensor->ndim, tensor->shape);
    hone_mask *mask = NULL;
    hone_status status = hone_mask_top_fraction(&mask, all->context, &grad, fraction, error);
    if (status == HONE_OK)
        status = hone_mask_set_add(all->masks, tensor->name, mask, error);
    if (status == HONE_OK)
        status = hone_mask_to_dense(mask, masked, error);
    hone_mask_free(mask);
    return status;
}

int tuner_choose_weights(tuner *all, double fraction)
{
    gpt_zero_gradients(all->model);
    for (int i = 0; i < GRADIENT_BATCHES; i++)
        pull(all, NEW_TEXT, GRADIENT_SEED, i);
    hone_error error;
    hone_status status = hone_mask_set_create(&all->masks, all->context, &error);
    uint8_t *masked = all->masked;
    for (int i = 0; status == HONE_OK && i < gpt_tensor_count(all->model); i++) {
        gpt_tensor *const tensor = gpt_tensor_at(all->model, i);
        status = add_mask(all, tensor, fraction, masked, &error);
        masked += tensor->count;
    }
    return status == HONE_OK ? 0 : failure("%s", error.message);
}

/* ---- a run ---------------------------------------------------------------------------------- */

static hone_status add_tensors(tuner *all, hone_optimizer *optimizer, hone_error *error)
{
    for (int i = 0; i < gpt_tensor_count(all->model); i++) {
        gpt_tensor *const tensor = gpt_tensor_at(all->model, i);
        const hone_tensor data =
            hone_tensor_view(tensor->data, HONE_F32, tensor->ndim, tensor->shape);
        const hone_tensor grad =
            hone_tensor_view(tensor->grad, HONE_F32, tensor->ndim, tensor->shape);
        int64_t index;
        hone_status status =
            hone_optimizer_add(optimizer, tensor->name, &data, HONE_GROUP_BY_NAME, &index, error);
        if (status == HONE_OK)
            status = hone_optimizer_set_grad(optimizer, index, &grad, error);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

static void print_rates(const hone_lr_info *info)
{
    printf("%lld weights under %lld masks move at %g, the other %lld at %g\n",
           (long long)info->masked_parameters, (long long)info->masks, info->masked_lr,
           (long long)info->unmasked_parameters, info->unmasked_lr);
}

static hone_optimizer *create_optimizer(tuner *all, const tuning_plan *plan)
{
    hone_error error;
    hone_spec *spec = NULL;
    hone_optimizer *optimizer = NULL;
    hone_lr_info info;
    hone_status status =
        hone_spec_parse(&spec, all->context, plan->recipe, strlen(plan->recipe), &error);
    if (status == HONE_OK)
        status = hone_optimizer_create(&optimizer, all->context, spec, &error);
    if (status == HONE_OK)
        status = add_tensors(all, optimizer, &error);
    if (status == HONE_OK && plan->masked)
        status = hone_optimizer_set_masks(optimizer, all->masks, true, NULL, NULL, &error);
    if (status == HONE_OK && plan->masked)
        status = hone_optimizer_lr_info(optimizer, 0, &info, &error);
    hone_spec_free(spec);
    if (status != HONE_OK) {
        failure("%s: %s", plan->label, error.message);
        hone_optimizer_free(optimizer);
        return NULL;
    }
    if (plan->masked)
        print_rates(&info);
    return optimizer;
}

static double held_out_loss(tuner *all, int text)
{
    double sum = 0;
    for (int i = 0; i < HELD_OUT_BATCHES; i++) {
        corpus_held_out_batch(&all->texts[text], i, HELD_OUT_BATCHES, all->config.batch,
                              all->config.context, all->inputs, all->targets);
        sum += gpt_loss(all->model, all->inputs, all->targets);
    }
    return sum / HELD_OUT_BATCHES;
}

static void add_point(tuner *all, tuning_run *run, int64_t step)
{
    run->steps[run->points] = step;
    for (int text = 0; text < N_TEXTS; text++)
        run->losses[run->points][text] = held_out_loss(all, text);
    run->points++;
}

static int take_step(tuner *all, hone_optimizer *optimizer, const tuning_plan *plan, int64_t step,
                     progress *bar)
{
    gpt_zero_gradients(all->model);
    const double loss = pull(all, plan->text, TRAINING_SEED, step);
    hone_error error;
    double rate = 0;
    const double before = progress_now();
    if (hone_optimizer_get(optimizer, 0, "lr", &rate, &error) != HONE_OK ||
        hone_optimizer_step(optimizer, NULL, &error) != HONE_OK ||
        hone_optimizer_schedule_step(optimizer, &error) != HONE_OK)
        return failure("%s: %s", plan->label, error.message);
    progress_update(bar, step + 1, loss, rate, progress_now() - before);
    return 0;
}

static int run_steps(tuner *all, hone_optimizer *optimizer, tuning_run *run)
{
    const int64_t total = run->plan.steps;
    progress bar;
    progress_begin(&bar, stdout, run->plan.label, 0, total,
                   (int64_t)all->config.batch * all->config.context);
    add_point(all, run, 0);
    int result = 0;
    for (int64_t step = 0; result == 0 && step < total; step++) {
        result = take_step(all, optimizer, &run->plan, step, &bar);
        /* The tenths of a run that has fewer than ten steps are its steps. */
        if (result == 0 && 10 * (step + 1) / total > 10 * step / total)
            add_point(all, run, step + 1);
    }
    progress_end(&bar);
    return result;
}

int tuner_train(tuner *all, const tuning_plan *plan, tuning_run *run)
{
    *run = (tuning_run){.plan = *plan};
    const size_t size = (size_t)all->count * sizeof *run->moved;
    float *const before = malloc(size);
    run->moved = malloc(size);
    if (before == NULL || run->moved == NULL) {
        free(before);
        return failure("no memory for copies of the weights");
    }
    copy_weights(all, before);
    hone_optimizer *const optimizer = create_optimizer(all, plan);
    const int result = optimizer != NULL ? run_steps(all, optimizer, run) : -1;
    hone_optimizer_free(optimizer);
    copy_weights(all, run->moved);
    for (int64_t i = 0; i < all->count; i++)
        run->moved[i] = fabsf(run->moved[i] - before[i]);
    free(before);
    return result;
}

void tuning_run_free(tuning_run *run)
{
    free(run->moved);
    *run = (tuning_run){0};
}
