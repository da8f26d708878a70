/* SPDX-License-Identifier: Apache-2.0 */
/* The k largest elements of a tensor by absolute value. A float without its sign bit, read as an
 * integer, has the order of the absolute values: a radix selection, 16 bits at a time, finds the
 * k-th largest such integer in as many passes as the type has 16-bit digits, whatever the values
 * are, and one more pass sets the bits. */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "mask/mask_internal.h"

#define DIGIT_BITS 16
#define DIGITS ((size_t)1 << DIGIT_BITS)

/* What stands above the infinities once the sign bit is gone. */
static uint64_t infinity_key(enum hone_format format)
{
    switch (format) {
    case HONE_FORMAT_F32:
        return UINT64_C(0x7f800000);
    case HONE_FORMAT_F64:
        return UINT64_C(0x7ff0000000000000);
    case HONE_FORMAT_BF16:
        return UINT64_C(0x7f80);
    default:
        return UINT64_C(0x7c00);
    }
}

struct selection {
    const void *values;
    int64_t numel;
    int bits; /* of one value */
    int threads;
    int64_t *counts;   /* DIGITS for each thread */
    uint64_t key;      /* of the k-th largest; while it is searched, its digits so far */
    int64_t remaining; /* how many elements of that key are wanted */
};

/* One set of loops per width of a value, so that the compiler sees plain arrays. */
#define DEFINE_WIDTH(width)                                                                        \
    static inline uint64_t key_##width(const void *values, int64_t i)                              \
    {                                                                                              \
        return ((const uint##width##_t *)values)[i] & (UINT##width##_MAX >> 1);                    \
    }                                                                                              \
                                                                                                   \
    /* Counts a digit of the elements from `first` to `end` that share the digits above it. */     \
    static void count_##width(const struct selection *s, int shift, int64_t first, int64_t end,    \
                              int64_t *counts)                                                     \
    {                                                                                              \
        for (int64_t i = first; i < end; i++) {                                                    \
            const uint64_t key = key_##width(s->values, i) >> shift;                               \
            if (shift + DIGIT_BITS == width || key >> DIGIT_BITS == s->key)                        \
                counts[key & (DIGITS - 1)]++;                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* Sets the bits of the larger elements of a chunk; returns how many are equal. */             \
    static int64_t mark_##width(const struct selection *s, int64_t first, int64_t end,             \
                                uint32_t *words)                                                   \
    {                                                                                              \
        int64_t equals = 0;                                                                        \
        for (int64_t i = first; i < end; i++) {                                                    \
            const uint64_t key = key_##width(s->values, i);                                        \
            words[i / HONE_MASK_WORD_BITS] |= (uint32_t)(key > s->key) << i % HONE_MASK_WORD_BITS; \
            equals += key == s->key;                                                               \
        }                                                                                          \
        return equals;                                                                             \
    }                                                                                              \
                                                                                                   \
    static uint64_t largest_##width(const struct selection *s, int64_t first, int64_t end)         \
    {                                                                                              \
        uint##width##_t largest = 0;                                                               \
        for (int64_t i = first; i < end; i++) {                                                    \
            const uint##width##_t key = (uint##width##_t)key_##width(s->values, i);                \
            largest = key > largest ? key : largest;                                               \
        }                                                                                          \
        return largest;                                                                            \
    }

DEFINE_WIDTH(16)
DEFINE_WIDTH(32)
DEFINE_WIDTH(64)

static uint64_t largest_chunk(const struct selection *s, int64_t chunk)
{
    const int64_t first = chunk * HONE_CHUNK;
    const int64_t end = first + HONE_CHUNK < s->numel ? first + HONE_CHUNK : s->numel;
    return s->bits == 16   ? largest_16(s, first, end)
           : s->bits == 32 ? largest_32(s, first, end)
                           : largest_64(s, first, end);
}

static uint64_t key_at(const struct selection *s, int64_t i)
{
    return s->bits == 16   ? key_16(s->values, i)
           : s->bits == 32 ? key_32(s->values, i)
                           : key_64(s->values, i);
}

static void count_digit(const struct selection *s, int shift)
{
    memset(s->counts, 0, (size_t)s->threads * DIGITS * sizeof *s->counts);
    const int64_t chunks = (s->numel + HONE_CHUNK - 1) / HONE_CHUNK;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t *const counts = s->counts + (size_t)omp_get_thread_num() * DIGITS;
        const int64_t first = c * HONE_CHUNK;
        const int64_t end = first + HONE_CHUNK < s->numel ? first + HONE_CHUNK : s->numel;
        if (s->bits == 16)
            count_16(s, shift, first, end, counts);
        else if (s->bits == 32)
            count_32(s, shift, first, end, counts);
        else
            count_64(s, shift, first, end, counts);
    }
    for (int t = 1; t < s->threads; t++)
        for (size_t d = 0; d < DIGITS; d++)
            s->counts[d] += s->counts[(size_t)t * DIGITS + d];
}

/* Leaves the key of the k-th largest, and how many elements of just that key belong to the k. */
static void select_key(struct selection *s)
{
    for (int shift = s->bits - DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        count_digit(s, shift);
        size_t digit = DIGITS - 1;
        while (s->counts[digit] < s->remaining) /* all counted together are at least remaining */
            s->remaining -= s->counts[digit--];
        s->key = s->key << DIGIT_BITS | digit;
    }
}

static int64_t mark_chunk(const struct selection *s, int64_t chunk, uint32_t *words)
{
    const int64_t first = chunk * HONE_CHUNK;
    const int64_t end = first + HONE_CHUNK < s->numel ? first + HONE_CHUNK : s->numel;
    return s->bits == 16   ? mark_16(s, first, end, words)
           : s->bits == 32 ? mark_32(s, first, end, words)
                           : mark_64(s, first, end, words);
}

/* Sets the k bits: all larger elements in parallel, then the equal ones from the lowest on. */
static void mark(struct selection *s, hone_mask *mask, int32_t *equals)
{
    const int64_t chunks = (s->numel + HONE_CHUNK - 1) / HONE_CHUNK;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t c = 0; c < chunks; c++)
        equals[c] = (int32_t)mark_chunk(s, c, mask->words);
    for (int64_t c = 0; c < chunks && s->remaining > 0; c++)
        for (int64_t i = c * HONE_CHUNK; equals[c] > 0 && s->remaining > 0; i++)
            if (key_at(s, i) == s->key) {
                mask->words[i / HONE_MASK_WORD_BITS] |= 1u << i % HONE_MASK_WORD_BITS;
                equals[c]--;
                s->remaining--;
            }
}

/* Refuses NaN, whose keys stand above the infinities'. */
static hone_status check_order(const struct selection *s, enum hone_format format,
                               hone_error *error)
{
    const uint64_t limit = infinity_key(format);
    const int64_t chunks = (s->numel + HONE_CHUNK - 1) / HONE_CHUNK;
    uint64_t largest = 0;
#pragma omp parallel for num_threads(s->threads) schedule(static) reduction(max : largest)
    for (int64_t c = 0; c < chunks; c++) {
        const uint64_t key = largest_chunk(s, c);
        largest = key > largest ? key : largest;
    }
    if (largest <= limit)
        return HONE_OK;
    int64_t bad = 0;
    while (key_at(s, bad) <= limit)
        bad++;
    return hone_fail(error, HONE_ERROR_NONFINITE,
                     "values: element %" PRId64 " is NaN, which is neither larger nor smaller than "
                     "others; the largest can be chosen among numbers and infinities only",
                     bad);
}

static hone_status fill_from_top(hone_mask *mask, const hone_tensor *values,
                                 enum hone_format format, int64_t k, hone_error *error)
{
    const hone_context *const context = mask->context;
    struct selection s = {.values = values->data,
                          .numel = mask->numel,
                          .bits = (int)hone_format_size(format) * 8,
                          .threads = hone_mask_threads(mask),
                          .remaining = k};
    const hone_status status = check_order(&s, format, error);
    if (status != HONE_OK || k == 0)
        return status;
    const size_t counts_size = (size_t)s.threads * DIGITS * sizeof *s.counts;
    const size_t equals_size =
        (size_t)((mask->numel + HONE_CHUNK - 1) / HONE_CHUNK) * sizeof(int32_t);
    s.counts = hone_allocate(context, counts_size);
    int32_t *const equals = hone_allocate(context, equals_size);
    if (s.counts != NULL && equals != NULL) {
        select_key(&s);
        mark(&s, mask, equals);
        hone_mask_finish(mask);
    }
    const bool failed = s.counts == NULL || equals == NULL;
    hone_release(context, s.counts, counts_size);
    hone_release(context, equals, equals_size);
    return failed ? hone_fail_memory(error, counts_size + equals_size, "a selection") : HONE_OK;
}

static hone_status make_top(hone_mask **mask, const hone_context *context,
                            const hone_tensor *values, enum hone_format format, int64_t k,
                            hone_error *error)
{
    hone_mask *made = NULL;
    hone_status status =
        hone_mask_start(&made, context, values->ndim, values->shape, "values", error);
    if (status != HONE_OK)
        return status;
    status = fill_from_top(made, values, format, k, error);
    if (status == HONE_OK)
        *mask = made;
    else
        hone_mask_free(made);
    return status;
}

hone_status hone_mask_top_count(hone_mask **mask, const hone_context *context,
                                const hone_tensor *values, int64_t k, hone_error *error)
{
    enum hone_format format;
    hone_status status = hone_mask_check_call(mask, context, "hone_mask_top_count", error);
    if (status == HONE_OK)
        status = hone_mask_check_sizes(values, &format, error);
    if (status != HONE_OK)
        return status;
    const int64_t numel = hone_tensor_numel(values);
    if (k < 0 || k > numel)
        return hone_fail(
            error, HONE_ERROR_RANGE,
            "k is %" PRId64 "; the tensor has %" PRId64 " elements; allowed: 0 to that", k, numel);
    return make_top(mask, context, values, format, k, error);
}

/* max(1, ceil(fraction * numel)), never more than there are. */
static int64_t top_of(double fraction, int64_t numel)
{
    if (numel == 0)
        return 0;
    const double wanted = ceil(fraction * (double)numel);
    if (wanted >= (double)numel)
        return numel;
    return wanted < 1 ? 1 : (int64_t)wanted;
}

hone_status hone_mask_top_fraction(hone_mask **mask, const hone_context *context,
                                   const hone_tensor *values, double fraction, hone_error *error)
{
    enum hone_format format;
    hone_status status = hone_mask_check_call(mask, context, "hone_mask_top_fraction", error);
    if (status == HONE_OK)
        status = hone_mask_check_sizes(values, &format, error);
    if (status != HONE_OK)
        return status;
    if (!(fraction >= 0 && fraction <= 1))
        return hone_fail(error, HONE_ERROR_RANGE, "the fraction is %g; it must be from 0 to 1",
                         fraction);
    return make_top(mask, context, values, format, top_of(fraction, hone_tensor_numel(values)),
                    error);
}
