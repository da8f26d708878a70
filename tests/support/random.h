/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers that are the same on every machine: splitmix64 (Steele, Lea and Flood 2014). */
#ifndef SUPPORT_RANDOM_H
#define SUPPORT_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_bits(struct random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* From -1 up to 1. */
static inline double random_signed(struct random *random)
{
    return (double)(random_bits(random) >> 11) * 0x1p-52 - 1;
}

/* From 0 up to count - 1. */
static inline uint64_t random_below(struct random *random, uint64_t count)
{
    return random_bits(random) % count;
}

#endif
