/* SPDX-License-Identifier: Apache-2.0 */
/* The bits of every rule, committed: one digest per rule and compute type over all formats,
 * variants, forms and fills. Each compiler, processor and level must reproduce them, and a change
 * of arithmetic shows as a changed line of digests.inc (rewrite it with: test_kernel --digests). */
#include <stdio.h>
#include <string.h>

#include "kernel_test.h"

struct digest {
    const char *rule;
    int real_bits;
    uint64_t value;
};

#define DIGEST(rule, real_bits, value) {#rule, real_bits, value},
static const struct digest digests[] = {
#include "digests.inc"
};

#define DIGEST_STEPS 3

static uint64_t digest_combination(struct arrays *arrays, const struct combination *combination,
                                   const struct hone_cpu_level *level, uint64_t digest)
{
    for (int fill = 0; fill < FILL_COUNT; fill++) {
        const uint64_t seed = (uint64_t)fill + 10;
        const struct scenario scenario = scenario_make(combination, seed);
        arrays_place(arrays, &combination->formats, 333, 0);
        arrays_fill(arrays, (enum fill)fill, seed);
        const struct hone_chunk chunk = arrays_chunk(arrays, combination->form);
        for (int step = 0; step < DIGEST_STEPS; step++)
            combination_kernel(combination, level)(&chunk, &scenario.scalars, &scenario.frame);
        digest = arrays_digest(arrays, digest);
    }
    return digest;
}

static uint64_t digest_rule(struct arrays *arrays, int rule_index, int real_bits,
                            const struct hone_cpu_level *level)
{
    uint64_t digest = 0xcbf29ce484222325u;
    for (int i = 0; i < combination_count(); i++) {
        const struct combination combination = combination_at(i);
        if (combination.rule_index == rule_index && combination.real_bits == real_bits)
            digest = digest_combination(arrays, &combination, level, digest);
    }
    return digest;
}

static const struct digest *find(const char *rule, int real_bits)
{
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++)
        if (strcmp(digests[i].rule, rule) == 0 && digests[i].real_bits == real_bits)
            return &digests[i];
    return NULL;
}

/* A rule without a line is not an error: rules may come from another folder (HONE_RULES_DIR). */
void suite_digests(void)
{
    struct arrays *const arrays = arrays_new();
    for (int rule = 0; rule < hone_rules_count; rule++)
        for (int bits = 32; bits <= 64; bits += 32) {
            const struct digest *const known = find(hone_rules[rule]->name, bits);
            for (int k = 0; known != NULL && k < hone_cpu_level_count(); k++) {
                const uint64_t actual = digest_rule(arrays, rule, bits, hone_cpu_level_at(k));
                check(actual == known->value,
                      "digest of %s f%d at %s is 0x%016llx, committed is 0x%016llx",
                      hone_rules[rule]->name, bits, hone_cpu_level_at(k)->name,
                      (unsigned long long)actual, (unsigned long long)known->value);
            }
        }
    arrays_free(arrays);
}

void print_digests(void)
{
    struct arrays *const arrays = arrays_new();
    puts("/* SPDX-License-Identifier: Apache-2.0 */\n"
         "/* Written by test_kernel --digests; see suite_digests.c. */");
    for (int rule = 0; rule < hone_rules_count; rule++)
        for (int bits = 32; bits <= 64; bits += 32)
            printf("DIGEST(%s, %d, 0x%016llxu)\n", hone_rules[rule]->name, bits,
                   (unsigned long long)digest_rule(arrays, rule, bits, hone_cpu_level_at(0)));
    arrays_free(arrays);
}
