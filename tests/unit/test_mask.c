/* SPDX-License-Identifier: Apache-2.0 */
/* Every way into and out of a mask, against a plain array of bytes, over ranks 0 to 4, lengths from
 * 0 to beyond several chunks and densities from none to all; and what must be refused. */
#include "unit/mask_model.h"

/* ---- dense ---------------------------------------------------------------------------------- */

static void dense_there_and_back(void **state)
{
    (void)state;
    for (int number = 0; number < MODEL_CASES; number++) {
        struct model model = model_case(number);
        hone_mask *mask = mask_of(&model);
        assert_mask_is(mask, &model);
        unsigned char *back = malloc((size_t)model.numel + 1);
        back[model.numel] = 77;
        assert_int_equal(hone_mask_to_dense(mask, back, NULL), HONE_OK);
        assert_memory_equal(back, model.values, (size_t)model.numel);
        assert_int_equal(back[model.numel], 77);
        free(back);
        hone_mask_free(mask);
        free(model.values);
    }
}

static void any_other_byte_than_zero_is_true(void **state)
{
    (void)state;
    struct model model = model_start(1, (int64_t[]){256});
    unsigned char bytes[256];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (unsigned char)i;
        model.values[i] = i != 0;
    }
    hone_mask *mask = NULL;
    const hone_tensor tensor = hone_tensor_view(bytes, HONE_U8, 1, model.shape);
    assert_int_equal(hone_mask_from_dense(&mask, context, &tensor, NULL), HONE_OK);
    assert_mask_is(mask, &model);
    hone_mask_free(mask);
    free(model.values);
}

/* Random strides over one block: transposed, reversed, repeated and with gaps. */
static void dense_with_any_strides(void **state)
{
    (void)state;
    unsigned char block[40000];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = random_below(3) == 0;
    for (int number = 0; number < 200; number++) {
        int64_t shape[4], strides[4], offset = 20000;
        const int32_t ndim = number % 5;
        for (int32_t d = 0; d < ndim; d++) {
            shape[d] = number == 7 ? 20 : random_below(12);
            strides[d] = random_below(800) - 400;
        }
        struct model model = model_start(ndim, shape);
        for (int64_t i = 0; i < model.numel; i++) {
            int64_t rest = i, at = offset;
            for (int32_t d = ndim - 1; d >= 0; d--) {
                at += rest % shape[d] * strides[d];
                rest /= shape[d];
            }
            model.values[i] = block[at];
        }
        hone_tensor tensor = hone_tensor_view(block + offset, HONE_BOOL, ndim, shape);
        tensor.strides = strides;
        hone_mask *mask = NULL;
        assert_int_equal(hone_mask_from_dense(&mask, context, &tensor, NULL), HONE_OK);
        assert_mask_is(mask, &model);
        hone_mask_free(mask);
        free(model.values);
    }
}

static void filled(void **state)
{
    (void)state;
    for (int number = 0; number < MODEL_CASES; number++) {
        struct model model = model_case(number);
        for (int value = 0; value < 2; value++) {
            memset(model.values, value, (size_t)model.numel);
            hone_mask *mask = NULL;
            assert_int_equal(
                hone_mask_filled(&mask, context, model.ndim, model.shape, value != 0, NULL),
                HONE_OK);
            assert_mask_is(mask, &model);
            hone_mask_free(mask);
        }
        free(model.values);
    }
}

/* ---- positions and coordinates -------------------------------------------------------------- */

static void store(void *numbers, hone_dtype dtype, int64_t index, int64_t value)
{
    if (dtype == HONE_I64)
        ((int64_t *)numbers)[index] = value;
    else
        ((int32_t *)numbers)[index] = (int32_t)value;
}

static int64_t load(const void *numbers, hone_dtype dtype, int64_t index)
{
    return dtype == HONE_I64 ? ((const int64_t *)numbers)[index]
                             : ((const int32_t *)numbers)[index];
}

/* The true positions in random order, every third of them twice. */
static int64_t shuffled(const struct model *model, int64_t *positions)
{
    int64_t n = 0;
    for (int64_t i = 0; i < model->numel; i++)
        for (int repeat = 0; model->values[i] && repeat < (i % 3 == 0 ? 2 : 1); repeat++)
            positions[n++] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t other = random_below(i + 1), kept = positions[i];
        positions[i] = positions[other];
        positions[other] = kept;
    }
    return n;
}

static void positions_there_and_back(void **state)
{
    (void)state;
    for (int number = 0; number < MODEL_CASES; number++) {
        struct model model = model_case(number);
        const hone_dtype dtype = number % 2 == 0 ? HONE_I32 : HONE_I64;
        int64_t *order = malloc((size_t)(2 * model.numel + 1) * 8),
                *numbers = malloc((size_t)(2 * model.numel + 1) * 8);
        const int64_t n = shuffled(&model, order);
        for (int64_t j = 0; j < n; j++)
            store(numbers, dtype, j, order[j]);
        hone_mask *mask = NULL;
        const hone_tensor tensor = hone_tensor_view(numbers, dtype, 1, &n);
        assert_int_equal(
            hone_mask_from_positions(&mask, context, model.ndim, model.shape, &tensor, NULL),
            HONE_OK);
        assert_mask_is(mask, &model);
        assert_int_equal(hone_mask_position_dtype(mask), HONE_I32);
        assert_int_equal(hone_mask_to_positions(mask, dtype, numbers, NULL), HONE_OK);
        int64_t j = 0;
        for (int64_t i = 0; i < model.numel; i++)
            if (model.values[i])
                assert_int_equal(load(numbers, dtype, j++), i);
        assert_int_equal(j, hone_mask_count(mask));
        hone_mask_free(mask);
        free(order);
        free(numbers);
        free(model.values);
    }
}

static void split(const struct model *model, int64_t position, int64_t *index)
{
    for (int32_t d = model->ndim - 1; d >= 0; d--) {
        index[d] = position % model->shape[d];
        position /= model->shape[d];
    }
}

/* Coordinates in random order and with repeats; where the model is false, an entry of value 0. */
static void coordinates_there_and_back(void **state)
{
    (void)state;
    for (int number = 0; number < MODEL_CASES; number++) {
        struct model model = model_case(number);
        const hone_dtype dtype = number % 2 == 0 ? HONE_I64 : HONE_I32;
        int64_t *order = malloc((size_t)(2 * model.numel + 1) * 8);
        const int64_t n_true = shuffled(&model, order), zeros = model.numel < 5 ? 0 : 3;
        const int64_t n = n_true + zeros, shape[] = {model.ndim, n};
        int64_t *indices = malloc((size_t)(4 * n + 1) * 8), index[4];
        float *values = malloc((size_t)(n + 1) * sizeof *values);
        for (int64_t j = 0; j < n; j++) {
            split(&model, j < n_true ? order[j] : random_below(model.numel), index);
            for (int32_t d = 0; d < model.ndim; d++)
                store(indices, dtype, d * n + j, index[d]);
            values[j] = j < n_true ? -0.5f : j % 2 == 0 ? 0.0f : -0.0f;
        }
        const hone_tensor index_view = hone_tensor_view(indices, dtype, 2, shape);
        const hone_tensor value_view = hone_tensor_view(values, HONE_F32, 1, &shape[1]);
        hone_mask *mask = NULL;
        assert_int_equal(hone_mask_from_coo(&mask, context, model.ndim, model.shape, &index_view,
                                            &value_view, NULL),
                         HONE_OK);
        assert_mask_is(mask, &model);

        const int64_t count = hone_mask_count(mask);
        assert_int_equal(hone_mask_to_coo(mask, dtype, indices, NULL), HONE_OK);
        int64_t j = 0;
        for (int64_t i = 0; i < model.numel; i++) {
            if (!model.values[i])
                continue;
            split(&model, i, index);
            for (int32_t d = 0; d < model.ndim; d++)
                assert_int_equal(load(indices, dtype, d * count + j), index[d]);
            j++;
        }
        hone_mask_free(mask);
        free(order);
        free(indices);
        free(values);
        free(model.values);
    }
}

/* Without values all entries are true; a transposed [n, ndim] list is read through its strides, and
 * numbers need no alignment. */
static void coordinates_with_strides(void **state)
{
    (void)state;
    char bytes[1 + 6 * sizeof(int64_t)];
    const int64_t pairs[] = {0, 2, 1, 0, 1, 3}, shape[] = {2, 3}, strides[] = {1, 2};
    memcpy(bytes + 1, pairs, sizeof pairs);
    hone_tensor indices = hone_tensor_view(bytes + 1, HONE_I64, 2, shape);
    indices.strides = strides;
    hone_mask *mask = NULL;
    const int64_t mask_shape[] = {2, 4};
    assert_int_equal(hone_mask_from_coo(&mask, context, 2, mask_shape, &indices, NULL, NULL),
                     HONE_OK);
    assert_int_equal(hone_mask_words(mask)[0], 1u << 2 | 1u << 4 | 1u << 7);
    hone_mask_free(mask);
}

/* One entry of each dtype: zero of either sign is false, the smallest other value true. */
static void values_of_every_dtype(void **state)
{
    (void)state;
    const int64_t shape[] = {1, 1}, one = 1;
    const int32_t zero_index = 0;
    const hone_tensor indices = hone_tensor_view((void *)&zero_index, HONE_I32, 2, shape);
    for (int dtype = 0; dtype < HONE_DTYPE_COUNT; dtype++) {
        unsigned char value[16] = {0};
        const hone_tensor values = hone_tensor_view(value, (hone_dtype)dtype, 1, &one);
        const size_t size = hone_dtype_size((hone_dtype)dtype);
        const bool real = dtype <= HONE_F16, complex = dtype == HONE_C64 || dtype == HONE_C128;
        for (int pass = 0; pass < 3; pass++) {
            memset(value, 0, sizeof value);
            if (pass == 1)
                value[complex ? size / 2 : 0] = 1;
            if (pass == 2) {
                value[size - 1] = 0x80; /* the sign of a float, the top bit of an integer */
                if (complex)
                    value[size / 2 - 1] = 0x80;
            }
            hone_mask *mask = NULL;
            assert_int_equal(hone_mask_from_coo(&mask, context, 1, &one, &indices, &values, NULL),
                             HONE_OK);
            const bool expected = pass == 1 || (pass == 2 && !real && !complex);
            assert_int_equal(hone_mask_count(mask), expected);
            hone_mask_free(mask);
        }
    }
}

/* Beyond 2^31 positions int32 is too small for a mask's positions. */
static void positions_beyond_int32(void **state)
{
    (void)state;
    const int64_t shape[] = {3, INT64_C(1) << 30}, last = 3 * (INT64_C(1) << 30) - 1, one = 1;
    const hone_tensor positions = hone_tensor_view((void *)&last, HONE_I64, 1, &one);
    hone_mask *mask = NULL;
    assert_int_equal(hone_mask_from_positions(&mask, context, 2, shape, &positions, NULL), HONE_OK);
    assert_int_equal(hone_mask_count(mask), 1);
    assert_int_equal(hone_mask_position_dtype(mask), HONE_I64);
    int64_t back = 0;
    assert_refused(hone_mask_to_positions(mask, HONE_I32, &back, &error), HONE_ERROR_RANGE,
                   "hone_mask_to_positions: numbers go up to 3221225471, more than I32 holds; ask "
                   "for I64");
    assert_int_equal(hone_mask_to_positions(mask, HONE_I64, &back, NULL), HONE_OK);
    assert_int_equal(back, last);
    int32_t pair[2];
    assert_int_equal(hone_mask_to_coo(mask, HONE_I32, pair, NULL), HONE_OK);
    assert_int_equal(pair[0], 2);
    assert_int_equal(pair[1], (1 << 30) - 1);
    hone_mask_free(mask);
}

/* ---- words, sharing ------------------------------------------------------------------------- */

static void words_there_and_back(void **state)
{
    (void)state;
    for (int number = 0; number < MODEL_CASES; number++) {
        struct model model = model_case(number);
        hone_mask *mask = mask_of(&model), *copy = NULL;
        const int64_t count = hone_mask_word_count(mask);
        const hone_tensor words =
            hone_tensor_view((void *)(uintptr_t)hone_mask_words(mask), HONE_U32, 1, &count);
        assert_int_equal(
            hone_mask_from_words(&copy, context, model.ndim, model.shape, &words, NULL), HONE_OK);
        assert_mask_is(copy, &model);
        assert_true(hone_mask_equal(mask, copy));
        hone_mask_free(copy);
        hone_mask_free(mask);
        free(model.values);
    }
}

static void shared_masks_live_until_the_last_owner(void **state)
{
    (void)state;
    hone_mask *mask = NULL;
    const int64_t shape[] = {100};
    assert_int_equal(hone_mask_filled(&mask, context, 1, shape, true, NULL), HONE_OK);
    hone_mask *other = hone_mask_share(mask);
    assert_ptr_equal(other, mask);
    hone_mask_free(mask);
    assert_int_equal(hone_mask_count(other), 100);
    hone_mask_free(other);
    hone_mask_free(NULL);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void refuses_shapes(void **state)
{
    (void)state;
    hone_mask *mask = NULL;
    const int64_t negative[] = {2, -1}, huge[] = {INT64_C(1) << 40, INT64_C(1) << 40};
    assert_refused(hone_mask_filled(&mask, context, 2, negative, true, &error), HONE_ERROR_SHAPE,
                   "the mask: the shape [2,-1] has a negative length or more than 2^62 elements");
    assert_refused(
        hone_mask_filled(&mask, context, 2, huge, true, &error), HONE_ERROR_SHAPE,
        "the mask: the shape [1099511627776,1099511627776] has a negative length or more "
        "than 2^62 elements");
    assert_refused(hone_mask_filled(&mask, context, 65, huge, true, &error), HONE_ERROR_SHAPE,
                   "the mask: it has 65 dimensions; allowed: 0 to 64");
    assert_refused(hone_mask_filled(&mask, context, 1, NULL, true, &error), HONE_ERROR_ARGUMENT,
                   "the mask: the shape is NULL");
    assert_refused(hone_mask_filled(NULL, context, 1, huge, true, &error), HONE_ERROR_ARGUMENT,
                   "hone_mask_filled: mask is NULL");
    assert_null(mask);
}

static void refuses_positions(void **state)
{
    (void)state;
    hone_mask *mask = NULL;
    const int64_t shape[] = {6, 5}, two = 2;
    int32_t numbers[] = {3, 30};
    hone_tensor positions = hone_tensor_view(numbers, HONE_I32, 1, &two);
    assert_refused(hone_mask_from_positions(&mask, context, 2, shape, &positions, &error),
                   HONE_ERROR_RANGE,
                   "positions: number 1 is 30; a mask of shape [6,5] has the positions from 0 to "
                   "below 30");
    numbers[1] = -1;
    assert_refused(hone_mask_from_positions(&mask, context, 2, shape, &positions, &error),
                   HONE_ERROR_RANGE,
                   "positions: number 1 is -1; a mask of shape [6,5] has the positions from 0 to "
                   "below 30");
    positions.dtype = HONE_F32;
    assert_refused(hone_mask_from_positions(&mask, context, 2, shape, &positions, &error),
                   HONE_ERROR_DTYPE, "positions: they are I32 or I64; this tensor is F32");
    positions = hone_tensor_view(numbers, HONE_I32, 2, shape);
    assert_refused(hone_mask_from_positions(&mask, context, 2, shape, &positions, &error),
                   HONE_ERROR_SHAPE, "positions: the shape is [6,5]; it must have 1 dimension");
    assert_null(mask);
}

static void refuses_coordinates(void **state)
{
    (void)state;
    hone_mask *mask = NULL;
    const int64_t shape[] = {6, 5}, index_shape[] = {2, 2}, three = 3;
    int64_t numbers[] = {3, 5, 4, 5};
    float values[3] = {1, 1, 1};
    hone_tensor indices = hone_tensor_view(numbers, HONE_I64, 2, index_shape);
    const hone_tensor stored = hone_tensor_view(values, HONE_F32, 1, &three);
    assert_refused(hone_mask_from_coo(&mask, context, 2, shape, &indices, NULL, &error),
                   HONE_ERROR_RANGE,
                   "indices: entry 1 is 5 in dimension 1, which goes from 0 to below 5");
    numbers[2] = -1;
    numbers[3] = 4;
    assert_refused(hone_mask_from_coo(&mask, context, 2, shape, &indices, NULL, &error),
                   HONE_ERROR_RANGE,
                   "indices: entry 0 is -1 in dimension 1, which goes from 0 to below 5");
    assert_refused(hone_mask_from_coo(&mask, context, 1, shape, &indices, NULL, &error),
                   HONE_ERROR_SHAPE,
                   "indices: the shape is [2,2]; a mask of 1 dimension needs as many rows");
    assert_refused(hone_mask_from_coo(&mask, context, 2, shape, &indices, &stored, &error),
                   HONE_ERROR_SHAPE, "values: the shape is [3]; 2 indices need [2]");
    assert_null(mask);
}

static void refuses_words_and_dense(void **state)
{
    (void)state;
    hone_mask *mask = NULL;
    const int64_t shape[] = {33}, one = 1, two = 2;
    uint32_t numbers[] = {1, 2};
    hone_tensor words = hone_tensor_view(numbers, HONE_U32, 1, &two);
    assert_refused(hone_mask_from_words(&mask, context, 1, shape, &words, &error), HONE_ERROR_RANGE,
                   "words: the last one is 0x00000002; bits beyond the last element must be 0, and "
                   "it holds 1 elements");
    words.shape = &one;
    assert_refused(hone_mask_from_words(&mask, context, 1, shape, &words, &error), HONE_ERROR_SHAPE,
                   "words: the shape is [1]; a mask of shape [33] needs [2]");
    words.dtype = HONE_I32;
    assert_refused(hone_mask_from_words(&mask, context, 1, shape, &words, &error), HONE_ERROR_DTYPE,
                   "words: they are U32; this tensor is I32");
    assert_refused(hone_mask_from_dense(&mask, context, &words, &error), HONE_ERROR_DTYPE,
                   "values: a dense mask is BOOL or U8; this tensor is I32");
    words.data = NULL;
    assert_refused(hone_mask_from_dense(&mask, context, &words, &error), HONE_ERROR_ARGUMENT,
                   "values: data is NULL for 1 elements");
    assert_null(mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_there_and_back),
        cmocka_unit_test(any_other_byte_than_zero_is_true),
        cmocka_unit_test(dense_with_any_strides),
        cmocka_unit_test(filled),
        cmocka_unit_test(positions_there_and_back),
        cmocka_unit_test(coordinates_there_and_back),
        cmocka_unit_test(coordinates_with_strides),
        cmocka_unit_test(values_of_every_dtype),
        cmocka_unit_test(positions_beyond_int32),
        cmocka_unit_test(words_there_and_back),
        cmocka_unit_test(shared_masks_live_until_the_last_owner),
        cmocka_unit_test(refuses_shapes),
        cmocka_unit_test(refuses_positions),
        cmocka_unit_test(refuses_coordinates),
        cmocka_unit_test(refuses_words_and_dense),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
