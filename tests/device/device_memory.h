/* SPDX-License-Identifier: Apache-2.0 */
/* The device under test, through the seam alone: the one in the library that the environment's
 * HONE_CUDA names. A test program needs no CUDA to be built, and says why when it cannot run. */
#ifndef DEVICE_DEVICE_MEMORY_H
#define DEVICE_DEVICE_MEMORY_H

#include <hone/tensor.h>

#include "device/host_target.h"
#include "kernel/device.h"

/* Opens device 0, or ends the program with the reason, and with 77 (ctest: skipped) or, where the
 * environment's HONE_TEST_NEEDS_DEVICE is 1 (tools/gpu_test.sh), with 1. */
void device_start(void);
const struct hone_device_target *device_target(void);
struct host_control *device_control(void); /* NULL on a real device */
int device_count(void);

/* Ends the program with 77 and the reason. */
void device_skip(const char *reason);

/* A stream of the device's, for the rest of the program. */
void *device_stream(int device);

/* `size` bytes, some past an aligned address; they live until device_free_all. */
void *device_new(int device, size_t size, size_t past);
void *device_try(int device, size_t size); /* NULL: the device has not so much */
void device_free_all(void);

void device_write(void *to, const void *from, size_t size);
void device_read(void *to, const void *from, size_t size);

hone_tensor device_view(void *data, hone_dtype dtype, int32_t ndim, const int64_t *shape);

#endif
