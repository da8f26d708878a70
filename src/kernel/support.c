/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions, scaling and sums over runs of stored values, compiled once per CPU level. Sums have
 * one order whatever the level, thread count or device; sums.h has it. */
#include <string.h>

#include "kernel/kernel.h"
#include "kernel/sums.h"

#ifndef HONE_TARGET
#define HONE_TARGET lint
#endif

#define HONE_BLOCK 16 /* lanes summed together, in registers */

_Static_assert(HONE_CHUNK % HONE_LANES == 0, "a chunk is a whole number of rows of lanes");

#define SUPPORT_INLINE static inline __attribute__((always_inline))

/* Halves the lanes onto themselves until one is left. */
SUPPORT_INLINE double fold(double *lane, const bool maximum)
{
    for (size_t half = HONE_LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            lane[j] = norm_join(maximum, lane[j], lane[j + half]);
    return lane[0];
}

/* sum + x * x of an x that fits a float. Its square is exact in double, so fusing the two operations,
 * where the level can, changes no bit. */
SUPPORT_INLINE double add_square(double sum, double x)
{
#if defined(__AVX512F__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fma(x, x, sum);
#else
    return sum + x * x;
#endif
}

/* Asks for the memory one chunk ahead: the rows of a chunk are as many streams a page apart, which the
 * processor's own prefetching does not follow from chunk to chunk. */
SUPPORT_INLINE void prefetch_next_chunk(const enum hone_format format, const void *values, size_t i)
{
    const size_t offset = (i + HONE_CHUNK) * hone_format_size(format);
    __builtin_prefetch((const void *)((uintptr_t)values + offset), 0, 2);
}

/* `plain`: neither scale nor limit changes a value. */
SUPPORT_INLINE double norm_chunk(const enum hone_format format, const enum norm_kind kind,
                                 const bool plain, const void *grad, size_t n, double scale,
                                 double limit)
{
    const bool squares = plain && kind == NORM_TWO && format != HONE_FORMAT_F64;
    double lane[HONE_LANES];
    memset(lane, 0, sizeof lane);
    const size_t rows = n / HONE_LANES;
    for (size_t first = 0; rows > 0 && first < HONE_LANES; first += HONE_BLOCK) {
        double sum[HONE_BLOCK] = {0};
        for (size_t row = 0; row < rows; row++) {
            prefetch_next_chunk(format, grad, row * HONE_LANES + first);
            for (size_t j = 0; j < HONE_BLOCK; j++) {
                const size_t i = row * HONE_LANES + first + j;
                sum[j] = squares ? add_square(sum[j], value_at(format, grad, i))
                                 : norm_add(kind, sum[j],
                                            magnitude_at(format, grad, i, scale, limit), 0);
            }
        }
        memcpy(lane + first, sum, sizeof sum);
    }
    for (size_t i = rows * HONE_LANES; i < n; i++) {
        const double x = magnitude_at(format, grad, i, scale, limit);
        double *const sum = &lane[i - rows * HONE_LANES];
        *sum = norm_add(kind, *sum, x, 0);
    }
    return fold(lane, kind == NORM_MAXIMUM);
}

/* The largest magnitude in float. As integers, magnitudes of floats are in order, infinity above all
 * numbers and NaN above infinity, and a largest one is the same in any order of looking: the lanes
 * here are as many as make the loop fast. */
SUPPORT_INLINE double largest_magnitude(const enum hone_format format, const void *grad, size_t n,
                                        float scale, float limit)
{
    enum { LANES = 64 };
    int32_t lane[LANES] = {0};
    const size_t whole = n / LANES * LANES;
    for (size_t first = 0; first < whole; first += LANES)
        for (size_t j = 0; j < LANES; j++) {
            const int32_t bits =
                (int32_t)(bits_of_float(r_clamp(load(format, grad, first + j) * scale, limit)) &
                          0x7fffffff);
            lane[j] = bits > lane[j] ? bits : lane[j];
        }
    for (size_t i = whole; i < n; i++) {
        const int32_t bits =
            (int32_t)(bits_of_float(r_clamp(load(format, grad, i) * scale, limit)) & 0x7fffffff);
        lane[i - whole] = bits > lane[i - whole] ? bits : lane[i - whole];
    }
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            lane[j] = lane[j + half] > lane[j] ? lane[j + half] : lane[j];
    return (double)float_of_bits((uint32_t)lane[0]);
}

/* Any other order. */
SUPPORT_INLINE double norm_general(const enum hone_format format, const void *grad, size_t n,
                                   double order, double scale, double limit)
{
    double lane[HONE_LANES];
    memset(lane, 0, sizeof lane);
    for (size_t i = 0; i < n; i++)
        lane[i % HONE_LANES] = norm_add(NORM_GENERAL, lane[i % HONE_LANES],
                                        magnitude_at(format, grad, i, scale, limit), order);
    return fold(lane, false);
}

static double combine(const double *shares, size_t n, bool maximum)
{
    double lane[HONE_LANES];
    memset(lane, 0, sizeof lane);
    for (size_t i = 0; i < n; i++) {
        double *const sum = &lane[i % HONE_LANES];
        *sum = norm_join(maximum, *sum, shares[i]);
    }
    return fold(lane, maximum);
}

#define DEFINE_FORMAT(F)                                                                         \
    static void widen_f32_##F(float *to, const void *from, size_t n)                             \
    {                                                                                            \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) to[i] =                               \
            (float)value_at(HONE_FORMAT_##F, from, i);                                           \
    }                                                                                            \
    static void widen_f64_##F(double *to, const void *from, size_t n)                            \
    {                                                                                            \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) to[i] =                               \
            value_at(HONE_FORMAT_##F, from, i);                                                  \
    }                                                                                            \
    static double norm_##F(const void *grad, size_t n, double order, double scale, double limit) \
    {                                                                                            \
        switch (norm_kind_of(order)) {                                                           \
        case NORM_TWO:                                                                           \
            if (scale == 1 && isinf(limit))                                                      \
                return norm_chunk(HONE_FORMAT_##F, NORM_TWO, true, grad, n, scale, limit);       \
            return norm_chunk(HONE_FORMAT_##F, NORM_TWO, false, grad, n, scale, limit);          \
        case NORM_MAXIMUM:                                                                       \
            if (HONE_FORMAT_##F != HONE_FORMAT_F64)                                              \
                return largest_magnitude(HONE_FORMAT_##F, grad, n, (float)scale, (float)limit);  \
            return norm_chunk(HONE_FORMAT_##F, NORM_MAXIMUM, false, grad, n, scale, limit);      \
        case NORM_ONE:                                                                           \
            return norm_chunk(HONE_FORMAT_##F, NORM_ONE, false, grad, n, scale, limit);          \
        default:                                                                                 \
            return norm_general(HONE_FORMAT_##F, grad, n, order, scale, limit);                  \
        }                                                                                        \
    }                                                                                            \
    static void accumulate_f32_##F(float *to, const void *from, size_t n, double scale)          \
    {                                                                                            \
        const float factor = (float)scale;                                                       \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) to[i] +=                              \
            (float)value_at(HONE_FORMAT_##F, from, i) * factor;                                  \
    }                                                                                            \
    static void accumulate_f64_##F(double *to, const void *from, size_t n, double scale)         \
    {                                                                                            \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) to[i] +=                              \
            value_at(HONE_FORMAT_##F, from, i) * scale;                                          \
    }                                                                                            \
    static void scale_##F(void *values, size_t n, double factor)                                 \
    {                                                                                            \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++)                                       \
            put_##F(values, i, get_##F(values, i) * (compute_##F)factor);                        \
    }                                                                                            \
    static void clamp_##F(void *values, size_t n, double limit)                                  \
    {                                                                                            \
        const compute_##F high = (compute_##F)limit;                                             \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++)                                       \
        {                                                                                        \
            const compute_##F x = get_##F(values, i);                                            \
            put_##F(values, i, x > high ? high : x < -high ? -high : x);                         \
        }                                                                                        \
    }

typedef float compute_F32;
typedef double compute_F64;
typedef float compute_BF16;
typedef float compute_F16;
#define get_F32(values, i) (((const float *)(values))[i])
#define get_F64(values, i) (((const double *)(values))[i])
#define get_BF16(values, i) widen_bf16(((const uint16_t *)(values))[i])
#define get_F16(values, i) widen_f16(((const uint16_t *)(values))[i])
#define put_F32(values, i, x) (((float *)(values))[i] = (x))
#define put_F64(values, i, x) (((double *)(values))[i] = (double)(x))
#define put_BF16(values, i, x) (((uint16_t *)(values))[i] = narrow_bf16(x))
#define put_F16(values, i, x) (((uint16_t *)(values))[i] = narrow_f16(x))

DEFINE_FORMAT(F32)
DEFINE_FORMAT(F64)
DEFINE_FORMAT(BF16)
DEFINE_FORMAT(F16)

#define DEFINE_NARROW(F, from_double)                                                            \
    static void narrow_f32_##F(void *to, const float *from, size_t n)                            \
    {                                                                                            \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) put_##F(to, i, from[i]);              \
    }                                                                                            \
    static void join_f32_##F(float *values, const void *low, size_t n)                           \
    {                                                                                            \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) values[i] =                           \
            join(values[i], (float)value_at(HONE_FORMAT_##F, low, i));                           \
    }                                                                                            \
    static void split_f32_##F(void *high, void *low, const float *values, size_t n)              \
    {                                                                                            \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++)                                       \
            store_split(HONE_FORMAT_##F, high, low, i, values[i]);                               \
    }                                                                                            \
    static void narrow_random_f32_##F(void *to, const float *from, size_t n, uint32_t key,       \
                                      size_t first)                                              \
    {                                                                                            \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++)                                       \
            store_random(HONE_FORMAT_##F, to, i, from[i], noise_at(key, first + i));             \
    }                                                                                            \
    static void narrow_f64_##F(void *to, const double *from, size_t n)                           \
    {                                                                                            \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) put_##F(to, i, from_double(from[i])); \
    }

DEFINE_NARROW(F32, (float))
DEFINE_NARROW(F64, (double))
DEFINE_NARROW(BF16, narrow_to_odd)
DEFINE_NARROW(F16, narrow_to_odd)

#define ALL_FORMATS(prefix)                                                  \
    {                                                                        \
        [HONE_FORMAT_F32] = prefix##_F32, [HONE_FORMAT_F64] = prefix##_F64,  \
        [HONE_FORMAT_BF16] = prefix##_BF16, [HONE_FORMAT_F16] = prefix##_F16 \
    }

#define SUPPORT_NAME_(target) hone_support_##target
#define SUPPORT_NAME(target) SUPPORT_NAME_(target)

extern const struct hone_support_kernels SUPPORT_NAME(HONE_TARGET);
const struct hone_support_kernels SUPPORT_NAME(HONE_TARGET) = {
    .widen_f32 = ALL_FORMATS(widen_f32),
    .narrow_f32 = ALL_FORMATS(narrow_f32),
    .widen_f64 = ALL_FORMATS(widen_f64),
    .narrow_f64 = ALL_FORMATS(narrow_f64),
    .join_f32 = ALL_FORMATS(join_f32),
    .split_f32 = ALL_FORMATS(split_f32),
    .narrow_random_f32 = ALL_FORMATS(narrow_random_f32),
    .accumulate_f32 = ALL_FORMATS(accumulate_f32),
    .accumulate_f64 = ALL_FORMATS(accumulate_f64),
    .norm = ALL_FORMATS(norm),
    .combine = combine,
    .scale = ALL_FORMATS(scale),
    .clamp = ALL_FORMATS(clamp),
};
