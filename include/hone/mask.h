/* SPDX-License-Identifier: Apache-2.0 */
/* Masks: one bit per element of a tensor, which chooses between two learning rates; and sets of
 * masks by name, as files hold them. docs/masks.md describes the files.
 *
 *   hone_mask_set_load(&set, ctx, "golden_masks.pt", NULL, &err);
 *   const hone_mask *mask = hone_mask_set_mask(set, hone_mask_set_find(set, "layer1.weight"));
 *   printf("%lld of %lld\n", (long long)hone_mask_count(mask), (long long)hone_mask_numel(mask));
 */
#ifndef HONE_MASK_H
#define HONE_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hone/optimizer.h>
#include <hone/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HONE_MASK_MAX_NDIM 64

/* A mask never changes after its creation: any number of owners and threads may share one. */
typedef struct hone_mask hone_mask;

/* ---- making masks --------------------------------------------------------------------------- */

/* Every function below writes a new mask to `*mask` only if it succeeds. The context is borrowed
 * until the mask is freed; shapes and tensors are borrowed for the call. Tensors are on the CPU, of
 * any alignment. Errors all of them share: ARGUMENT for a NULL, SHAPE for a negative or overflowing
 * shape or more than HONE_MASK_MAX_NDIM dimensions, DTYPE, MEMORY. */

/* All true or all false. */
HONE_API hone_status hone_mask_filled(hone_mask **mask, const hone_context *context, int32_t ndim,
                                      const int64_t *shape, bool value, hone_error *error);

/* True where a BOOL or U8 element is not 0. The tensor may have any strides. */
HONE_API hone_status hone_mask_from_dense(hone_mask **mask, const hone_context *context,
                                          const hone_tensor *values, hone_error *error);

/* From coordinates: `indices` is [ndim, n], I32 or I64, column j the position of entry j; `values`
 * (may be NULL: all are true) is [n] of any dtype. True where an entry with a value other than 0
 * stands; positions may repeat and come in any order. Both may have any strides. Errors: RANGE for
 * a coordinate outside the shape, which is named. */
HONE_API hone_status hone_mask_from_coo(hone_mask **mask, const hone_context *context, int32_t ndim,
                                        const int64_t *shape, const hone_tensor *indices,
                                        const hone_tensor *values, hone_error *error);

/* From row-major positions: `positions` is [n], I32 or I64, in any order; they may repeat. Errors:
 * RANGE for a position outside 0 to numel - 1. */
HONE_API hone_status hone_mask_from_positions(hone_mask **mask, const hone_context *context,
                                              int32_t ndim, const int64_t *shape,
                                              const hone_tensor *positions, hone_error *error);

/* From the words of hone_mask_words: a contiguous U32 tensor [(numel + 31) / 32]. Errors: RANGE
 * when a bit beyond the last element is set. */
HONE_API hone_status hone_mask_from_words(hone_mask **mask, const hone_context *context,
                                          int32_t ndim, const int64_t *shape,
                                          const hone_tensor *words, hone_error *error);

/* The k elements of largest absolute value; among equals those of lowest position. k is between 0
 * and numel (RANGE). `values` is F32, F64, BF16 or F16, contiguous; infinity is the largest value;
 * a NaN has no place in the order and is NONFINITE. Linear time, no copy of the values. */
HONE_API hone_status hone_mask_top_count(hone_mask **mask, const hone_context *context,
                                         const hone_tensor *values, int64_t k, hone_error *error);

/* The same with k = max(1, ceil(fraction * numel)), 0 when there are no elements; 0 <= fraction <=
 * 1 (RANGE). */
HONE_API hone_status hone_mask_top_fraction(hone_mask **mask, const hone_context *context,
                                            const hone_tensor *values, double fraction,
                                            hone_error *error);

/* True where |value| >= threshold; threshold >= 0 (RANGE). A NaN is false. Values as above. */
HONE_API hone_status hone_mask_from_threshold(hone_mask **mask, const hone_context *context,
                                              const hone_tensor *values, double threshold,
                                              hone_error *error);

typedef enum hone_mask_operation {
    HONE_MASK_AND,
    HONE_MASK_OR,
    HONE_MASK_XOR,
    HONE_MASK_AND_NOT /* in the first but not in the second */
} hone_mask_operation;

/* Element by element; the shapes must be equal (SHAPE). */
HONE_API hone_status hone_mask_combine(hone_mask **mask, const hone_mask *first,
                                       const hone_mask *second, hone_mask_operation operation,
                                       hone_error *error);
HONE_API hone_status hone_mask_not(hone_mask **mask, const hone_mask *of, hone_error *error);

/* One more owner of the same mask, who calls hone_mask_free too. Cannot fail. */
HONE_API hone_mask *hone_mask_share(const hone_mask *mask);
HONE_API void hone_mask_free(hone_mask *mask); /* NULL is accepted */

/* ---- reading masks -------------------------------------------------------------------------- */

HONE_API int32_t hone_mask_ndim(const hone_mask *mask);
HONE_API const int64_t *hone_mask_shape(const hone_mask *mask); /* lives as long as the mask */
HONE_API int64_t hone_mask_numel(const hone_mask *mask);
HONE_API int64_t hone_mask_count(const hone_mask *mask);  /* elements that are true; kept, exact */
HONE_API double hone_mask_density(const hone_mask *mask); /* count / numel; 0 without elements */
HONE_API bool hone_mask_get(const hone_mask *mask, int64_t position); /* false outside */

/* Same shape and same elements. */
HONE_API bool hone_mask_equal(const hone_mask *first, const hone_mask *second);
HONE_API bool hone_mask_has_shape(const hone_mask *mask, int32_t ndim, const int64_t *shape);

/* 64 bits of the shape and the elements, the same on every machine and in every version; how they
 * are mixed is in docs/masks.md. Reads the whole mask. No protection against forgery. */
HONE_API uint64_t hone_mask_hash(const hone_mask *mask);

/* Element i is bit i % 32 of word i / 32. (numel + 31) / 32 words, aligned to 64 bytes; bits beyond
 * the last element are 0. They live as long as the mask. */
HONE_API const uint32_t *hone_mask_words(const hone_mask *mask);
HONE_API int64_t hone_mask_word_count(const hone_mask *mask);

/* One byte per element, 0 or 1, row-major; `values` has room for numel. */
HONE_API hone_status hone_mask_to_dense(const hone_mask *mask, void *values, hone_error *error);

/* I32 when every position of the mask fits, else I64. */
HONE_API hone_dtype hone_mask_position_dtype(const hone_mask *mask);

/* Row-major positions of the true elements, ascending; `positions` has room for count numbers of
 * `dtype` (I32 or I64). Errors: RANGE when I32 is asked for and does not fit. */
HONE_API hone_status hone_mask_to_positions(const hone_mask *mask, hone_dtype dtype,
                                            void *positions, hone_error *error);

/* Coordinates [ndim, count] of the true elements, in ascending order of position. */
HONE_API hone_status hone_mask_to_coo(const hone_mask *mask, hone_dtype dtype, void *indices,
                                      hone_error *error);

/* ---- memory --------------------------------------------------------------------------------- */

/* Ways to hold a mask. n is the number of elements, t of those that are true. */
typedef enum hone_mask_form {
    HONE_MASK_BITMAP,   /* what hone keeps: ceil(n / 8) bytes at any density */
    HONE_MASK_DENSE,    /* one byte per element: n */
    HONE_MASK_COO_F32,  /* int64 coordinates and float32 values: 8 * ndim * t + 4 * t */
    HONE_MASK_COO_BOOL, /* int64 coordinates and bool values: 8 * ndim * t + t */
    HONE_MASK_COMPACT,  /* positions: 4 * t + 64, or 8 * t + 64 where int32 is too small */
    HONE_MASK_FORM_COUNT
} hone_mask_form;

typedef struct hone_mask_memory {
    hone_mask_form form;
    int64_t bytes;       /* what the elements take in that form */
    int64_t dense_bytes; /* what they take as one byte each, with which all is compared */
    int64_t saved_bytes; /* dense_bytes - bytes; negative when the form is the larger one */
    double saved_ratio;  /* saved_bytes / dense_bytes; 0 without elements */
} hone_mask_memory;

/* "bitmap", "dense", "coo_float32", "coo_bool", "compact_sparse"; NULL outside. */
HONE_API const char *hone_mask_form_name(hone_mask_form form);
HONE_API hone_mask_memory hone_mask_memory_as(const hone_mask *mask, hone_mask_form form);

/* ---- sets of masks -------------------------------------------------------------------------- */

typedef struct hone_mask_set hone_mask_set;

HONE_API hone_status hone_mask_set_create(hone_mask_set **set, const hone_context *context,
                                          hone_error *error);
HONE_API void hone_mask_set_free(hone_mask_set *set); /* NULL is accepted; shared masks live on */

/* Shares the mask under a name, which is copied. Errors: NAME when it is taken, empty or not UTF-8,
 * MEMORY. */
HONE_API hone_status hone_mask_set_add(hone_mask_set *set, const char *name, const hone_mask *mask,
                                       hone_error *error);

/* In the order they were added. The strings and masks are the set's. */
HONE_API int64_t hone_mask_set_count(const hone_mask_set *set);
HONE_API const char *hone_mask_set_name(const hone_mask_set *set, int64_t index); /* NULL outside */
HONE_API const hone_mask *hone_mask_set_mask(const hone_mask_set *set, int64_t index);
HONE_API int64_t hone_mask_set_find(const hone_mask_set *set, const char *name); /* -1 if none */

/* What all masks of a set take together. */
HONE_API hone_mask_memory hone_mask_set_memory_as(const hone_mask_set *set, hone_mask_form form);

/* Words that stand beside the masks, such as "kl_divergence". A note given again is replaced. */
HONE_API hone_status hone_mask_set_note(hone_mask_set *set, const char *key, const char *value,
                                        hone_error *error);
HONE_API int64_t hone_mask_set_note_count(const hone_mask_set *set);
HONE_API const char *hone_mask_set_note_key(const hone_mask_set *set, int64_t index);
HONE_API const char *hone_mask_set_note_value(const hone_mask_set *set, const char *key);

/* What a file's summary says of one mask. It is kept as found: it need not be true. */
typedef struct hone_mask_summary {
    int64_t active_count, total_count; /* -1 where the summary lacks the number */
    double density, sparsity;          /* NaN where the summary lacks the number */
} hone_mask_summary;

/* NULL when the file had no summary of that mask. */
HONE_API const hone_mask_summary *hone_mask_set_summary(const hone_mask_set *set, int64_t index);

/* Where the mask came from: how its file held it, HONE_MASK_BITMAP if it came from no file. */
HONE_API hone_mask_form hone_mask_set_form(const hone_mask_set *set, int64_t index);

/* The key the masks stood under: "masks", "intersection_masks", or NULL. */
HONE_API const char *hone_mask_set_key(const hone_mask_set *set);

typedef struct hone_mask_load_options {
    size_t struct_size;   /* set by hone_mask_load_options_init */
    int64_t memory_limit; /* bytes that a load may take beside the file; default 0: 1 GiB and 8
                             times the file's size */
} hone_mask_load_options;

HONE_API void hone_mask_load_options_init(hone_mask_load_options *options);

/* Reads a mask file: PyTorch's .pt in every layout of docs/masks.md, or safetensors. The file is
 * mapped; what it holds is told by its bytes, not its name. A .pt is interpreted, never executed.
 * Options may be NULL. Errors: IO, FORMAT (what is wrong and where), DTYPE, RANGE, SHAPE, MEMORY
 * when the limit would be passed. */
HONE_API hone_status hone_mask_set_load(hone_mask_set **set, const hone_context *context,
                                        const char *path, const hone_mask_load_options *options,
                                        hone_error *error);

/* The same over bytes in memory, which are borrowed for the call. */
HONE_API hone_status hone_mask_set_read(hone_mask_set **set, const hone_context *context,
                                        const void *bytes, size_t size,
                                        const hone_mask_load_options *options, hone_error *error);

/* Writes masks and notes atomically as a safetensors file in hone's own layout, each mask as words
 * or as positions, whichever is smaller. */
HONE_API hone_status hone_mask_set_save(const hone_mask_set *set, const char *path,
                                        hone_error *error);

/* ---- two learning rates inside one tensor ---------------------------------------------------- */

/* From the next step on, elements of the parameter under the mask move at the group's "masked_lr"
 * and the others at "lr" (both times the parameter's multiplier), for every rule that steps
 * elements; a rate of exactly 0 freezes its elements bit for bit while their states run on. Two
 * equal rates give the bits of no mask; one exception is "adamw_tf" at 0, whose decay knows no
 * rate: without a mask it decays, under one it is frozen. The mask is shared, not copied, and has
 * the parameter's shape; NULL takes it away. Errors: ARGUMENT, SHAPE, MEMORY. */
HONE_API hone_status hone_optimizer_set_mask(hone_optimizer *optimizer, int64_t index,
                                             const hone_mask *mask, hone_error *error);

/* What became of one name when masks met parameters. */
typedef enum hone_mask_match {
    HONE_MASK_MATCHED,
    HONE_MASK_WRONG_SHAPE,  /* the parameter stays without a mask */
    HONE_MASK_NO_PARAMETER, /* a mask of the set without a parameter of its name */
    HONE_MASK_NO_MASK       /* a parameter without a mask in the set */
} hone_mask_match;

/* Called once for each mask of the set, then once for each parameter without one. `name` is the
 * mask's or the parameter's; `index` the parameter's number or -1. */
typedef void hone_mask_match_fn(hone_mask_match match, const char *name, int64_t index, void *user);

/* Gives every parameter the mask of its name; where that is missing, also by name with a leading
 * "module." more or less, as torch's DDP adds it. `tell` (may be NULL) hears of every match and
 * mismatch. With `strict` anything but a match is an error that lists all of them (MISMATCH), and
 * nothing has changed. */
HONE_API hone_status hone_optimizer_set_masks(hone_optimizer *optimizer, const hone_mask_set *set,
                                              bool strict, hone_mask_match_fn *tell, void *user,
                                              hone_error *error);

/* Rates and counts of a group; parameters without a mask count as unmasked. */
typedef struct hone_lr_info {
    double masked_lr, unmasked_lr; /* as they stand now */
    int64_t masked_parameters;     /* elements under a mask, exactly */
    int64_t unmasked_parameters;   /* all others */
    int64_t masks;                 /* parameters that have one */
} hone_lr_info;

HONE_API hone_status hone_optimizer_lr_info(const hone_optimizer *optimizer, int group,
                                            hone_lr_info *info, hone_error *error);

#ifdef __cplusplus
}
#endif

#endif
