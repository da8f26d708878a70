/* SPDX-License-Identifier: Apache-2.0 */
/* What a test may tell the host's stand-in for a device, and ask of it. */
#ifndef DEVICE_HOST_TARGET_H
#define DEVICE_HOST_TARGET_H

#include <stdbool.h>
#include <stddef.h>

/* What a stream was given while it was capturing: the launches of element rules, their preparation, norms
 * and what travels inside launches. */
struct host_graph;

/* A stream of it. While it is capturing its launches go into `graph`, or ahead where that is NULL. */
struct host_stream {
    int device;
    bool capturing;
    struct host_graph *graph;
};

struct host_control {
    size_t allocations, refuse_at; /* from this one on there is no memory; 0: never */
    size_t calls, fail_at;         /* from this launch or copy on the device is lost; 0: never */
    size_t loads, load_fails_at;   /* from this one on there is no memory for kernels; 0: never */
    size_t launches, steps, waits;
    size_t bytes;   /* in use */
    size_t wrong;   /* releases of what was not allocated */
    int open_fault; /* what opening a device answers: an enum hone_device_fault */
    struct host_graph *(*new_graph)(void);
    void (*replay)(struct host_graph *graph);
    void (*free_graph)(struct host_graph *graph);
};

/* Exported as "host_device_control". */
extern __attribute__((visibility("default"))) struct host_control host_device_control;

#endif
