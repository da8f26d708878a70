/* SPDX-License-Identifier: Apache-2.0 */
#include "device/lockstep.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device_memory.h"
#include "support/checks.h"
#include "support/numbers.h"

#define MOST_REALS 40000

hone_status lockstep_same(const hone_status answers[SIDES], const char *call, const char *file,
                          int line)
{
    if (answers[REFERENCE] == answers[SUBJECT])
        return answers[SUBJECT];
    print_error("%s: %s on the CPU, %s on devices: %s\n", call,
                hone_status_name(answers[REFERENCE]), hone_status_name(answers[SUBJECT]),
                problem.message);
    _fail(file, line);
    return HONE_OK;
}

void lockstep_note(struct lockstep *l, const char *format, ...)
{
    const size_t room = sizeof l->history - l->written;
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(l->history + l->written, room, format, arguments);
    va_end(arguments);
    assert_in_range(size, 0, room - 1);
    l->written += (size_t)size;
}

uint64_t lockstep_draw(struct lockstep *l, uint64_t count)
{
    return random_below(&l->random, count);
}

/* ---- arrays ------------------------------------------------------------------------------------- */

static size_t reals_of(const struct piece *piece)
{
    const hone_dtype dtype = piece->param[SUBJECT].dtype;
    return (size_t)piece->shape[0] * (number_real(dtype) == dtype ? 1 : 2);
}

static void check(struct hone_device_status status)
{
    if (status.fault != HONE_DEVICE_OK)
        fail_msg("the device answers \"%s\"", status.text);
}

/* In the order of the stream that the subject steps on. */
static struct hone_device_queue queue_of(const struct lockstep *l, int device)
{
    return (struct hone_device_queue){.device = device, .stream = l->stream[device]};
}

static void write_array(const struct lockstep *l, int device, void *to, const void *from,
                        size_t size)
{
    if (device == ON_CPU)
        memcpy(to, from, size);
    else if (size > 0)
        check(device_target()->upload(queue_of(l, device), to, from, size));
}

static double *read_array(const struct lockstep *l, int device, const hone_tensor *view,
                          size_t count, double *values)
{
    static char home[MOST_REALS * sizeof(double)];
    const size_t size = count * hone_dtype_size(number_real(view->dtype));
    if (device != ON_CPU && size > 0)
        check(device_target()->download(queue_of(l, device), home, view->data, size));
    numbers_load(view->dtype, device == ON_CPU ? view->data : home, values, count);
    return values;
}

static void *new_array(struct lockstep *l, int device, size_t size, size_t past)
{
    if (device != ON_CPU)
        return device_new(device, size, past);
    assert_true(l->array_count < MOST_ARRAYS);
    char *const made = malloc(size + past + 1);
    assert_non_null(made);
    l->arrays[l->array_count++] = made;
    return made + past;
}

const double *lockstep_values(struct lockstep *l, const struct piece *piece, enum values kind)
{
    static const double special[] = {0, -0.0, 1e-40, -1e-44, 1e-7, 1e30, 3e38, -7e4};
    static const double infinite[] = {INFINITY, -INFINITY, NAN};
    static double values[MOST_REALS];
    const size_t count = reals_of(piece);
    assert_true(count <= MOST_REALS);
    for (size_t i = 0; i < count; i++) {
        const double plain = pow(10, 2 * random_signed(&l->random) - 1) * random_signed(&l->random);
        values[i] = kind == POSITIVE                              ? fabs(plain)
                    : kind == NOT_A_NUMBER                        ? (double)NAN
                    : kind == SPECIAL && lockstep_draw(l, 8) == 0 ? special[lockstep_draw(l, 8)]
                                                                  : plain;
    }
    if (kind == SPECIAL && count > 0)
        values[lockstep_draw(l, count)] = infinite[lockstep_draw(l, 3)];
    return values;
}

void lockstep_write(struct lockstep *l, const struct piece *piece, const hone_tensor views[SIDES],
                    const double *values)
{
    const size_t count = reals_of(piece);
    for (int side = 0; side < SIDES; side++) {
        const hone_dtype dtype = views[side].dtype;
        void *const stored = numbers_store(dtype, values, count);
        write_array(l, side == SUBJECT ? piece->device : ON_CPU, views[side].data, stored,
                    count * hone_dtype_size(number_real(dtype)));
        free(stored);
    }
}

void lockstep_place(struct lockstep *l, const struct piece *piece, hone_dtype dtype,
                    const double *values, hone_tensor views[SIDES])
{
    const size_t size = reals_of(piece) * hone_dtype_size(number_real(dtype));
    for (int side = 0; side < SIDES; side++) {
        const int device = side == SUBJECT ? piece->device : ON_CPU;
        void *const data = new_array(l, device, size, lockstep_draw(l, 4) * hone_dtype_size(dtype));
        views[side] = hone_tensor_view(data, dtype, 1, piece->shape);
        if (device != ON_CPU) {
            views[side].device = HONE_CUDA;
            views[side].device_index = device;
        }
    }
    lockstep_write(l, piece, views, values);
}

void lockstep_bind(struct lockstep *l, struct bound *bound, hone_dtype dtype, double value)
{
    void *const memory = bound->memory == NULL ? device_new(0, sizeof value, 0) : bound->memory;
    void *const stored = numbers_store(dtype, &value, 1);
    write_array(l, 0, memory, stored, hone_dtype_size(dtype));
    *bound = (struct bound){memory, dtype, number_read(dtype, stored, 0)};
    free(stored);
}

hone_tensor lockstep_bound(const struct bound *bound)
{
    return device_view(bound->memory, bound->dtype, 0, NULL);
}

/* ---- from the start to the end ------------------------------------------------------------------- */

static void register_piece(struct lockstep *l, int side, int index, int group)
{
    hone_optimizer *const o = l->optimizer[side];
    const struct piece *const piece = &l->pieces[index];
    OK(hone_optimizer_add(o, piece->name, &piece->param[side], group, NULL, &problem));
    OK(hone_optimizer_set_mask(o, index, piece->mask, &problem));
    if (piece->has_grad)
        OK(hone_optimizer_set_grad(o, index, &piece->grad[side], &problem));
}

void lockstep_add(struct lockstep *l, int64_t length, hone_dtype dtype, int group, int device)
{
    assert_true(l->count < MOST_PIECES);
    struct piece *const piece = &l->pieces[l->count];
    *piece = (struct piece){.shape = {length, 2}, .device = device};
    snprintf(piece->name, sizeof piece->name, "p%d", l->count);
    piece->param[SUBJECT].dtype = dtype;
    lockstep_place(l, piece, dtype, lockstep_values(l, piece, PLAIN), piece->param);
    for (int side = 0; side < SIDES; side++)
        register_piece(l, side, l->count, group);
    l->count++;
}

static void create(struct lockstep *l, int side)
{
    l->optimizer[side] = test_optimizer(l->context, l->rules[0]);
    for (int g = 1; g < l->group_count; g++)
        OK(hone_optimizer_add_group(l->optimizer[side], l->rules[g], NULL, &problem));
}

/* What the subject alone is told. */
static void tell_subject(struct lockstep *l)
{
    hone_optimizer *const o = l->optimizer[SUBJECT];
    const hone_tensor scale = lockstep_bound(&l->scale), flag = lockstep_bound(&l->flag);
    for (int d = 0; d < device_count() && d < MOST_DEVICES; d++)
        OK(hone_optimizer_set_stream(o, d, l->stream[d], &problem));
    OK(hone_optimizer_set_capturable(o, l->capturable, &problem));
    for (int g = 0; g < l->group_count; g++)
        if (l->lr[g].memory != NULL) {
            const hone_tensor lr = lockstep_bound(&l->lr[g]);
            OK(hone_optimizer_bind_lr(o, g, &lr, &problem));
        }
    OK(hone_optimizer_bind_loss_scale(o, scale.data == NULL ? NULL : &scale,
                                      flag.data == NULL ? NULL : &flag, &problem));
}

void lockstep_renew(struct lockstep *l)
{
    for (int side = 0; side < SIDES; side++) {
        hone_optimizer *const before = l->optimizer[side];
        create(l, side);
        for (int i = 0; i < l->count; i++)
            register_piece(l, side, i, hone_optimizer_group_of(before, i));
        hone_optimizer_free(before);
        lockstep_apply(l, side, &l->settings);
    }
    tell_subject(l);
}

void lockstep_start(struct lockstep *l, uint64_t seed)
{
    memset(l, 0, sizeof *l);
    l->seed = seed;
    l->random.state = seed;
    l->accumulate = 1;
    l->settings =
        (struct settings){(double)INFINITY, 2, (double)INFINITY, 1, HONE_NONFINITE_PROPAGATE};
    l->context = test_context(1, NULL);
    do
        l->rules[0] =
            hone_rule_name(hone_rule_at((int)lockstep_draw(l, (uint64_t)hone_rule_count())));
    while (hone_rule_is_matrix(hone_rule_find(l->rules[0])));
    l->group_count = 1;
    for (int side = 0; side < SIDES; side++)
        create(l, side);
}

void lockstep_end(struct lockstep *l)
{
    lockstep_drop_graph(l);
    for (int side = 0; side < SIDES; side++)
        hone_optimizer_free(l->optimizer[side]);
    for (int i = 0; i < l->count; i++)
        hone_mask_free(l->pieces[i].mask);
    hone_context_free(l->context);
    while (l->array_count > 0)
        free(l->arrays[--l->array_count]);
    device_free_all();
    l->over = true;
}

/* ---- the step ------------------------------------------------------------------------------------ */

void lockstep_apply(struct lockstep *l, int side, const struct settings *settings)
{
    hone_optimizer *const o = l->optimizer[side];
    OK(hone_optimizer_clip_norm(o, settings->clip_norm, settings->order, settings->policy,
                                &problem));
    OK(hone_optimizer_clip_value(o, settings->clip_value, &problem));
    if (!l->scaling)
        OK(hone_optimizer_set_loss_scale(o, settings->loss_scale, &problem));
}

static bool is_stepped(const struct piece *piece)
{
    return piece->has_grad || piece->pending;
}

/* How many pieces are stepped on a device. */
static int stepped_on(const struct lockstep *l, int device)
{
    int count = 0;
    for (int i = 0; i < l->count; i++)
        count += is_stepped(&l->pieces[i]) && l->pieces[i].device == device;
    return count;
}

/* Whether the subject would have to read numbers of device 0 elsewhere. */
static bool must_refuse(const struct lockstep *l)
{
    const bool elsewhere = stepped_on(l, ON_CPU) + stepped_on(l, 1) > 0;
    for (int i = 0; i < l->count; i++) {
        const int group = hone_optimizer_group_of(l->optimizer[SUBJECT], i);
        if (is_stepped(&l->pieces[i]) && l->pieces[i].device != 0 && l->lr[group].memory != NULL)
            return true;
    }
    return (l->scale.memory != NULL || l->flag.memory != NULL) &&
           (elsewhere || stepped_on(l, 0) == 0);
}

/* A gradient of NaN for the reference, where the subject's flag says that there was one. */
static struct piece *poison(struct lockstep *l)
{
    for (int i = 0; i < l->count; i++) {
        struct piece *const piece = &l->pieces[i];
        if (!piece->has_grad || piece->shape[0] == 0)
            continue;
        hone_tensor views[SIDES];
        lockstep_place(l, piece, piece->grad[REFERENCE].dtype,
                       lockstep_values(l, piece, NOT_A_NUMBER), views);
        OK(hone_optimizer_set_grad(l->optimizer[REFERENCE], i, &views[REFERENCE], &problem));
        return piece;
    }
    lockstep_bind(l, &l->flag, HONE_F32, 0);
    return NULL;
}

/* The reference's step, with what the subject reads from its device. `grads` are those of the pieces. */
static hone_status step_reference(struct lockstep *l, const struct settings *settings,
                                  hone_step_report *report)
{
    hone_optimizer *const o = l->optimizer[REFERENCE];
    struct settings own = *settings;
    for (int g = 0; g < l->group_count; g++)
        if (l->lr[g].memory != NULL)
            OK(hone_optimizer_set(o, g, "lr", l->lr[g].value, &problem));
    if (l->scale.memory != NULL)
        own.loss_scale = l->scale.value;
    const bool updates = l->micro_step + 1 >= l->accumulate;
    if (updates && l->flag.memory != NULL && l->flag.value != 0 && poison(l) != NULL &&
        own.policy == HONE_NONFINITE_PROPAGATE)
        own.policy = HONE_NONFINITE_SKIP;
    lockstep_apply(l, REFERENCE, &own);
    const hone_status status = hone_optimizer_step(o, report, &problem);
    for (int i = 0; i < l->count; i++)
        if (l->pieces[i].has_grad)
            OK(hone_optimizer_set_grad(o, i, &l->pieces[i].grad[REFERENCE], &problem));
    lockstep_apply(l, REFERENCE, &l->settings);
    return status;
}

static void count_round(struct lockstep *l)
{
    const bool updates = l->micro_step + 1 >= l->accumulate;
    l->micro_step = updates ? 0 : l->micro_step + 1;
    for (int i = 0; i < l->count; i++)
        l->pieces[i].pending = !updates && is_stepped(&l->pieces[i]);
}

static void compare_reports(const hone_step_report reports[SIDES])
{
    const hone_step_report *const a = &reports[REFERENCE], *const b = &reports[SUBJECT];
    if (a->stepped != b->stepped || a->skipped != b->skipped ||
        !number_same(a->total_norm, b->total_norm) || !number_same(a->clip_coef, b->clip_coef))
        fail_msg(
            "reports: %lld stepped, norm %.17g, coef %.17g, skipped %d on the CPU; %lld, %.17g, "
            "%.17g, %d on devices",
            (long long)a->stepped, a->total_norm, a->clip_coef, a->skipped, (long long)b->stepped,
            b->total_norm, b->clip_coef, b->skipped);
}

void lockstep_step(struct lockstep *l, bool reported)
{
    hone_optimizer *const o = l->optimizer[SUBJECT];
    if (must_refuse(l)) {
        FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_step(o, NULL, &problem));
        lockstep_note(l, " (refused: %s)", problem.message);
        return;
    }
    hone_step_report reports[SIDES];
    hone_status answers[SIDES];
    answers[REFERENCE] = step_reference(l, &l->settings, &reports[REFERENCE]);
    answers[SUBJECT] = hone_optimizer_step(o, reported ? &reports[SUBJECT] : NULL, &problem);
    const hone_status status = lockstep_same(answers, "hone_optimizer_step", __FILE__, __LINE__);
    if (status != HONE_ERROR_NONFINITE)
        OK(status);
    if (status == HONE_OK && reported && !(l->flag.memory != NULL && l->flag.value != 0))
        compare_reports(reports);
    count_round(l);
}

/* ---- graphs -------------------------------------------------------------------------------------- */

/* By the reference, since the subject would bring its counters home. */
static bool has_fresh_master(const struct lockstep *l)
{
    for (int i = 0; i < l->count; i++) {
        const struct piece *const piece = &l->pieces[i];
        const hone_dtype dtype = piece->param[SUBJECT].dtype;
        const int group = hone_optimizer_group_of(l->optimizer[REFERENCE], i);
        hone_tensor view;
        OK(hone_optimizer_state(l->optimizer[REFERENCE], i, "master", &view, &problem));
        if (is_stepped(piece) && (dtype == HONE_BF16 || dtype == HONE_F16) && view.data == NULL &&
            l->precision[group] == HONE_PRECISION_MASTER)
            return true;
    }
    return false;
}

static bool can_capture(const struct lockstep *l)
{
    const bool judged = l->settings.policy != HONE_NONFINITE_PROPAGATE || l->scaling;
    bool prepared = l->capturable || judged || l->scale.memory != NULL || l->flag.memory != NULL;
    for (int g = 0; g < l->group_count; g++)
        prepared = prepared || l->lr[g].memory != NULL;
    const bool waits = l->settings.policy == HONE_NONFINITE_ERROR;
    return prepared && !waits && !must_refuse(l) && l->accumulate == 1 &&
           stepped_on(l, ON_CPU) == 0 && !has_fresh_master(l);
}

void lockstep_drop_graph(struct lockstep *l)
{
    if (l->graph != NULL)
        device_control()->free_graph(l->graph);
    l->graph = NULL;
}

void lockstep_capture(struct lockstep *l, bool prepared)
{
    hone_optimizer *const o = l->optimizer[SUBJECT];
    lockstep_drop_graph(l);
    l->stream[0] = device_stream(0);
    OK(hone_optimizer_set_stream(o, 0, l->stream[0], &problem));
    if (prepared && !must_refuse(l))
        OK(hone_optimizer_prepare(o, &problem));
    const bool possible = prepared && can_capture(l);
    struct host_stream *const stream = l->stream[0];
    l->graph = stream->graph = device_control()->new_graph();
    assert_non_null(l->graph);
    stream->capturing = true;
    const hone_status status = hone_optimizer_step(o, NULL, &problem);
    *stream = (struct host_stream){.device = 0};
    if (!possible)
        lockstep_note(l, " (refused: %s)", problem.message);
    if (status != (possible ? HONE_OK : HONE_ERROR_ARGUMENT))
        fail_msg("a capture answers %s: %s", hone_status_name(status), problem.message);
    if (!possible || !l->capturable) /* without, nothing is promised of replays */
        lockstep_drop_graph(l);
    l->graph_settings = l->settings;
    for (int i = 0; i < l->count; i++)
        l->graph_grad[i] = l->pieces[i].grad[REFERENCE];
}

void lockstep_replay(struct lockstep *l)
{
    device_control()->replay(l->graph);
    for (int i = 0; i < l->count; i++)
        if (l->pieces[i].has_grad)
            OK(hone_optimizer_set_grad(l->optimizer[REFERENCE], i, &l->graph_grad[i], &problem));
    OK(step_reference(l, &l->graph_settings, NULL));
}

/* ---- comparing ----------------------------------------------------------------------------------- */

/* The reference's array, at its address, and the subject's. */
static void compare_arrays(const struct lockstep *l, const struct piece *piece, const char *what,
                           const hone_tensor views[SIDES])
{
    static double on_cpu[MOST_REALS], on_device[MOST_REALS];
    const size_t count = reals_of(piece);
    read_array(l, ON_CPU, &views[REFERENCE], count, on_cpu);
    read_array(l, piece->device, &views[SUBJECT], count, on_device);
    const size_t at = numbers_differ(on_cpu, on_device, count);
    if (at < count)
        fail_msg("%s of %s: value %zu of %zu is %.17g on the CPU and %.17g on device %d", what,
                 piece->name, at, count, on_cpu[at], on_device[at], piece->device);
}

void lockstep_compare_params(struct lockstep *l)
{
    for (int i = 0; i < l->count; i++)
        compare_arrays(l, &l->pieces[i], "values", l->pieces[i].param);
}

static void compare_state(struct lockstep *l, int64_t index, const char *name)
{
    const struct piece *const piece = &l->pieces[index];
    hone_tensor views[SIDES];
    for (int side = 0; side < SIDES; side++)
        OK(hone_optimizer_state(l->optimizer[side], index, name, &views[side], &problem));
    if (views[REFERENCE].dtype != views[SUBJECT].dtype ||
        (views[REFERENCE].data == NULL) != (views[SUBJECT].data == NULL))
        fail_msg("%s of %s is %s%s on the CPU and %s%s on device %d", name, piece->name,
                 hone_dtype_name(views[REFERENCE].dtype),
                 views[REFERENCE].data == NULL ? ", missing" : "",
                 hone_dtype_name(views[SUBJECT].dtype),
                 views[SUBJECT].data == NULL ? ", missing" : "", piece->device);
    if (views[SUBJECT].data != NULL)
        compare_arrays(l, piece, name, views);
}

static void compare_piece(struct lockstep *l, int64_t index)
{
    const int group = hone_optimizer_group_of(l->optimizer[REFERENCE], index);
    const hone_rule *const rule = hone_optimizer_group_rule(l->optimizer[REFERENCE], group);
    for (int k = 0; k < hone_rule_slot_count(rule); k++)
        compare_state(l, index, hone_rule_slot(rule, k)->name);
    compare_state(l, index, "master");
    compare_state(l, index, "compensation");
    compare_state(l, index, "accumulated_grad");
    uint64_t steps[SIDES];
    for (int side = 0; side < SIDES; side++)
        OK(hone_optimizer_step_count(l->optimizer[side], index, &steps[side], &problem));
    if (steps[REFERENCE] != steps[SUBJECT])
        fail_msg("%s has counted %llu steps on the CPU and %llu on device %d",
                 l->pieces[index].name, (unsigned long long)steps[REFERENCE],
                 (unsigned long long)steps[SUBJECT], l->pieces[index].device);
}

static void compare_scalers(struct lockstep *l)
{
    hone_scaler scalers[SIDES] = {0};
    bool has[SIDES];
    double scale[SIDES], skipped[SIDES];
    for (int side = 0; side < SIDES; side++) {
        has[side] = hone_optimizer_scaler(l->optimizer[side], &scalers[side]);
        scale[side] = hone_optimizer_loss_scale(l->optimizer[side]);
        skipped[side] = (double)hone_optimizer_skipped(l->optimizer[side]);
    }
    if (has[0] != has[1] || scale[0] != scale[1] || skipped[0] != skipped[1] ||
        scalers[0].growth_tracker != scalers[1].growth_tracker)
        fail_msg("scale %g after %llu steps, %g skipped on the CPU; %g after %llu, %g on devices",
                 scale[0], (unsigned long long)scalers[0].growth_tracker, skipped[0], scale[1],
                 (unsigned long long)scalers[1].growth_tracker, skipped[1]);
}

void lockstep_compare_all(struct lockstep *l)
{
    lockstep_compare_params(l);
    for (int i = 0; i < l->count; i++)
        compare_piece(l, i);
    compare_scalers(l);
}
