/* SPDX-License-Identifier: Apache-2.0 */
/* Admission: keys earn their row by being seen often enough, by chance, or both. Counters are
 * shared: two of them stand for a key, and the smaller one is believed, so a key is never counted
 * short. */
#include <string.h>

#include "table/table_internal.h"

#define WORD_LINES 64 /* whose bits are in a word */

/* ---- counters -------------------------------------------------------------------------------- */

size_t hone_sight_lines(const struct hone_table *table)
{
    return (size_t)((table->options.admit_counters + HONE_SIGHT_LINE - 1) / HONE_SIGHT_LINE);
}

static size_t counted_size(const struct hone_table *table)
{
    return (hone_sight_lines(table) / WORD_LINES + 1) * sizeof *table->counted;
}

hone_status hone_table_make_sights(struct hone_table *table, hone_error *error)
{
    const size_t size = hone_sight_lines(table) * HONE_SIGHT_LINE;
    table->counters = hone_allocate_zeroed(table->context, size);
    table->counted = hone_allocate_zeroed(table->context, counted_size(table));
    if (table->counters == NULL || table->counted == NULL)
        return hone_fail_memory(error, size, "counters of sights");
    return HONE_OK;
}

void hone_table_free_sights(struct hone_table *table)
{
    hone_release(table->context, table->counters, hone_sight_lines(table) * HONE_SIGHT_LINE);
    hone_release(table->context, table->counted, counted_size(table));
}

size_t hone_counted_lines(const struct hone_table *table)
{
    size_t count = 0;
    for (size_t word = 0; word < counted_size(table) / sizeof *table->counted; word++)
        count += (size_t)__builtin_popcountll(table->counted[word]);
    return count;
}

void hone_list_counted(const struct hone_table *table, uint64_t *lines, uint8_t *counters)
{
    for (size_t word = 0; word < counted_size(table) / sizeof *table->counted; word++)
        for (uint64_t left = table->counted[word]; left != 0; left &= left - 1) {
            *lines = word * WORD_LINES + (uint64_t)__builtin_ctzll(left);
            memcpy(counters, table->counters + *lines * HONE_SIGHT_LINE, HONE_SIGHT_LINE);
            lines++;
            counters += HONE_SIGHT_LINE;
        }
}

void hone_mark_counted(struct hone_table *table, const uint64_t *lines, size_t n)
{
    for (size_t i = 0; i < n; i++)
        table->counted[lines[i] / WORD_LINES] |= (uint64_t)1 << lines[i] % WORD_LINES;
}

void hone_clear_counted(struct hone_table *table)
{
    if (table->counted != NULL)
        memset(table->counted, 0, counted_size(table));
}

/* ---- keys ------------------------------------------------------------------------------------ */

static uint64_t counter_at(const struct hone_table *table, int64_t key, uint64_t which)
{
    const uint64_t hash = hone_mix(hone_mix((uint64_t)key ^ table->stream) + which);
    return hone_multiply_high(hash, table->options.admit_counters);
}

/* A counter that stands, at its end or because the key's other one is smaller, moves no line. */
static void note_line(struct hone_table *table, const uint8_t *counter, bool moved)
{
    const size_t line = (size_t)(counter - table->counters) / HONE_SIGHT_LINE;
    table->counted[line / WORD_LINES] |= (uint64_t)moved << line % WORD_LINES;
}

/* Counts a sight; true from the wanted one on. `counted` notes which counters moved: bits
 * 0 and 1. */
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
    note_line(table, one, first);
    note_line(table, two, second);
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

/* The lines stay noted: whether they had moved before is not known. */
void hone_table_forget_sights(struct hone_table *table, const int64_t *keys, size_t n,
                              const uint32_t *counted)
{
    for (size_t i = 0; table->counters != NULL && i < n; i++) {
        table->counters[counter_at(table, keys[i], 1)] -= (uint8_t)(counted[i] & 1u);
        table->counters[counter_at(table, keys[i], 2)] -= (uint8_t)(counted[i] >> 1);
    }
}
