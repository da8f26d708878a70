/* SPDX-License-Identifier: Apache-2.0 */
/* The closed form of every schedule, as torch.optim.lr_scheduler defines them where it has them, and
 * the table of their arguments. e is counted after the warm-up that every type may have. */
#include <math.h>
#include <string.h>

#include "core/schedule_internal.h"

typedef const struct hone_schedule_point point;

static const double pi = 3.141592653589793238462643383279502884;

static double argument(point *p, const char *name)
{
    return hone_schedule_argument(p->schedule, name);
}

/* Half a cosine from `from` at 0 to `to` at 1. */
static double cosine_between(double from, double to, double part)
{
    return to + (from - to) * (1 + cos(pi * part)) / 2;
}

static double constant(point *p)
{
    return p->e < argument(p, "total_iters") ? p->base * argument(p, "factor") : p->base;
}

static double step(point *p)
{
    return p->base * pow(argument(p, "gamma"), floor(p->e / argument(p, "step_size")));
}

static double multi_step(point *p)
{
    double passed = 0;
    for (size_t i = 0; i < p->schedule->milestone_count; i++)
        passed += (double)p->schedule->milestones[i] <= p->e ? 1 : 0;
    return p->base * pow(argument(p, "gamma"), passed);
}

static double exponential(point *p)
{
    return p->base * pow(argument(p, "gamma"), p->e);
}

static double linear(point *p)
{
    const double start = argument(p, "start_factor"), total = argument(p, "total_iters");
    const double part = total == 0 ? 1 : fmin(total, p->e) / total;
    return p->base * (start + (argument(p, "end_factor") - start) * part);
}

static double polynomial(point *p)
{
    const double total = argument(p, "total_iters");
    const double left = total == 0 ? 0 : 1 - fmin(total, p->e) / total;
    return p->base * pow(left, argument(p, "power"));
}

static double cosine_annealing(point *p)
{
    return cosine_between(p->base, argument(p, "eta_min"), p->e / argument(p, "T_max"));
}

static double cosine_annealing_warm_restarts(point *p)
{
    const double first = argument(p, "T_0"), growth = argument(p, "T_mult");
    double length = first, at = p->e;
    if (growth == 1) {
        at = fmod(p->e, first);
    } else {
        while (at >= length) {
            at -= length;
            length *= growth;
        }
    }
    return cosine_between(p->base, argument(p, "eta_min"), at / length);
}

/* The clamped cosine: total_steps counts the warm-up too. */
static double cosine_with_warmup(point *p)
{
    const double length = fmax(1, argument(p, "total_steps") - p->warmup);
    const double least = argument(p, "min_factor");
    return p->base * cosine_between(1, least, fmin(p->e / length, 1));
}

static double warmup_stable_decay(point *p)
{
    const double length = argument(p, "decay_steps"), least = argument(p, "min_factor");
    const double part = fmin(fmax(p->e - argument(p, "stable_steps"), 0) / length, 1);
    const double shape = argument(p, "decay");
    if (shape == 1)
        return p->base * cosine_between(1, least, part);
    return p->base * (1 - (1 - least) * (shape == 2 ? sqrt(part) : part));
}

/* Vaswani et al. 2017, section 5.3, with the rate at the end of the warm-up as its base. */
static double inverse_sqrt(point *p)
{
    const double scale =
        fmax(1, argument(p, "timescale") > 0 ? argument(p, "timescale") : p->warmup);
    return p->base * sqrt(scale / (p->e + scale));
}

/* ---- cyclic --------------------------------------------------------------------------------- */

/* How far up the triangle e stands, and the amplitude of its cycle. */
static double cyclic_height(point *p, double *amplitude)
{
    const double up = argument(p, "step_size_up"), total = up + argument(p, "step_size_down");
    const double ratio = up / total, cycle = floor(1 + p->e / total);
    const double x = 1 + p->e / total - cycle;
    const double mode = argument(p, "mode");
    *amplitude = mode == 0   ? 1
                 : mode == 1 ? 1 / pow(2, cycle - 1)
                             : pow(argument(p, "gamma"), p->e);
    return x <= ratio ? x / ratio : (x - 1) / (ratio - 1);
}

static double cyclic(point *p)
{
    double amplitude;
    const double height = cyclic_height(p, &amplitude), low = argument(p, "base_lr");
    return low + (argument(p, "max_lr") - low) * height * amplitude;
}

static double cyclic_momentum(point *p)
{
    double amplitude;
    const double height = cyclic_height(p, &amplitude), high = argument(p, "max_momentum");
    return high - (high - argument(p, "base_momentum")) * height * amplitude;
}

/* ---- one cycle (Smith & Topin 2017, arXiv 1708.07120) --------------------------------------- */

/* Values at the ends of the phases; two phases use the first, second and last. */
static double one_cycle_at(point *p, const double ends[4])
{
    const double total = argument(p, "total_steps"), share = argument(p, "pct_start");
    const bool three = argument(p, "three_phase") != 0;
    double end[3] = {share * total - 1, total - 1, total - 1};
    if (three)
        end[1] = 2 * share * total - 2;
    double begin = 0;
    int phase = 0;
    while (phase < (three ? 2 : 1) && p->e > end[phase])
        begin = end[phase++];
    const double part = (p->e - begin) / (end[phase] - begin);
    const double from = ends[phase], to = three ? ends[phase + 1] : ends[phase == 0 ? 1 : 3];
    return argument(p, "anneal_strategy") == 0 ? cosine_between(from, to, part)
                                               : from + (to - from) * part;
}

static double one_cycle(point *p)
{
    const double most = argument(p, "max_lr"), first = most / argument(p, "div_factor");
    const double last = first / argument(p, "final_div_factor");
    const double ends[4] = {first, most, first, last};
    return one_cycle_at(p, ends);
}

static double one_cycle_momentum(point *p)
{
    const double low = argument(p, "base_momentum"), high = argument(p, "max_momentum");
    const double ends[4] = {high, low, high, high};
    return one_cycle_at(p, ends);
}

/* ---- compositions --------------------------------------------------------------------------- */

static double sequential(point *p)
{
    const hone_schedule *const schedule = p->schedule;
    size_t index = 0;
    double begin = 0;
    for (; index < schedule->milestone_count && (double)schedule->milestones[index] <= p->e;
         index++)
        begin = (double)schedule->milestones[index];
    return hone_schedule_rate(schedule->children[index], p->base, p->e - begin);
}

static double chained(point *p)
{
    double value = p->base;
    for (size_t i = 0; i < p->schedule->child_count; i++)
        value *= hone_schedule_rate(p->schedule->children[i], 1, p->e);
    return value;
}

static double callback(point *p)
{
    return p->base * p->schedule->callback(p->e, p->schedule->user);
}

static double plateau(point *p)
{
    return p->base;
}

/* ---- checks --------------------------------------------------------------------------------- */

static const char *check_sequential(const hone_schedule *schedule)
{
    if (schedule->child_count == 0 || schedule->milestone_count + 1 != schedule->child_count)
        return "\"milestones\" must hold one number less than \"schedulers\"";
    for (size_t i = 1; i < schedule->milestone_count; i++)
        if (schedule->milestones[i] < schedule->milestones[i - 1])
            return "\"milestones\" must not decrease";
    for (size_t i = 0; i < schedule->child_count; i++)
        if (hone_schedule_is_plateau(schedule->children[i]))
            return "reduce_lr_on_plateau cannot be part of a sequence: it depends on metrics";
    return NULL;
}

static const char *check_chained(const hone_schedule *schedule)
{
    if (schedule->child_count == 0)
        return "\"schedulers\" must hold at least one schedule";
    for (size_t i = 0; i < schedule->child_count; i++)
        if (!schedule->children[i]->type->factor)
            return "only schedules that multiply the rate by a factor can be chained: constant, "
                   "step, multi_step, exponential, linear, polynomial, cosine_with_warmup, "
                   "warmup_stable_decay, inverse_sqrt, chained";
    return NULL;
}

static const char *check_cyclic(const hone_schedule *schedule)
{
    return hone_schedule_argument(schedule, "max_lr") < hone_schedule_argument(schedule, "base_lr")
               ? "max_lr must be at least base_lr"
               : NULL;
}

/* ---- the table ------------------------------------------------------------------------------ */

#define NONE -1
#define REQUIRED ((double)NAN)
#define UNBOUNDED HUGE_VAL
#define NUMBER(name, value, low, high)                          \
    {                                                           \
        name, HONE_ARGUMENT_NUMBER, value, low, high, {0}, NONE \
    }
#define INTEGER(name, value, low)                                  \
    {                                                              \
        name, HONE_ARGUMENT_INTEGER, value, low, 0x1p53, {0}, NONE \
    }
#define INTEGER_AS(name, low, other)                                   \
    {                                                                  \
        name, HONE_ARGUMENT_INTEGER, REQUIRED, low, 0x1p53, {0}, other \
    }
#define FLAG(name, value)                                \
    {                                                    \
        name, HONE_ARGUMENT_FLAG, value, 0, 1, {0}, NONE \
    }
#define CHOICE(name, ...)                                        \
    {                                                            \
        name, HONE_ARGUMENT_CHOICE, 0, 0, 3, {__VA_ARGS__}, NONE \
    }

typedef const struct hone_schedule_argument arguments[];

static arguments constant_arguments = {NUMBER("factor", 1.0 / 3, 0, 1),
                                       INTEGER("total_iters", 5, 0)};
static arguments step_arguments = {INTEGER("step_size", REQUIRED, 1),
                                   NUMBER("gamma", 0.1, 0, UNBOUNDED)};
static arguments multi_step_arguments = {NUMBER("gamma", 0.1, 0, UNBOUNDED)};
static arguments exponential_arguments = {NUMBER("gamma", REQUIRED, 0, UNBOUNDED)};
static arguments linear_arguments = {NUMBER("start_factor", 1.0 / 3, 0x1p-1000, 1),
                                     NUMBER("end_factor", 1, 0, 1), INTEGER("total_iters", 5, 0)};
static arguments polynomial_arguments = {INTEGER("total_iters", 5, 0),
                                         NUMBER("power", 1, 0, UNBOUNDED)};
static arguments cosine_arguments = {NUMBER("T_max", REQUIRED, 0x1p-20, UNBOUNDED),
                                     NUMBER("eta_min", 0, 0, UNBOUNDED)};
static arguments restarts_arguments = {INTEGER("T_0", REQUIRED, 1), INTEGER("T_mult", 1, 1),
                                       NUMBER("eta_min", 0, 0, UNBOUNDED)};
static arguments warmup_cosine_arguments = {INTEGER("total_steps", REQUIRED, 1),
                                            NUMBER("min_factor", 0, 0, 1)};
static arguments stable_arguments = {
    INTEGER("stable_steps", REQUIRED, 0), INTEGER("decay_steps", REQUIRED, 1),
    NUMBER("min_factor", 0, 0, 1), CHOICE("decay", "linear", "cosine", "sqrt")};
static arguments inverse_arguments = {INTEGER("timescale", 0, 0)};
static arguments cyclic_arguments = {NUMBER("base_lr", REQUIRED, 0, UNBOUNDED),
                                     NUMBER("max_lr", REQUIRED, 0, UNBOUNDED),
                                     INTEGER("step_size_up", 2000, 1),
                                     INTEGER_AS("step_size_down", 1, 2),
                                     CHOICE("mode", "triangular", "triangular2", "exp_range"),
                                     NUMBER("gamma", 1, 0, UNBOUNDED),
                                     FLAG("cycle_momentum", 1),
                                     NUMBER("base_momentum", 0.8, 0, 1),
                                     NUMBER("max_momentum", 0.9, 0, 1)};
static arguments one_cycle_arguments = {NUMBER("max_lr", REQUIRED, 0, UNBOUNDED),
                                        INTEGER("total_steps", REQUIRED, 1),
                                        NUMBER("pct_start", 0.3, 0, 1),
                                        CHOICE("anneal_strategy", "cos", "linear"),
                                        FLAG("cycle_momentum", 1),
                                        NUMBER("base_momentum", 0.85, 0, 1),
                                        NUMBER("max_momentum", 0.95, 0, 1),
                                        NUMBER("div_factor", 25, 0x1p-1000, UNBOUNDED),
                                        NUMBER("final_div_factor", 1e4, 0x1p-1000, UNBOUNDED),
                                        FLAG("three_phase", 0)};
static arguments plateau_arguments = {CHOICE("mode", "min", "max"),
                                      NUMBER("factor", 0.1, 0, 1 - 0x1p-53),
                                      INTEGER("patience", 10, 0),
                                      NUMBER("threshold", 1e-4, 0, UNBOUNDED),
                                      CHOICE("threshold_mode", "rel", "abs"),
                                      INTEGER("cooldown", 0, 0),
                                      NUMBER("min_lr", 0, 0, UNBOUNDED),
                                      NUMBER("eps", 1e-8, 0, UNBOUNDED)};

#define ARGUMENTS(list) .arguments = list, .argument_count = (int)(sizeof list / sizeof list[0])

const struct hone_schedule_type hone_schedule_types[] = {
    {"chained", .children = true, .factor = true, .value = chained, .check = check_chained},
    {"constant", ARGUMENTS(constant_arguments), .factor = true, .value = constant},
    {"cosine_annealing", ARGUMENTS(cosine_arguments), .value = cosine_annealing},
    {"cosine_annealing_warm_restarts", ARGUMENTS(restarts_arguments),
     .value = cosine_annealing_warm_restarts},
    {"cosine_with_warmup", ARGUMENTS(warmup_cosine_arguments), .factor = true,
     .value = cosine_with_warmup},
    {"cyclic", ARGUMENTS(cyclic_arguments), .value = cyclic, .momentum = cyclic_momentum,
     .check = check_cyclic},
    {"exponential", ARGUMENTS(exponential_arguments), .factor = true, .value = exponential},
    {"inverse_sqrt", ARGUMENTS(inverse_arguments), .factor = true, .value = inverse_sqrt},
    {"linear", ARGUMENTS(linear_arguments), .factor = true, .value = linear},
    {"multi_step", ARGUMENTS(multi_step_arguments), .milestones = true, .factor = true,
     .value = multi_step},
    {"one_cycle", ARGUMENTS(one_cycle_arguments), .value = one_cycle,
     .momentum = one_cycle_momentum},
    {"polynomial", ARGUMENTS(polynomial_arguments), .factor = true, .value = polynomial},
    {"reduce_lr_on_plateau", ARGUMENTS(plateau_arguments), .value = plateau},
    {"sequential", .milestones = true, .children = true, .value = sequential,
     .check = check_sequential},
    {"step", ARGUMENTS(step_arguments), .factor = true, .value = step},
    {"warmup_stable_decay", ARGUMENTS(stable_arguments), .factor = true,
     .value = warmup_stable_decay},
};

const int hone_schedule_type_count =
    (int)(sizeof hone_schedule_types / sizeof hone_schedule_types[0]);

const struct hone_schedule_type hone_schedule_callback_type = {"lambda", .factor = true,
                                                               .value = callback};
