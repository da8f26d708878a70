/* SPDX-License-Identifier: Apache-2.0 */
/* <hone/dlpack.h>: every dtype there and back, what a view keeps, and what cannot be represented.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <hone/dlpack.h>

static int64_t shape[] = {2, 3};
static int64_t strides[] = {3, 1};
static float values[8];

static DLTensor sample(void)
{
    DLTensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.data = values;
    tensor.device.device_type = kDLCPU;
    tensor.ndim = 2;
    tensor.dtype = (DLDataType){kDLFloat, 32, 1};
    tensor.shape = shape;
    tensor.strides = strides;
    tensor.byte_offset = sizeof values[0];
    return tensor;
}

static void every_dtype_round_trips(void **state)
{
    (void)state;
    for (int dtype = 0; dtype < HONE_DTYPE_COUNT; dtype++) {
        const hone_tensor there = hone_tensor_view(values, (hone_dtype)dtype, 2, shape);
        hone_tensor back;
        DLTensor between = sample();
        assert_int_equal(hone_tensor_to_dlpack(&between, &there, NULL), HONE_OK);
        assert_int_equal(between.dtype.bits, 8 * hone_dtype_size((hone_dtype)dtype));
        assert_int_equal(between.dtype.lanes, 1);
        assert_int_equal(hone_tensor_from_dlpack(&back, &between, NULL), HONE_OK);
        assert_int_equal(back.dtype, dtype);
        assert_ptr_equal(back.data, values);
        assert_ptr_equal(back.shape, shape);
        assert_null(back.strides);
    }
}

static void codes_are_those_of_dlpack(void **state)
{
    (void)state;
    static const struct {
        hone_dtype dtype;
        int code;
    } expected[] = {{HONE_F32, 2}, {HONE_F16, 2}, {HONE_BF16, 4}, {HONE_C64, 5},
                    {HONE_I32, 0}, {HONE_U8, 1},  {HONE_BOOL, 6}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const hone_tensor tensor = hone_tensor_view(values, expected[i].dtype, 2, shape);
        DLTensor to = sample();
        assert_int_equal(hone_tensor_to_dlpack(&to, &tensor, NULL), HONE_OK);
        assert_int_equal(to.dtype.code, expected[i].code);
    }
}

static void a_view_keeps_its_place(void **state)
{
    (void)state;
    const DLTensor from = sample();
    hone_tensor tensor;
    DLTensor again = from;
    assert_int_equal(hone_tensor_from_dlpack(&tensor, &from, NULL), HONE_OK);
    assert_ptr_equal(tensor.data, values + 1);
    assert_int_equal(tensor.dtype, HONE_F32);
    assert_int_equal(tensor.device, HONE_CPU);
    assert_int_equal(tensor.ndim, 2);
    assert_ptr_equal(tensor.strides, strides);
    assert_int_equal(hone_tensor_to_dlpack(&again, &tensor, NULL), HONE_OK);
    assert_ptr_equal(again.data, values + 1);
    assert_int_equal(again.byte_offset, 0);
    assert_ptr_equal(again.shape, shape);
    assert_ptr_equal(again.strides, strides);
}

static void devices(void **state)
{
    (void)state;
    DLTensor from = sample(), to = sample();
    hone_tensor tensor;
    hone_error error;
    from.device.device_type = kDLCUDA;
    from.device.device_id = 3;
    assert_int_equal(hone_tensor_from_dlpack(&tensor, &from, NULL), HONE_OK);
    assert_int_equal(tensor.device, HONE_CUDA);
    assert_int_equal(tensor.device_index, 3);
    assert_int_equal(hone_tensor_to_dlpack(&to, &tensor, NULL), HONE_OK);
    assert_int_equal(to.device.device_type, kDLCUDA);
    assert_int_equal(to.device.device_id, 3);
    from.device.device_type = kDLCUDAHost;
    assert_int_equal(hone_tensor_from_dlpack(&tensor, &from, NULL), HONE_OK);
    assert_int_equal(tensor.device, HONE_CPU);
    assert_int_equal(tensor.device_index, 0);
    from.device.device_type = kDLMetal;
    assert_int_equal(hone_tensor_from_dlpack(&tensor, &from, &error), HONE_ERROR_UNSUPPORTED);
    assert_int_equal(error.status, HONE_ERROR_UNSUPPORTED);
    assert_string_equal(error.message, "DLPack device type 8 (index 3) is neither CPU nor CUDA");
    tensor.device = (hone_device_type)8;
    assert_int_equal(hone_tensor_to_dlpack(&to, &tensor, NULL), HONE_ERROR_UNSUPPORTED);
}

static void empty_and_scalar(void **state)
{
    (void)state;
    DLTensor from = sample();
    hone_tensor tensor;
    from.data = NULL; /* no elements: the offset has nothing to be added to */
    assert_int_equal(hone_tensor_from_dlpack(&tensor, &from, NULL), HONE_OK);
    assert_null(tensor.data);
    from = sample();
    from.ndim = 0;
    from.shape = NULL;
    assert_int_equal(hone_tensor_from_dlpack(&tensor, &from, NULL), HONE_OK);
    assert_int_equal(hone_tensor_numel(&tensor), 1);
}

static void refuse(const DLTensor *from, hone_status status, const char *sentence)
{
    hone_tensor tensor, before;
    memset(&tensor, 0x5a, sizeof tensor);
    memset(&before, 0x5a, sizeof before);
    hone_error error;
    assert_int_equal(hone_tensor_from_dlpack(&tensor, from, &error), status);
    assert_int_equal(error.status, status);
    assert_int_equal(error.offset, -1);
    assert_string_equal(error.message, sentence);
    assert_memory_equal(&tensor, &before, sizeof tensor);
}

static void what_cannot_be_represented(void **state)
{
    (void)state;
    DLTensor from = sample();
    from.dtype.lanes = 4;
    refuse(&from, HONE_ERROR_DTYPE, "elements of 4 lanes are not supported; only 1 lane is");
    from = sample();
    from.dtype.bits = 8;
    refuse(&from, HONE_ERROR_DTYPE, "DLPack type code 2 with 8 bits has no hone_dtype");
    from = sample();
    from.ndim = -1;
    refuse(&from, HONE_ERROR_ARGUMENT, "ndim is -1; it must be at least 0");
    from = sample();
    from.shape = NULL;
    refuse(&from, HONE_ERROR_ARGUMENT, "shape is NULL with ndim 2; only ndim 0 has no shape");
    refuse(NULL, HONE_ERROR_ARGUMENT, "tensor or from is NULL");

    hone_tensor tensor = hone_tensor_view(values, HONE_F32, 2, shape);
    DLTensor to;
    hone_error error;
    assert_int_equal(hone_tensor_to_dlpack(NULL, &tensor, NULL), HONE_ERROR_ARGUMENT);
    tensor.dtype = HONE_DTYPE_COUNT;
    assert_int_equal(hone_tensor_to_dlpack(&to, &tensor, &error), HONE_ERROR_DTYPE);
    assert_string_equal(error.message, "dtype is 15; it must be a hone_dtype, 0 to 14");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_round_trips), cmocka_unit_test(codes_are_those_of_dlpack),
        cmocka_unit_test(a_view_keeps_its_place),  cmocka_unit_test(devices),
        cmocka_unit_test(empty_and_scalar),        cmocka_unit_test(what_cannot_be_represented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
