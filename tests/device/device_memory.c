/* SPDX-License-Identifier: Apache-2.0 */
#include "device/device_memory.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/checks.h"

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)
#define MOST 8192

static const struct hone_device_target *target;
static struct host_control *control;
static struct {
    struct hone_device_queue queue;
    void *memory;
} held[MOST];
static int held_count;

void device_skip(const char *reason)
{
    printf("SKIPPED: %s\n", reason);
    exit(77);
}

/* Where there has to be a device, not to reach it is a failure. */
static void no_device(const char *reason)
{
    const char *const needed = getenv("HONE_TEST_NEEDS_DEVICE");
    if (needed == NULL || strcmp(needed, "1") != 0)
        device_skip(reason);
    printf("FAILED: HONE_TEST_NEEDS_DEVICE=1, and %s\n", reason);
    exit(1);
}

static void *open_library(void)
{
    const char *const path = getenv("HONE_CUDA");
    if (path == NULL || access(path, F_OK) != 0)
        no_device("no libhone_cuda.so: this build has no CUDA (HONE_CUDA=ON makes it)");
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        no_device(dlerror());
    return library;
}

void device_start(void)
{
    void *const library = open_library();
    target = dlsym(library, TEXT(HONE_DEVICE_SYMBOL));
    if (target == NULL)
        no_device(dlerror());
    control = dlsym(library, "host_device_control");
    struct hone_device_facts facts = {0};
    const struct hone_device_status status = target->open(0, &facts);
    if (status.fault != HONE_DEVICE_OK)
        no_device(status.text);
    printf("device: %s %s, %d.%d\n", target->name, facts.name, facts.major, facts.minor);
}

const struct hone_device_target *device_target(void)
{
    return target;
}

struct host_control *device_control(void)
{
    return control;
}

static void check(struct hone_device_status status)
{
    if (status.fault != HONE_DEVICE_OK)
        fail_msg("the device answers \"%s\"", status.text);
}

int device_count(void)
{
    struct hone_device_facts facts;
    int count = 0;
    while (target->open(count, &facts).fault == HONE_DEVICE_OK)
        count++;
    return count;
}

/* CUDA's driver, of which no more is needed than this, makes a stream of the device's own context. */
static void *driver_stream(int device)
{
    void *const driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    assert_non_null(driver);
    int (*retain)(void **, int), (*set)(void *), (*get)(void **), (*create)(void **, unsigned);
    *(void **)&retain = dlsym(driver, "cuDevicePrimaryCtxRetain");
    *(void **)&set = dlsym(driver, "cuCtxSetCurrent");
    *(void **)&get = dlsym(driver, "cuCtxGetCurrent");
    *(void **)&create = dlsym(driver, "cuStreamCreate");
    void *before = NULL, *context = NULL, *stream = NULL;
    assert_int_equal(get(&before), 0);
    assert_int_equal(retain(&context, device), 0);
    assert_int_equal(set(context), 0);
    assert_int_equal(create(&stream, 1), 0); /* CU_STREAM_NON_BLOCKING */
    assert_int_equal(set(before), 0);
    return stream;
}

void *device_stream(int device)
{
    static struct host_stream streams[2];
    if (control == NULL)
        return driver_stream(device);
    streams[device].device = device;
    return &streams[device];
}

void *device_try(int device, size_t size)
{
    const struct hone_device_queue queue = {.device = device};
    void *memory = NULL;
    assert_true(held_count < MOST);
    const struct hone_device_status status = target->allocate(queue, size, &memory);
    if (status.fault == HONE_DEVICE_MEMORY)
        return NULL;
    check(status);
    held[held_count].queue = queue;
    held[held_count++].memory = memory;
    return memory;
}

void *device_new(int device, size_t size, size_t past)
{
    const struct hone_device_queue queue = {.device = device};
    void *memory = NULL;
    assert_true(held_count < MOST);
    check(target->allocate(queue, size + past + 1, &memory));
    held[held_count].queue = queue;
    held[held_count++].memory = memory;
    return (char *)memory + past;
}

void device_free_all(void)
{
    while (held_count > 0) {
        held_count--;
        target->release(held[held_count].queue, held[held_count].memory);
    }
}

void device_write(void *to, const void *from, size_t size)
{
    if (size > 0)
        check(target->upload((struct hone_device_queue){0}, to, from, size));
}

void device_read(void *to, const void *from, size_t size)
{
    if (size > 0)
        check(target->download((struct hone_device_queue){0}, to, from, size));
}

hone_tensor device_view(void *data, hone_dtype dtype, int32_t ndim, const int64_t *shape)
{
    hone_tensor view = hone_tensor_view(data, dtype, ndim, shape);
    view.device = HONE_CUDA;
    return view;
}
