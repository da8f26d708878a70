/* SPDX-License-Identifier: Apache-2.0 */
/* The staged loop: any mix of formats by way of a tile in the first-level cache. The same element
 * arithmetic runs on the tile, and each value is rounded once when it goes back, so a staged step
 * gives the bits of a direct one. */
#include "kernel/stage.h"

#define TILE 512 /* elements: 12 KiB of tiles in f32; smaller and larger are slower */

static const char *offset(const void *base, enum hone_format format, size_t first)
{
    return (const char *)base + first * hone_format_size(format);
}

static struct hone_chunk tile_pointers(void *const tile[2 + HONE_MAX_SLOTS],
                                       const struct hone_stage *stage,
                                       const struct hone_chunk *chunk, size_t first, size_t n)
{
    struct hone_chunk part = {.param = tile[0], .grad = tile[1], .n = n};
    for (int k = 0; k < stage->slot_count; k++)
        part.slot[k] = chunk->slot[k] == NULL ? NULL : tile[2 + k];
    part.mask = chunk->mask == NULL ? NULL : chunk->mask + first / 32;
    return part;
}

/* One loop for both compute types. */
#define DEFINE_STAGE(type, widen, narrow)                                                        \
    static void stage_##type(const struct hone_stage *stage, const struct hone_chunk *chunk,     \
                             const struct hone_scalars *scalars, const struct hone_frame *frame) \
    {                                                                                            \
        type values[2 + HONE_MAX_SLOTS][TILE];                                                   \
        void *tile[2 + HONE_MAX_SLOTS];                                                          \
        for (int k = 0; k < 2 + HONE_MAX_SLOTS; k++)                                             \
            tile[k] = values[k];                                                                 \
        const struct hone_support_kernels *const convert = stage->support;                       \
        for (size_t first = 0; first < chunk->n; first += TILE) {                                \
            const size_t n = chunk->n - first < TILE ? chunk->n - first : TILE;                  \
            const struct hone_chunk part = tile_pointers(tile, stage, chunk, first, n);          \
            convert->widen[stage->param](tile[0], offset(chunk->param, stage->param, first), n); \
            convert->widen[stage->grad](tile[1], offset(chunk->grad, stage->grad, first), n);    \
            for (int k = 0; k < stage->slot_count; k++)                                          \
                if (part.slot[k] != NULL)                                                        \
                    convert->widen[stage->slot[k]](                                              \
                        tile[2 + k], offset(chunk->slot[k], stage->slot[k], first), n);          \
            stage->kernel(&part, scalars, frame);                                                \
            convert->narrow[stage->param](                                                       \
                (void *)(uintptr_t)offset(chunk->param, stage->param, first), tile[0], n);       \
            for (int k = 0; k < stage->slot_count; k++)                                          \
                if (part.slot[k] != NULL)                                                        \
                    convert->narrow[stage->slot[k]](                                             \
                        (void *)(uintptr_t)offset(chunk->slot[k], stage->slot[k], first),        \
                        tile[2 + k], n);                                                         \
        }                                                                                        \
    }

DEFINE_STAGE(float, widen_f32, narrow_f32)
DEFINE_STAGE(double, widen_f64, narrow_f64)

void hone_stage_step(const struct hone_stage *stage, const struct hone_chunk *chunk,
                     const struct hone_scalars *scalars, const struct hone_frame *frame)
{
    if (stage->param == HONE_FORMAT_F64)
        stage_double(stage, chunk, scalars, frame);
    else
        stage_float(stage, chunk, scalars, frame);
}
