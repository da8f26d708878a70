/* SPDX-License-Identifier: Apache-2.0 */
/* The staged loop: any mix of formats by way of a tile in the first-level cache. The same element
 * arithmetic runs on the tile, and each value is rounded once when it goes back, so a staged step
 * gives the bits of a direct one. */
#include "kernel/stage.h"

#include "kernel/noise.h"

#define TILE 512 /* elements: 12 KiB of tiles in f32; smaller and larger are slower */
#define COLUMNS (2 + HONE_MAX_SLOTS)

static void *at(const void *base, enum hone_format format, size_t first)
{
    return (char *)(uintptr_t)base + first * hone_format_size(format);
}

/* The part of the chunk that starts at element `first`, as pointers into the tile's columns. */
static struct hone_chunk tile_chunk(void *const column[COLUMNS], const struct hone_stage *stage,
                                    const struct hone_chunk *chunk, size_t first, size_t n)
{
    struct hone_chunk part = {.param = column[0], .grad = column[1], .n = n};
    for (int k = 0; k < stage->slot_count; k++)
        part.slot[k] = chunk->slot[k] == NULL ? NULL : column[2 + k];
    part.mask = chunk->mask == NULL ? NULL : chunk->mask + first / 32;
    return part;
}

/* Only float parameters have anything beside them: masters and 16-bit values compute in float. */
static void get_extra_float(const struct hone_stage *stage, const struct hone_chunk *chunk,
                            size_t first, size_t n, float *value)
{
    if (stage->extra == HONE_EXTRA_KAHAN)
        stage->support->join_f32[stage->param](value, at(chunk->extra, stage->param, first), n);
}

static void put_param_float(const struct hone_stage *stage, const struct hone_chunk *chunk,
                            size_t first, size_t n, const float *value)
{
    const struct hone_support_kernels *const convert = stage->support;
    void *const param = at(chunk->param, stage->param, first);
    if (stage->extra == HONE_EXTRA_KAHAN)
        convert->split_f32[stage->param](param, at(chunk->extra, stage->param, first), value, n);
    else if (stage->extra == HONE_EXTRA_STOCHASTIC)
        convert->narrow_random_f32[stage->param](param, value, n, chunk->noise, first);
    else
        convert->narrow_f32[stage->param](param, value, n);
    if (stage->extra == HONE_EXTRA_MASTER)
        convert->narrow_f32[stage->cast](at(chunk->extra, stage->cast, first), value, n);
}

/* Each slot has noise of its own. */
static void put_slot_float(const struct hone_stage *stage, const struct hone_chunk *chunk, int k,
                           size_t first, size_t n, const float *value)
{
    const enum hone_format format = stage->slot[k];
    void *const slot = at(chunk->slot[k], format, first);
    if (stage->random_slots)
        stage->support->narrow_random_f32[format](
            slot, value, n, (uint32_t)hone_mix(chunk->noise + ((uint64_t)(k + 1) << 32)), first);
    else
        stage->support->narrow_f32[format](slot, value, n);
}

static void get_extra_double(const struct hone_stage *stage, const struct hone_chunk *chunk,
                             size_t first, size_t n, double *value)
{
    (void)stage, (void)chunk, (void)first, (void)n, (void)value;
}

static void put_param_double(const struct hone_stage *stage, const struct hone_chunk *chunk,
                             size_t first, size_t n, const double *value)
{
    stage->support->narrow_f64[stage->param](at(chunk->param, stage->param, first), value, n);
}

static void put_slot_double(const struct hone_stage *stage, const struct hone_chunk *chunk, int k,
                            size_t first, size_t n, const double *value)
{
    const enum hone_format format = stage->slot[k];
    stage->support->narrow_f64[format](at(chunk->slot[k], format, first), value, n);
}

#define DEFINE_STAGE(type, bits)                                                                  \
    /* Fills the tile's columns. */                                                               \
    static void widen_##type(const struct hone_stage *stage, const struct hone_chunk *chunk,      \
                             size_t first, size_t n, type values[COLUMNS][TILE])                  \
    {                                                                                             \
        const struct hone_support_kernels *const convert = stage->support;                        \
        convert->widen_##bits[stage->param](values[0], at(chunk->param, stage->param, first), n); \
        get_extra_##type(stage, chunk, first, n, values[0]);                                      \
        convert->widen_##bits[stage->grad](values[1], at(chunk->grad, stage->grad, first), n);    \
        for (int k = 0; k < stage->slot_count; k++)                                               \
            if (chunk->slot[k] != NULL)                                                           \
                convert->widen_##bits[stage->slot[k]](                                            \
                    values[2 + k], at(chunk->slot[k], stage->slot[k], first), n);                 \
    }                                                                                             \
                                                                                                  \
    static void stage_##type(const struct hone_stage *stage, const struct hone_chunk *chunk,      \
                             const struct hone_scalars *scalars, const struct hone_frame *frame,  \
                             type *direction)                                                     \
    {                                                                                             \
        type values[COLUMNS][TILE];                                                               \
        void *column[COLUMNS];                                                                    \
        for (int k = 0; k < COLUMNS; k++)                                                         \
            column[k] = values[k];                                                                \
        for (size_t first = 0; first < chunk->n; first += TILE) {                                 \
            const size_t n = chunk->n - first < TILE ? chunk->n - first : TILE;                   \
            struct hone_chunk part = tile_chunk(column, stage, chunk, first, n);                  \
            part.extra = direction == NULL ? NULL : direction + first;                            \
            widen_##type(stage, chunk, first, n, values);                                         \
            stage->kernel(&part, scalars, frame);                                                 \
            if (direction == NULL)                                                                \
                put_param_##type(stage, chunk, first, n, values[0]);                              \
            for (int k = 0; k < stage->slot_count; k++)                                           \
                if (chunk->slot[k] != NULL)                                                       \
                    put_slot_##type(stage, chunk, k, first, n, values[2 + k]);                    \
        }                                                                                         \
    }

DEFINE_STAGE(float, f32)
DEFINE_STAGE(double, f64)

void hone_stage_step(const struct hone_stage *stage, const struct hone_chunk *chunk,
                     const struct hone_scalars *scalars, const struct hone_frame *frame)
{
    if (stage->param == HONE_FORMAT_F64)
        stage_double(stage, chunk, scalars, frame, NULL);
    else
        stage_float(stage, chunk, scalars, frame, NULL);
}

void hone_stage_direction(const struct hone_stage *stage, const struct hone_chunk *chunk,
                          const struct hone_scalars *scalars, const struct hone_frame *frame,
                          void *direction)
{
    if (stage->param == HONE_FORMAT_F64)
        stage_double(stage, chunk, scalars, frame, direction);
    else
        stage_float(stage, chunk, scalars, frame, direction);
}
