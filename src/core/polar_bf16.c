/* SPDX-License-Identifier: Apache-2.0 */
/* Newton-Schulz steps whose products have bfloat16 factors. What is rounded is kept small: X itself
 * stays in float, and a square matrix is stored as s I + H with s the mean of its diagonal and only H
 * in bfloat16. Near the end, where every matrix is close to a multiple of I, H and its rounding all
 * but vanish. A rounded matrix is used as it is in every later term, so that its error meets the
 * polynomial's small slope at 1 and not the large slopes of single terms. */
#include <string.h>

#include "core/gemm.h"
#include "core/polar.h"

#if defined(HONE_WITH_ONEDNN)

enum { STRIP = 96, TILE = 384, BLOCK = 32 };

struct square {
    float shift;
    uint16_t *h;
};

struct subject {
    bool tall;
    size_t n, m;
    float *x;      /* the matrix, in place */
    uint16_t *x16; /* rounded */
    float *room;   /* a product as large as X */
    float *p;      /* a product of n x n: the upper triangle */
    struct square r, z, q, t;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- products: the upper triangle, in strips ------------------------------------------------ */

static void gram(const struct subject *s)
{
    const size_t n = s->n;
    const int m = (int)s->m, side = (int)n;
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < n; i += STRIP) {
        const int height = (int)least(n - i, STRIP), rest = (int)(n - i);
        const uint16_t *const x = s->tall ? s->x16 + i : s->x16 + i * s->m;
        float *const p = s->p + i * n + i;
        if (s->tall)
            hone_gemm_bf16('T', 'N', height, rest, m, x, side, x, side, p, side);
        else
            hone_gemm_bf16('N', 'T', height, rest, m, x, m, x, m, p, side);
    }
}

static void multiply(const struct subject *s, const uint16_t *a, const uint16_t *b)
{
    const size_t n = s->n;
    const int side = (int)n;
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < n; i += STRIP)
        hone_gemm_bf16('N', 'N', (int)least(n - i, STRIP), (int)(n - i), side, a + i * n, side,
                       b + i, side, s->p + i * n + i, side);
}

/* ---- square matrices ------------------------------------------------------------------------ */

/* What a product p of H's becomes: identity I + p_weight p + a_weight A + b_weight B, where A and B
 * may be missing. */
struct combination {
    float identity, p_weight, a_weight, b_weight;
    const uint16_t *a, *b;
};

static float combined(const struct combination *c, float p, size_t at)
{
    float value = c->p_weight * p;
    if (c->a != NULL)
        value += c->a_weight * hone_widen_bf16(c->a[at]);
    if (c->b != NULL)
        value += c->b_weight * hone_widen_bf16(c->b[at]);
    return value;
}

/* The mean of the combination's diagonal; every thread computes the same. */
static float mean(const struct subject *s, const struct combination *c)
{
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        const size_t at = i * (s->n + 1);
        sum += (double)combined(c, s->p[at], at);
    }
    return (float)(sum / (double)s->n) + c->identity;
}

/* One block of the combination and its mirror image. */
static void store_block(const struct subject *s, const struct combination *c, float shift,
                        size_t row, size_t column, uint16_t *h)
{
    const size_t n = s->n, height = least(BLOCK, n - row), width = least(BLOCK, n - column);
    uint16_t block[BLOCK][BLOCK];
    for (size_t i = 0; i < height; i++) {
        const size_t at = (row + i) * n + column;
        for (size_t j = 0; j < width; j++)
            block[i][j] = hone_narrow_bf16(combined(c, s->p[at + j], at + j));
        if (row == column)
            block[i][i] =
                hone_narrow_bf16(combined(c, s->p[at + i], at + i) + (c->identity - shift));
    }
    for (size_t i = 0; i < height; i++)
        for (size_t j = row == column ? i : 0; j < width; j++)
            h[(row + i) * n + column + j] = block[i][j];
    for (size_t j = 0; j < width; j++)
        for (size_t i = 0; i < (row == column ? j : height); i++)
            h[(column + j) * n + row + i] = block[i][j];
}

/* to := the combination. `to` may be one of its factors. */
static void store(const struct subject *s, const struct combination *c, struct square *to)
{
    const float shift = mean(s, c);
#pragma omp barrier
#pragma omp for schedule(dynamic)
    for (size_t row = 0; row < s->n; row += BLOCK)
        for (size_t column = row; column < s->n; column += BLOCK)
            store_block(s, c, shift, row, column, to->h);
    to->shift = shift;
}

/* to := a b */
static void product(const struct subject *s, const struct square *a, const struct square *b,
                    struct square *to)
{
    multiply(s, a->h, b->h);
    const struct combination c = {.identity = a->shift * b->shift,
                                  .p_weight = 1,
                                  .a_weight = b->shift,
                                  .b_weight = a->shift,
                                  .a = a->h,
                                  .b = b->h};
    store(s, &c, to);
}

/* to := a I + b R + c R^2 */
static void polynomial(const struct subject *s, const double k[3], struct square *to)
{
    const float shift = s->r.shift;
    multiply(s, s->r.h, s->r.h);
    const struct combination c = {.identity =
                                      (float)k[0] + shift * ((float)k[1] + (float)k[2] * shift),
                                  .p_weight = (float)k[2],
                                  .a_weight = (float)k[1] + 2 * (float)k[2] * shift,
                                  .a = s->r.h};
    store(s, &c, to);
}

/* ---- the long matrix ------------------------------------------------------------------------ */

/* x := x * scale, and its rounded copy */
static void round_matrix(const struct subject *s, const float *from, double scale)
{
#pragma omp for schedule(static)
    for (size_t i = 0; i < s->n * s->m; i++) {
        const float value = (float)((double)from[i] * scale);
        s->x[i] = value;
        s->x16[i] = hone_narrow_bf16(value);
    }
}

/* x := q x, where q = shift I + H acts on the rounded x by H alone */
static void apply(const struct subject *s, float scale)
{
    const int n = (int)s->n, m = (int)s->m;
    const float keep = s->q.shift;
#pragma omp for schedule(dynamic)
    for (size_t j = 0; j < s->m; j += TILE) {
        const size_t width = least(TILE, s->m - j);
        const size_t first = s->tall ? j * s->n : j, stride = s->tall ? s->n : s->m;
        if (s->tall)
            hone_gemm_bf16('N', 'N', (int)width, n, n, s->x16 + first, n, s->q.h, n,
                           s->room + first, n);
        else
            hone_gemm_bf16('N', 'N', n, (int)width, n, s->q.h, n, s->x16 + first, m,
                           s->room + first, m);
        const size_t rows = s->tall ? width : s->n, columns = s->tall ? s->n : width;
        for (size_t i = 0; i < rows; i++)
            for (size_t at = first + i * stride; at < first + i * stride + columns; at++) {
                s->x[at] = scale * (keep * s->x[at] + s->room[at]);
                s->x16[at] = hone_narrow_bf16(s->x[at]);
            }
    }
}

/* As in polar_steps.h. */
static void segment(struct subject *s, const struct hone_polar *polar, int first, int count,
                    float scale)
{
    gram(s);
    const struct combination plain = {.p_weight = 1};
    store(s, &plain, &s->r);
    polynomial(s, hone_polar_step(polar, first), &s->q);
    for (int k = 1; k < count; k++) {
        const struct square *const before = k == 1 ? &s->q : &s->z;
        product(s, before, &s->r, &s->t);
        product(s, before, &s->t, &s->r);
        polynomial(s, hone_polar_step(polar, first + k), &s->z);
        product(s, &s->z, &s->q, &s->q);
    }
    apply(s, scale);
}

/* Where the gram form is cheaper: three steps and then two at a time. */
static int segment_length(const struct subject *s, int first, int steps)
{
    const int longest = 3 * s->m <= 4 * s->n ? 1 : first == 0 && steps > 2 ? 3 : 2;
    return steps - first < longest ? steps - first : longest;
}

static void run(const struct hone_polar *polar, struct subject s, const double *shares, float scale)
{
    const double divisor = hone_polar_divisor(polar, shares);
    if (divisor == 0)
        return;
    round_matrix(&s, s.x, 1 / divisor);
    for (int first = 0; first < polar->steps;) {
        const int count = segment_length(&s, first, polar->steps);
        segment(&s, polar, first, count, first + count == polar->steps ? scale : 1);
        first += count;
    }
}

void hone_polar_bf16(const struct hone_polar *polar, size_t rows, size_t columns, float *matrix,
                     float scale, float *workspace)
{
    if (rows == 0 || columns == 0)
        return;
    const size_t n = least(rows, columns), m = rows + columns - n, area = n * n;
    struct subject s = {.tall = rows > columns, .n = n, .m = m, .x = matrix, .room = workspace};
    s.p = s.room + n * m;
    s.r.h = (uint16_t *)(s.p + area);
    s.z.h = s.r.h + area;
    s.q.h = s.z.h + area;
    s.t.h = s.q.h + area;
    s.x16 = s.t.h + area;
    double shares[HONE_POLAR_SHARES];
#pragma omp parallel num_threads(hone_polar_threads(polar, n, m))
    {
        hone_gemm_enter();
        hone_polar_measure(matrix, n * m, shares);
        run(polar, s, shares, scale);
    }
}

#else

void hone_polar_bf16(const struct hone_polar *polar, size_t rows, size_t columns, float *matrix,
                     float scale, float *workspace)
{
    hone_polar_f32(polar, rows, columns, matrix, scale, workspace);
}

#endif
