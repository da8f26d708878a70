/* SPDX-License-Identifier: Apache-2.0 */
/* Counter-based random numbers: every value is a pure function of (seed, stream, counter).
 * There is no hidden state to save, so a run resumed at step s draws what the first run drew.
 * The mixing function is the 64-bit finaliser of SplitMix64 (Steele, Lea and Flood, 2014). */
#ifndef GPT_RANDOM_H
#define GPT_RANDOM_H

#include <math.h>
#include <stdint.h>

static inline uint64_t random_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t counter)
{
    const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = random_mix(seed + golden);
    x = random_mix(x + golden * (stream + 1));
    return random_mix(x + golden * (counter + 1));
}

/* Uniform on the open interval (0, 1): 53 random bits, shifted by half a step. */
static inline double random_uniform(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return ((double)(random_bits(seed, stream, counter) >> 11) + 0.5) * 0x1p-53;
}

/* Standard normal by Box and Muller; uses the counters 2c and 2c + 1 of its stream. */
static inline double random_normal(uint64_t seed, uint64_t stream, uint64_t counter)
{
    const double pi = 3.14159265358979323846;
    const double radius = sqrt(-2.0 * log(random_uniform(seed, stream, 2 * counter)));
    return radius * cos(2.0 * pi * random_uniform(seed, stream, 2 * counter + 1));
}

#endif
