/* SPDX-License-Identifier: Apache-2.0 */
/* The list of levels this build holds, filtered by what the machine can run, and the list of rules.
 * HONE_LEVELS is the build's list of (name), lowest first. */
#include "cpu/cpu.h"

#include <stddef.h>

#define LEVEL(name) extern const struct hone_cpu_level hone_level_##name;
HONE_LEVELS
#undef LEVEL

static const struct hone_cpu_level *const built[] = {
#define LEVEL(name) &hone_level_##name,
    HONE_LEVELS
#undef LEVEL
};

int hone_cpu_level_count(void)
{
    const int built_count = (int)(sizeof built / sizeof built[0]);
    int count = 0;
    while (count < built_count && built[count]->available())
        count++;
    return count;
}

const struct hone_cpu_level *hone_cpu_level_at(int index)
{
    return index >= 0 && index < hone_cpu_level_count() ? built[index] : NULL;
}

#if defined(HONE_WITH_AVX512_BF16)
extern const struct hone_cpu_level hone_level_avx512;
extern const struct hone_tile_kernels hone_tiles_avx512_bf16[];

const struct hone_tile_kernels *hone_cpu_tiles(const struct hone_cpu_level *level)
{
    return level == &hone_level_avx512 && __builtin_cpu_supports("avx512bf16")
               ? hone_tiles_avx512_bf16
               : level->tiles;
}
#else
const struct hone_tile_kernels *hone_cpu_tiles(const struct hone_cpu_level *level)
{
    return level->tiles;
}
#endif

#define RULE(rule) extern const struct hone_rule hone_rule_##rule;
#include "rules.inc"
#undef RULE

const struct hone_rule *const hone_rules[] = {
#define RULE(rule) &hone_rule_##rule,
#include "rules.inc"
#undef RULE
};

const int hone_rules_count = (int)(sizeof hone_rules / sizeof hone_rules[0]);

int hone_rule_index(const struct hone_rule *rule)
{
    for (int i = 0; i < hone_rules_count; i++)
        if (hone_rules[i] == rule)
            return i;
    return -1;
}
