/* SPDX-License-Identifier: Apache-2.0 */
/* The steps themselves, for one REAL. No guard: polar.c includes it once per type. Matrices are n x m
 * with n <= m; a tall row-major matrix is its wide transpose in column-major order, so nothing is
 * ever transposed. Symmetric products are computed once and mirrored. */

struct REAL_NAME(wide) {
    enum CBLAS_ORDER order;
    int n, m, stride;
    REAL *x;
};

static void REAL_NAME(mirror)(REAL *a, int n)
{
    enum { TILE = 32 };
    for (int row = 0; row < n; row += TILE)
        for (int column = row; column < n; column += TILE)
            for (int i = row; i < n && i < row + TILE; i++)
                for (int j = column > i ? column : i + 1; j < n && j < column + TILE; j++)
                    a[(size_t)j * (size_t)n + (size_t)i] = a[(size_t)i * (size_t)n + (size_t)j];
}

/* r := x x^T */
static void REAL_NAME(gram)(const struct REAL_NAME(wide) * w, REAL *r)
{
    const bool rows = w->order == CblasRowMajor;
    SYRK(CblasRowMajor, CblasUpper, rows ? CblasNoTrans : CblasTrans, w->n, w->m, 1, w->x,
         w->stride, 0, r, w->n);
    REAL_NAME(mirror)(r, w->n);
}

/* s := r r for a symmetric r */
static void REAL_NAME(square)(const REAL *r, int n, REAL *s)
{
    SYRK(CblasRowMajor, CblasUpper, CblasNoTrans, n, n, 1, r, n, 0, s, n);
    REAL_NAME(mirror)(s, n);
}

static void REAL_NAME(multiply)(const REAL *a, const REAL *b, int n, REAL *product)
{
    GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n, 0, product, n);
}

/* z := a I + b r + c r^2 */
static void REAL_NAME(polynomial)(const double k[3], const REAL *r, int n, REAL *z)
{
    const REAL a = (REAL)k[0], b = (REAL)k[1], c = (REAL)k[2];
    REAL_NAME(square)(r, n, z);
    for (size_t i = 0; i < (size_t)n * (size_t)n; i++)
        z[i] = c * z[i] + b * r[i];
    for (size_t i = 0; i < (size_t)n; i++)
        z[i * (size_t)n + i] += a;
}

/* x := q x for a symmetric q */
static void REAL_NAME(apply)(struct REAL_NAME(wide) * w, const REAL *q, REAL *room)
{
    GEMM(w->order, CblasNoTrans, CblasNoTrans, w->n, w->m, w->n, 1, q, w->n, w->x, w->stride, 0,
         room, w->stride);
    memcpy(w->x, room, sizeof *room * (size_t)w->n * (size_t)w->m);
}

/* `count` steps on the small square matrix alone: with X_k = Q_k X_0 and R_k = X_k X_k^T all being
 * polynomials of R_0, they commute, so Q := Z Q and R := Z^2 R; only at the end is X touched. */
static void REAL_NAME(segment)(struct REAL_NAME(wide) * w, const struct hone_polar *polar,
                               int first, int count, REAL *workspace)
{
    const int n = w->n;
    const size_t area = (size_t)n * (size_t)n;
    REAL *r = workspace, *z = r + area, *q = z + area, *t = q + area, *next = t + area;
    REAL *const room = workspace + 5 * area;
    REAL_NAME(gram)(w, r);
    for (int k = 0; k < count; k++) {
        const int last = polar->coefficient_count - 1;
        const double *const c = polar->coefficients[first + k < last ? first + k : last];
        REAL_NAME(polynomial)(c, r, n, z);
        if (k == 0) {
            memcpy(q, z, sizeof *q * area);
        } else {
            REAL_NAME(multiply)(z, q, n, t);
            REAL *const old = q;
            q = t;
            t = old;
        }
        if (k + 1 < count) {
            REAL_NAME(square)(z, n, t);
            REAL_NAME(multiply)(t, r, n, next);
            REAL *const old = r;
            r = next;
            next = old;
        }
    }
    REAL_NAME(apply)(w, q, room);
}

/* Frobenius norm in double, in the order of memory. */
static double REAL_NAME(norm)(const REAL *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

void REAL_NAME(hone_polar)(const struct hone_polar *polar, size_t rows, size_t columns,
                           REAL *matrix, REAL scale, REAL *workspace)
{
    const size_t count = rows * columns;
    if (count == 0)
        return;
    const bool tall = rows > columns;
    struct REAL_NAME(wide) w = {.order = tall ? CblasColMajor : CblasRowMajor,
                                .n = (int)(tall ? columns : rows),
                                .m = (int)(tall ? rows : columns),
                                .stride = (int)columns,
                                .x = matrix};
    const double found = REAL_NAME(norm)(matrix, count);
    const double norm = found <= polar->eps ? polar->eps : found; /* NaN goes on */
    if (norm == 0)
        return;
    for (size_t i = 0; i < count; i++)
        matrix[i] = (REAL)((double)matrix[i] / norm);
    /* A segment of k steps costs 3 n^2 m + (6 k - 5) n^3 operations, k plain steps k (3 n^2 m + n^3).
     * Longer segments lose accuracy in the small singular values, which only X holds exactly. */
    const int longest = 3 * (size_t)w.m > 5 * (size_t)w.n ? 2 : 1;
    for (int first = 0; first < polar->steps; first += longest) {
        const int left = polar->steps - first;
        REAL_NAME(segment)(&w, polar, first, left < longest ? left : longest, workspace);
    }
    for (size_t i = 0; scale != 1 && i < count; i++)
        matrix[i] *= scale;
}
