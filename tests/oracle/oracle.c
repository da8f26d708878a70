/* SPDX-License-Identifier: Apache-2.0 */
/* The dense rules of the float64 model: options, state, one function per rule that handles one
 * element, and the loop around them that keeps the order of one call. */
#include "oracle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- arithmetic shared by the rules ---- */

/* ATen's interpolation: the form is chosen so that weight 1 gives b exactly. */
static double lerp(double a, double b, double weight)
{
    if (fabs(weight) < 0.5)
        return a + weight * (b - a);
    return b - (b - a) * (1 - weight);
}

/* Maxima and clamps here keep NaN, unlike fmax and fmin. */
static double maximum(double a, double b)
{
    if (isnan(a) || isnan(b))
        return NAN;
    return a > b ? a : b;
}

static double clamp(double x, double limit)
{
    if (x > limit)
        return limit;
    if (x < -limit)
        return -limit;
    return x;
}

/* ---- options ---- */

typedef struct number_option {
    const char *name;
    size_t offset;
} number_option;

static const number_option number_options[] = {
    {"lr", offsetof(oracle_options, lr)},
    {"beta1", offsetof(oracle_options, beta1)},
    {"beta2", offsetof(oracle_options, beta2)},
    {"eps", offsetof(oracle_options, eps)},
    {"weight_decay", offsetof(oracle_options, weight_decay)},
    {"momentum", offsetof(oracle_options, momentum)},
    {"dampening", offsetof(oracle_options, dampening)},
    {"alpha", offsetof(oracle_options, alpha)},
    {"clip_power", offsetof(oracle_options, clip_power)},
    {"clip_scale", offsetof(oracle_options, clip_scale)},
    {"grad_scale", offsetof(oracle_options, grad_scale)},
    {"clip_coef", offsetof(oracle_options, clip_coef)},
    {"masked_lr", offsetof(oracle_options, masked_lr)},
    {"unmasked_lr", offsetof(oracle_options, unmasked_lr)},
};

static const number_option flag_options[] = {
    {"nesterov", offsetof(oracle_options, nesterov)},
    {"amsgrad", offsetof(oracle_options, amsgrad)},
    {"centered", offsetof(oracle_options, centered)},
    {"decouple", offsetof(oracle_options, decouple)},
    {"maximize", offsetof(oracle_options, maximize)},
    {"clip_none", offsetof(oracle_options, clip_none)},
    {"compatibility_2024_11_06", offsetof(oracle_options, compatibility_2024_11_06)},
    {"found_inf", offsetof(oracle_options, found_inf)},
    {"two_rates", offsetof(oracle_options, two_rates)},
};

oracle_options oracle_default_options(const char *rule)
{
    oracle_options options = {
        .lr = 1e-3,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .alpha = 0.99,
        .clip_power = 0.25,
        .clip_scale = 1,
        .grad_scale = 1,
        .clip_coef = 1,
        .masked_lr = 1e-3,
        .unmasked_lr = 1e-4,
    };
    if (strcmp(rule, "adamw") == 0 || strcmp(rule, "adamw_tf") == 0 ||
        strcmp(rule, "sparse_adam") == 0 || strcmp(rule, "sparse_adamw") == 0 ||
        strcmp(rule, "sparse_adamw_tf") == 0)
        options.weight_decay = 1e-2;
    if (strcmp(rule, "rmsprop") == 0)
        options.lr = 1e-2;
    if (strcmp(rule, "adopt") == 0) {
        options.beta2 = 0.9999;
        options.eps = 1e-6;
    }
    return options;
}

bool oracle_set_option(oracle_options *options, const char *name, double value)
{
    char *base = (char *)options;
    for (size_t i = 0; i < sizeof number_options / sizeof number_options[0]; i++) {
        if (strcmp(name, number_options[i].name) != 0)
            continue;
        memcpy(base + number_options[i].offset, &value, sizeof value);
        if (strcmp(name, "masked_lr") == 0 || strcmp(name, "unmasked_lr") == 0)
            options->two_rates = true;
        return true;
    }
    bool flag = value != 0;
    for (size_t i = 0; i < sizeof flag_options / sizeof flag_options[0]; i++) {
        if (strcmp(name, flag_options[i].name) != 0)
            continue;
        memcpy(base + flag_options[i].offset, &flag, sizeof flag);
        return true;
    }
    return false;
}

/* ---- state ---- */

static double *zeros(size_t n)
{
    double *array = calloc(n ? n : 1, sizeof *array);
    if (!array)
        abort();
    return array;
}

oracle_state *oracle_state_create(size_t n, const double *param)
{
    oracle_state *state = calloc(1, sizeof *state);
    if (!state)
        abort();
    state->n = n;
    state->param = zeros(n);
    for (size_t i = 0; i < n; i++)
        state->param[i] = param[i];
    state->exp_avg = zeros(n);
    state->exp_avg_sq = zeros(n);
    state->max_exp_avg_sq = zeros(n);
    state->momentum_buffer = zeros(n);
    state->square_avg = zeros(n);
    state->grad_avg = zeros(n);
    return state;
}

void oracle_state_free(oracle_state *state)
{
    if (!state)
        return;
    free(state->param);
    free(state->exp_avg);
    free(state->exp_avg_sq);
    free(state->max_exp_avg_sq);
    free(state->momentum_buffer);
    free(state->square_avg);
    free(state->grad_avg);
    free(state);
}

double *oracle_slot(oracle_state *state, const char *slot)
{
    if (strcmp(slot, "param") == 0)
        return state->param;
    if (strcmp(slot, "exp_avg") == 0)
        return state->exp_avg;
    if (strcmp(slot, "exp_avg_sq") == 0)
        return state->exp_avg_sq;
    if (strcmp(slot, "max_exp_avg_sq") == 0)
        return state->max_exp_avg_sq;
    if (strcmp(slot, "momentum_buffer") == 0)
        return state->momentum_buffer;
    if (strcmp(slot, "square_avg") == 0)
        return state->square_avg;
    if (strcmp(slot, "grad_avg") == 0)
        return state->grad_avg;
    return NULL;
}

/* ---- the rules, one element each; g is unscaled, signed and clipped, lr is the element's ---- */

static void sgd(const oracle_options *o, oracle_state *s, size_t i, double g, double lr)
{
    if (o->weight_decay != 0)
        g = g + o->weight_decay * s->param[i];
    if (o->momentum != 0) {
        double *buffer = &s->momentum_buffer[i];
        if (!s->has_momentum_buffer)
            *buffer = g;
        else
            *buffer = o->momentum * *buffer + (1 - o->dampening) * g;
        g = o->nesterov ? g + o->momentum * *buffer : *buffer;
    }
    s->param[i] = s->param[i] - lr * g;
}

/* Adam after its weight decay, which is all that Adam and AdamW do differently. */
static void adam_moments_and_move(const oracle_options *o, oracle_state *s, size_t i, double g,
                                  double lr)
{
    double t = (double)(s->step + 1);
    double bias_correction1 = 1 - pow(o->beta1, t);
    double bias_correction2 = 1 - pow(o->beta2, t);

    s->exp_avg[i] = lerp(s->exp_avg[i], g, 1 - o->beta1);
    s->exp_avg_sq[i] = o->beta2 * s->exp_avg_sq[i] + (1 - o->beta2) * g * g;
    double v = s->exp_avg_sq[i];
    if (o->amsgrad) {
        s->max_exp_avg_sq[i] = maximum(s->max_exp_avg_sq[i], v);
        v = s->max_exp_avg_sq[i];
    }
    double denominator = sqrt(v) / sqrt(bias_correction2) + o->eps;
    s->param[i] = s->param[i] - lr / bias_correction1 * s->exp_avg[i] / denominator;
}

static void adam(const oracle_options *o, oracle_state *s, size_t i, double g, double lr)
{
    if (o->weight_decay != 0)
        g = g + o->weight_decay * s->param[i];
    adam_moments_and_move(o, s, i, g, lr);
}

static void adamw(const oracle_options *o, oracle_state *s, size_t i, double g, double lr)
{
    if (o->weight_decay != 0)
        s->param[i] = s->param[i] * (1 - lr * o->weight_decay);
    adam_moments_and_move(o, s, i, g, lr);
}

static void rmsprop(const oracle_options *o, oracle_state *s, size_t i, double g, double lr)
{
    if (o->weight_decay != 0)
        g = g + o->weight_decay * s->param[i];
    s->square_avg[i] = o->alpha * s->square_avg[i] + (1 - o->alpha) * g * g;
    double variance = s->square_avg[i];
    if (o->centered) {
        s->grad_avg[i] = lerp(s->grad_avg[i], g, 1 - o->alpha);
        variance = maximum(variance - s->grad_avg[i] * s->grad_avg[i], 0);
    }
    double denominator = sqrt(variance) + o->eps;
    if (o->momentum > 0) {
        s->momentum_buffer[i] = o->momentum * s->momentum_buffer[i] + g / denominator;
        s->param[i] = s->param[i] - lr * s->momentum_buffer[i];
    } else {
        s->param[i] = s->param[i] - lr * g / denominator;
    }
}

static void adopt(const oracle_options *o, oracle_state *s, size_t i, double g, double lr)
{
    double completed = (double)s->step;
    if (o->weight_decay != 0 && !o->decouple)
        g = g + o->weight_decay * s->param[i];
    if (s->step == 0) {
        s->exp_avg_sq[i] = s->exp_avg_sq[i] + g * g;
        return;
    }
    if (o->weight_decay != 0 && o->decouple)
        s->param[i] = s->param[i] + s->param[i] * (-lr * o->weight_decay);
    double normed = g / maximum(sqrt(s->exp_avg_sq[i]), o->eps);
    if (!o->clip_none)
        normed = clamp(normed, o->clip_scale * pow(completed, o->clip_power));
    s->exp_avg[i] = lerp(s->exp_avg[i], normed, 1 - o->beta1);
    s->param[i] = s->param[i] - lr * s->exp_avg[i];
    s->exp_avg_sq[i] = o->beta2 * s->exp_avg_sq[i] + (1 - o->beta2) * g * g;
}

/* The form before the clip: decay also on the first call, and a second call whose first moment
 * takes the normalised gradient whole. */
static void adopt_2024_11_06(const oracle_options *o, oracle_state *s, size_t i, double g,
                             double lr)
{
    uint64_t t = s->step + 1;
    if (o->weight_decay != 0 && o->decouple)
        s->param[i] = s->param[i] * (1 - lr * o->weight_decay);
    else if (o->weight_decay != 0)
        g = g + o->weight_decay * s->param[i];
    if (t == 1) {
        s->exp_avg_sq[i] = g * g;
        return;
    }
    double normed = g / maximum(sqrt(s->exp_avg_sq[i]), o->eps);
    if (t == 2)
        s->exp_avg[i] = s->exp_avg[i] + normed;
    else
        s->exp_avg[i] = lerp(s->exp_avg[i], normed, 1 - o->beta1);
    s->param[i] = s->param[i] - lr * s->exp_avg[i];
    s->exp_avg_sq[i] = o->beta2 * s->exp_avg_sq[i] + (1 - o->beta2) * g * g;
}

static void adamw_tf(const oracle_options *o, oracle_state *s, size_t i, double g, double lr)
{
    double t = (double)(s->step + 1);
    s->param[i] = s->param[i] * (1 - o->weight_decay); /* no lr in this decay */
    s->exp_avg[i] = o->beta1 * s->exp_avg[i] + (1 - o->beta1) * g;
    s->exp_avg_sq[i] = o->beta2 * s->exp_avg_sq[i] + (1 - o->beta2) * g * g;
    double alpha = lr / (1 - pow(o->beta1, t)) * sqrt(1 - pow(o->beta2, t));
    s->param[i] = s->param[i] - alpha * s->exp_avg[i] / (sqrt(s->exp_avg_sq[i]) + o->eps);
}

/* ---- one call ---- */

typedef void element_rule(const oracle_options *o, oracle_state *s, size_t i, double g, double lr);

static element_rule *find_rule(const char *rule, const oracle_options *o)
{
    if (strcmp(rule, "sgd") == 0)
        return sgd;
    if (strcmp(rule, "adam") == 0)
        return adam;
    if (strcmp(rule, "adamw") == 0)
        return adamw;
    if (strcmp(rule, "rmsprop") == 0)
        return rmsprop;
    if (strcmp(rule, "adopt") == 0)
        return o->compatibility_2024_11_06 ? adopt_2024_11_06 : adopt;
    if (strcmp(rule, "adamw_tf") == 0)
        return adamw_tf;
    return NULL;
}

bool oracle_knows_rule(const char *rule)
{
    oracle_options options = oracle_default_options(rule);
    return find_rule(rule, &options) != NULL;
}

/* Unscale, flip the sign, clip: what happens to a gradient before a rule sees it. */
static double prepared_gradient(const oracle_options *o, double g)
{
    g = g * o->grad_scale;
    if (o->maximize)
        g = -g;
    return g * o->clip_coef;
}

void oracle_step(const char *rule, const oracle_options *options, oracle_state *state,
                 const double *grad, const bool *mask)
{
    element_rule *element = find_rule(rule, options);
    if (!element) {
        fprintf(stderr, "oracle_step: no rule \"%s\"\n", rule);
        abort();
    }
    if (options->found_inf || !grad)
        return;
    for (size_t i = 0; i < state->n; i++) {
        double lr = options->lr;
        if (options->two_rates)
            lr = mask && mask[i] ? options->masked_lr : options->unmasked_lr;
        double before = state->param[i];
        element(options, state, i, prepared_gradient(options, grad[i]), lr);
        if (options->two_rates && lr == 0)
            state->param[i] = before;
    }
    if (strcmp(rule, "sgd") == 0 && options->momentum != 0)
        state->has_momentum_buffer = true;
    state->step++;
}
