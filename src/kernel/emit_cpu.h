/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU pass: a loop per direct format combination, variant (which optional slots exist) and
 * form, and the table that names them. The compiler vectorises; there is one loop body and no tail.
 */
#ifndef HONE_KERNEL_EMIT_CPU_H
#define HONE_KERNEL_EMIT_CPU_H

#include "kernel/element.h"

#ifndef HONE_TARGET
#define HONE_TARGET lint
#endif

#define RULE_MASK_BITS 32

RULE_INLINE void rule_loop_dense(const struct hone_chunk *chunk, const struct rule_reals *c,
                                 const struct rule_frame *f, const struct rule_shape shape)
{
    const struct hone_chunk local = *chunk;
#pragma omp simd
    for (size_t i = 0; i < local.n; i++)
        rule_element(&local, i, false, c, f, shape);
}

/* Bit i, as a table: SSE2 has no shift by a different count in each lane, but it can test a word
 * against a vector of bits. */
static const uint32_t rule_mask_bit[RULE_MASK_BITS] = {
    1u << 0,  1u << 1,  1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
    1u << 8,  1u << 9,  1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15,
    1u << 16, 1u << 17, 1u << 18, 1u << 19, 1u << 20, 1u << 21, 1u << 22, 1u << 23,
    1u << 24, 1u << 25, 1u << 26, 1u << 27, 1u << 28, 1u << 29, 1u << 30, 1u << 31,
};

/* 32 elements share a word of the mask; its bits become lanes of a select. */
RULE_INLINE void rule_loop_masked(const struct hone_chunk *chunk, const struct rule_reals *c,
                                  const struct rule_frame *f, const struct rule_shape shape)
{
    const struct hone_chunk local = *chunk;
    const size_t whole = local.n / RULE_MASK_BITS * RULE_MASK_BITS;
    for (size_t first = 0; first < whole; first += RULE_MASK_BITS) {
        const uint32_t word = local.mask[first / RULE_MASK_BITS];
#pragma omp simd
        for (uint32_t bit = 0; bit < RULE_MASK_BITS; bit++)
            rule_element(&local, first + bit, (word & rule_mask_bit[bit]) != 0, c, f, shape);
    }
    for (size_t i = whole; i < local.n; i++)
        rule_element(&local, i, (local.mask[whole / RULE_MASK_BITS] >> (i - whole) & 1u) != 0, c, f,
                     shape);
}

#define RULE_JOIN_(rule, form, p, g, s, extra, v, target) \
    hone_##rule##_##form##_##p##_##g##_##s##_##extra##_v##v##_##target
#define RULE_JOIN(rule, form, p, g, s, extra, v, target) \
    RULE_JOIN_(rule, form, p, g, s, extra, v, target)
#define RULE_LOOP(form, P, G, S, E, v) RULE_JOIN(RULE, form, P, G, S, E, v, HONE_TARGET)

#define RULE_EMIT_FORM(form, P, G, S, E, X, v)                                     \
    static void RULE_LOOP(form, P, G, S, E, v)(const struct hone_chunk *chunk,     \
                                               const struct hone_scalars *scalars, \
                                               const struct hone_frame *frame)     \
    {                                                                              \
        const struct rule_reals c = rule_reals_round(scalars);                     \
        const struct rule_frame f = rule_frame_round(scalars, frame);              \
        const struct rule_shape shape = {v,                                        \
                                         HONE_FORMAT_##P,                          \
                                         HONE_FORMAT_##G,                          \
                                         HONE_FORMAT_##S,                          \
                                         HONE_EXTRA_##E,                           \
                                         HONE_FORMAT_##X};                         \
        rule_loop_##form(chunk, &c, &f, shape);                                    \
    }
#define RULE_EMIT(P, G, S, E, X, v) \
    RULE_EMIT_FORM(dense, P, G, S, E, X, v) RULE_EMIT_FORM(masked, P, G, S, E, X, v)
#define RULE_ROW(index, P, G, S, E, v) \
    .step[index][v] = {RULE_LOOP(dense, P, G, S, E, v), RULE_LOOP(masked, P, G, S, E, v)},

#define RULE_EMIT_0(index, P, G, S, E, X) RULE_EMIT(P, G, S, E, X, 0)
#define RULE_EMIT_1(index, P, G, S, E, X) RULE_EMIT(P, G, S, E, X, 1)
#define RULE_EMIT_2(index, P, G, S, E, X) RULE_EMIT(P, G, S, E, X, 2)
#define RULE_EMIT_3(index, P, G, S, E, X) RULE_EMIT(P, G, S, E, X, 3)
#define RULE_ROW_0(index, P, G, S, E, X) RULE_ROW(index, P, G, S, E, 0)
#define RULE_ROW_1(index, P, G, S, E, X) RULE_ROW(index, P, G, S, E, 1)
#define RULE_ROW_2(index, P, G, S, E, X) RULE_ROW(index, P, G, S, E, 2)
#define RULE_ROW_3(index, P, G, S, E, X) RULE_ROW(index, P, G, S, E, 3)

#if HONE_REAL_BITS == 64
#define RULE_DIRECT(X) HONE_DIRECT_F64(X)
#else
#define RULE_DIRECT(X) HONE_DIRECT_F32(X)
#endif

#define RULE_KERNELS_(rule, type, target) hone_kernels_##rule##_##type##_##target
#define RULE_KERNELS(rule, type, target) RULE_KERNELS_(rule, type, target)
#define RULE_KERNEL_TABLE RULE_KERNELS(RULE, HONE_REAL_NAME, HONE_TARGET)

extern const struct hone_rule_kernels RULE_KERNEL_TABLE;

#if defined(RULE_MATRIX)

#if RULE_OPTIONAL_COUNT > 0
#error "a matrix rule has no conditional slots"
#endif

#if HONE_REAL_BITS == 64
#define RULE_FORMAT HONE_FORMAT_F64
#else
#define RULE_FORMAT HONE_FORMAT_F32
#endif

#define RULE_DIRECTION_LOOP_(rule, type, target) hone_##rule##_direction_##type##_##target
#define RULE_DIRECTION_LOOP(rule, type, target) RULE_DIRECTION_LOOP_(rule, type, target)
#define RULE_DIRECTION_NAME RULE_DIRECTION_LOOP(RULE, HONE_REAL_NAME, HONE_TARGET)

static void RULE_DIRECTION_NAME(const struct hone_chunk *chunk, const struct hone_scalars *scalars,
                                const struct hone_frame *frame)
{
    const struct rule_reals c = rule_reals_round(scalars);
    const struct rule_frame f = rule_frame_round(scalars, frame);
    const struct rule_shape shape = {
        .param = RULE_FORMAT, .grad = RULE_FORMAT, .slot = RULE_FORMAT};
    const struct hone_chunk local = *chunk;
#pragma omp simd
    for (size_t i = 0; i < local.n; i++)
        rule_element_direction(&local, i, &c, &f, shape);
}

const struct hone_rule_kernels RULE_KERNEL_TABLE = {.direction = {RULE_DIRECTION_NAME}};

#else

RULE_DIRECT(RULE_EMIT_0)
#if RULE_OPTIONAL_COUNT >= 1
RULE_DIRECT(RULE_EMIT_1)
#endif
#if RULE_OPTIONAL_COUNT >= 2
RULE_DIRECT(RULE_EMIT_2)
RULE_DIRECT(RULE_EMIT_3)
#endif

const struct hone_rule_kernels RULE_KERNEL_TABLE = {RULE_DIRECT(RULE_ROW_0)
#if RULE_OPTIONAL_COUNT >= 1
                                                        RULE_DIRECT(RULE_ROW_1)
#endif
#if RULE_OPTIONAL_COUNT >= 2
                                                            RULE_DIRECT(RULE_ROW_2)
                                                                RULE_DIRECT(RULE_ROW_3)
#endif
};

#endif

#endif
