/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing stored values: f32, f64, bf16 and f16 to and from the compute type, rounding
 * once to nearest even. On the CPU in integers and plain float arithmetic, because hardware conversions
 * differ (AVX512_BF16 flushes denormals) and because this vectorises at every level; CUDA's own
 * conversions give the same values. */
#ifndef HONE_KERNEL_FORMAT_H
#define HONE_KERNEL_FORMAT_H

#include <stdbool.h>
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "kernel/kernel.h"
#include "kernel/real.h"

RULE_INLINE float float_of_bits(uint32_t bits)
{
#if defined(__CUDACC__)
    return __uint_as_float(bits);
#else
    union {
        uint32_t bits;
        float value;
    } both = {bits};
    return both.value;
#endif
}

RULE_INLINE uint32_t bits_of_float(float value)
{
#if defined(__CUDACC__)
    return __float_as_uint(value);
#else
    union {
        float value;
        uint32_t bits;
    } both = {value};
    return both.bits;
#endif
}

RULE_INLINE float widen_bf16(uint16_t stored)
{
    return float_of_bits((uint32_t)stored << 16);
}

RULE_INLINE uint16_t narrow_bf16(float value)
{
#if defined(__CUDA_ARCH__)
    return __bfloat16_as_ushort(__float2bfloat16_rn(value));
#endif
    const uint32_t bits = bits_of_float(value);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

/* The 15 magnitude bits read as a float are 2^112 too small, for normal and denormal values alike;
 * the product is exact. Only infinity and NaN need their exponent set. */
RULE_INLINE float widen_f16(uint16_t stored)
{
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(stored));
#endif
    const uint32_t magnitude = ((uint32_t)stored & 0x7fffu) << 13;
    const uint32_t scaled = bits_of_float(float_of_bits(magnitude) * 0x1p112f);
    const uint32_t bits = magnitude >= 0x0f800000u ? scaled | 0x7f800000u : scaled;
    return float_of_bits(bits | ((uint32_t)stored & 0x8000u) << 16);
}

/* Three ranges: from 65536 up (infinity, NaN), below 2^-14 (denormal: adding 0.5 rounds at f16's
 * smallest step), and between (round the 13 dropped bits in integers; a carry reaches infinity). */
RULE_INLINE uint16_t narrow_f16(float value)
{
#if defined(__CUDA_ARCH__)
    return __half_as_ushort(__float2half_rn(value));
#endif
    const uint32_t all = bits_of_float(value);
    const uint32_t bits = all & 0x7fffffffu;
    const uint32_t large = bits > 0x7f800000u ? 0x7e00u : 0x7c00u;
    const uint32_t small = bits_of_float(float_of_bits(bits) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (bits + 0xc8000fffu + ((bits >> 13) & 1u)) >> 13;
    const uint32_t half = bits >= 0x47800000u ? large : bits < 0x38800000u ? small : normal;
    return (uint16_t)(half | (all >> 16 & 0x8000u));
}

/* The nearest-to-odd float, so that a second rounding to 16 bits rounds the double correctly. */
RULE_INLINE float narrow_to_odd(double value)
{
    const float nearest = (float)value;
    const double back = (double)nearest;
    const uint32_t bits = bits_of_float(nearest);
    const uint32_t away = (back < 0 ? -back : back) > (value < 0 ? -value : value) ? 1u : 0u;
    const uint32_t inexact = back != value ? 1u : 0u;
    return float_of_bits((bits - away) | inexact);
}

/* 32 random-looking bits for element i of a chunk: the integer mixer "lowbias32" found by Chris
 * Wellons' hash-prospector. A function of key and element alone, so the same at any thread count.
 */
RULE_INLINE uint32_t noise_at(uint32_t key, size_t i)
{
    uint32_t x = (uint32_t)i * 0x9e3779b9u + key;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* The key under which element k has the noise of element first + k under `key`. */
RULE_INLINE uint32_t noise_from(uint32_t key, size_t first)
{
    return (uint32_t)first * 0x9e3779b9u + key;
}

/* Stochastic rounding: the chance to round away from zero is the distance past the nearer-to-zero
 * neighbour, so that the expectation is the value itself. Infinities and NaN round as ever. */
RULE_INLINE uint16_t narrow_bf16_random(float value, uint32_t noise)
{
    const uint32_t bits = bits_of_float(value);
    const uint32_t magnitude = bits & 0x7fffffffu;
    const uint32_t added = magnitude < 0x7f800000u ? noise & 0xffffu : 0;
    const uint32_t quiet = magnitude > 0x7f800000u ? 0x00400000u : 0; /* or NaN becomes infinity */
    return (uint16_t)(((bits | quiet) + added) >> 16);
}

/* Below f16's normal range the step is 2^-24 whatever the value, so the noise is added as a number.
 */
RULE_INLINE uint16_t narrow_f16_random(float value, uint32_t noise)
{
    const uint32_t all = bits_of_float(value);
    const uint32_t bits = all & 0x7fffffffu;
    const uint32_t large = bits > 0x7f800000u ? 0x7e00u : 0x7c00u;
    const uint32_t normal = (bits + (noise & 0x1fffu) + 0xc8000000u) >> 13;
    const float steps = float_of_bits(bits) * 0x1p24f + (float)(int32_t)(noise >> 19) * 0x1p-13f;
    const uint32_t small = (uint32_t)(int32_t)(bits < 0x38800000u ? steps : 0);
    const uint32_t half = bits >= 0x47800000u ? large : bits < 0x38800000u ? small : normal;
    return (uint16_t)(half | (all >> 16 & 0x8000u));
}

/* `format` is a constant after inlining: each call becomes one conversion. */
RULE_INLINE real load(enum hone_format format, const void *values, size_t i)
{
    switch (format) {
    case HONE_FORMAT_F32:
        return (real)((const float *)values)[i];
    case HONE_FORMAT_F64:
        return (real)((const double *)values)[i];
    case HONE_FORMAT_BF16:
        return (real)widen_bf16(((const uint16_t *)values)[i]);
    case HONE_FORMAT_F16:
        return (real)widen_f16(((const uint16_t *)values)[i]);
    default:
        return 0;
    }
}

RULE_INLINE float narrow_before_16(real value)
{
#if HONE_REAL_BITS == 64
    return narrow_to_odd(value);
#else
    return value;
#endif
}

RULE_INLINE void store(enum hone_format format, void *values, size_t i, real value)
{
    switch (format) {
    case HONE_FORMAT_F32:
        ((float *)values)[i] = (float)value;
        break;
    case HONE_FORMAT_F64:
        ((double *)values)[i] = (double)value;
        break;
    case HONE_FORMAT_BF16:
        ((uint16_t *)values)[i] = narrow_bf16(narrow_before_16(value));
        break;
    case HONE_FORMAT_F16:
        ((uint16_t *)values)[i] = narrow_f16(narrow_before_16(value));
        break;
    default:
        break;
    }
}

/* As store, rounding 16-bit formats at random. */
RULE_INLINE void store_random(enum hone_format format, void *values, size_t i, real value,
                              uint32_t noise)
{
    if (format == HONE_FORMAT_BF16)
        ((uint16_t *)values)[i] = narrow_bf16_random((float)value, noise);
    else if (format == HONE_FORMAT_F16)
        ((uint16_t *)values)[i] = narrow_f16_random((float)value, noise);
    else
        store(format, values, i, value);
}

/* The value as it will be read back. */
RULE_INLINE real rounded(enum hone_format format, real value)
{
    switch (format) {
    case HONE_FORMAT_F32:
        return (real)(float)value;
    case HONE_FORMAT_BF16:
        return (real)widen_bf16(narrow_bf16(narrow_before_16(value)));
    case HONE_FORMAT_F16:
        return (real)widen_f16(narrow_f16(narrow_before_16(value)));
    default:
        return value;
    }
}

/* Kahan's compensation: the stored value and, beside it, the part that rounding took from it, cut
 * off rather than rounded. So the two together lie between the stored value and the true one, and
 * splitting them again gives the same two: a parameter that does not move keeps its bits. */
RULE_INLINE real join(real high, real low)
{
    return low == 0 ? high : high + low; /* -0 stays */
}

RULE_INLINE void store_split(enum hone_format format, void *values, void *rest, size_t i,
                             real value)
{
    const real high = rounded(format, value);
    const real low = high - high == 0 ? value - high : 0; /* beside infinity there is no rest */
    store(format, values, i, high);
    store_random(format, rest, i, low, 0);
}

#endif
