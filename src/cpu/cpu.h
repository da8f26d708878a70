/* SPDX-License-Identifier: Apache-2.0 */
/* CPU levels: which exist, which this machine can run, and the kernels of each. Nothing outside
 * this folder knows an instruction set. */
#ifndef HONE_CPU_CPU_H
#define HONE_CPU_CPU_H

#include "kernel/index.h"
#include "kernel/kernel.h"
#include "kernel/rows.h"
#include "kernel/tile.h"

struct hone_cpu_level {
    const char *name; /* "base", "avx2", "avx512", "neon" */
    bool (*available)(void);
    const struct hone_support_kernels *support;
    const struct hone_index_kernels *index;
    const struct hone_row_kernels *rows;
    const struct hone_tile_kernels *tiles;
    const struct hone_rule_kernels *const *f32; /* by the registry's rule index */
    const struct hone_rule_kernels *const *f64;
    const struct hone_rule_kernels *move_f32, *move_f64; /* the frame around a finished direction */
};

/* Levels of this build, lowest first. */
int hone_cpu_level_count(void);
const struct hone_cpu_level *hone_cpu_level_at(int index);

/* A level's tiles, or those with instructions for bfloat16 where the level allows and the machine has
 * them. */
const struct hone_tile_kernels *hone_cpu_tiles(const struct hone_cpu_level *level);

/* The registry's tables, in the order of their names. */
extern const struct hone_rule *const hone_rules[];
extern const int hone_rules_count;
int hone_rule_index(const struct hone_rule *rule);

#endif
