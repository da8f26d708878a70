/* SPDX-License-Identifier: Apache-2.0 */
/* Coefficients, and Newton-Schulz steps by CBLAS in float and double from one text (polar_steps.h). */
#include "core/polar.h"

#include <math.h>
#include <stdbool.h>

#include "core/gemm.h"

/* Keller Jordan's quintic, the same in every step. */
static const double standard[][3] = {{3.4445, -4.7750, 2.0315}};

/* Tuned per step; microsoft/dion and others. */
static const double dion[][3] = {{4.0848, -6.8946, 2.9270},
                                 {3.9505, -6.3029, 2.6377},
                                 {3.7418, -5.5913, 2.3037},
                                 {2.8769, -3.1427, 1.2046},
                                 {2.8366, -3.0525, 1.2012}};

/* Polar Express (Amsel et al. 2025, arXiv 2505.16932) with the safety factor 1.02 of its users: X is
 * divided by it before each polynomial, so (a / s, b / s^3, c / s^5). */
#define SAFE(a, b, c)                                                                    \
    {                                                                                    \
        (a) / 1.02, (b) / (1.02 * 1.02 * 1.02), (c) / (1.02 * 1.02 * 1.02 * 1.02 * 1.02) \
    }
static const double polar_express[][3] = {
    SAFE(8.28721201814563, -23.595886519098837, 17.300387312530933),
    SAFE(4.107059111542203, -2.9478499167379106, .5448431082926601),
    SAFE(3.9486908534822946, -2.908902115962949, .5518191394370137),
    SAFE(3.3184196573706015, -2.488488024314874, .51004894012372),
    SAFE(2.300652019954817, -1.6689039845747493, .4188073119525673)};

/* Turbo-Muon, made for four steps. */
static const double turbo[][3] = {{4.0098, -7.0585, 2.4635},
                                  {3.4585, -5.5479, 2.5959},
                                  {2.7573, -3.2939, 1.4254},
                                  {2.7215, -3.0494, 1.3169}};

const double (*hone_polar_coefficients(int choice, int *count))[3]
{
    static const double(*const sets[])[3] = {standard, dion, polar_express, turbo};
    static const int counts[] = {1, 5, 5, 4};
    if (choice < 0 || choice >= 4)
        return NULL;
    *count = counts[choice];
    return sets[choice];
}

size_t hone_polar_workspace(size_t rows, size_t columns)
{
    const size_t n = rows < columns ? rows : columns;
    return 5 * n * n + rows * columns;
}

const double *hone_polar_step(const struct hone_polar *polar, int step)
{
    const int last = polar->coefficient_count - 1;
    return polar->coefficients[step < last ? step : last];
}

double hone_polar_divisor(const struct hone_polar *polar, double squares)
{
    const double norm = sqrt(squares);
    return norm <= polar->eps ? polar->eps : norm; /* NaN goes on */
}

#define REAL float
#define REAL_NAME(name) name##_f32
#include "core/polar_steps.h"
#undef REAL
#undef REAL_NAME

#define REAL double
#define REAL_NAME(name) name##_f64
#include "core/polar_steps.h"
