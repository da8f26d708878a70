/* SPDX-License-Identifier: Apache-2.0 */
/* One CPU level's table of kernels. Compiled once per level with HONE_TARGET naming it, without
 * that level's machine flags: this code runs before anyone knows whether they are safe. */
#include "cpu/cpu.h"

#if defined(__AVX__) && !defined(HONE_NATIVE_BUILD)
#error "the level tables must be compiled for the baseline machine"
#endif

#define PASTE3_(a, b, c) a##b##c
#define PASTE3(a, b, c) PASTE3_(a, b, c)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)
#define KERNELS_(rule, type, target) hone_kernels_##rule##_##type##_##target
#define KERNELS(rule, type, target) KERNELS_(rule, type, target)

#define DECLARE(rule)                                                      \
    extern const struct hone_rule_kernels KERNELS(rule, f32, HONE_TARGET); \
    extern const struct hone_rule_kernels KERNELS(rule, f64, HONE_TARGET);
#define RULE(rule) DECLARE(rule)
#include "rules.inc"
#undef RULE
DECLARE(move)

static const struct hone_rule_kernels *const f32_kernels[] = {
#define RULE(rule) &KERNELS(rule, f32, HONE_TARGET),
#include "rules.inc"
#undef RULE
};

static const struct hone_rule_kernels *const f64_kernels[] = {
#define RULE(rule) &KERNELS(rule, f64, HONE_TARGET),
#include "rules.inc"
#undef RULE
};

static bool available(void)
{
#if HONE_LEVEL_NEEDS == 2
    return __builtin_cpu_supports("avx2");
#elif HONE_LEVEL_NEEDS == 3
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return true;
#endif
}

extern const struct hone_support_kernels PASTE3(hone_support_, HONE_TARGET, );
extern const struct hone_index_kernels PASTE3(hone_index_, HONE_TARGET, );
extern const struct hone_row_kernels PASTE3(hone_rows_, HONE_TARGET, );
extern const struct hone_tile_kernels PASTE3(hone_tiles_, HONE_TARGET, )[];
extern const struct hone_cpu_level PASTE3(hone_level_, HONE_TARGET, );
const struct hone_cpu_level PASTE3(hone_level_, HONE_TARGET, ) = {
    .name = TEXT(HONE_TARGET),
    .available = available,
    .support = &PASTE3(hone_support_, HONE_TARGET, ),
    .index = &PASTE3(hone_index_, HONE_TARGET, ),
    .rows = &PASTE3(hone_rows_, HONE_TARGET, ),
    .tiles = PASTE3(hone_tiles_, HONE_TARGET, ),
    .f32 = f32_kernels,
    .f64 = f64_kernels,
    .move_f32 = &KERNELS(move, f32, HONE_TARGET),
    .move_f64 = &KERNELS(move, f64, HONE_TARGET),
};
