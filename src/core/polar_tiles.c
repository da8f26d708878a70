/* SPDX-License-Identifier: Apache-2.0 */
/* Newton-Schulz steps by tiles, whose factors are floats or bfloat16. What is rounded is kept small: X
 * itself stays in float, and a square matrix is stored as s I + H with s the mean of its diagonal and
 * only H rounded. Near the end, where every matrix is close to a multiple of I, H and its rounding all
 * but vanish. A rounded matrix is used as it is in every later term, so that its error meets the
 * polynomial's small slope at 1 and not the large slopes of single terms.
 * A tile is made by one thread and in one order, so the bits do not depend on the threads. Every
 * function is called by all threads of a team; those that write end with a barrier. */
#include <math.h>
#include <stdint.h>

#include "core/polar.h"
#include "kernel/tile.h"

/* n x n and symmetric: s I + H, where H lies in panels. */
struct square {
    float shift;
    uint32_t *h;
};

struct subject {
    const struct hone_tile_kernels *kernels;
    bool tall;
    size_t n, m;             /* the shorter side and the longer one */
    size_t n_tiles, m_tiles; /* of each */
    size_t block;            /* words of a block, and of panels with n or m columns */
    size_t n_panel, m_panel;
    float *x;          /* the matrix, in place */
    uint32_t *x_short; /* its panels with m columns */
    uint32_t *x_long;  /* and those with n */
    float *diagonal;   /* the tiles on the diagonal of the product that is being made */
    struct square r, z, q, t, spare;
};

enum { SHARES = 64 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t tiles_of(size_t side)
{
    return (side + HONE_TILE - 1) / HONE_TILE;
}

/* Rows in the tile with this number. */
static size_t extent(size_t side, size_t tile)
{
    return least(HONE_TILE, side - tile * HONE_TILE);
}

/* ---- symmetric products --------------------------------------------------------------------- */

/* What a product of panels becomes: identity I + p_weight product + a_weight A + b_weight B, where A and
 * B may be missing. */
struct combination {
    float identity, p_weight, a_weight, b_weight;
    const uint32_t *a, *b;
};

/* Panels whose product a b^T is symmetric, and the words of a panel. */
struct factors {
    const uint32_t *a, *b;
    size_t words, panel;
};

/* Where the block of rows i in panel j begins. */
static size_t block_at(const struct subject *s, size_t i, size_t j)
{
    return j * s->n_panel + i * s->block;
}

static void make_tile(const struct subject *s, const struct factors *f, const struct combination *c,
                      size_t i, size_t j, float *tile)
{
    const size_t at = block_at(s, i, j);
    const struct hone_tile_sum sum = {
        .product = c->p_weight,
        .weight = {c->a_weight, c->b_weight},
        .term = {c->a == NULL ? NULL : c->a + at, c->b == NULL ? NULL : c->b + at}};
    s->kernels->dot(f->a + i * f->panel, f->b + j * f->panel, f->words, extent(s->n, i),
                    extent(s->n, j), i == j, tile);
    s->kernels->combine(&sum, tile);
}

/* The mean of the finished diagonal; every thread computes the same. */
static float mean(const struct subject *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum +=
            (double)s->diagonal[i / HONE_TILE * HONE_TILE_AREA + i % HONE_TILE * (HONE_TILE + 1)];
    return (float)(sum / (double)s->n);
}

static void finish_diagonal_tile(const struct subject *s, size_t i, float change, uint32_t *h)
{
    float *const tile = s->diagonal + i * HONE_TILE_AREA;
    for (size_t k = 0; k < extent(s->n, i); k++)
        tile[k * (HONE_TILE + 1)] += change;
    s->kernels->mirror(tile);
    s->kernels->round(tile, h + block_at(s, i, i), NULL);
}

/* to := the combination. `to` is none of its factors. The diagonal comes first, since its mean must be
 * known before anything is rounded. */
static void produce(const struct subject *s, const struct factors *f, const struct combination *c,
                    struct square *to)
{
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < s->n_tiles; i++)
        make_tile(s, f, c, i, i, s->diagonal + i * HONE_TILE_AREA);
    const float shift = mean(s);
#pragma omp barrier
#pragma omp for schedule(dynamic)
    for (size_t pair = 0; pair < s->n_tiles * s->n_tiles; pair++) {
        const size_t i = pair % s->n_tiles, j = pair / s->n_tiles;
        if (i > j)
            continue;
        if (i == j) {
            finish_diagonal_tile(s, i, -shift, to->h);
            continue;
        }
        _Alignas(64) float tile[HONE_TILE_AREA];
        make_tile(s, f, c, i, j, tile);
        s->kernels->round(tile, to->h + block_at(s, i, j), to->h + block_at(s, j, i));
    }
    to->shift = shift + c->identity;
}

static size_t words_of(const struct subject *s, size_t columns)
{
    return (columns + s->kernels->columns_of_word - 1) / s->kernels->columns_of_word;
}

/* r := scale x x^T (wide) or scale x^T x (tall) */
static void gram(struct subject *s, float scale)
{
    const struct factors f = {s->x_short, s->x_short, words_of(s, s->m), s->m_panel};
    const struct combination scaled = {.p_weight = scale};
    produce(s, &f, &scaled, &s->r);
}

static void swap(struct square *a, struct square *b)
{
    const struct square old = *a;
    *a = *b;
    *b = old;
}

/* to := a b. `to` may be one of them. */
static void product(struct subject *s, const struct square *a, const struct square *b,
                    struct square *to)
{
    const struct factors f = {a->h, b->h, words_of(s, s->n), s->n_panel};
    const struct combination c = {.identity = a->shift * b->shift,
                                  .p_weight = 1,
                                  .a_weight = b->shift,
                                  .b_weight = a->shift,
                                  .a = a->h,
                                  .b = b->h};
    produce(s, &f, &c, &s->spare);
    swap(to, &s->spare);
}

/* to := a I + b R + c R^2 */
static void polynomial(struct subject *s, const double k[3], struct square *to)
{
    const float shift = s->r.shift;
    const struct factors f = {s->r.h, s->r.h, words_of(s, s->n), s->n_panel};
    const struct combination c = {.identity =
                                      (float)k[0] + shift * ((float)k[1] + (float)k[2] * shift),
                                  .p_weight = (float)k[2],
                                  .a_weight = (float)k[1] + 2 * (float)k[2] * shift,
                                  .a = s->r.h};
    produce(s, &f, &c, to);
}

/* ---- the long matrix ------------------------------------------------------------------------ */

/* The tile of x at row tile i of the shorter side and j of the longer: its corner, rows and columns. */
struct corner {
    float *x;
    size_t stride, rows, columns;
};

static struct corner corner_of(const struct subject *s, size_t i, size_t j)
{
    const size_t across = extent(s->n, i), along = extent(s->m, j);
    if (s->tall)
        return (struct corner){s->x + (j * s->n + i) * HONE_TILE, s->n, along, across};
    return (struct corner){s->x + (i * s->m + j) * HONE_TILE, s->m, across, along};
}

/* x := x * scale in one panel of the longer side, and the panels from it */
static void pack(const struct subject *s, size_t j, double scale)
{
    for (size_t i = 0; i < s->n_tiles; i++) {
        uint32_t *const by_short = s->x_short + i * s->m_panel + j * s->block;
        uint32_t *const by_long = s->x_long + j * s->n_panel + i * s->block;
        const struct corner at = corner_of(s, i, j);
        s->kernels->pack(at.x, at.stride, at.rows, at.columns, scale, s->tall ? by_short : by_long,
                         s->tall ? by_long : by_short);
    }
}

/* x := scale q x, where q = shift I + H acts on the rounded x by H alone */
static void apply(const struct subject *s, float scale, bool last)
{
#pragma omp for schedule(dynamic)
    for (size_t j = 0; j < s->m_tiles; j++) {
        const uint32_t *const x = s->x_long + j * s->n_panel;
        for (size_t i = 0; i < s->n_tiles; i++) {
            const uint32_t *const q = s->q.h + i * s->n_panel;
            const struct corner at = corner_of(s, i, j);
            _Alignas(64) float tile[HONE_TILE_AREA];
            s->kernels->dot(s->tall ? x : q, s->tall ? q : x, words_of(s, s->n), at.rows,
                            at.columns, false, tile);
            s->kernels->update(at.x, at.stride, at.rows, at.columns, scale, s->q.shift, tile);
        }
        if (!last)
            pack(s, j, 1);
    }
}

/* q := the product of the polynomials of `count` steps, for x / divisor; see polar_steps.h */
static void segment(struct subject *s, const struct hone_polar *polar, int first, int count,
                    double divisor)
{
    gram(s, (float)(1 / (divisor * divisor)));
    polynomial(s, hone_polar_step(polar, first), &s->q);
    for (int k = 1; k < count; k++) {
        const struct square *const before = k == 1 ? &s->q : &s->z;
        product(s, before, &s->r, &s->t);
        product(s, before, &s->t, &s->r);
        polynomial(s, hone_polar_step(polar, first + k), &s->z);
        product(s, &s->z, &s->q, &s->q);
    }
}

/* Where m is large enough, steps on n x n matrices alone are cheaper: a segment of k steps takes 3 n^2 m
 * + (4 k - 3) n^3 operations, k plain steps k (3 n^2 m + n^3). But r has the squares of x's singular
 * values, and the small ones of them drown in what rounding r does to its null space, which then grows
 * in every step. Four steps at once and bfloat16 are farther from exact arithmetic than PyTorch for a
 * condition of 1000. */
static int segment_length(const struct subject *s, int first, int steps)
{
    const int longest = 3 * s->m <= 4 * s->n ? 1 : first == 0 && steps > 2 ? 3 : 2;
    return steps - first < longest ? steps - first : longest;
}

/* Shares of the sum of squares, in double; the order of additions is fixed. */
static void measure(const float *x, size_t count, double shares[SHARES])
{
    const size_t part = (count + SHARES - 1) / SHARES;
#pragma omp for schedule(static)
    for (size_t share = 0; share < SHARES; share++)
        shares[share] =
            hone_polar_squares_f32(x + least(count, share * part),
                                   least(count, (share + 1) * part) - least(count, share * part));
}

static double total(const double shares[SHARES])
{
    double sum = 0;
    for (int i = 0; i < SHARES; i++)
        sum += shares[i];
    return sum;
}

/* The matrix is first divided by a power of two alone, which is exact, and by the rest in the first
 * segment: what rounding would leave of a matrix of low rank grows in every step. */
static void run(const struct hone_polar *polar, struct subject s, const double *shares, float scale)
{
    double divisor = hone_polar_divisor(polar, total(shares));
    if (divisor == 0)
        return;
    int exponent = 0;
    if (isfinite(divisor))
        divisor = frexp(divisor, &exponent);
#pragma omp for schedule(dynamic)
    for (size_t j = 0; j < s.m_tiles; j++)
        pack(&s, j, ldexp(1, -exponent));
    for (int first = 0; first < polar->steps;) {
        const int count = segment_length(&s, first, polar->steps);
        segment(&s, polar, first, count, divisor);
        first += count;
        const bool last = first == polar->steps;
        apply(&s, (float)((last ? (double)scale : 1) / divisor), last);
        divisor = 1;
    }
}

/* ---- memory --------------------------------------------------------------------------------- */

enum { SQUARES = 5, LINE = 64 };

size_t hone_polar_tiles_workspace(const struct hone_tile_kernels *tiles, size_t rows,
                                  size_t columns)
{
    const size_t n = tiles_of(least(rows, columns)), m = tiles_of(rows > columns ? rows : columns);
    const size_t blocks = SQUARES * n * n + 2 * n * m;
    return blocks * HONE_TILE_AREA / tiles->columns_of_word + n * HONE_TILE_AREA +
           LINE / sizeof(float);
}

static uint32_t *take(char **from, size_t words)
{
    uint32_t *const taken = (uint32_t *)(void *)*from;
    *from += words * sizeof *taken;
    return taken;
}

void hone_polar_tiles(const struct hone_polar *polar, size_t rows, size_t columns, float *matrix,
                      float scale, float *workspace)
{
    if (rows == 0 || columns == 0)
        return;
    const size_t n = least(rows, columns), m = rows + columns - n;
    struct subject s = {
        .kernels = polar->tiles, .tall = rows > columns, .n = n, .m = m, .x = matrix};
    s.block = HONE_TILE_AREA / s.kernels->columns_of_word;
    s.n_tiles = tiles_of(n);
    s.m_tiles = tiles_of(m);
    s.n_panel = s.n_tiles * s.block;
    s.m_panel = s.m_tiles * s.block;
    char *room = (char *)workspace + (LINE - (uintptr_t)workspace % LINE) % LINE;
    s.x_short = take(&room, s.n_tiles * s.m_panel);
    s.x_long = take(&room, s.m_tiles * s.n_panel);
    struct square *const squares[SQUARES] = {&s.r, &s.z, &s.q, &s.t, &s.spare};
    for (int i = 0; i < SQUARES; i++)
        squares[i]->h = take(&room, s.n_tiles * s.n_panel);
    s.diagonal = (float *)(void *)room;
    double shares[SHARES];
#pragma omp parallel num_threads(polar->threads)
    {
        measure(matrix, n * m, shares);
        run(polar, s, shares, scale);
    }
}
