/* SPDX-License-Identifier: Apache-2.0 */
/* Noise, sums and copies of rows, compiled once per CPU level. No arithmetic here is the C library's,
 * whose logarithms differ between hosts: the normal quantile is Wichura's PPND16 (Applied Statistics
 * 37, 1988, algorithm AS 241) over a logarithm of our own. */
#include "kernel/rows.h"

#include <string.h>

#include "kernel/format.h"
#include "kernel/sums.h"

#ifndef HONE_TARGET
#define HONE_TARGET lint
#endif

#define LANES 16

/* 32 bits for element i: two rounds of the 32-bit mixer, each with half of the stream, so that rows
 * are alike only if all 64 bits are. */
RULE_INLINE uint32_t element_noise(uint64_t stream, size_t i)
{
    const uint32_t once = noise_at((uint32_t)stream, i);
    return noise_at((uint32_t)(stream >> 32), once);
}

static void uniform(float *to, size_t n, uint64_t stream, double low, double high)
{
    const float first = (float)low, span = (float)(high - low);
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const int32_t noise = (int32_t)(element_noise(stream, i) >> 8);
        to[i] = first + span * ((float)noise * 0x1p-24f);
    }
}

/* The natural logarithm of a normal number in (0, 1], to a few units in the last place: the
 * exponent, and the series of the inverse hyperbolic tangent for what is left. */
static double logarithm(double x)
{
    union {
        double value;
        uint64_t bits;
    } parts = {x};
    const int64_t raw = (int64_t)(parts.bits >> 52) - 1023;
    parts.bits = (parts.bits & 0xfffffffffffffu) | (uint64_t)1023 << 52;
    const int large = parts.value > 1.4142135623730951;
    const double m = large ? parts.value * 0.5 : parts.value;
    const double s = (m - 1) / (m + 1), q = s * s;
    double series = 0;
    for (int k = 23; k >= 1; k -= 2)
        series = series * q + 1.0 / k;
    return (double)(raw + large) * 0.69314718055994530942 + 2 * s * series;
}

static double horner(const double *coefficient, int count, double x)
{
    double sum = coefficient[count - 1];
    for (int k = count - 2; k >= 0; k--)
        sum = sum * x + coefficient[k];
    return sum;
}

/* PPND16 for probabilities no nearer to 0 and 1 than e^-25, where its third range begins. */
static double normal_quantile(double p)
{
    static const double middle_over[] = {3.3871328727963666080e0, 1.3314166789178437745e2,
                                         1.9715909503065514427e3, 1.3731693765509461125e4,
                                         4.5921953931549871457e4, 6.7265770927008700853e4,
                                         3.3430575583588128105e4, 2.5090809287301226727e3};
    static const double middle_under[] = {1,
                                          4.2313330701600911252e1,
                                          6.8718700749205790830e2,
                                          5.3941960214247511077e3,
                                          2.1213794301586595867e4,
                                          3.9307895800092710610e4,
                                          2.8729085735721942674e4,
                                          5.2264952788528545610e3};
    static const double tail_over[] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                       5.76949722146069140550e0,  3.64784832476320460504e0,
                                       1.27045825245236838258e0,  2.41780725177450611770e-1,
                                       2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double tail_under[] = {1,
                                        2.05319162663775882187e0,
                                        1.67638483018380384940e0,
                                        6.89767334985100004550e-1,
                                        1.48103976427480074590e-1,
                                        1.51986665636164571966e-2,
                                        5.47593808499534494600e-4,
                                        1.05075007164441684324e-9};
    const double q = p - 0.5;
    if (q >= -0.425 && q <= 0.425) {
        const double r = 0.180625 - q * q;
        return q * horner(middle_over, 8, r) / horner(middle_under, 8, r);
    }
    const double r = __builtin_sqrt(-logarithm(q < 0 ? p : 1 - p)) - 1.6;
    const double tail = horner(tail_over, 8, r) / horner(tail_under, 8, r);
    return q < 0 ? -tail : tail;
}

static void normal(float *to, size_t n, uint64_t stream, double mean, double deviation,
                   double below)
{
    for (size_t i = 0; i < n; i++) {
        const double u = ((double)element_noise(stream, i) + 0.5) * 0x1p-32;
        to[i] = (float)(mean + deviation * normal_quantile(below + u * (1 - 2 * below)));
    }
}

/* Halves by name: a loop over them takes longer than the sum of a row. */
#define ADD_HALVES(lane, half)          \
    for (size_t k = 0; k < (half); k++) \
    (lane)[k] += (lane)[k + (half)]

#define DEFINE_MEAN_SQUARE(name, type)                            \
    static double name(const type *grad, size_t n, double scale)  \
    {                                                             \
        double lane[LANES] = {0};                                 \
        const size_t whole = n / LANES * LANES;                   \
        for (size_t first = 0; first < whole; first += LANES)     \
            for (size_t k = 0; k < LANES; k++) {                  \
                const double g = (double)grad[first + k] * scale; \
                lane[k] += g * g;                                 \
            }                                                     \
        for (size_t i = whole; i < n; i++) {                      \
            const double g = (double)grad[i] * scale;             \
            lane[i - whole] += g * g;                             \
        }                                                         \
        ADD_HALVES(lane, LANES / 2);                              \
        ADD_HALVES(lane, LANES / 4);                              \
        ADD_HALVES(lane, LANES / 8);                              \
        ADD_HALVES(lane, LANES / 16);                             \
        return lane[0] / (double)n;                               \
    }

DEFINE_MEAN_SQUARE(mean_square_f32, float)
DEFINE_MEAN_SQUARE(mean_square_f64, double)

/* ---- sums of rows ---------------------------------------------------------------------------- */

/* A register's elements. Vectors by name: left to itself, gcc 12 keeps either one element at a time
 * in a register over the list, or none. */
#if defined(__AVX512F__)
#define VECTOR_SIZE 64
#elif defined(__AVX2__)
#define VECTOR_SIZE 32
#else
#define VECTOR_SIZE 16
#endif
typedef float vector_float __attribute__((vector_size(VECTOR_SIZE)));
typedef double vector_double __attribute__((vector_size(VECTOR_SIZE)));
#define AHEAD 8          /* rows requested before they are added */
#define RECORDS_AHEAD 24 /* before they are copied */

#define DEFINE_ADD(name, F, type)                                                                  \
    enum { name##_COUNT = VECTOR_SIZE / sizeof(type) };                                            \
                                                                                                   \
    RULE_INLINE vector_##type name##_load(const void *from, size_t first)                          \
    {                                                                                              \
        type part[name##_COUNT];                                                                   \
        _Pragma("omp simd") for (size_t j = 0; j < name##_COUNT; j++) part[j] =                    \
            (type)value_at(HONE_FORMAT_##F, from, first + j);                                      \
        vector_##type loaded;                                                                      \
        memcpy(&loaded, part, sizeof loaded);                                                      \
        return loaded;                                                                             \
    }                                                                                              \
                                                                                                   \
    RULE_INLINE void name##_ask(const struct hone_row_list *list, size_t k, size_t first,          \
                                size_t count)                                                      \
    {                                                                                              \
        const size_t size = hone_format_size(HONE_FORMAT_##F);                                     \
        if (k + AHEAD < list->count)                                                               \
            hone_request((const char *)list->from +                                                \
                             (list->at[k + AHEAD] * list->width + first) * size,                   \
                         count * size);                                                            \
    }                                                                                              \
                                                                                                   \
    RULE_INLINE void name##_one(type *to, const struct hone_row_list *list, size_t first)          \
    {                                                                                              \
        vector_##type sum;                                                                         \
        memcpy(&sum, to + first, sizeof sum);                                                      \
        for (size_t k = 0; k < list->count; k++) {                                                 \
            const type factor = list->factor == NULL ? 1 : (type)list->factor[k];                  \
            name##_ask(list, k, first, name##_COUNT);                                              \
            sum += name##_load(list->from, list->at[k] * list->width + first) * factor;            \
        }                                                                                          \
        memcpy(to + first, &sum, sizeof sum);                                                      \
    }                                                                                              \
                                                                                                   \
    /* Sums by name, too: gcc 12 keeps an array of them in memory. */                              \
    RULE_INLINE void name##_four(type *to, const struct hone_row_list *list, size_t first)         \
    {                                                                                              \
        enum { COUNT = name##_COUNT };                                                             \
        vector_##type a, b, c, d;                                                                  \
        memcpy(&a, to + first, sizeof a);                                                          \
        memcpy(&b, to + first + COUNT, sizeof b);                                                  \
        memcpy(&c, to + first + 2 * COUNT, sizeof c);                                              \
        memcpy(&d, to + first + 3 * COUNT, sizeof d);                                              \
        for (size_t k = 0; k < list->count; k++) {                                                 \
            const size_t at = list->at[k] * list->width + first;                                   \
            const type factor = list->factor == NULL ? 1 : (type)list->factor[k];                  \
            name##_ask(list, k, first, 4 * COUNT);                                                 \
            a += name##_load(list->from, at) * factor;                                             \
            b += name##_load(list->from, at + COUNT) * factor;                                     \
            c += name##_load(list->from, at + 2 * COUNT) * factor;                                 \
            d += name##_load(list->from, at + 3 * COUNT) * factor;                                 \
        }                                                                                          \
        memcpy(to + first, &a, sizeof a);                                                          \
        memcpy(to + first + COUNT, &b, sizeof b);                                                  \
        memcpy(to + first + 2 * COUNT, &c, sizeof c);                                              \
        memcpy(to + first + 3 * COUNT, &d, sizeof d);                                              \
    }                                                                                              \
                                                                                                   \
    static void name(type *to, const struct hone_row_list *list)                                   \
    {                                                                                              \
        const size_t width = list->width;                                                          \
        size_t first = 0;                                                                          \
        for (; first + 4 * name##_COUNT <= width; first += 4 * name##_COUNT)                       \
            name##_four(to, list, first);                                                          \
        for (; first + name##_COUNT <= width; first += name##_COUNT)                               \
            name##_one(to, list, first);                                                           \
        for (size_t k = 0; first < width && k < list->count; k++) {                                \
            const type factor = list->factor == NULL ? 1 : (type)list->factor[k];                  \
            for (size_t i = first; i < width; i++)                                                 \
                to[i] +=                                                                           \
                    (type)value_at(HONE_FORMAT_##F, list->from, list->at[k] * width + i) * factor; \
        }                                                                                          \
    }

#define DEFINE_ADDS(F)                \
    DEFINE_ADD(add_f32_##F, F, float) \
    DEFINE_ADD(add_f64_##F, F, double)

DEFINE_ADDS(F32)
DEFINE_ADDS(F64)
DEFINE_ADDS(BF16)
DEFINE_ADDS(F16)

/* ---- copies of rows -------------------------------------------------------------------------- */

typedef unsigned char vector_bytes __attribute__((vector_size(VECTOR_SIZE)));

/* Not the C library's: a call for each row would take about as long as its bytes. */
RULE_INLINE void copy_row(char *to, const char *from, size_t size)
{
    size_t done = 0;
    for (; done + 4 * VECTOR_SIZE <= size; done += 4 * VECTOR_SIZE) {
        vector_bytes a, b, c, d;
        memcpy(&a, from + done, VECTOR_SIZE);
        memcpy(&b, from + done + VECTOR_SIZE, VECTOR_SIZE);
        memcpy(&c, from + done + 2 * VECTOR_SIZE, VECTOR_SIZE);
        memcpy(&d, from + done + 3 * VECTOR_SIZE, VECTOR_SIZE);
        memcpy(to + done, &a, VECTOR_SIZE);
        memcpy(to + done + VECTOR_SIZE, &b, VECTOR_SIZE);
        memcpy(to + done + 2 * VECTOR_SIZE, &c, VECTOR_SIZE);
        memcpy(to + done + 3 * VECTOR_SIZE, &d, VECTOR_SIZE);
    }
    if (done < size)
        memcpy(to + done, from + done, size - done);
}

static void copy(void *to, const uint32_t *at, void *const *from, size_t lead, size_t size,
                 size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *const row = (char *)to + at[i] * size;
        if (i + RECORDS_AHEAD < count && from[i + RECORDS_AHEAD] != NULL)
            hone_request(from[i + RECORDS_AHEAD], lead + size);
        if (from[i] == NULL)
            memset(row, 0, size);
        else
            copy_row(row, (const char *)from[i] + lead, size);
    }
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

extern const struct hone_row_kernels PASTE(hone_rows_, HONE_TARGET);
const struct hone_row_kernels PASTE(hone_rows_, HONE_TARGET) = {
    .uniform = uniform,
    .normal = normal,
    .mean_square_f32 = mean_square_f32,
    .mean_square_f64 = mean_square_f64,
    .copy = copy,
    .add_f32 = {add_f32_F32, add_f32_F64, add_f32_BF16, add_f32_F16},
    .add_f64 = {add_f64_F32, add_f64_F64, add_f64_BF16, add_f64_F16},
};
