/* SPDX-License-Identifier: Apache-2.0 */
/* Admission: keys earn their row by being seen often enough, by chance, or both. Counters are
 * shared: two of them stand for a key, and the smaller one is believed, so a key is never counted
 * short. */
#include "table/table_internal.h"

static uint64_t counter_at(const struct hone_table *table, int64_t key, uint64_t which)
{
    const uint64_t hash = hone_mix(hone_mix((uint64_t)key ^ table->stream) + which);
    return hone_multiply_high(hash, table->options.admit_counters);
}

/* Counts a sight; true from the wanted one on. `counted` notes which counters moved: bits 0 and 1. */
static bool seen_enough(struct hone_table *table, int64_t key, uint32_t *counted)
{
    if (table->counters == NULL)
        return true;
    uint8_t *const one = &table->counters[counter_at(table, key, 1)];
    uint8_t *const two = &table->counters[counter_at(table, key, 2)];
    const uint8_t least = *one < *two ? *one : *two;
    const bool moves = least < UINT8_MAX;
    const bool first = moves && *one == least, second = moves && two != one && *two == least;
    *one += first;
    *two += second;
    *counted = (uint32_t)first | (uint32_t)second << 1;
    return (uint32_t)least + 1 >= table->options.admit_count;
}

/* A draw for this key, lookup and position. */
static bool lucky(const struct hone_table *table, int64_t key, size_t position)
{
    const double chance = table->options.admit_probability;
    if (chance >= 1)
        return true;
    const uint64_t noise =
        hone_mix(hone_mix(table->stream + table->tick) ^ hone_mix((uint64_t)key + position));
    return (double)(noise >> 11) * 0x1p-53 < chance;
}

void hone_table_admit(struct hone_table *table, const int64_t *keys, size_t n, int64_t *rows,
                      uint32_t *counted)
{
    if (table->counters == NULL && table->options.admit_probability >= 1)
        return;
    for (size_t i = 0; i < n; i++) {
        counted[i] = 0;
        if (rows[i] != -1)
            continue;
        const bool enough = seen_enough(table, keys[i], &counted[i]);
        if (!enough || !lucky(table, keys[i], i))
            rows[i] = HONE_ROW_REFUSED;
    }
}

void hone_table_forget_sights(struct hone_table *table, const int64_t *keys, size_t n,
                              const uint32_t *counted)
{
    for (size_t i = 0; table->counters != NULL && i < n; i++) {
        table->counters[counter_at(table, keys[i], 1)] -= (uint8_t)(counted[i] & 1u);
        table->counters[counter_at(table, keys[i], 2)] -= (uint8_t)(counted[i] >> 1);
    }
}
