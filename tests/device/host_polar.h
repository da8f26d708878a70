/* SPDX-License-Identifier: Apache-2.0 */
/* Polar factors on the stand-in for a device: Newton-Schulz as it is written down, in double. */
#ifndef DEVICE_HOST_POLAR_H
#define DEVICE_HOST_POLAR_H

#include "kernel/device.h"

/* Of the stand-in (host_target.c): counts a launch, which may fail; counts kernels that come to the device,
 * which may have no memory for them; whether memory is all of one block. */
struct hone_device_status host_launch(struct hone_device_queue queue);
struct hone_device_status host_load(void);
bool host_holds(const void *memory, size_t size);

/* What kernel/device.h wants for matrix rules. */
struct hone_device_status host_open_products(struct hone_device_queue queue, void **products);
void host_close_products(struct hone_device_queue queue, void *products);
bool host_polar_narrow(struct hone_device_queue queue, const struct hone_device_polar *polar);
size_t host_polar_batch(const struct hone_device_polar *polar, size_t bytes);
size_t host_polar_workspace(const struct hone_device_polar *polar);
struct hone_device_status host_polar(struct hone_device_queue queue, void *products,
                                     const struct hone_device_polar *call, void *from, void *to,
                                     void *workspace);

#endif
