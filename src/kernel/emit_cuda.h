/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA pass: a kernel per direct format combination, and one for any formats, each stepping all
 * tensors of a list in device memory; the preparation of scalars; and the table that names them. The
 * arithmetic is rule_element's, as on the CPU; compile with -fmad=false, or the bits differ.
 *
 * A block steps one chunk. What else the CPU has loops of its own for (which optional slots exist,
 * masks, unaligned memory) is the same for a whole block, and a branch that all threads take alike
 * costs nothing where memory is the limit. */
#ifndef HONE_KERNEL_EMIT_CUDA_H
#define HONE_KERNEL_EMIT_CUDA_H

#include <string.h>

#include "kernel/device.h"
#include "kernel/element.h"
#include "kernel/emit_prepare.h"
#include "kernel/find.cuh"
#include "kernel/noise.h"

#if HONE_REAL_BITS == 64
#define RULE_DIRECT(X) HONE_DIRECT_F64(X)
#define RULE_FORMAT HONE_FORMAT_F64
#else
#define RULE_DIRECT(X) HONE_DIRECT_F32(X)
#define RULE_FORMAT HONE_FORMAT_F32
#endif

/* ---- a block's work --------------------------------------------------------------------------- */

/* What all threads of a block need to know, in shared memory. */
struct rule_work {
    struct hone_chunk chunk;
    struct rule_reals c;
    struct rule_frame f;
    uint32_t places;
    bool whole_vectors; /* every array is aligned for them */
    bool plain;         /* no mask, L2 decay, value clip or frozen parameter */
};

RULE_INLINE enum hone_format rule_place(uint32_t places, int place)
{
    return (enum hone_format)hone_place_value(places, place);
}

/* `values` from element `first` on; NULL stays. */
RULE_INLINE void *rule_advance(const void *values, enum hone_format format, size_t first)
{
    return values == NULL ? NULL : (char *)(uintptr_t)values + first * hone_format_size(format);
}

/* The format of what lies at `extra`. */
RULE_INLINE enum hone_format rule_extra_format(uint32_t places)
{
    return rule_place(places, HONE_PLACE_EXTRA) == (int)HONE_EXTRA_MASTER
               ? rule_place(places, HONE_PLACE_CAST)
               : rule_place(places, HONE_PLACE_PARAM);
}

/* Chunk number `chunk` of tensor `tensor` of the launch. `vector` is the elements of a vector. */
RULE_INLINE void rule_describe(struct rule_work *work, const struct hone_device_call *call,
                               uint32_t tensor, uint32_t chunk, int vector)
{
    const struct hone_device_tensor t = call->tensors[tensor];
    const struct hone_scalars *const scalars =
        call->scalars == NULL ? call->own + t.scalars : call->scalars + t.scalars;
    const size_t first = (size_t)(chunk - call->first[tensor]) * HONE_CHUNK;
    struct hone_frame frame = call->frame;
    if (call->outcome != NULL && call->own_frame == 0) {
        frame.grad_scale = call->outcome->grad_scale;
        frame.clip_coef = call->outcome->coef;
    }
    work->places = t.places;
    work->c = rule_reals_round(scalars);
    work->f = rule_frame_round(scalars, &frame);

    struct hone_chunk *const part = &work->chunk;
    uintptr_t bits = 0; /* of the addresses, past whole vectors */
    part->n = t.count - first < HONE_CHUNK ? t.count - first : HONE_CHUNK;
    part->noise = hone_noise_of_chunk(hone_noise_of_call(t.noise, scalars->step), first);
    part->mask = t.mask == NULL ? NULL : t.mask + first / 32;
#define RULE_PART(field, from, format)               \
    part->field = rule_advance(from, format, first); \
    bits |= (uintptr_t)part->field % ((size_t)vector * hone_format_size(format));
    RULE_PART(param, t.param, rule_place(t.places, HONE_PLACE_PARAM))
    RULE_PART(grad, t.grad, rule_place(t.places, HONE_PLACE_GRAD))
    RULE_PART(extra, t.extra, rule_extra_format(t.places))
    for (int k = 0; k < HONE_MAX_SLOTS; k++) {
        RULE_PART(slot[k], t.slot[k], rule_place(t.places, HONE_PLACE_SLOT + k))
    }
    work->whole_vectors = bits == 0;
    work->plain = t.mask == NULL && work->f.has_l2 == 0 && isinf(work->f.value_limit) &&
                  work->f.frozen[0] == 0;
}

/* Fills the block's work; false when there is none to do. */
RULE_INLINE bool rule_find_work(struct rule_work *work, const struct hone_device_call *call,
                                int vector)
{
    if (call->outcome != NULL && call->outcome->go == 0)
        return false;
    if (threadIdx.x < 32) {
        const uint32_t chunk = call->base + blockIdx.x;
        const uint32_t tensor = hone_find_tensor(call->first, call->tensor_count, chunk);
        if (threadIdx.x == 0)
            rule_describe(work, call, tensor, chunk, vector);
    }
    __syncthreads();
    return true;
}

/* ---- vectors ---------------------------------------------------------------------------------- */

/* Neighbouring elements of one array in registers, as they are stored. */
template <int SIZE, int COUNT> struct alignas(16) rule_vector {
    static constexpr int bytes = SIZE * COUNT;
    unsigned char data[bytes];

    /* `n` of them, the first at element i; all, from aligned memory, where `whole` says so: past the
     * first-level cache, which nothing here is read from twice. */
    __device__ __forceinline__ void get(const void *from, uint32_t i, uint32_t n, bool whole)
    {
        const char *const source = (const char *)from + (size_t)i * SIZE;
        __builtin_assume(__isGlobal(source)); /* not shared memory: a plain load */
        if (whole) {
            if constexpr (bytes == 8) {
                const uint2 value = __ldcg((const uint2 *)source);
                memcpy(data, &value, 8);
            } else {
                const uint4 value = __ldcg((const uint4 *)source);
                memcpy(data, &value, 16);
            }
            return;
        }
#pragma unroll
        for (uint32_t k = 0; k < COUNT; k++)
            get_one(source, k, k < n);
    }

    __device__ __forceinline__ void put(void *to, uint32_t i, uint32_t n, bool whole) const
    {
        char *const target = (char *)to + (size_t)i * SIZE;
        __builtin_assume(__isGlobal(target));
        if (whole) {
            if constexpr (bytes == 8) {
                uint2 value;
                memcpy(&value, data, 8);
                *(uint2 *)target = value;
            } else {
                uint4 value;
                memcpy(&value, data, 16);
                *(uint4 *)target = value;
            }
            return;
        }
#pragma unroll
        for (uint32_t k = 0; k < COUNT; k++)
            if (k < n)
                put_one(target, k);
    }

    __device__ __forceinline__ void get_one(const char *source, uint32_t k, bool there)
    {
        if constexpr (SIZE == 2) {
            const uint16_t value = there ? ((const uint16_t *)source)[k] : 0;
            memcpy(data + k * SIZE, &value, SIZE);
        } else if constexpr (SIZE == 4) {
            const uint32_t value = there ? ((const uint32_t *)source)[k] : 0;
            memcpy(data + k * SIZE, &value, SIZE);
        } else {
            const uint64_t value = there ? ((const uint64_t *)source)[k] : 0;
            memcpy(data + k * SIZE, &value, SIZE);
        }
    }

    __device__ __forceinline__ void put_one(char *target, uint32_t k) const
    {
        if constexpr (SIZE == 2) {
            uint16_t value;
            memcpy(&value, data + k * SIZE, SIZE);
            ((uint16_t *)target)[k] = value;
        } else if constexpr (SIZE == 4) {
            uint32_t value;
            memcpy(&value, data + k * SIZE, SIZE);
            ((uint32_t *)target)[k] = value;
        } else {
            uint64_t value;
            memcpy(&value, data + k * SIZE, SIZE);
            ((uint64_t *)target)[k] = value;
        }
    }
};

/* ---- the kernels ------------------------------------------------------------------------------ */

/* Loops over whole vectors of tensors without mask, L2 decay, value clip or freeze are compiled by
 * themselves: a third of the instructions, and instructions are the limit where values are 16-bit. */

/* Which slots may be missing, so that the others are not asked for. */
#define RULE_BIT_OF(name, ...) | 1u << SLOT_##name
#define RULE_OPTIONAL_SLOTS (0u RULE_SLOTS(RULE_NOTHING, RULE_BIT_OF))

template <enum hone_format P, enum hone_format G, enum hone_format S, enum hone_extra E,
          enum hone_format X>
struct rule_formats {
    static constexpr int p_size = P == HONE_FORMAT_F64 ? 8 : P == HONE_FORMAT_F32 ? 4 : 2;
    static constexpr int g_size = G == HONE_FORMAT_F64 ? 8 : G == HONE_FORMAT_F32 ? 4 : 2;
    static constexpr int s_size = S == HONE_FORMAT_F64 ? 8 : S == HONE_FORMAT_F32 ? 4 : 2;
    static constexpr int larger = p_size > s_size ? p_size : s_size;
    static constexpr int vector = 16 / (larger > g_size ? larger : g_size);
    /* Four rounds of a block for a chunk, eight of doubles: a block first has to find out what to do, which
     * shows beside two rounds (bench/results/h200.md). */
    static constexpr uint32_t threads = HONE_DEVICE_THREADS / (vector == 8 ? 2 : 1);
    static constexpr bool has_extra = E == HONE_EXTRA_MASTER || E == HONE_EXTRA_KAHAN;

    template <int SIZE> static __device__ __forceinline__ void ask(const void *from, uint32_t i)
    {
        asm volatile("prefetch.global.L2 [%0];" ::"l"((const char *)from + (size_t)i * SIZE));
    }

    /* Asks for the vectors at element i, from memory into the second-level cache, so that memory is busy
     * while a block computes. */
    static __device__ __forceinline__ void ask_all(const struct hone_chunk *chunk, uint32_t i)
    {
        ask<p_size>(chunk->param, i);
        ask<g_size>(chunk->grad, i);
#pragma unroll
        for (int k = 0; k < RULE_SLOT_COUNT; k++)
            if ((RULE_OPTIONAL_SLOTS >> k & 1u) == 0 || chunk->slot[k] != NULL)
                ask<s_size>(chunk->slot[k], i);
    }

    /* The vectors of all arrays at element i: every load before the first use. */
    template <bool PLAIN, bool WHOLE>
    static __device__ __forceinline__ void group(const struct rule_work *work, uint32_t i,
                                                 uint32_t left)
    {
        const struct hone_chunk *const chunk = &work->chunk;
        const struct rule_shape shape = {
            (int)rule_place(work->places, HONE_PLACE_VARIANT), P, G, S, E, X};
        rule_vector<p_size, vector> param;
        rule_vector<g_size, vector> grad;
        rule_vector<2, vector> extra;
        rule_vector<s_size, vector> slot[HONE_MAX_SLOTS];
        param.get(chunk->param, i, left, WHOLE);
        grad.get(chunk->grad, i, left, WHOLE);
#pragma unroll
        for (int k = 0; k < RULE_SLOT_COUNT; k++)
            if ((RULE_OPTIONAL_SLOTS >> k & 1u) == 0 || chunk->slot[k] != NULL)
                slot[k].get(chunk->slot[k], i, left, WHOLE);
        if (E == HONE_EXTRA_KAHAN)
            extra.get(chunk->extra, i, left, WHOLE);
        const uint32_t next = i + threads * vector;
        if (WHOLE && next < chunk->n)
            ask_all(chunk, next);
        const uint32_t mask = PLAIN || chunk->mask == NULL ? 0 : chunk->mask[i / 32] >> (i % 32);

        struct hone_chunk own;
        own.param = param.data;
        own.grad = grad.data;
        own.extra = extra.data;
        own.noise = noise_from(chunk->noise, i);
#pragma unroll
        for (int k = 0; k < RULE_SLOT_COUNT; k++)
            own.slot[k] = slot[k].data;
        struct rule_frame f = work->f;
        if (PLAIN) {
            f.value_limit = (real)HUGE_VAL;
            f.has_l2 = 0;
            f.frozen[0] = 0;
        }
#pragma unroll
        for (uint32_t k = 0; k < vector; k++)
            rule_element(&own, k, !PLAIN && (mask >> k & 1u) != 0, &work->c, &f, shape);

        param.put(chunk->param, i, left, WHOLE);
#pragma unroll
        for (int k = 0; k < RULE_SLOT_COUNT; k++)
            if ((RULE_OPTIONAL_SLOTS >> k & 1u) == 0 || chunk->slot[k] != NULL)
                slot[k].put(chunk->slot[k], i, left, WHOLE);
        if (has_extra)
            extra.put(chunk->extra, i, left, WHOLE);
    }

    static __device__ __forceinline__ void block(const struct hone_device_call *call)
    {
        __shared__ struct rule_work work;
        if (!rule_find_work(&work, call, vector))
            return;
        const uint32_t n = (uint32_t)work.chunk.n;
        const uint32_t whole = work.whole_vectors ? n - n % vector : 0;
        const uint32_t mine = threadIdx.x * vector, stride = threads * vector;
        if (work.plain)
            for (uint32_t i = mine; i < whole; i += stride)
                group<true, true>(&work, i, vector);
        else
            for (uint32_t i = mine; i < whole; i += stride)
                group<false, true>(&work, i, vector);
        for (uint32_t i = whole + mine; i < n; i += stride)
            group<false, false>(&work, i, n - i);
    }
};

/* Element i with its slots in the compute type; the other formats are run-time values. */
RULE_INLINE struct hone_chunk rule_widen_slots(const struct rule_work *work, uint32_t i,
                                               real slot[HONE_MAX_SLOTS])
{
    const struct hone_chunk *const chunk = &work->chunk;
    struct hone_chunk own;
    own.param = rule_advance(chunk->param, rule_place(work->places, HONE_PLACE_PARAM), i);
    own.grad = rule_advance(chunk->grad, rule_place(work->places, HONE_PLACE_GRAD), i);
    own.extra = rule_advance(chunk->extra, rule_extra_format(work->places), i);
    own.noise = noise_from(chunk->noise, i);
#pragma unroll
    for (int k = 0; k < RULE_SLOT_COUNT; k++) {
        own.slot[k] = &slot[k];
        slot[k] = chunk->slot[k] == NULL
                      ? 0
                      : load(rule_place(work->places, HONE_PLACE_SLOT + k), chunk->slot[k], i);
    }
    return own;
}

RULE_INLINE void rule_narrow_slots(const struct rule_work *work, uint32_t i,
                                   const real slot[HONE_MAX_SLOTS])
{
#pragma unroll
    for (int k = 0; k < RULE_SLOT_COUNT; k++)
        if (work->chunk.slot[k] != NULL)
            store(rule_place(work->places, HONE_PLACE_SLOT + k), work->chunk.slot[k], i, slot[k]);
}

RULE_INLINE struct rule_shape rule_any_shape(uint32_t places)
{
    const struct rule_shape shape = {(int)rule_place(places, HONE_PLACE_VARIANT),
                                     rule_place(places, HONE_PLACE_PARAM),
                                     rule_place(places, HONE_PLACE_GRAD),
                                     RULE_FORMAT,
                                     (enum hone_extra)rule_place(places, HONE_PLACE_EXTRA),
                                     rule_place(places, HONE_PLACE_CAST)};
    return shape;
}

#define RULE_NAME_(rule, what, type) hone_##rule##_##what##_##type##_cuda
#define RULE_NAME(rule, what, type) RULE_NAME_(rule, what, type)
#define RULE_CALL const __grid_constant__ struct hone_device_call call
/* Blocks of so many threads, two of the largest on a multiprocessor. */
#define RULE_GLOBAL(what, threads)                                                         \
    static __global__ void __launch_bounds__(threads, 2 * HONE_DEVICE_THREADS / (threads)) \
        RULE_NAME(RULE, what, HONE_REAL_NAME)(RULE_CALL)

#if defined(RULE_MATRIX)

/* The direction of one element, whose arrays `own` points to; the parameter only where it is read. */
RULE_INLINE real rule_direct_one(const struct hone_chunk *at, size_t i, struct rule_shape shape,
                                 const struct rule_work *work)
{
    real param = work->f.has_l2 != 0 ? load(shape.param, at->param, i) : 0, direction;
    struct hone_chunk own = *at;
    own.param = &param - i;
    own.extra = &direction - i;
    shape.param = RULE_FORMAT;
    rule_element_direction(&own, i, &work->c, &work->f, shape);
    return direction;
}

/* A thread's share of a chunk: neighbours are together in a vector, or one thread apart. */
#define RULE_SHARE (HONE_CHUNK / HONE_DEVICE_THREADS)
#define RULE_VECTOR (16 / (int)sizeof(real))

/* Arrays that are all of the compute type and aligned, two vectors at a time: both are loaded before the
 * first is used. */
RULE_INLINE void rule_direct_vectors(const struct rule_work *work, real made[RULE_SHARE])
{
    constexpr int vector = RULE_VECTOR, together = 2;
    const struct hone_chunk *const chunk = &work->chunk;
    const struct rule_shape shape = rule_any_shape(work->places);
    const uint32_t n = (uint32_t)chunk->n, first = threadIdx.x * vector;
#pragma unroll
    for (uint32_t v = 0; v < RULE_SHARE / vector; v += together) {
        rule_vector<sizeof(real), vector> grad[together], slot[together][RULE_SLOT_COUNT];
#pragma unroll
        for (uint32_t w = 0; w < together; w++) {
            const uint32_t i = first + (v + w) * HONE_DEVICE_THREADS * vector;
            const uint32_t left = i < n ? n - i : 0;
            grad[w].get(chunk->grad, i, left, left >= vector);
#pragma unroll
            for (int k = 0; k < RULE_SLOT_COUNT; k++)
                if (chunk->slot[k] != NULL)
                    slot[w][k].get(chunk->slot[k], i, left, left >= vector);
        }
#pragma unroll
        for (uint32_t w = 0; w < together; w++) {
            const uint32_t i = first + (v + w) * HONE_DEVICE_THREADS * vector;
            const uint32_t left = i < n ? n - i : 0;
            struct hone_chunk own = *chunk;
            own.param = rule_advance(chunk->param, shape.param, i);
            own.grad = grad[w].data;
#pragma unroll
            for (int k = 0; k < RULE_SLOT_COUNT; k++)
                own.slot[k] = slot[w][k].data;
#pragma unroll
            for (uint32_t k = 0; k < vector; k++)
                made[(v + w) * vector + k] = k < left ? rule_direct_one(&own, k, shape, work) : 0;
#pragma unroll
            for (int k = 0; k < RULE_SLOT_COUNT; k++)
                if (chunk->slot[k] != NULL)
                    slot[w][k].put(chunk->slot[k], i, left, left >= vector);
        }
    }
}

/* Any formats, element by element. */
RULE_INLINE void rule_direct_elements(const struct rule_work *work, real made[RULE_SHARE])
{
    const struct rule_shape shape = rule_any_shape(work->places);
#pragma unroll
    for (int j = 0; j < RULE_SHARE; j++) {
        const uint32_t i = j * HONE_DEVICE_THREADS + threadIdx.x;
        made[j] = 0;
        if (i >= work->chunk.n)
            continue;
        real slot[HONE_MAX_SLOTS];
        const struct hone_chunk own = rule_widen_slots(work, i, slot);
        made[j] = rule_direct_one(&own, 0, shape, work);
        rule_narrow_slots(work, i, slot);
    }
}

/* Directions times `scale` to `extra`, as `stored`. */
template <typename stored>
static __device__ __forceinline__ void rule_put_directions(const struct rule_work *work,
                                                           bool vectors,
                                                           const real made[RULE_SHARE], real scale)
{
    constexpr int vector = RULE_VECTOR;
    constexpr enum hone_format format = sizeof(stored) == 2 ? HONE_FORMAT_F16 : RULE_FORMAT;
    const uint32_t n = (uint32_t)work->chunk.n;
#pragma unroll
    for (int v = 0; v < RULE_SHARE / vector; v++) {
        rule_vector<sizeof(stored), vector> out;
#pragma unroll
        for (int k = 0; k < vector; k++)
            store(format, out.data, k, made[v * vector + k] * scale);
        if (vectors) {
            const uint32_t i = (v * HONE_DEVICE_THREADS + threadIdx.x) * vector;
            const uint32_t left = i < n ? n - i : 0;
            out.put(work->chunk.extra, i, left, left >= vector);
        } else {
#pragma unroll
            for (int k = 0; k < vector; k++) {
                const uint32_t i = (v * vector + k) * HONE_DEVICE_THREADS + threadIdx.x;
                if (i < n)
                    memcpy((stored *)work->chunk.extra + i, out.data + k * sizeof(stored),
                           sizeof(stored));
            }
        }
    }
}

RULE_INLINE bool rule_all_of_compute_type(const struct rule_work *work)
{
    bool all = work->whole_vectors && rule_place(work->places, HONE_PLACE_GRAD) == RULE_FORMAT;
#pragma unroll
    for (int k = 0; k < RULE_SLOT_COUNT; k++)
        all = all && rule_place(work->places, HONE_PLACE_SLOT + k) == RULE_FORMAT;
    return all;
}

/* The sum over the block, in a fixed order. */
RULE_INLINE double rule_sum_of_block(double value)
{
    __shared__ double sums[HONE_DEVICE_THREADS / 32];
    for (int width = 16; width > 0; width /= 2)
        value += __shfl_down_sync(0xffffffffu, value, width);
    if (threadIdx.x % 32 == 0)
        sums[threadIdx.x / 32] = value;
    __syncthreads();
    value = sums[threadIdx.x % (HONE_DEVICE_THREADS / 32)];
    for (int width = HONE_DEVICE_THREADS / 64; width > 0; width /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, width);
    return value;
}

/* Slots move on, and the directions go to `extra`: in the compute type, or as halves times a power of two
 * by the sum of their squares. That sum, added up in a fixed order, goes to the chunk's place in
 * `squares`. */
RULE_GLOBAL(direction, HONE_DEVICE_THREADS)
{
    __shared__ struct rule_work work;
    if (!rule_find_work(&work, &call, RULE_VECTOR))
        return;
    const bool vectors = rule_all_of_compute_type(&work);
    real made[RULE_SHARE];
    if (vectors)
        rule_direct_vectors(&work, made);
    else
        rule_direct_elements(&work, made);
    double sum = 0;
    if (call.squares != NULL) {
#pragma unroll
        for (int j = 0; j < RULE_SHARE; j++)
            sum += (double)made[j] * (double)made[j];
        sum = rule_sum_of_block(sum);
        if (threadIdx.x == 0)
            call.squares[blockIdx.x] = sum;
    }
    if (rule_extra_format(work.places) == HONE_FORMAT_F16)
        rule_put_directions<uint16_t>(
            &work, vectors, made, (real)scalbn(1.0, hone_half_exponent(sum, (double)work.chunk.n)));
    else
        rule_put_directions<real>(&work, vectors, made, 1);
}

#else

RULE_GLOBAL(any, HONE_DEVICE_THREADS)
{
    __shared__ struct rule_work work;
    if (!rule_find_work(&work, &call, 1))
        return;
    const struct rule_shape shape = rule_any_shape(work.places);
    for (uint32_t i = threadIdx.x; i < work.chunk.n; i += HONE_DEVICE_THREADS) {
        real slot[HONE_MAX_SLOTS];
        const struct hone_chunk own = rule_widen_slots(&work, i, slot);
        const bool on = work.chunk.mask != NULL && (work.chunk.mask[i / 32] >> (i % 32) & 1u) != 0;
        rule_element(&own, 0, on, &work.c, &work.f, shape);
        rule_narrow_slots(&work, i, slot);
    }
}

#define RULE_FORMATS(P, G, S, E, X) \
    rule_formats<HONE_FORMAT_##P, HONE_FORMAT_##G, HONE_FORMAT_##S, HONE_EXTRA_##E, HONE_FORMAT_##X>
#define RULE_EMIT(index, P, G, S, E, X)                                \
    RULE_GLOBAL(direct##index, (RULE_FORMATS(P, G, S, E, X)::threads)) \
    {                                                                  \
        RULE_FORMATS(P, G, S, E, X)::block(&call);                     \
    }
RULE_DIRECT(RULE_EMIT)

#endif

/* ---- preparation, once: in the pass of doubles ------------------------------------------------ */

#if HONE_REAL_BITS == 64

/* A thread prepares a class. */
static __global__ void __launch_bounds__(HONE_DEVICE_THREADS)
    RULE_NAME(RULE, prepare,
              HONE_REAL_NAME)(const __grid_constant__ struct hone_device_prepare call)
{
    const uint32_t i = blockIdx.x * HONE_DEVICE_THREADS + threadIdx.x;
    if (i >= call.class_count || call.outcome->go == 0)
        return;
    struct hone_device_class *const one = &call.classes[i];
    const struct hone_device_group *const group = &call.groups[one->group];
    if (group->rule != call.rule)
        return;
    hone_prepare_class(rule_prepare_all, RULE_HYPER_COUNT, group, one, &call.scalars[i]);
}
#define RULE_PREPARE_KERNEL RULE_NAME(RULE, prepare, HONE_REAL_NAME)

#else
#define RULE_PREPARE_KERNEL NULL
#endif

/* ---- the table -------------------------------------------------------------------------------- */

#define RULE_KERNELS_(rule, type) hone_kernels_##rule##_##type##_cuda
#define RULE_KERNELS(rule, type) RULE_KERNELS_(rule, type)
#define RULE_KERNEL_TABLE RULE_KERNELS(RULE, HONE_REAL_NAME)

extern "C" const struct hone_rule_device_kernels RULE_KERNEL_TABLE;
#define RULE_ROW(index, P, G, S, E, X) \
    {RULE_NAME(RULE, direct##index, HONE_REAL_NAME), RULE_FORMATS(P, G, S, E, X)::threads},

/* C++ has no designated array elements: the rows rely on the lists of kernel.h counting from 0. */
const struct hone_rule_device_kernels RULE_KERNEL_TABLE = {
#if defined(RULE_MATRIX)
    {},
    NULL,
    RULE_NAME(RULE, direction, HONE_REAL_NAME),
#else
    {RULE_DIRECT(RULE_ROW)},
    RULE_NAME(RULE, any, HONE_REAL_NAME),
    NULL,
#endif
    RULE_PREPARE_KERNEL};

#endif
