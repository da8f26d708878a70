/* SPDX-License-Identifier: Apache-2.0 */
/* The k largest elements against sorting them, with ties, zeros of both signs and infinities, in
 * every format; the fraction's k; thresholds; and what must be refused. */
#include <math.h>

#include "core/core.h"
#include "unit/mask_model.h"

struct ranked {
    double size;
    int64_t position;
};

/* Largest first, among equals the lowest position. */
static int compare(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    return a->position < b->position ? -1 : 1;
}

enum fill { FILL_RANDOM, FILL_FEW, FILL_EQUAL, FILL_EXTREME, FILL_COUNT };

static double make_value(int fill)
{
    static const double extremes[] = {0.0, -0.0, 6e-8, -6e-8, 65504, -65504, INFINITY, -INFINITY};
    switch (fill) {
    case FILL_RANDOM:
        return ldexp((double)random_below(2001) - 1000, (int)random_below(12) - 9);
    case FILL_FEW:
        return (double)random_below(7) - 3;
    case FILL_EQUAL:
        return random_below(2) == 0 ? 0.5 : -0.5;
    default:
        return extremes[random_below(LENGTH(extremes))];
    }
}

/* Values in a format, and the same as sorted. */
struct sample {
    int64_t numel;
    void *values;
    struct ranked *order;
};

static struct sample make_sample(int64_t numel, hone_dtype dtype, int fill)
{
    enum hone_format format;
    int reals;
    assert_true(hone_dtype_format(dtype, &format, &reals));
    const struct hone_support_kernels *support = context->cpu->support;
    struct sample sample = {.numel = numel};
    const size_t size = hone_dtype_size(dtype);
    sample.values = malloc((size_t)(numel + 1) * size);
    sample.order = malloc((size_t)(numel + 1) * sizeof *sample.order);
    for (int64_t i = 0; i < numel; i++) {
        double value = make_value(fill);
        char *at = (char *)sample.values + (size_t)i * size;
        support->narrow_f64[format](at, &value, 1);
        support->widen_f64[format](&value, at, 1);
        sample.order[i] = (struct ranked){fabs(value), i};
    }
    qsort(sample.order, (size_t)numel, sizeof *sample.order, compare);
    return sample;
}

static void free_sample(struct sample *sample)
{
    free(sample->values);
    free(sample->order);
}

static const hone_dtype dtypes[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};

static void top_is_what_sorting_finds(void **state)
{
    (void)state;
    static const int64_t lengths[] = {0,   1,    2,    31,   32,    33,
                                      100, 1000, 8191, 8193, 70000, (1 << 20) + 9000};
    for (int d = 0; d < LENGTH(dtypes); d++)
        for (int fill = 0; fill < FILL_COUNT; fill++)
            for (int l = 0; l < LENGTH(lengths); l++) {
                const int64_t n = lengths[l];
                if (n > 100000 && fill != FILL_FEW) /* several threads, many ties */
                    continue;
                struct sample sample = make_sample(n, dtypes[d], fill);
                const hone_tensor tensor = hone_tensor_view(sample.values, dtypes[d], 1, &n);
                const int64_t ks[] = {0, n > 0, n / 20, n / 2, n > 0 ? n - 1 : 0, n};
                for (int k = 0; k < LENGTH(ks); k++) {
                    struct model model = model_start(1, &n);
                    for (int64_t i = 0; i < ks[k]; i++)
                        model.values[sample.order[i].position] = 1;
                    hone_mask *mask = NULL;
                    assert_int_equal(hone_mask_top_count(&mask, context, &tensor, ks[k], NULL),
                                     HONE_OK);
                    assert_mask_is(mask, &model);
                    hone_mask_free(mask);
                    free(model.values);
                }
                free_sample(&sample);
            }
}

static void thresholds(void **state)
{
    (void)state;
    static const double limits[] = {0, 1, 2.5, 65504, INFINITY};
    for (int d = 0; d < LENGTH(dtypes); d++)
        for (int fill = 0; fill < FILL_COUNT; fill++)
            for (int64_t n = 0; n < 20000; n = 3 * n + 1)
                for (int t = 0; t < LENGTH(limits); t++) {
                    struct sample sample = make_sample(n, dtypes[d], fill);
                    const hone_tensor tensor = hone_tensor_view(sample.values, dtypes[d], 1, &n);
                    struct model model = model_start(1, &n);
                    for (int64_t i = 0; i < n; i++)
                        model.values[sample.order[i].position] = sample.order[i].size >= limits[t];
                    hone_mask *mask = NULL;
                    assert_int_equal(
                        hone_mask_from_threshold(&mask, context, &tensor, limits[t], NULL),
                        HONE_OK);
                    assert_mask_is(mask, &model);
                    hone_mask_free(mask);
                    free(model.values);
                    free_sample(&sample);
                }
}

static void fractions_round_up(void **state)
{
    (void)state;
    static const struct {
        int64_t numel;
        double fraction;
        int64_t k;
    } cases[] = {{100, 0.05, 5}, {101, 0.05, 6}, {1, 0.05, 1},     {10, 0, 1},  {10, 1, 10},
                 {0, 0.5, 0},    {3, 0.5, 2},    {1000, 0.001, 1}, {7, 0.99, 7}};
    for (int c = 0; c < LENGTH(cases); c++) {
        struct sample sample = make_sample(cases[c].numel, HONE_F32, FILL_RANDOM);
        const hone_tensor tensor = hone_tensor_view(sample.values, HONE_F32, 1, &cases[c].numel);
        hone_mask *mask = NULL;
        assert_int_equal(hone_mask_top_fraction(&mask, context, &tensor, cases[c].fraction, NULL),
                         HONE_OK);
        assert_int_equal(hone_mask_count(mask), cases[c].k);
        hone_mask_free(mask);
        free_sample(&sample);
    }
}

static void refusals(void **state)
{
    (void)state;
    float values[] = {1, 2, -NAN, 3};
    const int64_t four = 4;
    hone_tensor tensor = hone_tensor_view(values, HONE_F32, 1, &four);
    hone_mask *mask = NULL;
    assert_refused(hone_mask_top_count(&mask, context, &tensor, 2, &error), HONE_ERROR_NONFINITE,
                   "values: element 2 is NaN, which is neither larger nor smaller than others; the "
                   "largest can be chosen among numbers and infinities only");
    assert_refused(hone_mask_top_count(&mask, context, &tensor, 5, &error), HONE_ERROR_RANGE,
                   "k is 5; the tensor has 4 elements; allowed: 0 to that");
    assert_refused(hone_mask_top_fraction(&mask, context, &tensor, 1.5, &error), HONE_ERROR_RANGE,
                   "the fraction is 1.5; it must be from 0 to 1");
    assert_refused(hone_mask_top_fraction(&mask, context, &tensor, NAN, &error), HONE_ERROR_RANGE,
                   "the fraction is nan; it must be from 0 to 1");
    assert_refused(hone_mask_from_threshold(&mask, context, &tensor, -1, &error), HONE_ERROR_RANGE,
                   "the threshold is -1; it must be at least 0");
    tensor.dtype = HONE_I32;
    assert_refused(hone_mask_top_count(&mask, context, &tensor, 2, &error), HONE_ERROR_DTYPE,
                   "values: a mask by size is made from F32, F64, BF16 or F16; this tensor is I32");
    const int64_t two = 2, stride = 2;
    tensor = hone_tensor_view(values, HONE_F32, 1, &two);
    tensor.strides = &stride;
    assert_refused(hone_mask_top_count(&mask, context, &tensor, 1, &error), HONE_ERROR_SHAPE,
                   "values: the tensor is not contiguous; pass a row-major view without gaps");
    assert_null(mask);
}

/* A threshold is no order: NaN is simply not at least as large. */
static void nan_is_below_every_threshold(void **state)
{
    (void)state;
    float values[] = {NAN, 0};
    const int64_t two = 2;
    const hone_tensor tensor = hone_tensor_view(values, HONE_F32, 1, &two);
    hone_mask *mask = NULL;
    assert_int_equal(hone_mask_from_threshold(&mask, context, &tensor, 0, NULL), HONE_OK);
    assert_int_equal(hone_mask_words(mask)[0], 2);
    hone_mask_free(mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_is_what_sorting_finds),    cmocka_unit_test(thresholds),
        cmocka_unit_test(fractions_round_up),           cmocka_unit_test(refusals),
        cmocka_unit_test(nan_is_below_every_threshold),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
