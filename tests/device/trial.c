/* SPDX-License-Identifier: Apache-2.0 */
#include "device/trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device_memory.h"
#include "support/numbers.h"
#include "support/random.h"
#include "support/shard.h"

/* Around vectors and chunks, an empty one among them, at addresses that are aligned or not. */
static const size_t lengths[] = {8197, 1, 0, 64, 31, 16384, 7, 130};
#define PIECES (sizeof lengths / sizeof lengths[0])
#define ABSENT 12345.678

struct piece {
    int64_t shape[1];
    bool on_device;
    hone_tensor param, grad;
    int64_t index;
};

struct training {
    const struct trial *trial;
    bool on_device;
    hone_context *context;
    hone_optimizer *optimizer;
    struct piece pieces[PIECES];
};

struct trial trial_of(const struct run *run)
{
    return (struct trial){.run = *run, .masked_lr = (double)NAN, .accumulate = 1, .steps = 3};
}

/* ---- arrays on either side --------------------------------------------------------------------- */

static void *place(const struct piece *piece, hone_dtype dtype, const double *values, size_t past)
{
    const size_t count = (size_t)piece->shape[0], size = hone_dtype_size(dtype);
    void *const stored = numbers_store(dtype, values, count);
    if (!piece->on_device)
        return stored;
    void *const memory = device_new(0, count * size, past * size);
    device_write(memory, stored, count * size);
    free(stored);
    return memory;
}

static void overwrite(const struct piece *piece, hone_tensor *tensor, const double *values)
{
    const size_t count = (size_t)piece->shape[0];
    void *const stored = numbers_store(tensor->dtype, values, count);
    if (piece->on_device)
        device_write(tensor->data, stored, count * hone_dtype_size(tensor->dtype));
    else
        memcpy(tensor->data, stored, count * hone_dtype_size(tensor->dtype));
    free(stored);
}

static void read_back(bool on_device, hone_dtype dtype, const void *data, double *to, size_t count)
{
    if (!on_device) {
        numbers_load(dtype, data, to, count);
        return;
    }
    void *const home = malloc(count * hone_dtype_size(dtype) + 1);
    assert_non_null(home);
    device_read(home, data, count * hone_dtype_size(dtype));
    numbers_load(dtype, home, to, count);
    free(home);
}

/* ---- building ---------------------------------------------------------------------------------- */

static double value_of(struct random *random, bool special)
{
    static const double values[] = {0, -0.0, 1e-40, -1e-44, 1e-7, 1e30, -7e4, INFINITY, NAN, 3e38};
    if (special && random_below(random, 5) == 0)
        return values[random_below(random, sizeof values / sizeof values[0])];
    return pow(10, 2 * random_signed(random) - 1) * random_signed(random);
}

static double *draw(size_t count, uint64_t seed, bool special)
{
    struct random random = {seed};
    double *const values = malloc(sizeof *values * (count + 1));
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = value_of(&random, special);
    return values;
}

static void mask_piece(struct training *t, size_t i)
{
    const size_t count = lengths[i];
    int64_t words_shape[] = {(int64_t)((count + 31) / 32)};
    uint32_t *const words = calloc((size_t)words_shape[0] + 1, sizeof *words);
    struct random random = {77 + i};
    for (size_t k = 0; k < count; k++)
        words[k / 32] |= (uint32_t)random_below(&random, 2) << (k % 32);
    const hone_tensor view = hone_tensor_view(words, HONE_U32, 1, words_shape);
    hone_mask *mask = NULL;
    OK(hone_mask_from_words(&mask, t->context, 1, t->pieces[i].shape, &view, &problem));
    OK(hone_optimizer_set_mask(t->optimizer, t->pieces[i].index, mask, &problem));
    hone_mask_free(mask);
    free(words);
}

static void make_piece(struct training *t, size_t i)
{
    const struct run *const run = &t->trial->run;
    struct piece *const piece = &t->pieces[i];
    piece->shape[0] = (int64_t)lengths[i];
    piece->on_device = t->on_device && !(t->trial->mixed && i % 3 == 2);
    double *const values = draw(lengths[i], 1000 + i, false);
    void *const param = place(piece, run->param, values, i % 3);
    void *const grad = place(piece, run->grad, values, i % 2);
    piece->param = piece->on_device ? device_view(param, run->param, 1, piece->shape)
                                    : hone_tensor_view(param, run->param, 1, piece->shape);
    piece->grad = piece->on_device ? device_view(grad, run->grad, 1, piece->shape)
                                   : hone_tensor_view(grad, run->grad, 1, piece->shape);
    free(values);
}

static void add_piece(struct training *t, size_t i)
{
    struct piece *const piece = &t->pieces[i];
    const bool second = t->trial->several_groups && i % 2 == 1;
    char name[16];
    snprintf(name, sizeof name, "p%zu", i);
    OK(hone_optimizer_add(t->optimizer, name, &piece->param, second ? 1 : 0, &piece->index,
                          &problem));
    OK(hone_optimizer_set_lr_multiplier(t->optimizer, piece->index,
                                        i % 4 == 1 ? t->trial->run.multiplier : 1, &problem));
    if (t->trial->masked && i % 4 != 3)
        mask_piece(t, i);
}

static void configure_group(struct training *t, int group)
{
    const struct trial *const trial = t->trial;
    const hone_rule *const rule = trial->run.rule;
    for (int k = 0; k < hone_rule_slot_count(rule); k++)
        if (trial->run.slot[k] != RUN_DEFAULT_DTYPE)
            OK(hone_optimizer_set_state_dtype(t->optimizer, group, hone_rule_slot(rule, k)->name,
                                              (hone_dtype)trial->run.slot[k], &problem));
    OK(hone_optimizer_set_precision(t->optimizer, group, trial->precision, &problem));
    if (!isnan(trial->masked_lr))
        OK(hone_optimizer_set(t->optimizer, group, "masked_lr", trial->masked_lr, &problem));
}

static void make_optimizer(struct training *t)
{
    const struct trial *const trial = t->trial;
    t->optimizer = test_optimizer(t->context, hone_rule_name(trial->run.rule));
    assert_true(run_apply_hypers(&trial->run, t->optimizer));
    configure_group(t, 0);
    if (trial->several_groups) {
        OK(hone_optimizer_add_group(t->optimizer, NULL, NULL, &problem));
        OK(hone_optimizer_set(t->optimizer, 1, "lr", 0.03, &problem));
    }
    OK(hone_optimizer_clip_norm(t->optimizer, trial->run.clip_norm, trial->run.clip_order,
                                trial->nonfinite, &problem));
    OK(hone_optimizer_clip_value(t->optimizer, trial->run.clip_value, &problem));
    OK(hone_optimizer_set_grad_accum_steps(t->optimizer, trial->accumulate, trial->mean, &problem));
    if (trial->scaled) {
        hone_scaler scaler;
        hone_scaler_init(&scaler);
        scaler.scale = 1024;
        scaler.growth_interval = 2;
        OK(hone_optimizer_set_scaler(t->optimizer, &scaler, &problem));
    }
    if (t->on_device && trial->capturable)
        OK(hone_optimizer_set_capturable(t->optimizer, true, &problem));
    for (size_t i = 0; i < PIECES; i++)
        add_piece(t, i);
}

/* ---- running ----------------------------------------------------------------------------------- */

/* Piece 3 has no gradient in the second step, so that its count differs. */
static void give_grads(struct training *t, int step)
{
    for (size_t i = 0; i < PIECES; i++) {
        struct piece *const piece = &t->pieces[i];
        double *const values = draw(lengths[i], 5000 + 100 * (uint64_t)step + i, t->trial->special);
        if (t->trial->scaled && step == 1 && lengths[i] > 40)
            values[40] = INFINITY;
        overwrite(piece, &piece->grad, values);
        free(values);
        OK(hone_optimizer_set_grad(t->optimizer, piece->index,
                                   i == 3 && step == 1 ? NULL : &piece->grad, &problem));
    }
}

/* The states through the public functions, as a checkpoint would, in a file of this process. */
static void move_on(struct training *t)
{
    hone_optimizer *const before = t->optimizer;
    char path[64];
    snprintf(path, sizeof path, "trial.%ld.safetensors", (long)getpid());
    OK(hone_optimizer_save(before, path, &problem));
    make_optimizer(t);
    OK(hone_optimizer_load(t->optimizer, path, &problem));
    remove(path);
    hone_optimizer_free(before);
}

static size_t slot_names(const struct trial *trial, const char *names[8])
{
    size_t count = 0;
    for (int k = 0; k < hone_rule_slot_count(trial->run.rule); k++)
        names[count++] = hone_rule_slot(trial->run.rule, k)->name;
    names[count++] = "master";
    names[count++] = "compensation";
    names[count++] = "accumulated_grad";
    return count;
}

static double *read_end(struct training *t, size_t *count)
{
    const char *names[8];
    const size_t slots = slot_names(t->trial, names);
    size_t total = 0;
    for (size_t i = 0; i < PIECES; i++)
        total += lengths[i];
    *count = total * (1 + slots) + PIECES + 2;
    double *const end = calloc(*count, sizeof *end), *to = end;
    assert_non_null(end);
    for (size_t i = 0; i < PIECES; i++) {
        const struct piece *const piece = &t->pieces[i];
        read_back(piece->on_device, piece->param.dtype, piece->param.data, to, lengths[i]);
        to += lengths[i];
        for (size_t k = 0; k < slots; k++, to += lengths[i]) {
            hone_tensor view;
            OK(hone_optimizer_state(t->optimizer, piece->index, names[k], &view, &problem));
            assert_int_equal(view.device, piece->param.device);
            for (size_t j = 0; j < lengths[i]; j++)
                to[j] = ABSENT;
            if (view.data != NULL)
                read_back(piece->on_device, view.dtype, view.data, to, lengths[i]);
        }
        uint64_t step;
        OK(hone_optimizer_step_count(t->optimizer, piece->index, &step, &problem));
        *to++ = (double)step;
    }
    *to++ = hone_optimizer_loss_scale(t->optimizer);
    *to++ = (double)hone_optimizer_skipped(t->optimizer);
    return end;
}

double *trial_end(const struct trial *trial, bool on_device, size_t *count)
{
    struct training t = {.trial = trial, .on_device = on_device};
    t.context = test_context(1, NULL);
    for (size_t i = 0; i < PIECES; i++)
        make_piece(&t, i);
    make_optimizer(&t);
    for (int step = 0; step < trial->steps; step++) {
        if (trial->resumed && step == trial->steps / 2)
            move_on(&t);
        give_grads(&t, step);
        const hone_status status = hone_optimizer_step(t.optimizer, NULL, &problem);
        if (status != HONE_OK && status != HONE_ERROR_NONFINITE)
            fail_msg("%s: %s", run_text(&trial->run), problem.message);
    }
    double *const end = read_end(&t, count);
    hone_optimizer_free(t.optimizer);
    for (size_t i = 0; i < PIECES; i++)
        if (!t.pieces[i].on_device) {
            free(t.pieces[i].param.data);
            free(t.pieces[i].grad.data);
        }
    device_free_all();
    hone_context_free(t.context);
    return end;
}

void trial_check(const char *law, const struct trial *trial)
{
    if (!shard_takes(law, run_text(&trial->run)))
        return;
    size_t count, count_on_device;
    double *const host = trial_end(trial, false, &count);
    double *const device = trial_end(trial, true, &count_on_device);
    assert_int_equal(count, count_on_device);
    const size_t at = numbers_differ(host, device, count);
    if (at < count)
        fail_msg("%s: %s: value %zu of %zu is %.17g on the CPU and %.17g on the device", law,
                 run_text(&trial->run), at, count, host[at], device[at]);
    free(host);
    free(device);
}
