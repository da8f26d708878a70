/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of masks share: a context, random numbers, shapes, and the plain array of bytes
 * that every mask is compared with. */
#ifndef HONE_TESTS_MASK_MODEL_H
#define HONE_TESTS_MASK_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hone/hone.h>

#define LENGTH(array) (int)(sizeof(array) / sizeof(*(array)))

static hone_context *context;
static uint64_t random_state;

static int setup(void **state)
{
    (void)state;
    random_state = 1;
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = 3;
    return hone_context_create(&context, &options, NULL);
}

static int teardown(void **state)
{
    (void)state;
    hone_context_free(context);
    return 0;
}

static inline uint64_t random_number(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 33;
}

static inline int64_t random_below(int64_t limit)
{
    return (int64_t)(random_number() % (uint64_t)limit);
}

struct model {
    int32_t ndim;
    int64_t shape[4];
    int64_t numel;
    unsigned char *values; /* 0 or 1 */
};

static inline struct model model_start(int32_t ndim, const int64_t *shape)
{
    struct model model = {.ndim = ndim, .numel = 1};
    for (int32_t d = 0; d < ndim; d++) {
        model.shape[d] = shape[d];
        model.numel *= shape[d];
    }
    model.values = calloc((size_t)model.numel + 1, 1);
    assert_non_null(model.values);
    return model;
}

/* Case number `number` of a list that holds every rank from 0 to 4, the lengths 0 to 65, lengths
 * around a chunk, and for each a density from none to all. */
#define MODEL_CASES 260
static inline struct model model_case(int number)
{
    static const int64_t large[] = {8191, 8192, 8193, 70001, (1 << 20) + 9000};
    int64_t shape[4];
    int32_t ndim = 1;
    if (number < 66) {
        shape[0] = number;
    } else if (number < 71) {
        shape[0] = large[number - 66];
    } else {
        ndim = number % 5;
        for (int32_t d = 0; d < ndim; d++)
            shape[d] = random_below(number % 31 == 0 ? 4 : 13) + (number % 31 != 0);
    }
    struct model model = model_start(ndim, shape);
    static const int tenths[] = {0, 10, 5, 1, 9};
    for (int64_t i = 0; i < model.numel; i++)
        model.values[i] = random_below(10) < tenths[number % 7 % 5];
    return model;
}

static inline int64_t model_count(const struct model *model)
{
    int64_t count = 0;
    for (int64_t i = 0; i < model->numel; i++)
        count += model->values[i];
    return count;
}

/* Every question a mask can be asked, against the model's answer. */
static inline void assert_mask_is(const hone_mask *mask, const struct model *model)
{
    assert_non_null(mask);
    assert_int_equal(hone_mask_ndim(mask), model->ndim);
    assert_true(hone_mask_has_shape(mask, model->ndim, model->shape));
    assert_int_equal(hone_mask_numel(mask), model->numel);
    assert_int_equal(hone_mask_count(mask), model_count(model));
    const double density =
        model->numel == 0 ? 0 : (double)model_count(model) / (double)model->numel;
    assert_true(hone_mask_density(mask) == density);
    int64_t wrong = 0;
    for (int64_t i = 0; i < model->numel; i++)
        wrong += hone_mask_get(mask, i) != model->values[i];
    assert_int_equal(wrong, 0);
    assert_false(hone_mask_get(mask, -1));
    assert_false(hone_mask_get(mask, model->numel));
    assert_int_equal(hone_mask_word_count(mask), (model->numel + 31) / 32);
    const uint32_t *words = hone_mask_words(mask);
    assert_int_equal((uintptr_t)words % 64, 0);
    for (int64_t i = 0; i < 32 * hone_mask_word_count(mask); i++)
        wrong += (words[i / 32] >> i % 32 & 1) != (i < model->numel ? model->values[i] : 0);
    assert_int_equal(wrong, 0);
}

static inline hone_mask *mask_of(const struct model *model)
{
    hone_mask *mask = NULL;
    const hone_tensor tensor =
        hone_tensor_view(model->values, HONE_BOOL, model->ndim, model->shape);
    assert_int_equal(hone_mask_from_dense(&mask, context, &tensor, NULL), HONE_OK);
    return mask;
}

#define assert_refused(call, expected_status, sentence)  \
    do {                                                 \
        hone_error error = {.status = HONE_OK};          \
        assert_int_equal(call, expected_status);         \
        assert_int_equal(error.status, expected_status); \
        assert_string_equal(error.message, sentence);    \
    } while (0)

#endif
