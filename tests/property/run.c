/* SPDX-License-Identifier: Apache-2.0 */
/* Runs: data, an optimizer made from the description, the steps, and what is left at the end. */
#include "property/run.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_SLOT 12345.678 /* stands for a slot that does not exist */

static void *allocate(size_t size)
{
    void *const memory = calloc(1, size + 1);
    assert_non_null(memory);
    return memory;
}

/* ---- data ----------------------------------------------------------------------------------- */

static double special_value(struct random *random)
{
    static const double values[] = {0,
                                    -0.0,
                                    1e-40,
                                    -1e-44,
                                    1e-7,
                                    -6e-8,
                                    1e30,
                                    -1e19,
                                    65504,
                                    -7e4,
                                    1,
                                    INFINITY,
                                    (double)-INFINITY,
                                    NAN,
                                    3e38};
    return values[random_below(random, sizeof values / sizeof values[0])];
}

static double some_value(struct random *random, bool special)
{
    if (special && random_below(random, 4) == 0)
        return special_value(random);
    const double magnitude = pow(10, 2 * random_signed(random) - 1);
    return magnitude * random_signed(random);
}

struct run_data run_data_create(size_t n, size_t steps, uint64_t seed, bool special)
{
    struct run_data data = {.n = n, .steps = steps};
    struct random random = {seed};
    data.start = allocate(sizeof(double) * n);
    data.grads = allocate(sizeof(double) * n * steps);
    for (size_t i = 0; i < n; i++)
        data.start[i] = some_value(&random, false);
    for (size_t i = 0; i < n * steps; i++)
        data.grads[i] = some_value(&random, special);
    return data;
}

void run_data_free(struct run_data *data)
{
    free(data->start);
    free(data->grads);
    *data = (struct run_data){0};
}

/* ---- descriptions --------------------------------------------------------------------------- */

struct run run_of_rule(const hone_rule *rule)
{
    struct run run = {.rule = rule, .param = HONE_F32, .grad = HONE_F32, .multiplier = 1};
    assert_true(hone_rule_hyper_count(rule) <= RUN_MAX_HYPERS);
    assert_true(hone_rule_slot_count(rule) <= RUN_MAX_SLOTS);
    for (int i = 0; i < hone_rule_hyper_count(rule); i++) {
        run.value[i] = hone_rule_hyper(rule, i)->default_value;
        run.power[i] = hone_rule_hyper(rule, i)->default_power;
    }
    for (int k = 0; k < RUN_MAX_SLOTS; k++)
        run.slot[k] = RUN_DEFAULT_DTYPE;
    run.clip_norm = run.clip_value = (double)INFINITY;
    run.clip_order = 2;
    return run;
}

bool run_set(struct run *run, const char *hyper, double value)
{
    const int index = hone_rule_hyper_find(run->rule, hyper);
    if (index < 0)
        return false;
    run->value[index] = value;
    run->power[index] = 0;
    return true;
}

const char *run_text(const struct run *run)
{
    static char text[1024];
    int used = snprintf(text, sizeof text, "%s", hone_rule_name(run->rule));
    for (int i = 0; i < hone_rule_hyper_count(run->rule) && used < 900; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, " %s=%g",
                         hone_rule_hyper(run->rule, i)->name, run->value[i]);
    snprintf(text + used, sizeof text - (size_t)used, " p=%s g=%s", hone_dtype_name(run->param),
             hone_dtype_name(run->grad));
    return text;
}

/* ---- hyperparameters ------------------------------------------------------------------------ */

static hone_status apply_one(const struct run *run, hone_optimizer *optimizer, int index)
{
    const hone_hyper *const hyper = hone_rule_hyper(run->rule, index);
    if (hyper->kind == HONE_CURVE)
        return hone_optimizer_set_curve(optimizer, 0, hyper->name, run->value[index],
                                        run->power[index], &problem);
    return hone_optimizer_set(optimizer, 0, hyper->name, run->value[index], &problem);
}

bool run_apply_hypers(const struct run *run, hone_optimizer *optimizer)
{
    const int count = hone_rule_hyper_count(run->rule);
    int refused = count;
    for (int round = 0; round < count && refused > 0; round++) {
        refused = 0;
        for (int i = 0; i < count; i++)
            refused += apply_one(run, optimizer, i) != HONE_OK;
    }
    return refused == 0;
}

bool run_is_possible(const struct run *run)
{
    hone_context *const context = test_context(1, NULL);
    hone_optimizer *const optimizer = test_optimizer(context, hone_rule_name(run->rule));
    const bool possible = run_apply_hypers(run, optimizer);
    hone_optimizer_free(optimizer);
    hone_context_free(context);
    return possible;
}

/* ---- running -------------------------------------------------------------------------------- */

struct piece {
    size_t first, count; /* reals */
    int64_t shape[1];
    hone_tensor param, grad;
    int64_t index;
};

struct running {
    const struct run *run;
    const struct run_data *data;
    const hone_context *context;
    hone_optimizer *optimizer;
    struct piece *pieces;
    size_t piece_count;
};

static hone_dtype as_complex(hone_dtype like, hone_dtype real)
{
    if (like != HONE_C64 && like != HONE_C128)
        return real;
    return real == HONE_F64 || real == HONE_C128 ? HONE_C128 : HONE_C64;
}

static void make_piece(struct running *r, struct piece *piece, size_t first, size_t count)
{
    const struct run *const run = r->run;
    const int reals = run->param == HONE_C64 || run->param == HONE_C128 ? 2 : 1;
    piece->first = first;
    piece->count = count;
    piece->shape[0] = (int64_t)count / reals;
    void *const param = numbers_store(run->param, r->data->start + first, count);
    void *const grad = numbers_store(run->grad, r->data->start, 0);
    piece->param = hone_tensor_view(param, run->param, 1, piece->shape);
    piece->grad = hone_tensor_view(grad, as_complex(run->param, run->grad), 1, piece->shape);
}

static void make_pieces(struct running *r)
{
    const size_t whole[] = {r->data->n};
    const struct run *const run = r->run;
    const size_t *const lengths = run->pieces == NULL ? whole : run->pieces;
    r->piece_count = run->pieces == NULL ? 1 : run->piece_count;
    r->pieces = allocate(sizeof *r->pieces * r->piece_count);
    size_t first = 0;
    for (size_t i = 0; i < r->piece_count; i++) {
        make_piece(r, &r->pieces[i], first, lengths[i]);
        first += lengths[i];
    }
    assert_int_equal(first, r->data->n);
    for (size_t i = 0; i < r->piece_count; i++) {
        const size_t at = run->backwards ? r->piece_count - 1 - i : i;
        char name[32];
        snprintf(name, sizeof name, "piece.%zu", at);
        OK(hone_optimizer_add(r->optimizer, name, &r->pieces[at].param, 0, &r->pieces[at].index,
                              &problem));
        OK(hone_optimizer_set_lr_multiplier(r->optimizer, r->pieces[at].index, run->multiplier,
                                            &problem));
    }
}

static void clip_outside(const struct running *r)
{
    const hone_tensor **const grads = allocate(sizeof *grads * r->piece_count);
    for (size_t i = 0; i < r->piece_count; i++)
        grads[i] = &r->pieces[i].grad;
    const int64_t count = (int64_t)r->piece_count;
    if (isfinite(r->run->clip_value))
        OK(hone_clip_grad_value(r->context, grads, count, r->run->clip_value, &problem));
    if (isfinite(r->run->clip_norm))
        OK(hone_clip_grad_norm(r->context, grads, count, r->run->clip_norm, r->run->clip_order,
                               false, NULL, &problem));
    free(grads);
}

static void one_step(struct running *r, size_t step)
{
    const struct run *const run = r->run;
    const bool missing = (run->missing >> step & 1) != 0;
    for (size_t i = 0; i < r->piece_count; i++) {
        struct piece *const piece = &r->pieces[i];
        const double *const values = r->data->grads + step * r->data->n + piece->first;
        double *const signs = allocate(sizeof *signs * piece->count);
        for (size_t k = 0; k < piece->count; k++)
            signs[k] = run->negate ? -values[k] : values[k];
        free(piece->grad.data);
        piece->grad.data = numbers_store(run->grad, signs, piece->count);
        free(signs);
        OK(hone_optimizer_set_grad(r->optimizer, piece->index, missing ? NULL : &piece->grad,
                                   &problem));
    }
    if (run->clip_outside)
        clip_outside(r);
    OK(hone_optimizer_step(r->optimizer, NULL, &problem));
}

static void read_end(const struct running *r, double *end)
{
    const size_t n = r->data->n;
    for (size_t i = 0; i < r->piece_count; i++) {
        const struct piece *const piece = &r->pieces[i];
        numbers_load(r->run->param, piece->param.data, end + piece->first, piece->count);
        for (int k = 0; k < hone_rule_slot_count(r->run->rule); k++) {
            double *const to = end + (size_t)(k + 1) * n + piece->first;
            hone_tensor view;
            OK(hone_optimizer_state(r->optimizer, piece->index,
                                    hone_rule_slot(r->run->rule, k)->name, &view, &problem));
            for (size_t j = 0; j < piece->count; j++)
                to[j] = view.data == NULL ? NO_SLOT : number_read(view.dtype, view.data, j);
        }
    }
}

static void set_up(struct running *r)
{
    const struct run *const run = r->run;
    r->optimizer = test_optimizer(r->context, hone_rule_name(run->rule));
    if (!run_apply_hypers(run, r->optimizer))
        fail_msg("%s: %s", run_text(run), problem.message);
    for (int k = 0; k < hone_rule_slot_count(run->rule); k++)
        if (run->slot[k] != RUN_DEFAULT_DTYPE)
            OK(hone_optimizer_set_state_dtype(r->optimizer, 0, hone_rule_slot(run->rule, k)->name,
                                              (hone_dtype)run->slot[k], &problem));
    if (!run->clip_outside) {
        OK(hone_optimizer_clip_norm(r->optimizer, run->clip_norm, run->clip_order,
                                    HONE_NONFINITE_PROPAGATE, &problem));
        OK(hone_optimizer_clip_value(r->optimizer, run->clip_value, &problem));
    }
    make_pieces(r);
}

size_t run_end_count(const struct run *run, const struct run_data *data)
{
    return data->n * (size_t)(1 + hone_rule_slot_count(run->rule));
}

double *run_end(const struct run *run, const struct run_data *data)
{
    struct running r = {.run = run, .data = data, .context = run->context};
    hone_context *own = NULL;
    if (r.context == NULL)
        r.context = own = test_context(1, NULL);
    set_up(&r);
    for (size_t step = 0; step < data->steps; step++)
        one_step(&r, step);
    double *const end = allocate(sizeof *end * run_end_count(run, data));
    read_end(&r, end);
    hone_optimizer_free(r.optimizer);
    for (size_t i = 0; i < r.piece_count; i++) {
        free(r.pieces[i].param.data);
        free(r.pieces[i].grad.data);
    }
    free(r.pieces);
    hone_context_free(own);
    return end;
}

void assert_same_end(const char *law, const struct run *a, const struct run *b,
                     const struct run_data *data)
{
    double *const end_a = run_end(a, data), *const end_b = run_end(b, data);
    const size_t count = run_end_count(a, data);
    const size_t at = numbers_differ(end_a, end_b, count);
    if (at < count)
        fail_msg("%s: %s: %s[%zu] is %.17g in one and %.17g in the other", law, run_text(a),
                 at < data->n ? "param" : hone_rule_slot(a->rule, (int)(at / data->n) - 1)->name,
                 at % data->n, end_a[at], end_b[at]);
    free(end_a);
    free(end_b);
}
