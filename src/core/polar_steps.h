/* SPDX-License-Identifier: Apache-2.0 */
/* The steps by CBLAS, for one REAL. No guard: polar.c includes it once per type. n is the shorter side, m
 * the longer; a tall matrix is multiplied from the other side, so nothing is ever transposed. Symmetric
 * products are made in strips of the upper triangle and mirrored. */

#define GEMM REAL_NAME(hone_gemm)

enum { REAL_NAME(STRIP) = 96, REAL_NAME(MIRROR) = 32 };

struct REAL_NAME(wide) {
    bool tall;
    size_t n, m;
    REAL *x, *room; /* the matrix, and as much room; they change places */
};

static size_t REAL_NAME(least)(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Copies the upper triangle below the diagonal. */
static void REAL_NAME(mirror)(REAL *a, size_t n)
{
    const size_t side = REAL_NAME(MIRROR);
    for (size_t row = 0; row < n; row += side)
        for (size_t column = row; column < n; column += side)
            for (size_t j = column; j < REAL_NAME(least)(n, column + side); j++)
                for (size_t i = row; i < REAL_NAME(least)(j, row + side); i++)
                    a[j * n + i] = a[i * n + j];
}

/* r := x x^T (wide) or x^T x (tall) */
static void REAL_NAME(gram)(const struct REAL_NAME(wide) * w, REAL *r)
{
    const size_t n = w->n;
    const int m = (int)w->m, side = (int)n;
    for (size_t i = 0; i < n; i += REAL_NAME(STRIP)) {
        const int height = (int)REAL_NAME(least)(n - i, REAL_NAME(STRIP)), rest = (int)(n - i);
        REAL *const to = r + i * n + i;
        if (w->tall)
            GEMM('T', 'N', height, rest, m, w->x + i, side, w->x + i, side, to, side);
        else
            GEMM('N', 'T', height, rest, m, w->x + i * w->m, m, w->x + i * w->m, m, to, side);
    }
    REAL_NAME(mirror)(r, n);
}

/* product := a b, for symmetric matrices that commute */
static void REAL_NAME(multiply)(const REAL *a, const REAL *b, size_t n, REAL *product)
{
    const int side = (int)n;
    for (size_t i = 0; i < n; i += REAL_NAME(STRIP))
        GEMM('N', 'N', (int)REAL_NAME(least)(n - i, REAL_NAME(STRIP)), (int)(n - i), side,
             a + i * n, side, b + i, side, product + i * n + i, side);
    REAL_NAME(mirror)(product, n);
}

/* z := a I + b r + c r^2 */
static void REAL_NAME(polynomial)(const double k[3], const REAL *r, size_t n, REAL *z)
{
    const REAL a = (REAL)k[0], b = (REAL)k[1], c = (REAL)k[2];
    REAL_NAME(multiply)(r, r, n, z);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            z[i * n + j] = c * z[i * n + j] + b * r[i * n + j];
        z[i * n + i] += a;
    }
}

/* x := q x (wide) or x q (tall), for a symmetric q */
static void REAL_NAME(apply)(struct REAL_NAME(wide) * w, const REAL *q)
{
    const int n = (int)w->n, m = (int)w->m;
    if (w->tall)
        GEMM('N', 'N', m, n, n, w->x, n, q, n, w->room, n);
    else
        GEMM('N', 'N', n, m, n, q, n, w->x, m, w->room, m);
    REAL *const old = w->x;
    w->x = w->room;
    w->room = old;
}

/* `count` steps on the small square matrix alone: with X_k = Q_k X_0 and R_k = X_k X_k^T all being
 * polynomials of R_0, they commute, so Q := Z Q and R := Z (Z R); only at the end is X touched. */
static void REAL_NAME(segment)(struct REAL_NAME(wide) * w, const struct hone_polar *polar,
                               int first, int count, REAL *workspace)
{
    const size_t n = w->n, area = n * n;
    REAL *r = workspace, *z = r + area, *q = z + area, *t = q + area, *next = t + area;
    REAL_NAME(gram)(w, r);
    REAL_NAME(polynomial)(hone_polar_step(polar, first), r, n, q);
    for (int k = 1; k < count; k++) {
        const REAL *const before = k == 1 ? q : z;
        REAL_NAME(multiply)(before, r, n, t);
        REAL_NAME(multiply)(before, t, n, next);
        REAL *const old = r;
        r = next;
        next = old;
        REAL_NAME(polynomial)(hone_polar_step(polar, first + k), r, n, z);
        REAL_NAME(multiply)(z, q, n, t);
        REAL *const product = t;
        t = q;
        q = product;
    }
    REAL_NAME(apply)(w, q);
}

double REAL_NAME(hone_polar_squares)(const REAL *x, size_t count)
{
    double lanes[8] = {0}, sum = 0;
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (size_t l = 0; l < 8; l++)
            lanes[l] += (double)x[i + l] * (double)x[i + l];
    for (size_t l = 0; i + l < count; l++)
        lanes[l] += (double)x[i + l] * (double)x[i + l];
    for (size_t l = 0; l < 8; l++)
        sum += lanes[l];
    return sum;
}

/* to := from * scale; the two may be one */
static void REAL_NAME(scale)(const REAL *from, size_t count, double scale, REAL *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (REAL)((double)from[i] * scale);
}

void REAL_NAME(hone_polar)(const struct hone_polar *polar, size_t rows, size_t columns,
                           REAL *matrix, REAL scale, REAL *workspace)
{
    const size_t count = rows * columns;
    const double divisor = hone_polar_divisor(polar, REAL_NAME(hone_polar_squares)(matrix, count));
    if (count == 0 || divisor == 0)
        return;
    const bool tall = rows > columns;
    struct REAL_NAME(wide) w = {.tall = tall,
                                .n = tall ? columns : rows,
                                .m = tall ? rows : columns,
                                .x = matrix,
                                .room = workspace};
    REAL_NAME(scale)(matrix, count, 1 / divisor, matrix);
    /* A segment of k steps costs 3 n^2 m + (4 k - 3) n^3 operations, k plain steps k (3 n^2 m + n^3).
     * Longer segments lose accuracy in the small singular values, which only X holds exactly. */
    const int longest = 3 * w.m > 4 * w.n ? 2 : 1;
    for (int first = 0; first < polar->steps; first += longest) {
        const int left = polar->steps - first;
        REAL_NAME(segment)
        (&w, polar, first, left < longest ? left : longest, workspace + count);
    }
    REAL_NAME(scale)(w.x, count, (double)scale, matrix);
}

#undef GEMM
