/* SPDX-License-Identifier: Apache-2.0 */
/* What a test may tell the host's stand-in for a device, and ask of it. */
#ifndef DEVICE_HOST_TARGET_H
#define DEVICE_HOST_TARGET_H

#include <stdbool.h>
#include <stddef.h>

/* A stream of it. */
struct host_stream {
    int device;
    bool capturing;
};

struct host_control {
    size_t allocations, refuse_at; /* from this one on there is no memory; 0: never */
    size_t calls, fail_at;         /* from this launch or copy on the device is lost; 0: never */
    size_t launches, steps, waits;
    size_t bytes; /* in use */
    size_t wrong; /* releases of what was not allocated */
    bool no_kernels;
};

/* Exported as "host_device_control". */
extern __attribute__((visibility("default"))) struct host_control host_device_control;

#endif
