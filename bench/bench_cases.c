/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured. The targets are those of README.md; everything is a ratio within one run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_bare.h"
#include "bench_measure.h"
#include "bench_shapes.h"
#include "bench_subject.h"
#include "terminal/text.h"

const bench_options bench_full = {.elements = 64 << 20, .repetitions = 31, .whole_models = true};
const bench_options bench_short = {.elements = 16 << 20, .repetitions = 9};

struct run {
    const bench_options *options;
    bench_results *results;
    hone_context *context;
    hone_error *error;
};

/* ---- results -------------------------------------------------------------------------------- */

static bench_result *add_result(struct run *run, const char *name)
{
    bench_results *const results = run->results;
    if (results->count == results->capacity) {
        results->capacity = results->capacity == 0 ? 32 : 2 * results->capacity;
        results->list =
            text_reallocate(results->list, (size_t)results->capacity * sizeof *results->list);
    }
    bench_result *const result = &results->list[results->count++];
    *result = (bench_result){.unit = "ms", .ratio_is = "speed"};
    snprintf(result->name, sizeof result->name, "%s", name);
    return result;
}

static bool wanted(const struct run *run, const char *name)
{
    return run->options->only == NULL || strstr(name, run->options->only) != NULL;
}

/* `a` is hone's time and `b` the other's; a ratio of speeds is b / a, one of times a / b. */
static void set_times(bench_result *result, const double *a, const double *b, int count, double per)
{
    const bool speed = strcmp(result->ratio_is, "speed") == 0;
    const bench_quartiles ratio =
        speed ? bench_summarize_ratios(b, a, count) : bench_summarize_ratios(a, b, count);
    result->time = bench_summarize(a, count).median / per;
    result->against_time = bench_summarize(b, count).median / per;
    result->ratio_low = ratio.low;
    result->ratio = ratio.median;
    result->ratio_high = ratio.high;
    result->repetitions = count;
}

static hone_status check_subject(const struct run *run, const bench_subject *subject)
{
    if (subject->failed)
        *run->error = subject->error;
    return subject->failed ? subject->error.status : HONE_OK;
}

/* ---- one large tensor against a bare stream of the same bytes ------------------------------- */

struct stream_case {
    const char *name;
    bench_recipe recipe;
    const char *first_slot, *second_slot;
    double target;
};

static const struct stream_case stream_cases[] = {
    {"stream adamw f32", {.rule = "adamw", .dtype = HONE_F32}, "exp_avg", "exp_avg_sq", 0.95},
    {"stream sgd momentum f32",
     {.rule = "sgd", .momentum = 0.9, .dtype = HONE_F32},
     "momentum_buffer",
     NULL,
     0.95},
    {"stream rmsprop f32", {.rule = "rmsprop", .dtype = HONE_F32}, "square_avg", NULL, 0.95},
    {"stream adopt f32", {.rule = "adopt", .dtype = HONE_F32}, "exp_avg", "exp_avg_sq", 0.95},
    {"stream adamw_tf f32", {.rule = "adamw_tf", .dtype = HONE_F32}, "exp_avg", "exp_avg_sq", 0.95},
    {"stream adamw bf16", {.rule = "adamw", .dtype = HONE_BF16}, "exp_avg", "exp_avg_sq", 0.85},
    {"stream adamw bf16 master",
     {.rule = "adamw", .dtype = HONE_BF16, .master = true},
     "exp_avg",
     "exp_avg_sq",
     0.9},
    {"stream adamw f32 scaler",
     {.rule = "adamw", .dtype = HONE_F32, .scaler = true},
     "exp_avg",
     "exp_avg_sq",
     0.9},
    {"stream adamw f32 clip norm",
     {.rule = "adamw", .dtype = HONE_F32, .clip_norm = 1},
     "exp_avg",
     "exp_avg_sq",
     0.9},
};

static void measure_stream(struct run *run, const struct stream_case *c, bench_subject *subject,
                           bench_bare *bare)
{
    const int n = run->options->repetitions;
    double *const times = text_allocate(2 * (size_t)n * sizeof *times);
    const bench_contender contenders[] = {{bench_subject_step, subject, 1, times},
                                          {bench_bare_pass, bare, 1, times + n}};
    bench_measure(contenders, 2, n, c->name);
    bench_result *const result = add_result(run, c->name);
    result->bytes = bench_bare_bytes(bare);
    result->target = BENCH_AT_LEAST;
    result->target_ratio = c->target;
    snprintf(result->against, sizeof result->against, "bare loop, %g B",
             result->bytes / (double)bare->n);
    set_times(result, times, times + n, n, 1);
    free(times);
}

static hone_status run_stream(struct run *run, const struct stream_case *c)
{
    if (!wanted(run, c->name))
        return HONE_OK;
    bench_subject subject;
    bench_bare bare;
    hone_status status = bench_subject_create(&subject, run->context, &c->recipe,
                                              &run->options->elements, 1, run->error);
    if (status != HONE_OK)
        return status;
    if (bench_bare_begin(&bare, &subject, &c->recipe, c->first_slot, c->second_slot)) {
        measure_stream(run, c, &subject, &bare);
        status = check_subject(run, &subject);
    } else {
        status = HONE_ERROR_UNSUPPORTED;
        *run->error = (hone_error){.status = status, .offset = -1};
        snprintf(run->error->message, sizeof run->error->message,
                 "%s: no bare loop for this level, or a state has another name", c->name);
    }
    bench_subject_free(&subject);
    return status;
}

/* ---- a loss scaler: its check of the gradients against steps that read them too, or do not --- */

struct pair_case {
    const char *name, *against;
    bench_recipe recipe, other;
    double target; /* 0: none */
};

#define ADAMW .rule = "adamw", .dtype = HONE_F32
static const struct pair_case pair_cases[] = {
    {"scaler adamw f32", "clip by norm", {ADAMW, .scaler = true}, {ADAMW, .clip_norm = 1}, 1.03},
    {"scaler and clip adamw f32",
     "clip by norm",
     {ADAMW, .scaler = true, .clip_norm = 1},
     {ADAMW, .clip_norm = 1},
     1.03},
    {"scaler adamw f32, its price", "plain step", {ADAMW, .scaler = true}, {ADAMW}, 0},
};
#undef ADAMW

static hone_status measure_pair(struct run *run, const struct pair_case *c, bench_subject *a,
                                bench_subject *b)
{
    const int n = run->options->repetitions;
    double *const times = text_allocate(2 * (size_t)n * sizeof *times);
    const bench_contender contenders[] = {{bench_subject_step, a, 1, times},
                                          {bench_subject_step, b, 1, times + n}};
    bench_measure(contenders, 2, n, c->name);
    bench_result *const result = add_result(run, c->name);
    snprintf(result->against, sizeof result->against, "%s", c->against);
    result->ratio_is = "time";
    result->target = c->target == 0 ? BENCH_NO_TARGET : BENCH_AT_MOST;
    result->target_ratio = c->target;
    set_times(result, times, times + n, n, 1);
    free(times);
    const hone_status status = check_subject(run, a);
    return status == HONE_OK ? check_subject(run, b) : status;
}

static hone_status run_pair(struct run *run, const struct pair_case *c)
{
    if (!wanted(run, c->name))
        return HONE_OK;
    const int64_t *const length = &run->options->elements;
    bench_subject a, b;
    hone_status status = bench_subject_create(&a, run->context, &c->recipe, length, 1, run->error);
    if (status != HONE_OK)
        return status;
    status = bench_subject_create(&b, run->context, &c->other, length, 1, run->error);
    if (status == HONE_OK) {
        status = measure_pair(run, c, &a, &b);
        bench_subject_free(&b);
    }
    bench_subject_free(&a);
    return status;
}

/* ---- many tensors against one of the same total --------------------------------------------- */

static hone_status measure_many(struct run *run, bench_result *result, bench_subject *many,
                                bench_subject *one, int repetitions, int calls)
{
    double *const times = text_allocate(2 * (size_t)repetitions * sizeof *times);
    const bench_contender contenders[] = {{bench_subject_step, many, calls, times},
                                          {bench_subject_step, one, calls, times + repetitions}};
    bench_measure(contenders, 2, repetitions, result->name);
    set_times(result, times, times + repetitions, repetitions, 1);
    free(times);
    const hone_status status = check_subject(run, many);
    return status == HONE_OK ? check_subject(run, one) : status;
}

/* AdamW over `count` tensors, and over one of their total length. */
static hone_status run_many(struct run *run, const char *name, const int64_t *lengths,
                            int64_t count, double target, int repetitions, int calls)
{
    if (!wanted(run, name))
        return HONE_OK;
    static const bench_recipe recipe = {.rule = "adamw", .dtype = HONE_F32};
    bench_subject many, one;
    hone_status status =
        bench_subject_create(&many, run->context, &recipe, lengths, count, run->error);
    if (status != HONE_OK)
        return status;
    status = bench_subject_create(&one, run->context, &recipe, &many.elements, 1, run->error);
    if (status == HONE_OK) {
        bench_result *const result = add_result(run, name);
        result->ratio_is = "time";
        result->target = target == 0 ? BENCH_NO_TARGET : BENCH_AT_MOST;
        result->target_ratio = target;
        result->unit = calls > 1 ? "us" : "ms";
        result->bytes = target == 0 ? 0 : 28.0 * (double)many.elements;
        snprintf(result->against, sizeof result->against, "one tensor of %lld",
                 (long long)many.elements);
        status = measure_many(run, result, &many, &one, repetitions, calls);
        bench_subject_free(&one);
    }
    bench_subject_free(&many);
    return status;
}

static hone_status run_all_many(struct run *run)
{
    enum { SMALL_TENSORS = 10000 };
    int64_t *const lengths = text_allocate(SMALL_TENSORS * sizeof *lengths);
    for (int i = 0; i < SMALL_TENSORS; i++)
        lengths[i] = 1024;
    const int repetitions = run->options->repetitions;
    hone_status status =
        run_many(run, "10000 tensors of 1024", lengths, SMALL_TENSORS, 1.15, 2 * repetitions, 1);
    bench_gpt2_lengths(lengths);
    if (status == HONE_OK && run->options->whole_models)
        status = run_many(run, "148 tensors of GPT-2 124M", lengths, BENCH_GPT2_TENSORS, 1.05,
                          repetitions, 1);
    for (int i = 0; i < BENCH_GPT2_TENSORS; i++)
        lengths[i] = 16;
    if (status == HONE_OK)
        status = run_many(run, "148 tensors of 16 (overhead)", lengths, BENCH_GPT2_TENSORS, 0,
                          2 * repetitions + 1, 1000);
    free(lengths);
    return status;
}

/* ---- masks: two rates inside one large tensor against one ---------------------------------- */

enum { PLAIN, FIRST_MASKED, MASKED_SUBJECTS = 3 };

static const double mask_shares[MASKED_SUBJECTS] = {[FIRST_MASKED] = 0.05, 0.5};

static void measure_masked(struct run *run, bench_subject *subjects, const char *name)
{
    const int n = run->options->repetitions;
    double *const times = text_allocate((size_t)n * MASKED_SUBJECTS * sizeof *times);
    bench_contender contenders[MASKED_SUBJECTS];
    for (int i = 0; i < MASKED_SUBJECTS; i++)
        contenders[i] = (bench_contender){bench_subject_step, &subjects[i], 1, times + i * n};
    bench_measure(contenders, MASKED_SUBJECTS, n, name);
    for (int i = FIRST_MASKED; i < MASKED_SUBJECTS; i++) {
        bench_result *const result = add_result(run, name);
        const size_t length = strlen(result->name);
        snprintf(result->name + length, sizeof result->name - length, " %g %%",
                 100 * mask_shares[i]);
        snprintf(result->against, sizeof result->against, "without a mask");
        result->ratio_is = "time";
        result->target = BENCH_AT_MOST;
        result->target_ratio = 1.05;
        set_times(result, times + i * n, times, n, 1);
    }
    free(times);
}

static hone_status run_masked(struct run *run, const bench_recipe *plain)
{
    char name[64];
    snprintf(name, sizeof name, "masked %s%s f32", plain->rule,
             plain->momentum != 0 ? " momentum" : "");
    if (!wanted(run, name))
        return HONE_OK;
    bench_subject subjects[MASKED_SUBJECTS];
    hone_status status = HONE_OK;
    int count = 0;
    for (; count < MASKED_SUBJECTS; count++) {
        bench_recipe recipe = *plain;
        recipe.masked = mask_shares[count];
        status = bench_subject_create(&subjects[count], run->context, &recipe,
                                      &run->options->elements, 1, run->error);
        if (status != HONE_OK)
            break;
    }
    if (status == HONE_OK)
        measure_masked(run, subjects, name);
    for (int i = 0; i < count; i++) {
        if (status == HONE_OK)
            status = check_subject(run, &subjects[i]);
        bench_subject_free(&subjects[i]);
    }
    return status;
}

/* ---- in cache: every rule at every level, on one thread ------------------------------------- */

enum { MOST_LEVELS = 8, CACHED_CALLS = 200 };

static const int64_t cached_elements = 16 << 10;

struct level_run {
    int count;
    hone_context *contexts[MOST_LEVELS];
    bench_subject subjects[MOST_LEVELS];
};

static hone_status create_level(const struct run *run, struct level_run *levels, int level,
                                const bench_recipe *recipe)
{
    hone_context_options options;
    hone_context_options_init(&options);
    options.cpu = hone_cpu_level(level);
    options.threads = 1;
    hone_status status = hone_context_create(&levels->contexts[level], &options, run->error);
    if (status != HONE_OK)
        return status;
    status = bench_subject_create(&levels->subjects[level], levels->contexts[level], recipe,
                                  &cached_elements, 1, run->error);
    if (status != HONE_OK)
        hone_context_free(levels->contexts[level]);
    else
        levels->count++;
    return status;
}

static void free_levels(struct level_run *levels)
{
    for (int i = 0; i < levels->count; i++) {
        bench_subject_free(&levels->subjects[i]);
        hone_context_free(levels->contexts[i]);
    }
}

/* One level of each rule has to reach it: the best. */
static void set_level_target(bench_results *results, int first)
{
    bench_result *best = &results->list[first];
    for (int i = first + 1; i < results->count; i++)
        if (results->list[i].ratio > best->ratio)
            best = &results->list[i];
    best->target = BENCH_AT_LEAST;
    best->target_ratio = 2;
}

static void measure_levels(struct run *run, struct level_run *levels, const char *name)
{
    const int n = 2 * run->options->repetitions + 1;
    double *const times = text_allocate((size_t)n * MOST_LEVELS * sizeof *times);
    bench_contender contenders[MOST_LEVELS];
    for (int i = 0; i < levels->count; i++)
        contenders[i] = (bench_contender){bench_subject_step, &levels->subjects[i], CACHED_CALLS,
                                          times + i * n};
    bench_measure(contenders, levels->count, n, name);
    const int first_result = run->results->count;
    for (int i = levels->count == 1 ? 0 : 1; i < levels->count; i++) {
        bench_result *const result = add_result(run, name);
        const size_t length = strlen(result->name);
        snprintf(result->name + length, sizeof result->name - length, " %s", hone_cpu_level(i));
        snprintf(result->against, sizeof result->against, "%s", hone_cpu_level(0));
        result->unit = "ns";
        set_times(result, times + i * n, times, n, (double)cached_elements);
    }
    free(times);
    if (levels->count > 1)
        set_level_target(run->results, first_result);
}

static hone_status run_levels(struct run *run, const bench_recipe *recipe)
{
    char name[64];
    snprintf(name, sizeof name, "in cache %s%s", recipe->rule,
             recipe->momentum != 0 ? " momentum" : "");
    if (!wanted(run, name))
        return HONE_OK;
    struct level_run levels = {0};
    hone_status status = HONE_OK;
    for (int i = 0; i < MOST_LEVELS && hone_cpu_level(i) != NULL && status == HONE_OK; i++)
        status = create_level(run, &levels, i, recipe);
    if (status == HONE_OK)
        measure_levels(run, &levels, name);
    for (int i = 0; i < levels.count && status == HONE_OK; i++)
        status = check_subject(run, &levels.subjects[i]);
    free_levels(&levels);
    return status;
}

/* ---- every rule ----------------------------------------------------------------------------- */

typedef hone_status run_rule(struct run *run, const bench_recipe *recipe);

/* A rule for matrices refuses a vector; what is measured here is one element at a time. */
static hone_status run_elements(struct run *run, run_rule *run_one, const bench_recipe *recipe)
{
    const hone_status status = run_one(run, recipe);
    return status == HONE_ERROR_SHAPE ? HONE_OK : status;
}

/* In f32; a rule whose momentum can be left out is run with and without. */
static hone_status run_every_rule(struct run *run, run_rule *run_one)
{
    hone_status status = HONE_OK;
    for (int i = 0; i < hone_rule_count() && status == HONE_OK; i++) {
        const hone_rule *const rule = hone_rule_at(i);
        bench_recipe recipe = {.rule = hone_rule_name(rule), .dtype = HONE_F32};
        status = run_elements(run, run_one, &recipe);
        const int momentum = hone_rule_hyper_find(rule, "momentum");
        if (status != HONE_OK || momentum < 0 ||
            hone_rule_hyper(rule, momentum)->default_value != 0)
            continue;
        recipe.momentum = 0.9;
        status = run_elements(run, run_one, &recipe);
    }
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------ */

hone_status bench_run(const bench_options *options, bench_results *results, hone_error *error)
{
    *results = (bench_results){0};
    struct run run = {.options = options, .results = results, .error = error};
    hone_status status = hone_context_create(&run.context, NULL, error);
    if (status != HONE_OK)
        return status;
    snprintf(results->cpu, sizeof results->cpu, "%s", hone_context_cpu(run.context));
    results->threads = hone_context_threads(run.context);
    for (size_t i = 0; i < sizeof stream_cases / sizeof stream_cases[0] && status == HONE_OK; i++)
        status = run_stream(&run, &stream_cases[i]);
    for (size_t i = 0; i < sizeof pair_cases / sizeof pair_cases[0] && status == HONE_OK; i++)
        status = run_pair(&run, &pair_cases[i]);
    if (status == HONE_OK)
        status = run_all_many(&run);
    if (status == HONE_OK)
        status = run_every_rule(&run, run_masked);
    if (status == HONE_OK)
        status = run_every_rule(&run, run_levels);
    hone_context_free(run.context);
    if (status != HONE_OK)
        bench_results_free(results);
    return status;
}

void bench_results_free(bench_results *results)
{
    free(results->list);
    *results = (bench_results){0};
}
