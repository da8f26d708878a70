/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of matrix products at every level, and with instructions for bfloat16 where the machine has
 * them: sums against double, everything else bit for bit, against the layout as tile.h says it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_test.h"

enum { TILE = HONE_TILE, MOST_WORDS = 600, STRIDE = 61 };

struct subject {
    const struct hone_tile_kernels *kernels;
    const char *level;
    size_t per_word; /* columns */
    enum hone_format format;
    uint64_t random;
};

/* ---- a panel, element by element ------------------------------------------------------------ */

static double element(const struct subject *s, const uint32_t *panel, size_t row, size_t column)
{
    const uint32_t word = panel[column / s->per_word * TILE + row];
    const uint64_t bits = s->per_word == 1 ? word : word >> 16 * (column % 2) & 0xffffu;
    return reference_widen(s->format, bits);
}

static void put(const struct subject *s, uint32_t *panel, size_t row, size_t column, double value)
{
    uint32_t *const word = &panel[column / s->per_word * TILE + row];
    const uint32_t bits = (uint32_t)reference_narrow(s->format, value);
    const unsigned shift = 16 * (unsigned)(column % 2);
    *word = s->per_word == 1 ? bits : (*word & ~(0xffffu << shift)) | bits << shift;
}

static double value_of(struct subject *s)
{
    return 2 * next_uniform(&s->random) - 1;
}

static uint32_t *room(size_t words)
{
    uint32_t *const taken = aligned_alloc(64, words * sizeof *taken);
    if (taken == NULL)
        abort();
    memset(taken, 0, words * sizeof *taken);
    return taken;
}

static uint32_t *panel_of(struct subject *s, size_t words, size_t rows)
{
    uint32_t *const panel = room((words + 1) * TILE);
    for (size_t k = 0; k < words * s->per_word; k++)
        for (size_t i = 0; i < rows; i++)
            put(s, panel, i, k, value_of(s));
    return panel;
}

/* ---- the functions -------------------------------------------------------------------------- */

static void try_dot(struct subject *s, size_t words, size_t rows, size_t columns, bool upper)
{
    uint32_t *const a = panel_of(s, words, rows), *const b = panel_of(s, words, columns);
    float *const c = (float *)(void *)room(HONE_TILE_AREA);
    for (size_t i = 0; i < HONE_TILE_AREA; i++)
        c[i] = 7;
    s->kernels->dot(a, b, words, rows, columns, upper, c);
    double worst = 0;
    for (size_t i = 0; i < TILE; i++)
        for (size_t j = upper ? i : 0; j < TILE; j++) {
            double sum = 0;
            for (size_t k = 0; k < words * s->per_word; k++)
                sum += element(s, a, i, k) * element(s, b, j, k);
            worst = fmax(worst, fabs((double)c[i * TILE + j] - sum));
            if (isnan(c[i * TILE + j]))
                worst = HUGE_VAL;
        }
    /* A sum of n floats below n is off by n half units at most, and by far less usually. */
    const double count = (double)(words * s->per_word);
    check(worst <= 0x1p-24 * count * 4, "tiles %s %zu: dot of %zu words, %zu x %zu: off by %g",
          s->level, s->per_word, words, rows, columns, worst);
    free(a);
    free(b);
    free(c);
}

static void test_dot(struct subject *s)
{
    static const size_t words[] = {0, 1, 2, 24, 255, 256, 257, MOST_WORDS};
    static const size_t sides[] = {1, 7, 8, 9, 16, 17, 32, 33, 47, 48};
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++)
        for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i += quick() ? 3 : 1)
            for (size_t j = 0; j < sizeof sides / sizeof sides[0]; j += quick() ? 3 : 1) {
                if (words[w] > 24 && (i + j) % 5 != 0)
                    continue;
                try_dot(s, words[w], sides[i], sides[j], false);
                if (i == j)
                    try_dot(s, words[w], sides[i], sides[i], true);
            }
}

static float *tile_of(struct subject *s)
{
    float *const c = (float *)(void *)room(HONE_TILE_AREA);
    for (size_t i = 0; i < HONE_TILE_AREA; i++)
        c[i] = (float)value_of(s);
    return c;
}

/* Element (i, j) of `c`, or 0 outside of rows x columns, is (j, i) of one block and (i, j) of the other,
 * each rounded once. */
static void check_blocks(const struct subject *s, const float *c, size_t stride, size_t rows,
                         size_t columns, const uint32_t *by_columns, const uint32_t *by_rows,
                         const char *what)
{
    int wrong = 0;
    for (size_t i = 0; i < TILE; i++)
        for (size_t j = 0; j < TILE; j++) {
            const double value = i < rows && j < columns ? (double)c[i * stride + j] : 0;
            const double wanted = reference_widen(s->format, reference_narrow(s->format, value));
            wrong += element(s, by_columns, j, i) != wanted;
            wrong += by_rows != NULL && element(s, by_rows, i, j) != wanted;
        }
    check(wrong == 0, "tiles %s %zu: %s of %zu x %zu: %d elements are wrong", s->level, s->per_word,
          what, rows, columns, wrong);
}

static void test_round(struct subject *s)
{
    float *const c = tile_of(s);
    uint32_t *const one = room(HONE_TILE_AREA), *const other = room(HONE_TILE_AREA);
    s->kernels->round(c, one, other);
    check_blocks(s, c, TILE, TILE, TILE, one, other, "round");
    memset(one, 0, HONE_TILE_AREA * sizeof *one);
    s->kernels->round(c, one, NULL);
    check_blocks(s, c, TILE, TILE, TILE, one, NULL, "round by columns alone");
    s->kernels->mirror(c);
    int wrong = 0;
    for (size_t i = 0; i < TILE; i++)
        for (size_t j = 0; j < i; j++)
            wrong += c[i * TILE + j] != c[j * TILE + i];
    check(wrong == 0, "tiles %s: mirror", s->level);
    free(c);
    free(one);
    free(other);
}

static void test_combine(struct subject *s)
{
    float *const c = tile_of(s), *const before = tile_of(s);
    memcpy(before, c, HONE_TILE_AREA * sizeof *c);
    uint32_t *const block[2] = {panel_of(s, TILE / s->per_word, TILE),
                                panel_of(s, TILE / s->per_word, TILE)};
    for (int terms = 0; terms < 3; terms++) {
        memcpy(c, before, HONE_TILE_AREA * sizeof *c);
        const struct hone_tile_sum sum = {
            .product = -1.5f,
            .weight = {0.25f, 3},
            .term = {terms > 0 ? block[0] : NULL, terms > 1 ? block[1] : NULL}};
        s->kernels->combine(&sum, c);
        int wrong = 0;
        for (size_t i = 0; i < TILE; i++)
            for (size_t j = 0; j < TILE; j++) {
                float wanted = before[i * TILE + j] * -1.5f;
                wanted += terms > 0 ? 0.25f * (float)element(s, block[0], j, i) : 0;
                wanted += terms > 1 ? 3 * (float)element(s, block[1], j, i) : 0;
                wrong += c[i * TILE + j] != wanted;
            }
        check(wrong == 0, "tiles %s %zu: combine with %d terms: %d elements are wrong", s->level,
              s->per_word, terms, wrong);
    }
    free(c);
    free(before);
    free(block[0]);
    free(block[1]);
}

/* Neither writes an element outside of rows x columns. */
static void test_matrix(struct subject *s, size_t rows, size_t columns)
{
    float x[TILE * STRIDE], before[TILE * STRIDE];
    for (size_t i = 0; i < TILE * STRIDE; i++)
        before[i] = x[i] = (float)value_of(s);
    float *const c = tile_of(s);
    uint32_t *const one = room(HONE_TILE_AREA), *const other = room(HONE_TILE_AREA);
    s->kernels->pack(x + 1, STRIDE, rows, columns, 1 / 3.0, one, other);
    check_blocks(s, x + 1, STRIDE, rows, columns, one, other, "pack");
    int wrong = 0;
    for (size_t i = 0; i < TILE * STRIDE; i++) {
        const bool inside = i > 0 && (i - 1) / STRIDE < rows && (i - 1) % STRIDE < columns;
        wrong += x[i] != (inside ? (float)((double)before[i] / 3.0) : before[i]) &&
                 !(inside && x[i] == (float)((double)before[i] * (1 / 3.0)));
    }
    check(wrong == 0, "tiles %s: pack scales %d elements wrongly", s->level, wrong);
    memcpy(before, x, sizeof x);
    s->kernels->update(x + 1, STRIDE, rows, columns, 0.5f, 3, c);
    wrong = 0;
    for (size_t i = 0; i < TILE * STRIDE; i++) {
        const size_t row = (i - 1) / STRIDE, column = (i - 1) % STRIDE;
        const bool inside = i > 0 && row < rows && column < columns;
        const float moved = 0.5f * (3 * before[i] + (inside ? c[row * TILE + column] : 0));
        wrong += x[i] != (inside ? moved : before[i]);
    }
    check(wrong == 0, "tiles %s: update of %zu x %zu: %d elements are wrong", s->level, rows,
          columns, wrong);
    free(c);
    free(one);
    free(other);
}

static void test_kind(const struct hone_tile_kernels *kernels, const char *level)
{
    const bool narrow = kernels->columns_of_word == 2;
    struct subject s = {kernels, level, kernels->columns_of_word,
                        narrow ? HONE_FORMAT_BF16 : HONE_FORMAT_F32, 5};
    test_dot(&s);
    test_round(&s);
    test_combine(&s);
    static const size_t sides[][2] = {{48, 48}, {1, 48}, {48, 1}, {17, 31}};
    for (int i = 0; i < 4; i++)
        test_matrix(&s, sides[i][0], sides[i][1]);
}

void suite_tiles(void)
{
    for (int i = 0; i < hone_cpu_level_count(); i++) {
        const struct hone_cpu_level *const level = hone_cpu_level_at(i);
        const struct hone_tile_kernels *const best = hone_cpu_tiles(level);
        for (int kind = 0; kind < HONE_TILE_KINDS; kind++) {
            test_kind(&level->tiles[kind], level->name);
            if (best != level->tiles)
                test_kind(&best[kind], "avx512_bf16");
        }
    }
}
