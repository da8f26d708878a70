/* SPDX-License-Identifier: Apache-2.0 */
/* The arrays of a kernel call: laid out between canaries at odd addresses, filled with awkward
 * values, copied, compared and digested. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_test.h"

#define CANARY 0xa5
#define CANARY_SIZE 64
#define MASK_WORDS(n) (((n) + 31) / 32)

/* ---- fills ----------------------------------------------------------------------------------- */

const char *fill_name(enum fill fill)
{
    static const char *const names[FILL_COUNT] = {"random", "tiny",     "huge", "denormal",
                                                  "zero",   "infinite", "mixed"};
    return names[fill];
}

static uint64_t with_exponent(enum hone_format format, int64_t low, int64_t high, uint64_t random)
{
    const uint64_t top = infinity_bits(format);
    const uint64_t one = top & (~top + 1); /* the lowest bit of the exponent */
    const uint64_t exponent = (uint64_t)(low + (int64_t)(random >> 40) % (high - low + 1));
    return exponent * one | (random & (one - 1));
}

static int64_t top_exponent(enum hone_format format)
{
    const uint64_t top = infinity_bits(format);
    return (int64_t)(top / (top & (~top + 1)));
}

/* A magnitude of the kind; signs come on top. */
static uint64_t magnitude_bits(enum hone_format format, enum fill fill, uint64_t random,
                               uint64_t *state)
{
    const int64_t top = top_exponent(format), one = top / 2;
    switch (fill) {
    case FILL_RANDOM:
        return with_exponent(format, one - 5, one + 3, random);
    case FILL_TINY:
        return with_exponent(format, 1, one / 3, random);
    case FILL_HUGE:
        return with_exponent(format, top - 4, top - 1, random);
    case FILL_DENORMAL:
        return with_exponent(format, 0, 0, random);
    case FILL_ZERO:
        return 0;
    case FILL_INFINITE:
        return (random >> 32) % 4 == 0 ? infinity_bits(format)
                                       : with_exponent(format, one - 5, one + 3, random);
    default:
        if ((random >> 32) % 8 == 0) /* NaN: any payload, quiet or signalling */
            return with_exponent(format, top, top, random | 1);
        return magnitude_bits(format, (enum fill)((random >> 35) % FILL_MIXED), next_random(state),
                              state);
    }
}

uint64_t fill_bits(enum hone_format format, enum fill fill, uint64_t *state)
{
    const uint64_t random = next_random(state);
    const uint64_t magnitude = magnitude_bits(format, fill, random, state);
    const uint64_t sign = (uint64_t)1 << (hone_format_size(format) * 8 - 1);
    return (random >> 63) != 0 ? magnitude | sign : magnitude;
}

/* Slots are mostly not negative: a square root of a negative second moment hides everything behind
 * one NaN. */
static void fill_array(enum hone_format format, struct array *array, size_t n, enum fill fill,
                       bool slot, uint64_t *state)
{
    const uint64_t sign = (uint64_t)1 << (hone_format_size(format) * 8 - 1);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = fill_bits(format, fill, state);
        if (slot && i % 8 != 3)
            bits &= ~sign;
        write_bits(format, array->data, i, bits);
    }
}

void arrays_fill(struct arrays *arrays, enum fill fill, uint64_t seed)
{
    uint64_t state = seed;
    fill_array(arrays->formats.param, &arrays->param, arrays->n, fill, false, &state);
    fill_array(arrays->formats.grad, &arrays->grad, arrays->n, fill, false, &state);
    for (int k = 0; k < arrays->formats.slot_count; k++)
        if ((arrays->formats.present >> k & 1u) != 0)
            fill_array(arrays->formats.slot[k], &arrays->slot[k], arrays->n, fill, true, &state);
    if (arrays->formats.has_extra)
        fill_array(arrays->formats.extra_format, &arrays->extra, arrays->n, fill, false, &state);
    for (size_t word = 0; word < MASK_WORDS(arrays->n); word++) {
        const uint32_t random = (uint32_t)next_random(&state);
        memcpy(arrays->mask.data + word * sizeof random, &random, sizeof random);
    }
}

void arrays_fill_mask(struct arrays *arrays, uint32_t word)
{
    for (size_t i = 0; i < MASK_WORDS(arrays->n); i++)
        memcpy(arrays->mask.data + i * sizeof word, &word, sizeof word);
}

/* ---- layout ---------------------------------------------------------------------------------- */

static struct array *array_at(struct arrays *arrays, int index)
{
    return index == 0   ? &arrays->param
           : index == 1 ? &arrays->grad
           : index == 2 ? &arrays->mask
           : index == 3 ? &arrays->extra
                        : &arrays->slot[index - 4];
}

#define ARRAY_COUNT (4 + HONE_MAX_SLOTS)

struct arrays *arrays_new(void)
{
    struct arrays *const arrays = calloc(1, sizeof *arrays);
    const size_t room = (HONE_CHUNK + 8) * sizeof(double) + 2 * CANARY_SIZE;
    for (int k = 0; arrays != NULL && k < ARRAY_COUNT; k++)
        array_at(arrays, k)->block = aligned_alloc(64, room / 64 * 64);
    for (int k = 0; arrays != NULL && k < ARRAY_COUNT; k++)
        if (array_at(arrays, k)->block == NULL) {
            fputs("kernel tests: out of memory\n", stderr);
            exit(2);
        }
    return arrays;
}

void arrays_free(struct arrays *arrays)
{
    for (int k = 0; arrays != NULL && k < ARRAY_COUNT; k++)
        free(array_at(arrays, k)->block);
    free(arrays);
}

static void array_place(struct array *array, size_t element_size, size_t n, size_t offset)
{
    array->size = n * element_size;
    array->data = array->block + CANARY_SIZE + offset * element_size;
    array->block_size = CANARY_SIZE + offset * element_size + array->size + CANARY_SIZE;
    memset(array->block, CANARY, array->block_size);
}

void arrays_place(struct arrays *arrays, const struct formats *formats, size_t n, size_t offset)
{
    arrays->formats = *formats;
    arrays->n = n;
    array_place(&arrays->param, hone_format_size(formats->param), n, offset % 4);
    array_place(&arrays->grad, hone_format_size(formats->grad), n, offset * 2 % 4);
    array_place(&arrays->mask, sizeof(uint32_t), MASK_WORDS(n), offset % 4);
    array_place(&arrays->extra, hone_format_size(formats->extra_format), n, offset * 3 % 4);
    for (int k = 0; k < formats->slot_count; k++) {
        const size_t past = offset * (size_t)(3 + k) % 4;
        array_place(&arrays->slot[k], hone_format_size(formats->slot[k]), n, past);
    }
}

static void array_copy(struct array *to, const struct array *from)
{
    to->size = from->size;
    to->data = to->block + (from->data - from->block);
    to->block_size = from->block_size;
    memcpy(to->block, from->block, from->block_size);
}

void arrays_copy(struct arrays *to, const struct arrays *from)
{
    to->formats = from->formats;
    to->n = from->n;
    array_copy(&to->param, &from->param);
    array_copy(&to->grad, &from->grad);
    array_copy(&to->mask, &from->mask);
    array_copy(&to->extra, &from->extra);
    for (int k = 0; k < from->formats.slot_count; k++)
        array_copy(&to->slot[k], &from->slot[k]);
}

struct hone_chunk arrays_chunk(const struct arrays *arrays, enum hone_form form)
{
    struct hone_chunk chunk = {.param = arrays->param.data,
                               .grad = arrays->grad.data,
                               .extra = arrays->formats.has_extra ? arrays->extra.data : NULL,
                               .noise = 0x5eed,
                               .n = arrays->n};
    for (int k = 0; k < arrays->formats.slot_count; k++)
        chunk.slot[k] = (arrays->formats.present >> k & 1u) != 0 ? arrays->slot[k].data : NULL;
    chunk.mask =
        form == HONE_FORM_MASKED ? (const uint32_t *)(const void *)arrays->mask.data : NULL;
    return chunk;
}

struct hone_chunk chunk_part(const struct arrays *arrays, const struct hone_chunk *whole,
                             size_t first, size_t n)
{
    const struct formats *const formats = &arrays->formats;
    struct hone_chunk part = *whole;
    part.param = (unsigned char *)whole->param + first * hone_format_size(formats->param);
    part.grad = (const unsigned char *)whole->grad + first * hone_format_size(formats->grad);
    for (int k = 0; k < formats->slot_count; k++)
        if (whole->slot[k] != NULL)
            part.slot[k] =
                (unsigned char *)whole->slot[k] + first * hone_format_size(formats->slot[k]);
    if (whole->extra != NULL)
        part.extra =
            (unsigned char *)whole->extra + first * hone_format_size(formats->extra_format);
    part.mask = whole->mask == NULL ? NULL : whole->mask + first / 32;
    part.n = n;
    return part;
}

/* ---- comparisons ----------------------------------------------------------------------------- */

static bool canaries_hold(const struct array *array)
{
    const unsigned char *const end = array->block + array->block_size;
    for (const unsigned char *byte = array->block; byte < array->data; byte++)
        if (*byte != CANARY)
            return false;
    for (const unsigned char *byte = array->data + array->size; byte < end; byte++)
        if (*byte != CANARY)
            return false;
    return true;
}

bool check_canaries(const struct arrays *arrays, const char *label)
{
    bool ok = check(canaries_hold(&arrays->param), "%s: wrote outside the parameter", label);
    ok &= check(canaries_hold(&arrays->grad), "%s: wrote outside the gradient", label);
    ok &= check(canaries_hold(&arrays->mask), "%s: wrote outside the mask", label);
    ok &= check(canaries_hold(&arrays->extra), "%s: wrote outside the extra array", label);
    for (int k = 0; k < arrays->formats.slot_count; k++)
        ok &= check(canaries_hold(&arrays->slot[k]), "%s: wrote outside slot %d", label, k);
    return ok;
}

bool check_values(enum hone_format format, const void *actual, const void *expected, size_t n,
                  const char *label, const char *what)
{
    if (memcmp(actual, expected, n * hone_format_size(format)) == 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        const uint64_t a = read_bits(format, actual, i), e = read_bits(format, expected, i);
        if (a != e && !(is_nan_bits(format, a) && is_nan_bits(format, e)))
            return check(false, "%s: %s element %zu of %zu is 0x%llx, expected 0x%llx", label, what,
                         i, n, (unsigned long long)a, (unsigned long long)e);
    }
    return true;
}

bool check_equal(const struct arrays *actual, const struct arrays *expected, const char *label)
{
    const struct formats *const formats = &expected->formats;
    bool ok = check_values(formats->param, actual->param.data, expected->param.data, expected->n,
                           label, "parameter");
    if (formats->has_extra)
        ok &= check_values(formats->extra_format, actual->extra.data, expected->extra.data,
                           expected->n, label, "extra");
    for (int k = 0; k < formats->slot_count; k++)
        if ((formats->present >> k & 1u) != 0) {
            char what[16];
            snprintf(what, sizeof what, "slot %d", k);
            ok &= check_values(formats->slot[k], actual->slot[k].data, expected->slot[k].data,
                               expected->n, label, what);
        }
    return ok;
}

bool check_gradient(const struct arrays *actual, const struct arrays *before, const char *label)
{
    return check(memcmp(actual->grad.data, before->grad.data, before->grad.size) == 0 &&
                     memcmp(actual->mask.data, before->mask.data, before->mask.size) == 0,
                 "%s: the gradient or the mask was written to", label);
}

/* FNV-1a over the patterns, every NaN as one. */
static uint64_t digest_array(enum hone_format format, const struct array *array, size_t n,
                             uint64_t digest)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = read_bits(format, array->data, i);
        digest = (digest ^ (is_nan_bits(format, bits) ? ~(uint64_t)0 : bits)) * 0x100000001b3u;
    }
    return digest;
}

uint64_t arrays_digest(const struct arrays *arrays, uint64_t digest)
{
    digest = digest_array(arrays->formats.param, &arrays->param, arrays->n, digest);
    if (arrays->formats.has_extra)
        digest = digest_array(arrays->formats.extra_format, &arrays->extra, arrays->n, digest);
    for (int k = 0; k < arrays->formats.slot_count; k++)
        if ((arrays->formats.present >> k & 1u) != 0)
            digest = digest_array(arrays->formats.slot[k], &arrays->slot[k], arrays->n, digest);
    return digest;
}
