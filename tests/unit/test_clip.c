/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping as functions on gradients: the norms, the factor, every reason to refuse, and sums that
 * neither threads nor CPU levels change. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"
#include "support/fixtures.h"
#include "support/numbers.h"
#include "support/random.h"

static const int64_t three[] = {3}, two[] = {2}, none[] = {0};

static double norm_of(const hone_tensor *const *grads, int64_t count, double p)
{
    double total = -1;
    OK(hone_total_norm(context, grads, count, p, &total, &problem));
    return total;
}

static void test_norms(void **state)
{
    (void)state;
    double a[] = {3, -4, 0}, b[] = {12, 0};
    const hone_tensor a_view = hone_tensor_view(a, HONE_F64, 1, three);
    const hone_tensor b_view = hone_tensor_view(b, HONE_F64, 1, two);
    const hone_tensor empty = hone_tensor_view(NULL, HONE_F64, 1, none);
    const hone_tensor *const grads[] = {&a_view, NULL, &b_view, &empty};
    assert_true(norm_of(grads, 4, 2) == 13);
    assert_true(norm_of(grads, 4, 1) == 19);
    assert_true(norm_of(grads, 4, (double)INFINITY) == 12);
    assert_true(fabs(norm_of(grads, 4, 3) - cbrt(27 + 64 + 1728)) < 1e-12);
    assert_true(norm_of(grads, 2, 2) == 5);
    assert_true(norm_of(grads + 1, 1, 2) == 0); /* only a missing one */
    assert_true(norm_of(grads + 3, 1, (double)INFINITY) == 0);
    assert_true(norm_of(NULL, 0, 2) == 0);
}

/* Complex entries count as two reals, as the step sees them; squares do not overflow f16. */
static void test_norm_of_formats(void **state)
{
    (void)state;
    float pairs[] = {3, 4, 0, 12};
    const hone_tensor complex = hone_tensor_view(pairs, HONE_C64, 1, two);
    const hone_tensor *const one[] = {&complex};
    assert_true(norm_of(one, 1, 2) == 13);
    const double large[] = {40000, 30000};
    void *const half = numbers_store(HONE_F16, large, 2);
    const hone_tensor half_view = hone_tensor_view(half, HONE_F16, 1, two);
    const hone_tensor *const halves[] = {&half_view};
    assert_true(norm_of(halves, 1, 2) == 50000);
    free(half);
}

static void test_clip(void **state)
{
    (void)state;
    double a[] = {3, -4, 0};
    const hone_tensor view = hone_tensor_view(a, HONE_F64, 1, three);
    const hone_tensor *const grads[] = {&view};
    double total = 0;
    OK(hone_clip_grad_norm(context, grads, 1, 10, 2, false, &total, &problem));
    assert_true(total == 5 && a[0] == 3 && a[1] == -4); /* small enough: as it was */
    OK(hone_clip_grad_norm(context, grads, 1, 1, 2, false, NULL, &problem));
    const double factor = 1 / (5 + 1e-6);
    assert_true(a[0] == 3 * factor && a[1] == -4 * factor);
    OK(hone_clip_grad_norm(context, grads, 1, 0, 2, false, &total, &problem));
    assert_true(a[0] == 0 && a[1] == 0);
    OK(hone_clip_grad_norm(context, NULL, 0, 1, 2, true, &total, &problem));
    assert_true(total == 0);
}

static void test_clip_with_norm(void **state)
{
    (void)state;
    double a[] = {3, -4, 0};
    const hone_tensor view = hone_tensor_view(a, HONE_F64, 1, three);
    const hone_tensor *const grads[] = {&view};
    OK(hone_clip_grads_with_norm(context, grads, 1, 1, 2, &problem));
    assert_true(a[0] == 3 * (1 / (2 + 1e-6)));
    FAILS(HONE_ERROR_RANGE, "total is -1; a norm is at least 0",
          hone_clip_grads_with_norm(context, grads, 1, 1, -1, &problem));
    OK(hone_clip_grads_with_norm(context, grads, 1, 1, (double)INFINITY, &problem));
    assert_true(a[0] == 0 && a[1] == 0);
    OK(hone_clip_grads_with_norm(context, grads, 1, 1, (double)NAN, &problem));
    assert_true(isnan(a[0]) && isnan(a[2]));
}

static void test_nonfinite(void **state)
{
    (void)state;
    const double rows[][3] = {{1, INFINITY, 2}, {1, NAN, 2}};
    for (int i = 0; i < 2; i++) {
        double a[3], total = 7;
        memcpy(a, rows[i], sizeof a);
        const hone_tensor view = hone_tensor_view(a, HONE_F64, 1, three);
        const hone_tensor *const grads[] = {&view};
        FAILS(HONE_ERROR_NONFINITE,
              i == 0 ? "the total norm of order 2 is inf, so the gradients cannot be clipped"
                     : NULL,
              hone_clip_grad_norm(context, grads, 1, 1, 2, true, &total, &problem));
        assert_true(total == 7 && numbers_differ(a, rows[i], 3) == 3);
        OK(hone_clip_grad_norm(context, grads, 1, 1, 2, false, &total, &problem));
        assert_true(number_same(total, rows[i][1]) && isnan(a[1]));
        assert_true(i == 0 ? a[0] == 0 : isnan(a[0]));
    }
}

static void test_value(void **state)
{
    (void)state;
    double a[] = {3, -4, NAN};
    const hone_tensor view = hone_tensor_view(a, HONE_F64, 1, three);
    const hone_tensor *const grads[] = {NULL, &view};
    OK(hone_clip_grad_value(context, grads, 2, 3.5, &problem));
    assert_true(a[0] == 3 && a[1] == -3.5 && isnan(a[2]));
    OK(hone_clip_grad_value(context, grads, 2, (double)INFINITY, &problem));
    assert_true(a[1] == -3.5);
    OK(hone_clip_grad_value(context, grads, 2, 0, &problem));
    assert_true(a[0] == 0 && a[1] == 0);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    double a[3] = {1, 2, 3}, total = 7;
    hone_tensor view = hone_tensor_view(a, HONE_F64, 1, three);
    const hone_tensor *const grads[] = {NULL, &view};
    FAILS(HONE_ERROR_ARGUMENT, "context is NULL",
          hone_total_norm(NULL, grads, 2, 2, &total, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "context is NULL",
          hone_clip_grad_value(NULL, grads, 2, 2, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "grads is NULL for a count of 2",
          hone_total_norm(context, NULL, 2, 2, &total, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "grads is given for a count of -1",
          hone_total_norm(context, grads, -1, 2, &total, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "total is NULL",
          hone_total_norm(context, grads, 2, 2, NULL, &problem));
    FAILS(HONE_ERROR_RANGE,
          "the norm's order p is 0.5; it must be at least 1 (infinity: the maximum)",
          hone_total_norm(context, grads, 2, 0.5, &total, &problem));
    FAILS(HONE_ERROR_RANGE, NULL,
          hone_total_norm(context, grads, 2, (double)NAN, &total, &problem));
    FAILS(HONE_ERROR_RANGE, "max_norm is -1; it must be at least 0",
          hone_clip_grad_norm(context, grads, 2, -1, 2, false, &total, &problem));
    FAILS(HONE_ERROR_RANGE, NULL,
          hone_clip_grads_with_norm(context, grads, 2, (double)NAN, 1, &problem));
    FAILS(HONE_ERROR_RANGE, "the clip value is -2; it must be at least 0",
          hone_clip_grad_value(context, grads, 2, -2, &problem));
    FAILS(HONE_ERROR_RANGE, NULL, hone_clip_grad_value(context, grads, 2, (double)NAN, &problem));
    view.dtype = HONE_I64;
    FAILS(HONE_ERROR_DTYPE, "gradient 1 is I64; F32, F64, BF16, F16, C64 and C128 can be clipped",
          hone_clip_grad_norm(context, grads, 2, 1, 2, false, &total, &problem));
    view.dtype = HONE_F64;
    view.device = HONE_CUDA;
    FAILS(HONE_ERROR_UNSUPPORTED, NULL, hone_clip_grad_value(context, grads, 2, 1, &problem));
    view.device = HONE_CPU;
    view.strides = (int64_t[]){2};
    FAILS(HONE_ERROR_SHAPE,
          "gradient 1: the tensor is not contiguous; pass a row-major view without gaps",
          hone_clip_grad_value(context, grads, 2, 1, &problem));
    assert_true(total == 7 && a[0] == 1 && a[2] == 3);
}

/* ---- one order of summation ----------------------------------------------------------------- */

#define LARGE 100003

/* The norms of two large gradients, and the clipped gradients, under a context. */
static void measure(const hone_context *with, hone_dtype dtype, const double *values, double *norms,
                    double *clipped)
{
    const int64_t lengths[] = {LARGE - 8192, 8192};
    void *const stored = numbers_store(dtype, values, LARGE);
    const size_t skip = (LARGE - 8192) * hone_dtype_size(dtype);
    const hone_tensor first = hone_tensor_view(stored, dtype, 1, &lengths[0]);
    const hone_tensor second = hone_tensor_view((char *)stored + skip, dtype, 1, &lengths[1]);
    const hone_tensor *const grads[] = {&first, &second};
    const double orders[] = {1, 2, 2.5, INFINITY};
    for (int i = 0; i < 4; i++)
        OK(hone_total_norm(with, grads, 2, orders[i], &norms[i], &problem));
    OK(hone_clip_grad_value(with, grads, 2, 0.75, &problem));
    OK(hone_clip_grad_norm(with, grads, 2, 1, 2, false, &norms[4], &problem));
    numbers_load(dtype, stored, clipped, LARGE);
    free(stored);
}

static void test_same_bits(void **state)
{
    (void)state;
    const hone_dtype dtypes[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};
    double *const values = malloc(3 * LARGE * sizeof *values);
    assert_non_null(values);
    double *const wanted = values + LARGE, *const found = wanted + LARGE;
    struct random random = {5};
    for (size_t i = 0; i < LARGE; i++)
        values[i] = random_signed(&random);
    for (int d = 0; d < 4; d++) {
        double norms[5], other[5];
        measure(context, dtypes[d], values, norms, wanted);
        for (int i = 0; i < 4 || hone_cpu_level(i - 4) != NULL; i++) {
            const int threads[] = {1, 2, 3, 7};
            hone_context *const with =
                i < 4 ? test_context(threads[i], NULL) : test_context(1, hone_cpu_level(i - 4));
            measure(with, dtypes[d], values, other, found);
            assert_int_equal(numbers_differ(norms, other, 5), 5);
            assert_int_equal(numbers_differ(wanted, found, LARGE), LARGE);
            hone_context_free(with);
        }
    }
    free(values);
}

/* Many gradients, some of them missing or without elements, at any number of threads: every element
 * is multiplied once, and nothing around them. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 61, GAP = 1 };
    const int64_t lengths[] = {0, 1, 65, 8191, 8192, 8193, 0, 20000};
    size_t room = 0;
    for (int i = 0; i < MANY; i++)
        room += (size_t)lengths[i % 8] + GAP;
    float *const values = malloc(room * sizeof *values);
    assert_non_null(values);
    hone_tensor views[MANY];
    const hone_tensor *grads[MANY];
    const double coef = 1 / (3 + 1e-6);
    for (int threads = 1; threads < 8; threads++) {
        hone_context *const with = test_context(threads, NULL);
        float *place = values;
        for (int i = 0; i < MANY; i++) {
            views[i] = hone_tensor_view(place, HONE_F32, 1, &lengths[i % 8]);
            grads[i] = i % 11 == 10 ? NULL : &views[i];
            place += lengths[i % 8] + GAP;
        }
        for (size_t i = 0; i < room; i++)
            values[i] = (float)i;
        OK(hone_clip_grads_with_norm(with, grads, MANY, 1, 3, &problem));
        place = values;
        for (int i = 0; i < MANY; i++) {
            for (int64_t j = 0; j < lengths[i % 8] + GAP; j++, place++) {
                const float before = (float)(place - values);
                const bool changed = grads[i] != NULL && j < lengths[i % 8];
                assert_true(*place == (changed ? before * (float)coef : before));
            }
        }
        hone_context_free(with);
    }
    free(values);
}

/* As often as it is given, whatever the threads. */
static void test_twice(void **state)
{
    (void)state;
    enum { N = 50000 };
    const int64_t length[] = {N};
    float *const values = malloc(N * sizeof *values);
    assert_non_null(values);
    const hone_tensor view = hone_tensor_view(values, HONE_F32, 1, length);
    const hone_tensor *const grads[] = {&view, NULL, &view};
    hone_context *const with = test_context(3, NULL);
    double total = 0;
    for (int i = 0; i < N; i++)
        values[i] = 1;
    OK(hone_total_norm(with, grads, 3, 1, &total, &problem));
    assert_true(total == 2 * N);
    OK(hone_clip_grads_with_norm(with, grads, 3, 1, 4 - 1e-6, &problem));
    for (int i = 0; i < N; i++)
        assert_true(values[i] == 0.0625f);
    hone_context_free(with);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),         cmocka_unit_test(test_norm_of_formats),
        cmocka_unit_test(test_clip),          cmocka_unit_test(test_clip_with_norm),
        cmocka_unit_test(test_nonfinite),     cmocka_unit_test(test_value),
        cmocka_unit_test(test_bad_arguments), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_many),          cmocka_unit_test(test_twice),
    };
    return cmocka_run_group_tests(tests, open_single_context, close_context);
}
