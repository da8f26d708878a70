/* SPDX-License-Identifier: Apache-2.0 */
/* Where random bits start: a function of seed, parameter, call and element, so that they are the
 * same whatever steps them, and in whatever order. format.h makes the bits of one element. */
#ifndef HONE_KERNEL_NOISE_H
#define HONE_KERNEL_NOISE_H

#include "kernel/prepare.h"

/* The finalizer of MurmurHash3 (Appleby): every bit of the result depends on every bit of x. */
RULE_ON_HOST_AND_DEVICE uint64_t hone_mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

/* Of a parameter, whatever the call. */
RULE_ON_HOST_AND_DEVICE uint64_t hone_noise_of_name(uint64_t seed, const char *name)
{
    uint64_t x = hone_mix(seed + 0x9e3779b97f4a7c15u);
    for (; *name != '\0'; name++)
        x = hone_mix(x ^ (unsigned char)*name);
    return x;
}

/* Of its call number `step`, counted from 1. */
RULE_ON_HOST_AND_DEVICE uint64_t hone_noise_of_call(uint64_t of_name, uint64_t step)
{
    return hone_mix(of_name ^ step);
}

/* The key of a chunk that starts at element `first`. */
RULE_ON_HOST_AND_DEVICE uint32_t hone_noise_of_chunk(uint64_t of_call, size_t first)
{
    return (uint32_t)hone_mix(of_call + first);
}

#endif
