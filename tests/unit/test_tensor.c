/* SPDX-License-Identifier: Apache-2.0 */
/* Views: dtypes, counts, and every reason to refuse one, as hone_optimizer_add gives it. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"

static void test_dtypes(void **state)
{
    (void)state;
    assert_int_equal(hone_dtype_size(HONE_F32), 4);
    assert_int_equal(hone_dtype_size(HONE_BF16), 2);
    assert_int_equal(hone_dtype_size(HONE_C128), 16);
    assert_int_equal(hone_dtype_size(HONE_BOOL), 1);
    assert_int_equal(hone_dtype_size(HONE_DTYPE_COUNT), 0);
    assert_int_equal(hone_dtype_size((hone_dtype)-1), 0);
    assert_string_equal(hone_dtype_name(HONE_F16), "F16");
    assert_string_equal(hone_dtype_name(HONE_DTYPE_COUNT), "?");
#define CHECK(name, bits, text)                                 \
    assert_int_equal(hone_dtype_size(HONE_##name) * 8, (bits)); \
    assert_string_equal(hone_dtype_name(HONE_##name), text);
    HONE_DTYPE_MAP(CHECK)
#undef CHECK
}

static int64_t numel(int32_t ndim, const int64_t *shape)
{
    const hone_tensor tensor = hone_tensor_view(NULL, HONE_F32, ndim, shape);
    return hone_tensor_numel(&tensor);
}

static void test_numel(void **state)
{
    (void)state;
    const int64_t large = (int64_t)1 << 31;
    assert_int_equal(numel(0, NULL), 1);
    assert_int_equal(numel(3, (int64_t[]){2, 3, 4}), 24);
    assert_int_equal(numel(2, (int64_t[]){0, 5}), 0);
    assert_int_equal(numel(2, (int64_t[]){5, -1}), -1);
    assert_int_equal(numel(2, (int64_t[]){0, -1}), -1);
    assert_true(numel(2, (int64_t[]){large, large}) == (int64_t)1 << 62);
    assert_int_equal(numel(2, (int64_t[]){large, large + 1}), -1);
    assert_int_equal(numel(3, (int64_t[]){INT64_MAX, INT64_MAX, INT64_MAX}), -1);
    assert_int_equal(numel(4, (int64_t[]){INT64_MAX, INT64_MAX, INT64_MAX, 0}), 0);
}

static void test_view(void **state)
{
    (void)state;
    float value;
    const int64_t shape[] = {1};
    const hone_tensor view = hone_tensor_view(&value, HONE_F32, 1, shape);
    assert_ptr_equal(view.data, &value);
    assert_ptr_equal(view.shape, shape);
    assert_null(view.strides);
    assert_int_equal(view.device, HONE_CPU);
    assert_int_equal(view.device_index, 0);
}

/* ---- what may not be stepped ---------------------------------------------------------------- */

struct place {
    hone_context *context;
    hone_optimizer *optimizer;
    _Alignas(16) float values[64];
    int64_t shape[2];
    hone_tensor good; /* 4 x 3 */
};

static struct place place;

static int set_up(void **state)
{
    (void)state;
    memset(&place, 0, sizeof place);
    place.context = test_context(1, NULL);
    place.optimizer = test_optimizer(place.context, "sgd");
    place.shape[0] = 4;
    place.shape[1] = 3;
    place.good = hone_tensor_view(place.values, HONE_F32, 2, place.shape);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(hone_optimizer_count(place.optimizer), 0);
    OK(hone_optimizer_add(place.optimizer, "w", &place.good, 0, NULL, &problem));
    hone_optimizer_free(place.optimizer);
    hone_context_free(place.context);
    return 0;
}

static hone_status add(const hone_tensor *tensor)
{
    return hone_optimizer_add(place.optimizer, "w", tensor, 0, NULL, &problem);
}

static void test_null(void **state)
{
    (void)state;
    FAILS(HONE_ERROR_ARGUMENT, "parameter \"w\": the tensor is NULL", add(NULL));
    hone_tensor tensor = place.good;
    tensor.data = NULL;
    FAILS(HONE_ERROR_ARGUMENT, "parameter \"w\": data is NULL for 12 elements", add(&tensor));
    tensor = place.good;
    tensor.shape = NULL;
    FAILS(HONE_ERROR_SHAPE, "parameter \"w\": ndim is 2 and shape is NULL", add(&tensor));
    tensor.ndim = -1;
    tensor.shape = place.shape;
    FAILS(HONE_ERROR_SHAPE, "parameter \"w\": ndim is -1 and shape is given", add(&tensor));
}

static void test_wrong_dtype(void **state)
{
    (void)state;
    hone_tensor tensor = place.good;
    tensor.dtype = HONE_I64;
    FAILS(HONE_ERROR_DTYPE,
          "parameter \"w\" is I64; F32, F64, BF16, F16, C64 and C128 can be stepped", add(&tensor));
    tensor.dtype = HONE_BOOL;
    FAILS(HONE_ERROR_DTYPE, NULL, add(&tensor));
    tensor.dtype = HONE_DTYPE_COUNT;
    FAILS(HONE_ERROR_DTYPE, "parameter \"w\": 15 is no dtype", add(&tensor));
    tensor.dtype = (hone_dtype)-1;
    FAILS(HONE_ERROR_DTYPE, NULL, add(&tensor));
}

static void test_device(void **state)
{
    (void)state;
    hone_tensor tensor = place.good;
    tensor.device = HONE_CUDA;
    assert_int_equal(setenv("HONE_CUDA", "/nowhere/libhone_cuda.so", 1), 0);
    FAILS(HONE_ERROR_UNSUPPORTED, NULL, add(&tensor));
    assert_non_null(strstr(problem.message, "/nowhere/libhone_cuda.so"));
    assert_int_equal(unsetenv("HONE_CUDA"), 0);
    tensor.device = (hone_device_type)0;
    FAILS(HONE_ERROR_UNSUPPORTED, NULL, add(&tensor));
}

static void test_shape(void **state)
{
    (void)state;
    hone_tensor tensor = place.good;
    tensor.shape = (int64_t[]){4, -3};
    FAILS(HONE_ERROR_SHAPE,
          "parameter \"w\": a length of its shape is negative, or all together are beyond 2^62 "
          "bytes",
          add(&tensor));
    tensor.shape = (int64_t[]){(int64_t)1 << 31, (int64_t)1 << 31}; /* 2^62 elements of 4 bytes */
    FAILS(HONE_ERROR_SHAPE, NULL, add(&tensor));
}

static void test_strides(void **state)
{
    (void)state;
    hone_tensor tensor = place.good;
    const char *const sentence =
        "parameter \"w\": the tensor is not contiguous; pass a row-major view without gaps";
    tensor.strides = (int64_t[]){1, 4}; /* transposed */
    FAILS(HONE_ERROR_SHAPE, sentence, add(&tensor));
    tensor.strides = (int64_t[]){4, 1}; /* a gap after each row */
    FAILS(HONE_ERROR_SHAPE, sentence, add(&tensor));
    tensor.strides = (int64_t[]){0, 1}; /* expanded */
    FAILS(HONE_ERROR_SHAPE, sentence, add(&tensor));
    tensor.strides = (int64_t[]){-3, 1};
    FAILS(HONE_ERROR_SHAPE, sentence, add(&tensor));
}

/* Strides that name the contiguous layout are taken, whatever those of lengths 1 and 0 say. */
static void test_good_strides(void **state)
{
    (void)state;
    struct {
        int64_t shape[3], strides[3];
    } const views[] = {{{2, 3, 2}, {6, 2, 1}},
                       {{1, 3, 4}, {99, 4, 1}},
                       {{3, 1, 4}, {4, -7, 1}},
                       {{3, 4, 1}, {4, 1, 0}},
                       {{3, 0, 4}, {-1, 5, 9}}};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        hone_optimizer *const optimizer = test_optimizer(place.context, "sgd");
        hone_tensor tensor = hone_tensor_view(place.values, HONE_F32, 3, views[i].shape);
        tensor.strides = views[i].strides;
        OK(hone_optimizer_add(optimizer, "w", &tensor, 0, NULL, &problem));
        hone_tensor kept;
        OK(hone_optimizer_tensor(optimizer, 0, &kept, &problem));
        assert_null(kept.strides);
        assert_memory_equal(kept.shape, views[i].shape, sizeof views[i].shape);
        hone_optimizer_free(optimizer);
    }
}

/* An address near the end of memory, from which the elements would go on at 0. */
static void test_end_of_memory(void **state)
{
    (void)state;
    hone_tensor tensor = place.good;
    tensor.data = (void *)(UINTPTR_MAX - 7);
    FAILS(HONE_ERROR_ARGUMENT, NULL, add(&tensor));
    assert_non_null(strstr(problem.message, "reach past the end of memory"));
}

static void test_alignment(void **state)
{
    (void)state;
    hone_tensor tensor = place.good;
    tensor.data = (char *)place.values + 2;
    FAILS(HONE_ERROR_ARGUMENT, NULL, add(&tensor));
    assert_non_null(
        strstr(problem.message, "is misaligned; F32 elements need a multiple of 4 bytes"));
    tensor.dtype = HONE_BF16; /* two bytes are enough here */
    hone_optimizer *const other = test_optimizer(place.context, "sgd");
    OK(hone_optimizer_add(other, "w", &tensor, 0, NULL, &problem));
    tensor.data = (char *)place.values + 129;
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_add(other, "v", &tensor, 0, NULL, &problem));
    tensor.data = (char *)place.values + 132; /* complex values need their reals' alignment */
    tensor.dtype = HONE_C64;
    tensor.shape = (int64_t[]){2, 1};
    OK(hone_optimizer_add(other, "c", &tensor, 0, NULL, &problem));
    tensor.data = (char *)place.values + 164;
    tensor.dtype = HONE_C128;
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_add(other, "d", &tensor, 0, NULL, &problem));
    hone_optimizer_free(other);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_numel),
        cmocka_unit_test(test_view),
        PLACED(test_null),
        PLACED(test_wrong_dtype),
        PLACED(test_device),
        PLACED(test_shape),
        PLACED(test_strides),
        PLACED(test_good_strides),
        PLACED(test_end_of_memory),
        PLACED(test_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
