/* SPDX-License-Identifier: Apache-2.0 */
/* Muon: golden numbers, the oracle over shapes and settings, formats, the frame around the matrix,
 * refusals, checkpoints and threads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hone/scaler.h>

#include "golden/golden_numbers.h"
#include "oracle/oracle_muon.h"
#include "support/checks.h"
#include "support/numbers.h"
#include "support/random.h"

#define CALLS 3
enum { ADJUST_ORIGINAL, ADJUST_RMS, ADJUST_SPECTRAL };
enum { STANDARD, DION, POLAR_EXPRESS, TURBO, CUSTOM };
enum { FLOAT32, BFLOAT16 };
enum { FLATTEN, BATCH, STRICT };

/* ---- one problem, stepped by the library and by the oracle ---------------------------------- */

struct subject {
    int64_t shape[4];
    int32_t ndim;
    hone_dtype dtype, grad_dtype;
    hone_precision precision;
    int threads, products, matrices;
    int adjust, set, steps; /* of Newton and Schulz */
    bool plain, maximize;   /* without Nesterov */
    double multiplier, clip_norm;
    size_t batches, rows, columns; /* as the oracle takes them */
};

static struct subject subject_of(size_t rows, size_t columns, hone_dtype dtype)
{
    return (struct subject){.shape = {(int64_t)rows, (int64_t)columns},
                            .ndim = 2,
                            .dtype = dtype,
                            .grad_dtype = dtype,
                            .threads = 2,
                            .steps = 5,
                            .multiplier = 1,
                            .clip_norm = (double)INFINITY,
                            .batches = 1,
                            .rows = rows,
                            .columns = columns};
}

static const double custom[][3] = {{3.4, -4.7, 2.0}, {2.5, -2.1, 0.6}};

/* The published lists, written out a second time. */
static const double dion[][3] = {{4.0848, -6.8946, 2.9270},
                                 {3.9505, -6.3029, 2.6377},
                                 {3.7418, -5.5913, 2.3037},
                                 {2.8769, -3.1427, 1.2046},
                                 {2.8366, -3.0525, 1.2012}};
static const double turbo[][3] = {{4.0098, -7.0585, 2.4635},
                                  {3.4585, -5.5479, 2.5959},
                                  {2.7573, -3.2939, 1.4254},
                                  {2.7215, -3.0494, 1.3169}};
static const double raw_express[][3] = {
    {8.28721201814563, -23.595886519098837, 17.300387312530933},
    {4.107059111542203, -2.9478499167379106, .5448431082926601},
    {3.9486908534822946, -2.908902115962949, .5518191394370137},
    {3.3184196573706015, -2.488488024314874, .51004894012372},
    {2.300652019954817, -1.6689039845747493, .4188073119525673}};
static double express[5][3];

static int prepare_express(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++)
            express[i][k] = raw_express[i][k] / pow(1.02, 2 * k + 1);
    return 0;
}

static oracle_muon_options options_of(const struct subject *s)
{
    oracle_muon_options options = oracle_muon_default_options();
    options.lr = 0.02 * s->multiplier;
    options.nesterov = !s->plain;
    options.maximize = s->maximize;
    options.steps = (size_t)s->steps;
    options.adjust = (oracle_muon_adjust)s->adjust;
    if (s->set == DION)
        options.coefficients = dion, options.coefficient_count = 5;
    if (s->set == POLAR_EXPRESS)
        options.coefficients = (const double(*)[3])express, options.coefficient_count = 5;
    if (s->set == TURBO)
        options.coefficients = turbo, options.coefficient_count = 4;
    if (s->set == CUSTOM)
        options.coefficients = custom, options.coefficient_count = 2;
    return options;
}

static void set(hone_optimizer *optimizer, const char *name, double value)
{
    OK(hone_optimizer_set(optimizer, 0, name, value, &problem));
}

static hone_optimizer *optimizer_of(const struct subject *s, const hone_context *context)
{
    hone_optimizer *const optimizer = test_optimizer(context, "muon");
    set(optimizer, "lr", 0.02);
    set(optimizer, "nesterov", !s->plain);
    set(optimizer, "maximize", s->maximize);
    set(optimizer, "ns_steps", s->steps);
    set(optimizer, "adjust_lr_fn", s->adjust);
    set(optimizer, "products", s->products);
    set(optimizer, "matrices", s->matrices);
    if (s->set == CUSTOM)
        OK(hone_optimizer_set_coefficients(optimizer, 0, custom, 2, &problem));
    else
        set(optimizer, "ns_coefficients", s->set);
    OK(hone_optimizer_set_precision(optimizer, 0, s->precision, &problem));
    OK(hone_optimizer_clip_norm(optimizer, s->clip_norm, 2, HONE_NONFINITE_PROPAGATE, &problem));
    return optimizer;
}

static size_t count_of(const struct subject *s)
{
    return s->batches * s->rows * s->columns;
}

/* Values that the dtype holds exactly. */
static double *random_values(hone_dtype dtype, size_t count, uint64_t seed, double size)
{
    struct random random = {seed};
    double *const values = malloc(sizeof *values * (count + 1));
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = number_round(dtype, size * random_signed(&random));
    return values;
}

/* Small, so that the rounding of parameters does not hide that of their moves. */
static double *start_of(const struct subject *s)
{
    return random_values(s->dtype, count_of(s), 7, 0x1p-6);
}

static double *gradient_of(const struct subject *s, size_t call)
{
    return random_values(s->grad_dtype, count_of(s), 100 + call, 1);
}

/* The parameter after CALLS calls; released with free. */
static double *run_library(const struct subject *s)
{
    const size_t count = count_of(s);
    hone_context *const context = test_context(s->threads, NULL);
    hone_optimizer *const optimizer = optimizer_of(s, context);
    double *const values = start_of(s);
    void *const stored = numbers_store(s->dtype, values, count);
    const hone_tensor param = hone_tensor_view(stored, s->dtype, s->ndim, s->shape);
    OK(hone_optimizer_add(optimizer, "w", &param, 0, NULL, &problem));
    OK(hone_optimizer_set_lr_multiplier(optimizer, 0, s->multiplier, &problem));
    for (size_t call = 0; call < CALLS; call++) {
        double *const gradient = gradient_of(s, call);
        void *const grad = numbers_store(s->grad_dtype, gradient, count);
        const hone_tensor view = hone_tensor_view(grad, s->grad_dtype, s->ndim, s->shape);
        OK(hone_optimizer_set_grad(optimizer, 0, &view, &problem));
        OK(hone_optimizer_step(optimizer, NULL, &problem));
        OK(hone_optimizer_set_grad(optimizer, 0, NULL, &problem));
        free(grad);
        free(gradient);
    }
    numbers_load(s->dtype, stored, values, count);
    hone_optimizer_free(optimizer);
    hone_context_free(context);
    free(stored);
    return values;
}

static double clip_of(const struct subject *s, const double *gradient)
{
    double sum = 0;
    for (size_t i = 0; i < count_of(s); i++)
        sum += gradient[i] * gradient[i];
    return fmin(1, s->clip_norm / (sqrt(sum) + 1e-6));
}

static double *run_oracle(const struct subject *s)
{
    const size_t area = s->rows * s->columns, count = count_of(s);
    oracle_muon_options options = options_of(s);
    double *const values = start_of(s);
    double *const buffer = calloc(count + 1, sizeof *buffer);
    for (size_t call = 0; call < CALLS; call++) {
        double *const gradient = gradient_of(s, call);
        options.clip_coef = clip_of(s, gradient);
        for (size_t b = 0; b < s->batches; b++)
            oracle_muon_step(&options, s->rows, s->columns, values + b * area, buffer + b * area,
                             gradient + b * area, NULL);
        free(gradient);
    }
    free(buffer);
    return values;
}

/* Relative Frobenius distance of what the calls changed. */
static double distance(const struct subject *s)
{
    double *const found = run_library(s), *const wanted = run_oracle(s);
    double *const start = start_of(s);
    double difference = 0, size = 0;
    for (size_t i = 0; i < count_of(s); i++) {
        difference += (found[i] - wanted[i]) * (found[i] - wanted[i]);
        size += (wanted[i] - start[i]) * (wanted[i] - start[i]);
    }
    free(found);
    free(wanted);
    free(start);
    return difference == 0 ? 0 : sqrt(difference / size);
}

static void expect_near(const struct subject *s, double allowed)
{
    const double found = distance(s);
    if (!(found <= allowed))
        fail_msg("%zu x %zu x %zu %s products %d set %d steps %d: %g from the oracle, allowed %g",
                 s->batches, s->rows, s->columns, hone_dtype_name(s->dtype), s->products, s->set,
                 s->steps, found, allowed);
}

#define F64_ALLOWED 1e-10
#define F32_ALLOWED 1e-5
#define BF16_ALLOWED 3e-2

/* ---- the oracle ----------------------------------------------------------------------------- */

static void test_shapes(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 1},     {1, 9},    {9, 1},    {2, 3},     {3, 2},
                                       {64, 64},   {48, 200}, {200, 48}, {193, 193}, {100, 250},
                                       {250, 100}, {32, 800}, {800, 32}, {130, 131}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (test_is_quick() && shapes[i][0] * shapes[i][1] > 10000)
            continue;
        struct subject s = subject_of(shapes[i][0], shapes[i][1], HONE_F64);
        expect_near(&s, F64_ALLOWED);
        s = subject_of(shapes[i][0], shapes[i][1], HONE_F32);
        expect_near(&s, F32_ALLOWED);
        s.products = BFLOAT16;
        expect_near(&s, BF16_ALLOWED);
    }
}

static void test_settings(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{24, 24}, {20, 60}, {60, 20}};
    for (int shape = 0; shape < 3; shape++)
        for (int set_of = STANDARD; set_of <= CUSTOM; set_of++)
            for (int adjust = ADJUST_ORIGINAL; adjust <= ADJUST_SPECTRAL; adjust++)
                for (int plain = 0; plain < 2; plain++) {
                    struct subject s = subject_of(shapes[shape][0], shapes[shape][1], HONE_F64);
                    s.set = set_of;
                    s.adjust = adjust;
                    s.plain = plain != 0;
                    s.maximize = adjust == ADJUST_RMS;
                    expect_near(&s, F64_ALLOWED);
                    s.dtype = s.grad_dtype = HONE_F32;
                    expect_near(&s, F32_ALLOWED);
                }
}

static void test_step_counts(void **state)
{
    (void)state;
    for (int steps = 1; steps <= 10; steps++)
        for (int wide = 0; wide < 2; wide++) {
            struct subject s = subject_of(66, wide ? 150 : 67, HONE_F64);
            s.steps = steps;
            expect_near(&s, F64_ALLOWED * steps);
            s.dtype = s.grad_dtype = HONE_F32;
            expect_near(&s, 2 * F32_ALLOWED);
            s.products = BFLOAT16;
            expect_near(&s, BF16_ALLOWED);
        }
}

static void test_more_dimensions(void **state)
{
    (void)state;
    struct subject s = subject_of(8, 4 * 3 * 3, HONE_F64);
    s.ndim = 4;
    memcpy(s.shape, (int64_t[]){8, 4, 3, 3}, sizeof s.shape);
    expect_near(&s, F64_ALLOWED);
    s.ndim = 3;
    memcpy(s.shape, (int64_t[]){5, 12, 30, 0}, sizeof s.shape);
    s.matrices = BATCH;
    s.batches = 5;
    s.rows = 12;
    s.columns = 30;
    expect_near(&s, F64_ALLOWED);
    s.dtype = s.grad_dtype = HONE_F32;
    expect_near(&s, F32_ALLOWED);
    s.matrices = FLATTEN;
    s.batches = 1;
    s.rows = 5;
    s.columns = 360;
    expect_near(&s, F32_ALLOWED);
}

static void test_frame(void **state)
{
    (void)state;
    struct subject s = subject_of(20, 30, HONE_F64);
    s.multiplier = 0.25;
    expect_near(&s, F64_ALLOWED);
    s.clip_norm = 0.5;
    expect_near(&s, F64_ALLOWED);
    s.maximize = true;
    expect_near(&s, F64_ALLOWED);
}

/* 16-bit parameters round what they move to; those with something beside them come near. */
static void test_formats(void **state)
{
    (void)state;
    static const hone_dtype halves[] = {HONE_BF16, HONE_F16};
    for (int h = 0; h < 2; h++)
        for (int p = HONE_PRECISION_PLAIN; p <= HONE_PRECISION_KAHAN; p++) {
            struct subject s = subject_of(30, 50, halves[h]);
            s.precision = (hone_precision)p;
            expect_near(&s,
                        p == HONE_PRECISION_PLAIN || p == HONE_PRECISION_STOCHASTIC ? 0.5 : 0.2);
            s.grad_dtype = HONE_F32;
            s.products = BFLOAT16;
            expect_near(&s, 0.5);
        }
}

static void test_threads(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{100, 800}, {800, 100}, {170, 170}};
    for (int i = 0; i < 3 && !test_is_quick(); i++)
        for (int products = FLOAT32; products <= BFLOAT16; products++) {
            struct subject s = subject_of(shapes[i][0], shapes[i][1], HONE_F32);
            s.products = products;
            double *one, *other;
            s.threads = 1;
            one = run_library(&s);
            s.threads = 3;
            other = run_library(&s);
            assert_int_equal(numbers_differ(one, other, count_of(&s)), count_of(&s));
            free(one);
            free(other);
        }
}

/* ---- single steps --------------------------------------------------------------------------- */

struct place {
    hone_context *context;
    hone_optimizer *optimizer;
    float param[6], grad[6];
    int64_t shape[2];
};

static struct place place;
static const float start[6] = {1, 2, 3, 4, 5, 6}, slope[6] = {0.5f, -1, 2, 0.25f, 3, -2};

static int set_up(void **state)
{
    (void)state;
    place.context = test_context(1, NULL);
    place.optimizer = test_optimizer(place.context, "muon");
    memcpy(place.param, start, sizeof start);
    memcpy(place.grad, slope, sizeof slope);
    place.shape[0] = 2;
    place.shape[1] = 3;
    const hone_tensor param = hone_tensor_view(place.param, HONE_F32, 2, place.shape);
    const hone_tensor grad = hone_tensor_view(place.grad, HONE_F32, 2, place.shape);
    OK(hone_optimizer_add(place.optimizer, "w", &param, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(place.optimizer, 0, &grad, &problem));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_optimizer_free(place.optimizer);
    hone_context_free(place.context);
    return 0;
}

static void test_zero_gradient(void **state)
{
    (void)state;
    memset(place.grad, 0, sizeof place.grad);
    set(place.optimizer, "lr", 0.5);
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    for (int i = 0; i < 6; i++)
        assert_true(place.param[i] == start[i] * (float)(1 - 0.5 * 0.1));
    set(place.optimizer, "eps", 0); /* 0 / 0 is avoided too */
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_true(isfinite(place.param[0]));
}

static void test_nonfinite(void **state)
{
    (void)state;
    OK(hone_optimizer_prepare(place.optimizer, &problem));
    place.grad[4] = (float)NAN;
    hone_step_report report;
    OK(hone_optimizer_clip_norm(place.optimizer, (double)INFINITY, 2, HONE_NONFINITE_SKIP,
                                &problem));
    OK(hone_optimizer_step(place.optimizer, &report, &problem));
    assert_true(report.skipped && memcmp(place.param, start, sizeof start) == 0);
    OK(hone_optimizer_clip_norm(place.optimizer, (double)INFINITY, 2, HONE_NONFINITE_PROPAGATE,
                                &problem));
    OK(hone_optimizer_step(place.optimizer, &report, &problem));
    for (int i = 0; i < 6; i++) /* one NaN reaches the whole matrix */
        assert_true(isnan(place.param[i]));
}

static void test_scaler(void **state)
{
    (void)state;
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    OK(hone_optimizer_set_scaler(place.optimizer, &scaler, &problem));
    place.grad[0] = (float)INFINITY;
    hone_step_report report;
    OK(hone_optimizer_step(place.optimizer, &report, &problem));
    assert_true(report.skipped && memcmp(place.param, start, sizeof start) == 0);
    uint64_t count = 9;
    OK(hone_optimizer_step_count(place.optimizer, 0, &count, &problem));
    assert_true(count == 0);
}

static void test_accumulation(void **state)
{
    (void)state;
    float one_batch[6];
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    memcpy(one_batch, place.param, sizeof one_batch);
    tear_down(NULL);
    set_up(NULL);
    OK(hone_optimizer_set_grad_accum_steps(place.optimizer, 2, false, &problem));
    for (int i = 0; i < 6; i++)
        place.grad[i] = slope[i] / 4;
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_memory_equal(place.param, start, sizeof start);
    for (int i = 0; i < 6; i++)
        place.grad[i] = slope[i] * 3 / 4;
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_memory_equal(place.param, one_batch, sizeof one_batch);
}

/* Elements under a mask have a rate of their own; at 0 they stay, and the others move as always. */
static void test_mask(void **state)
{
    (void)state;
    float free_step[6];
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    memcpy(free_step, place.param, sizeof free_step);
    tear_down(NULL);
    set_up(NULL);
    const bool frozen[6] = {true, false, true, false, false, false};
    const hone_tensor bits = hone_tensor_view((void *)(uintptr_t)frozen, HONE_BOOL, 2, place.shape);
    hone_mask *mask;
    OK(hone_mask_from_dense(&mask, place.context, &bits, &problem));
    OK(hone_optimizer_set_mask(place.optimizer, 0, mask, &problem));
    hone_mask_free(mask);
    set(place.optimizer, "masked_lr", 0);
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    for (int i = 0; i < 6; i++)
        assert_true(place.param[i] == (frozen[i] ? start[i] : free_step[i]));
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void refuse_shape(hone_dtype dtype, int32_t ndim, const int64_t *shape, hone_status wanted,
                         const char *message)
{
    double values[32] = {0};
    hone_optimizer *const optimizer = test_optimizer(place.context, "muon");
    set(optimizer, "matrices", STRICT);
    const hone_tensor view = hone_tensor_view(values, dtype, ndim, shape);
    FAILS(wanted, message, hone_optimizer_add(optimizer, "w", &view, 0, NULL, &problem));
    assert_int_equal(hone_optimizer_count(optimizer), 0);
    hone_optimizer_free(optimizer);
}

static void test_refused_shapes(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 2, 2};
    refuse_shape(HONE_F32, 0, shape, HONE_ERROR_SHAPE,
                 "parameter \"w\" has 0 dimensions; muon steps matrices, which have at least 2");
    refuse_shape(HONE_F32, 1, shape, HONE_ERROR_SHAPE,
                 "parameter \"w\" has 1 dimensions; muon steps matrices, which have at least 2");
    refuse_shape(HONE_F32, 3, shape, HONE_ERROR_SHAPE,
                 "parameter \"w\" has 3 dimensions; muon steps matrices, which have exactly 2; "
                 "\"matrices\" may be \"flatten\" or \"batch\"");
    refuse_shape(HONE_C64, 2, shape, HONE_ERROR_DTYPE,
                 "parameter \"w\" is C64; muon does not support complex parameters");
}

static void test_empty_matrices(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{0, 3}, {3, 0}, {0, 0}};
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "e%d", i);
        int64_t index;
        const hone_tensor view = hone_tensor_view(place.param, HONE_F32, 2, shapes[i]);
        OK(hone_optimizer_add(place.optimizer, name, &view, 0, &index, &problem));
        OK(hone_optimizer_set_grad(place.optimizer, index, &view, &problem));
    }
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_true(isfinite(place.param[0]) && place.param[0] != start[0]);
}

static void test_refused_values(void **state)
{
    (void)state;
    hone_optimizer *const o = place.optimizer;
    FAILS(HONE_ERROR_RANGE, "ns_steps is 0; muon allows at least 1 and at most 99",
          hone_optimizer_set(o, 0, "ns_steps", 0, &problem));
    FAILS(HONE_ERROR_RANGE, "ns_steps is 100; muon allows at least 1 and at most 99",
          hone_optimizer_set(o, 0, "ns_steps", 100, &problem));
    FAILS(HONE_ERROR_RANGE, NULL, hone_optimizer_set(o, 0, "ns_steps", 2.5, &problem));
    FAILS(HONE_ERROR_RANGE, "lr is -1; muon allows finite and at least 0",
          hone_optimizer_set(o, 0, "lr", -1, &problem));
    FAILS(HONE_ERROR_RANGE, "momentum is -0.5; muon allows finite and at least 0",
          hone_optimizer_set(o, 0, "momentum", -0.5, &problem));
    FAILS(HONE_ERROR_RANGE, "weight_decay is -1; muon allows finite and at least 0",
          hone_optimizer_set(o, 0, "weight_decay", -1, &problem));
    FAILS(HONE_ERROR_RANGE,
          "adjust_lr_fn is 3; muon allows a whole number from 0 (original) to 2 "
          "(spectral_unclamped)",
          hone_optimizer_set(o, 0, "adjust_lr_fn", 3, &problem));
    FAILS(HONE_ERROR_RANGE, NULL, hone_optimizer_set(o, 0, "ns_coefficients", CUSTOM, &problem));
    FAILS(HONE_ERROR_RANGE, "ns_coefficients has 0 triples; allowed are 1 to 16",
          hone_optimizer_set_coefficients(o, 0, custom, 0, &problem));
    FAILS(HONE_ERROR_RANGE, "ns_coefficients has 17 triples; allowed are 1 to 16",
          hone_optimizer_set_coefficients(o, 0, custom, 17, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_set_coefficients(o, 0, NULL, 1, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_set_coefficients(o, 1, custom, 2, &problem));
    const double wrong[][3] = {{1, 2, 3}, {1, (double)NAN, 3}};
    FAILS(HONE_ERROR_RANGE, "ns_coefficients[1][1] is nan; it must be finite",
          hone_optimizer_set_coefficients(o, 0, wrong, 2, &problem));
    double value = 9;
    OK(hone_optimizer_get(o, 0, "ns_coefficients", &value, &problem));
    assert_true(value == STANDARD);
    hone_optimizer *const sgd = test_optimizer(place.context, "sgd");
    FAILS(HONE_ERROR_NAME, NULL, hone_optimizer_set_coefficients(sgd, 0, custom, 2, &problem));
    hone_optimizer_free(sgd);
}

/* ---- specs and checkpoints ------------------------------------------------------------------ */

static void expect_written(const char *json, const char *wanted)
{
    hone_spec *spec;
    char *text;
    OK(hone_spec_parse(&spec, place.context, json, strlen(json), &problem));
    OK(hone_spec_write(spec, &text, &problem));
    assert_string_equal(text, wanted);
    hone_string_free(place.context, text);
    hone_spec_free(spec);
}

static void refuse_spec(const char *json)
{
    hone_spec *spec;
    FAILS(HONE_ERROR_SPEC, NULL,
          hone_spec_parse(&spec, place.context, json, strlen(json), &problem));
    if (strstr(problem.message, "ns_") == NULL && strstr(problem.message, "adjust_lr_fn") == NULL)
        fail_msg("%s: %s", json, problem.message);
}

static void test_specs(void **state)
{
    (void)state;
    expect_written("{\"optimizer_type\":\"muon\",\"ns_coefficients\":[3.4,-4.7,2]}",
                   "{\"learning_rate\":0.001,\"ns_coefficients\":[[3.4,-4.7,2]],"
                   "\"optimizer_type\":\"muon\"}");
    expect_written("{\"optimizer_type\":\"muon\",\"ns_coefficients\":[[3,-4,2],[2,-1,0.5]],"
                   "\"adjust_lr_fn\":\"match_rms_adamw\",\"products\":\"bfloat16\"}",
                   "{\"adjust_lr_fn\":\"match_rms_adamw\",\"learning_rate\":0.001,"
                   "\"ns_coefficients\":[[3,-4,2],[2,-1,0.5]],\"optimizer_type\":\"muon\","
                   "\"products\":\"bfloat16\"}");
    expect_written("{\"optimizer_type\":\"muon\",\"ns_coefficients\":\"turbo\",\"ns_steps\":4,"
                   "\"adjust_lr_fn\":null}",
                   "{\"learning_rate\":0.001,\"ns_coefficients\":\"turbo\",\"ns_steps\":4,"
                   "\"optimizer_type\":\"muon\"}");
    refuse_spec("{\"optimizer_type\":\"muon\",\"ns_coefficients\":[1,2]}");
    refuse_spec("{\"optimizer_type\":\"muon\",\"ns_coefficients\":[]}");
    refuse_spec("{\"optimizer_type\":\"muon\",\"ns_coefficients\":[[1,2,3],[1,2]]}");
    refuse_spec("{\"optimizer_type\":\"muon\",\"ns_coefficients\":[[1,2,\"3\"]]}");
    refuse_spec("{\"optimizer_type\":\"muon\",\"ns_coefficients\":\"quintic\"}");
    refuse_spec("{\"optimizer_type\":\"muon\",\"ns_coefficients\":\"custom\"}");
    refuse_spec("{\"optimizer_type\":\"muon\",\"adjust_lr_fn\":\"arbitrary\"}");
    refuse_spec("{\"optimizer_type\":\"muon\",\"ns_steps\":100}");
    refuse_spec("{\"optimizer_type\":\"muon\",\"ns_steps\":2.5}");
}

/* Saved after one step and loaded into a new optimizer, the second step has the same bits, with the
 * saved coefficients. */
static void test_checkpoint(void **state)
{
    (void)state;
    char path[] = "/tmp/hone_muon_XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    OK(hone_optimizer_set_coefficients(place.optimizer, 0, custom, 2, &problem));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    OK(hone_optimizer_save(place.optimizer, path, &problem));
    float saved[6], ended[6];
    memcpy(saved, place.param, sizeof saved);
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    memcpy(ended, place.param, sizeof ended);
    tear_down(NULL);
    set_up(NULL);
    memcpy(place.param, saved, sizeof saved);
    OK(hone_optimizer_load(place.optimizer, path, &problem));
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
    assert_memory_equal(place.param, ended, sizeof ended);
    unlink(path);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_step_counts),
        cmocka_unit_test(test_more_dimensions),
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_threads),
        PLACED(test_zero_gradient),
        PLACED(test_nonfinite),
        PLACED(test_scaler),
        PLACED(test_accumulation),
        PLACED(test_mask),
        PLACED(test_refused_shapes),
        PLACED(test_empty_matrices),
        PLACED(test_refused_values),
        PLACED(test_specs),
        PLACED(test_checkpoint),
    };
    return cmocka_run_group_tests(tests, prepare_express, NULL);
}
