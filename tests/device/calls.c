/* SPDX-License-Identifier: Apache-2.0 */
#include "device/calls.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device/device_memory.h"
#include "support/checks.h"
#include "support/numbers.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define PICK(l, array) (array)[lockstep_draw((l), LENGTH(array))]

static const hone_dtype reals[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};

static bool chance(struct lockstep *l, uint64_t one_in)
{
    return lockstep_draw(l, one_in) == 0;
}

static int some_group(struct lockstep *l)
{
    return (int)lockstep_draw(l, (uint64_t)l->group_count);
}

/* The index of a piece, which the history names. */
static int some_piece(struct lockstep *l)
{
    const int index = (int)lockstep_draw(l, (uint64_t)l->count);
    lockstep_note(l, " %s", l->pieces[index].name);
    return index;
}

static bool is_complex(const struct piece *piece)
{
    return number_real(piece->param[SUBJECT].dtype) != piece->param[SUBJECT].dtype;
}

/* ---- pieces and gradients ------------------------------------------------------------------------ */

static int some_place(struct lockstep *l)
{
    const uint64_t drawn = lockstep_draw(l, 4);
    return drawn == 0 && (l->places & 1) != 0 ? ON_CPU : drawn == 1 && (l->places & 2) != 0 ? 1 : 0;
}

static void give_grad(struct lockstep *l, int index)
{
    static const hone_dtype complex[] = {HONE_C64, HONE_C128};
    struct piece *const piece = &l->pieces[index];
    const hone_dtype dtype = is_complex(piece) ? PICK(l, complex) : PICK(l, reals);
    lockstep_place(l, piece, dtype, lockstep_values(l, piece, PLAIN), piece->grad);
    BOTH_OK(l, hone_optimizer_set_grad(o, index, &piece->grad[side], &problem));
    piece->has_grad = true;
}

void calls_add(struct lockstep *l)
{
    static const int64_t lengths[] = {0, 1, 2, 7, 31, 64, 130, 700, 8191, 8197, 16390};
    static const hone_dtype dtypes[] = {HONE_F32, HONE_F32,  HONE_F64, HONE_BF16,
                                        HONE_F16, HONE_BF16, HONE_C64, HONE_C128};
    if (l->count == MOST_PIECES)
        return;
    const int64_t length = lengths[lockstep_draw(l, chance(l, 3) ? LENGTH(lengths) : 7)];
    const hone_dtype dtype = PICK(l, dtypes);
    const int group = some_group(l), device = some_place(l);
    lockstep_note(l, " p%d[%d] %s group %d device %d", l->count, (int)length,
                  hone_dtype_name(dtype), group, device);
    lockstep_add(l, length, dtype, group, device);
    if (!chance(l, 5))
        give_grad(l, l->count - 1);
}

static void new_values(struct lockstep *l)
{
    const bool special = l->strange && chance(l, 3);
    for (int i = 0; i < l->count; i++) {
        struct piece *const piece = &l->pieces[i];
        const enum values kind = special && chance(l, 3) ? SPECIAL : PLAIN;
        if (piece->has_grad && !chance(l, 4))
            lockstep_write(l, piece, piece->grad, lockstep_values(l, piece, kind));
    }
    lockstep_note(l, special ? " special" : "");
}

static void move_grads(struct lockstep *l)
{
    for (int i = 0; i < l->count; i++) {
        struct piece *const piece = &l->pieces[i];
        if (!piece->has_grad || chance(l, 2))
            continue;
        lockstep_note(l, " %s", piece->name);
        lockstep_place(l, piece, piece->grad[SUBJECT].dtype, lockstep_values(l, piece, PLAIN),
                       piece->grad);
        BOTH_OK(l, hone_optimizer_set_grad(o, i, &piece->grad[side], &problem));
    }
}

static void give(struct lockstep *l)
{
    give_grad(l, some_piece(l));
}

static void drop(struct lockstep *l)
{
    const int index = some_piece(l);
    l->pieces[index].has_grad = false;
    BOTH_OK(l, hone_optimizer_set_grad(o, index, NULL, &problem));
}

static void zero_grads(struct lockstep *l)
{
    BOTH_OK(l, hone_optimizer_zero_grad(o, false, &problem));
}

static void rebind(struct lockstep *l)
{
    const int index = some_piece(l);
    struct piece *const piece = &l->pieces[index];
    const double *const values = lockstep_values(l, piece, PLAIN);
    hone_tensor home, master;
    if (chance(l, 2)) {
        lockstep_write(l, piece, piece->param, values);
    } else {
        lockstep_place(l, piece, piece->param[SUBJECT].dtype, values, piece->param);
        BOTH_OK(l, hone_optimizer_rebind(o, index, &piece->param[side], &problem));
    }
    OK(hone_optimizer_state(l->optimizer[REFERENCE], index, "master", &master, &problem));
    home = hone_tensor_view((void *)(uintptr_t)values, HONE_F64, 1, piece->shape);
    if (master.data != NULL)
        BOTH_OK(l, hone_optimizer_set_state(o, index, "master", &home, &problem));
}

static void mask(struct lockstep *l)
{
    static unsigned char bytes[16390];
    const int index = some_piece(l);
    struct piece *const piece = &l->pieces[index];
    assert_true((size_t)piece->shape[0] <= sizeof bytes);
    for (int64_t i = 0; i < piece->shape[0]; i++)
        bytes[i] = (unsigned char)lockstep_draw(l, 2);
    const hone_tensor dense = hone_tensor_view(bytes, HONE_U8, 1, piece->shape);
    hone_mask *made = NULL;
    if (piece->mask == NULL || chance(l, 2))
        OK(hone_mask_from_dense(&made, l->context, &dense, &problem));
    lockstep_note(l, made == NULL ? " off" : " on");
    BOTH_OK(l, hone_optimizer_set_mask(o, index, made, &problem));
    hone_mask_free(piece->mask);
    piece->mask = made;
}

/* ---- groups and what they hold -------------------------------------------------------------------- */

/* The rate that a group of the subject has by itself, in place of what stood in for a rate in device memory. */
static void own_rate(struct lockstep *l, int group)
{
    double own;
    OK(hone_optimizer_get(l->optimizer[SUBJECT], group, "lr", &own, &problem));
    OK(hone_optimizer_set(l->optimizer[REFERENCE], group, "lr", own, &problem));
}

static bool has_bound_rate(const struct lockstep *l)
{
    bool any = false;
    for (int g = 0; g < l->group_count; g++)
        any = any || l->lr[g].memory != NULL;
    return any;
}

static void add_group(struct lockstep *l)
{
    if (l->group_count == MOST_GROUPS)
        return;
    const hone_rule *const rule = hone_rule_at((int)lockstep_draw(l, (uint64_t)hone_rule_count()));
    const bool copy = hone_rule_is_matrix(rule) || chance(l, 2);
    const char *const name = copy ? l->rules[0] : hone_rule_name(rule);
    lockstep_note(l, copy ? " copy of %s" : " %s", name);
    BOTH_OK(l, hone_optimizer_add_group(o, copy ? NULL : name, NULL, &problem));
    own_rate(l, l->group_count);
    l->precision[l->group_count] = copy ? l->precision[0] : HONE_PRECISION_PLAIN;
    l->rules[l->group_count++] = name;
}

/* A bit for each slot of each group that not every choice of numbers has, set if it is there now. */
static uint64_t optional_slots(const struct lockstep *l)
{
    uint64_t slots = 0;
    for (int g = 0; g < l->group_count; g++) {
        const hone_rule *const rule = hone_rule_find(l->rules[g]);
        for (int k = 0; k < hone_rule_slot_count(rule); k++) {
            const int condition = hone_rule_slot(rule, k)->condition;
            double value = 1;
            if (condition >= 0)
                OK(hone_optimizer_get(l->optimizer[SUBJECT], g,
                                      hone_rule_hyper(rule, condition)->name, &value, &problem));
            slots = slots << 1 | (value != 0);
        }
    }
    return slots;
}

/* A graph outlives new numbers, which `prepare` brings to it, but not slots that come or go with them. */
static void renew_numbers(struct lockstep *l, uint64_t slots_before)
{
    if (optional_slots(l) != slots_before)
        lockstep_drop_graph(l);
    if (l->graph != NULL)
        OK(hone_optimizer_prepare(l->optimizer[SUBJECT], &problem));
}

static void hyper(struct lockstep *l)
{
    static const double fractions[] = {0, 1e-3, 0.01, 0.1, 0.5, 0.9};
    const int group = some_group(l);
    const hone_rule *const rule = hone_rule_find(l->rules[group]);
    const int index = (int)lockstep_draw(l, (uint64_t)hone_rule_hyper_count(rule));
    const hone_hyper *const h = hone_rule_hyper(rule, index);
    const double value = h->kind == HONE_FLAG ? (double)lockstep_draw(l, 2)
                         : chance(l, 3)       ? h->default_value
                                              : PICK(l, fractions);
    const double power = chance(l, 2) ? 0.25 : 0;
    const uint64_t slots = optional_slots(l);
    lockstep_note(l, " %s of %d = %g", h->name, group, value);
    hone_status status;
    if (h->kind == HONE_CURVE)
        BOTH(l, status, hone_optimizer_set_curve(o, group, h->name, value, power, &problem));
    else
        BOTH(l, status, hone_optimizer_set(o, group, h->name, value, &problem));
    assert_true(status == HONE_OK || status == HONE_ERROR_RANGE);
    renew_numbers(l, slots);
}

static void masked_rate(struct lockstep *l)
{
    static const double rates[] = {0, 0.003, 0.02};
    const int group = some_group(l);
    const double rate = PICK(l, rates);
    lockstep_note(l, " of %d = %g", group, rate);
    BOTH_OK(l, hone_optimizer_set(o, group, "masked_lr", rate, &problem));
    renew_numbers(l, optional_slots(l));
}

static void multiplier(struct lockstep *l)
{
    const int index = some_piece(l);
    const double value = (double)lockstep_draw(l, 50) / 8;
    lockstep_note(l, " %g", value);
    BOTH_OK(l, hone_optimizer_set_lr_multiplier(o, index, value, &problem));
}

static void precision(struct lockstep *l)
{
    static const hone_precision all[] = {HONE_PRECISION_PLAIN, HONE_PRECISION_MASTER,
                                         HONE_PRECISION_MASTER, HONE_PRECISION_KAHAN,
                                         HONE_PRECISION_STOCHASTIC};
    const int group = some_group(l);
    l->precision[group] = PICK(l, all);
    lockstep_note(l, " %d of %d", (int)l->precision[group], group);
    BOTH_OK(l, hone_optimizer_set_precision(o, group, l->precision[group], &problem));
}

static void state_dtype(struct lockstep *l)
{
    const int group = some_group(l);
    const hone_dtype dtype = PICK(l, reals);
    lockstep_note(l, " %s of %d", hone_dtype_name(dtype), group);
    BOTH_OK(l, hone_optimizer_set_state_dtype(o, group, NULL, dtype, &problem));
}

/* A schedule starts from the number that a rate in device memory hides; and it may switch momentum. */
static void schedule(struct lockstep *l)
{
    static const char moving_momentum[] =
        "{\"type\": \"cyclic\", \"base_lr\": 0.001, \"max_lr\": 0.02, \"step_size_up\": 2, "
        "\"base_momentum\": 0}";
    static const char *const texts[] = {
        moving_momentum, "{\"type\": \"cosine_annealing\", \"T_max\": 5, \"warmup_steps\": 2}",
        "{\"type\": \"exponential\", \"gamma\": 0.8}",
        "{\"type\": \"one_cycle\", \"max_lr\": 0.02, \"total_steps\": 4}"};
    const int group = some_group(l);
    const char *const text = PICK(l, texts);
    const uint64_t slots = optional_slots(l);
    hone_schedule *made = NULL;
    hone_status status;
    if (has_bound_rate(l))
        return;
    if (hone_optimizer_schedule(l->optimizer[SUBJECT], group) == NULL) {
        OK(hone_schedule_parse(&made, l->context, text, strlen(text), &problem));
        BOTH(l, status, hone_optimizer_set_schedule(o, group, made, &problem));
        hone_schedule_free(made);
    } else if (chance(l, 6)) {
        BOTH(l, status, hone_optimizer_set_schedule(o, group, NULL, &problem));
    } else {
        BOTH(l, status, hone_optimizer_schedule_step(o, &problem));
    }
    lockstep_note(l, " of %d: %s", group, hone_status_name(status));
    renew_numbers(l, slots);
}

static void set_spec(struct lockstep *l)
{
    hone_status status;
    if (has_bound_rate(l))
        return;
    BOTH(l, status, hone_optimizer_set_spec(o, hone_optimizer_spec(o), &problem));
    assert_true(status == HONE_OK || status == HONE_ERROR_MISMATCH || status == HONE_ERROR_RANGE);
}

/* ---- what a step does ---------------------------------------------------------------------------- */

static void clip(struct lockstep *l)
{
    static const double norms[] = {INFINITY, 0.5, 20}, orders[] = {1, 2, INFINITY};
    static const double limits[] = {INFINITY, INFINITY, 0.3};
    static const hone_nonfinite policies[] = {HONE_NONFINITE_PROPAGATE, HONE_NONFINITE_SKIP,
                                              HONE_NONFINITE_SKIP, HONE_NONFINITE_ERROR};
    struct settings *const s = &l->settings;
    s->clip_norm = PICK(l, norms);
    s->order = PICK(l, orders);
    s->clip_value = PICK(l, limits);
    s->policy = PICK(l, policies);
    lockstep_note(l, " %g order %g policy %d value %g", s->clip_norm, s->order, (int)s->policy,
                  s->clip_value);
    lockstep_apply(l, REFERENCE, s);
    lockstep_apply(l, SUBJECT, s);
}

static void loss_scale(struct lockstep *l)
{
    const double scale = ldexp(1, (int)lockstep_draw(l, 12));
    hone_status status;
    BOTH(l, status, hone_optimizer_set_loss_scale(o, scale, &problem));
    lockstep_note(l, " %g: %s", scale, hone_status_name(status));
    if (status == HONE_OK)
        l->settings.loss_scale = scale;
}

static void scaler(struct lockstep *l)
{
    hone_scaler made;
    hone_scaler_init(&made);
    made.scale = ldexp(1, (int)lockstep_draw(l, 17));
    made.growth_interval = 1 + lockstep_draw(l, 3);
    const bool on = !l->scaling || chance(l, 4);
    lockstep_note(l, on ? " %g" : " off", made.scale);
    if (on && (l->scale.memory != NULL || l->flag.memory != NULL)) {
        FAILS(HONE_ERROR_ARGUMENT, NULL,
              hone_optimizer_set_scaler(l->optimizer[SUBJECT], &made, &problem));
        return;
    }
    BOTH_OK(l, hone_optimizer_set_scaler(o, on ? &made : NULL, &problem));
    l->scaling = on;
    l->settings.loss_scale = 1;
}

static void accumulate(struct lockstep *l)
{
    const int steps = 1 + (int)lockstep_draw(l, 3);
    const bool mean = chance(l, 2);
    hone_status status;
    BOTH(l, status, hone_optimizer_set_grad_accum_steps(o, steps, mean, &problem));
    lockstep_note(l, " %d: %s", steps, hone_status_name(status));
    if (status == HONE_OK)
        l->accumulate = steps;
}

/* ---- states -------------------------------------------------------------------------------------- */

static const char *some_slot(struct lockstep *l, int index)
{
    const int group = hone_optimizer_group_of(l->optimizer[SUBJECT], index);
    const hone_rule *const rule = hone_rule_find(l->rules[group]);
    const uint64_t count = (uint64_t)hone_rule_slot_count(rule);
    return hone_rule_slot(rule, (int)lockstep_draw(l, count))->name;
}

static hone_tensor as_state(const struct piece *piece, hone_tensor view)
{
    view.ndim = is_complex(piece) ? 2 : 1;
    view.dtype = number_real(view.dtype);
    return view;
}

static void set_state(struct lockstep *l)
{
    const int index = some_piece(l);
    struct piece *const piece = &l->pieces[index];
    const char *const slot = some_slot(l, index);
    hone_tensor views[SIDES];
    lockstep_place(l, piece, piece->param[REFERENCE].dtype, lockstep_values(l, piece, POSITIVE),
                   views);
    const hone_tensor values = as_state(piece, views[REFERENCE]);
    lockstep_note(l, " %s", slot);
    BOTH_OK(l, hone_optimizer_set_state(o, index, slot, &values, &problem));
}

static void bind_state(struct lockstep *l)
{
    const int index = some_piece(l);
    struct piece *const piece = &l->pieces[index];
    const char *const slot = some_slot(l, index);
    const bool taken_away = chance(l, 3), adopt = chance(l, 2);
    hone_tensor views[SIDES];
    lockstep_note(l, taken_away ? " no %s" : adopt ? " adopted %s" : " new %s", slot);
    lockstep_place(l, piece, piece->param[REFERENCE].dtype, lockstep_values(l, piece, POSITIVE),
                   views);
    for (int s = 0; s < SIDES; s++)
        views[s] = as_state(piece, views[s]);
    BOTH_OK(l, hone_optimizer_bind_state(o, index, slot, taken_away ? NULL : &views[side], adopt,
                                         &problem));
}

static void set_count(struct lockstep *l)
{
    const int index = some_piece(l);
    const uint64_t count = lockstep_draw(l, 4);
    lockstep_note(l, " %d", (int)count);
    BOTH_OK(l, hone_optimizer_set_step_count(o, index, count, &problem));
}

/* Each side loads what the other has saved, at times as a new optimizer. */
static void save_and_load(struct lockstep *l)
{
    char paths[SIDES][64];
    if (has_bound_rate(l))
        return;
    for (int side = 0; side < SIDES; side++)
        snprintf(paths[side], sizeof paths[side], "random.%ld.%d.safetensors", (long)getpid(),
                 side);
    BOTH_OK(l, hone_optimizer_save(o, paths[side], &problem));
    if (chance(l, 2)) {
        lockstep_note(l, " anew");
        lockstep_renew(l);
    }
    BOTH_OK(l, hone_optimizer_load(o, paths[!side], &problem));
    for (int side = 0; side < SIDES; side++)
        remove(paths[side]);
}

/* ---- devices ------------------------------------------------------------------------------------- */

static void capturable(struct lockstep *l)
{
    l->capturable = !l->capturable;
    lockstep_note(l, l->capturable ? " on" : " off");
    OK(hone_optimizer_set_capturable(l->optimizer[SUBJECT], l->capturable, &problem));
}

static void set_stream(struct lockstep *l)
{
    static void *streams[MOST_DEVICES];
    const int device = (l->places & 2) != 0 && chance(l, 2) ? 1 : 0;
    if (streams[device] == NULL)
        streams[device] = device_stream(device);
    const struct hone_device_queue before = {.device = device, .stream = l->stream[device]};
    assert_int_equal(device_target()->wait(before).fault, HONE_DEVICE_OK);
    l->stream[device] = l->stream[device] == NULL ? streams[device] : NULL;
    OK(hone_optimizer_set_stream(l->optimizer[SUBJECT], device, l->stream[device], &problem));
}

static void bind_rate(struct lockstep *l)
{
    const int group = some_group(l);
    struct bound *const lr = &l->lr[group];
    hone_optimizer *const o = l->optimizer[SUBJECT];
    if (hone_optimizer_schedule(o, group) != NULL)
        return;
    lockstep_note(l, " of %d %s", group, lr->memory == NULL ? "on" : "off");
    if (lr->memory == NULL) {
        lockstep_bind(l, lr, chance(l, 2) ? HONE_F32 : HONE_F64, 0.013);
        const hone_tensor view = lockstep_bound(lr);
        OK(hone_optimizer_bind_lr(o, group, &view, &problem));
        return;
    }
    lr->memory = NULL;
    OK(hone_optimizer_bind_lr(o, group, NULL, &problem));
    own_rate(l, group);
}

static void bind_scale(struct lockstep *l)
{
    hone_optimizer *const o = l->optimizer[SUBJECT];
    if (l->scaling)
        return;
    const bool scale = l->scale.memory == NULL && chance(l, 2);
    const bool flag = l->flag.memory == NULL && chance(l, 2);
    l->scale.memory = l->flag.memory = NULL;
    if (scale)
        lockstep_bind(l, &l->scale, HONE_F32, 512);
    if (flag)
        lockstep_bind(l, &l->flag, HONE_F32, 0);
    lockstep_note(l, "%s%s", scale ? " scale" : "", flag ? " flag" : "");
    const hone_tensor of_scale = lockstep_bound(&l->scale), of_flag = lockstep_bound(&l->flag);
    OK(hone_optimizer_bind_loss_scale(o, scale ? &of_scale : NULL, flag ? &of_flag : NULL,
                                      &problem));
}

static void write_bound(struct lockstep *l)
{
    for (int g = 0; g < l->group_count; g++)
        if (l->lr[g].memory != NULL)
            lockstep_bind(l, &l->lr[g], l->lr[g].dtype, 0.001 * (double)lockstep_draw(l, 20));
    if (l->scale.memory != NULL)
        lockstep_bind(l, &l->scale, HONE_F32, ldexp(1, (int)lockstep_draw(l, 12)));
    if (l->flag.memory != NULL)
        lockstep_bind(l, &l->flag, HONE_F32, chance(l, 3));
}

/* ---- what is refused ------------------------------------------------------------------------------ */

static void refusals(struct lockstep *l)
{
    const int index = some_piece(l);
    hone_optimizer *const o = l->optimizer[SUBJECT];
    const struct piece *const piece = &l->pieces[index];
    hone_tensor elsewhere = piece->param[REFERENCE];
    if (piece->device == ON_CPU || piece->shape[0] == 0)
        return;
    for (int lying = 0; lying < 2; lying++) {
        elsewhere.device = lying ? HONE_CUDA : HONE_CPU; /* of host memory */
        elsewhere.device_index = lying ? piece->device : 0;
        const hone_tensor state = as_state(piece, elsewhere);
        FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_set_grad(o, index, &elsewhere, &problem));
        FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_rebind(o, index, &elsewhere, &problem));
        FAILS(HONE_ERROR_ARGUMENT, NULL,
              hone_optimizer_bind_state(o, index, some_slot(l, index), &state, true, &problem));
    }
}

/* ---- steps --------------------------------------------------------------------------------------- */

static void step(struct lockstep *l)
{
    const bool reported = chance(l, 4);
    const uint64_t steps = 1 + lockstep_draw(l, 3);
    lockstep_note(l, reported ? " x%d reported" : " x%d", (int)steps);
    for (uint64_t i = 0; i < steps; i++)
        lockstep_step(l, reported);
}

static bool has_graphs(const struct lockstep *l)
{
    bool any = false;
    for (int i = 0; i < l->count; i++) {
        const struct piece *const piece = &l->pieces[i];
        any = any || ((piece->has_grad || piece->pending) && piece->device == 0);
        if (piece->device == 1)
            return false; /* whose stream takes no part in the capture */
    }
    return any && device_control() != NULL;
}

static void capture(struct lockstep *l)
{
    if (!has_graphs(l))
        return;
    if (!l->capturable && !chance(l, 4))
        capturable(l);
    if (l->accumulate > 1 && l->micro_step == 0 && !chance(l, 4))
        accumulate(l);
    const bool prepared = !chance(l, 5);
    if (!prepared)
        mask(l);
    lockstep_capture(l, prepared);
}

/* Of a graph that lives; else there may be one by the next time. */
static void replay(struct lockstep *l)
{
    const uint64_t count = 1 + lockstep_draw(l, 3);
    if (l->graph == NULL) {
        lockstep_note(l, ": capture");
        capture(l);
        return;
    }
    lockstep_note(l, " x%d", (int)count);
    for (uint64_t i = 0; i < count; i++)
        lockstep_replay(l);
}

/* ---- all of them -------------------------------------------------------------------------------- */

const struct call calls[CALLS] = {
    {"step", step, 40, true},
    {"replay", replay, 24, true},
    {"capture", capture, 10, false},
    {"capturable", capturable, 3, false},
    {"new values", new_values, 14, true},
    {"move gradients", move_grads, 8, true},
    {"give a gradient", give, 5, false},
    {"drop the gradient", drop, 3, false},
    {"zero gradients", zero_grads, 1, true},
    {"add", calls_add, 3, false},
    {"rebind or write", rebind, 4, false},
    {"mask", mask, 3, false},
    {"add a group", add_group, 2, false},
    {"set", hyper, 14, true},
    {"masked_lr", masked_rate, 3, true},
    {"multiplier", multiplier, 3, false},
    {"precision", precision, 3, false},
    {"type of states", state_dtype, 2, false},
    {"schedule", schedule, 5, true},
    {"set_spec", set_spec, 1, false},
    {"clip", clip, 6, true},
    {"loss scale", loss_scale, 3, true},
    {"scaler", scaler, 3, false},
    {"accumulate", accumulate, 3, false},
    {"set a state", set_state, 2, false},
    {"bind a state", bind_state, 2, false},
    {"step count", set_count, 2, false},
    {"save and load", save_and_load, 3, false},
    {"stream", set_stream, 2, false},
    {"bind a rate", bind_rate, 2, false},
    {"bind the loss scale", bind_scale, 3, false},
    {"write what is bound", write_bound, 4, true},
    {"refusals", refusals, 2, true},
};
