/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of update rules: `real` and the operations on it that give the same bits on every
 * target. Nothing here calls the C library: such calls stop vectorisation and differ between hosts.
 * Compiled for float or double (HONE_REAL_BITS) and for CPUs or CUDA. */
#ifndef HONE_KERNEL_REAL_H
#define HONE_KERNEL_REAL_H

#include <stddef.h>
#include <stdint.h>

#ifndef HONE_REAL_BITS
#define HONE_REAL_BITS 32
#endif

#if defined(__CUDACC__)
#define RULE_INLINE static __device__ __forceinline__
#else
#define RULE_INLINE static inline __attribute__((always_inline, unused))
#endif

#if HONE_REAL_BITS == 64
typedef double real;
#define HONE_REAL_NAME f64
#else
typedef float real;
#define HONE_REAL_NAME f32
#endif

/* The correctly rounded square root. */
RULE_INLINE real r_sqrt(real x)
{
#if defined(__CUDACC__)
#if HONE_REAL_BITS == 64
    return __dsqrt_rn(x);
#else
    return __fsqrt_rn(x);
#endif
#elif HONE_REAL_BITS == 64
    return __builtin_sqrt(x);
#else
    return __builtin_sqrtf(x);
#endif
}

RULE_INLINE real r_abs(real x)
{
    return x < 0 ? -x : x + 0;
}

/* Maximum and minimum that pass NaN on from either side, as torch's do. */
RULE_INLINE real r_max(real a, real b)
{
    return a > b || a != a ? a : b;
}

RULE_INLINE real r_min(real a, real b)
{
    return a < b || a != a ? a : b;
}

/* x inside [-limit, limit]; NaN stays NaN. */
RULE_INLINE real r_clamp(real x, real limit)
{
    const real below = x > limit ? limit : x;
    return below < -limit ? -limit : below;
}

RULE_INLINE real r_sign(real x)
{
    return x > 0 ? (real)1 : x < 0 ? (real)-1 : x;
}

/* a + weight * (b - a), in the form that is exact at weight 1 unless the weight is within 1/2 of 0:
 * ATen's two forms, so that long runs stay close to torch's. The weight is the same for all elements
 * and may be below 0: RMSprop's alpha and Muon's momentum have no upper bound. */
RULE_INLINE real r_lerp(real a, real b, real weight)
{
    const real span = b - a;
    return r_abs(weight) < (real)0.5 ? a + weight * span : b - span * (1 - weight);
}

#endif
