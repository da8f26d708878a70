/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: the library that serves them, found beside this one; their memory; what may be handed to
 * them. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/device.h"

/* ---- the library ------------------------------------------------------------------------------ */

#define LIBRARY "libhone_cuda.so.0"
#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

/* The folder of the library or program that holds this function, with its slash; "" if unknown. */
static void own_folder(char *folder, size_t size)
{
    Dl_info info;
    folder[0] = '\0';
    if (dladdr((void *)&hone_device_open, &info) == 0 || info.dli_fname == NULL)
        return;
    const char *const slash = strrchr(info.dli_fname, '/');
    if (slash != NULL && (size_t)(slash - info.dli_fname) + 2 < size) {
        const size_t length = (size_t)(slash - info.dli_fname) + 1;
        memcpy(folder, info.dli_fname, length);
        folder[length] = '\0';
    }
}

/* The one that HONE_CUDA names, else the one beside this library, else the loader's. Once there it stays:
 * work that an optimizer has left queued may still run its kernels. */
static void *find_library(char *tried, size_t size)
{
    const char *const named = getenv("HONE_CUDA");
    if (named != NULL && named[0] != '\0') {
        snprintf(tried, size, "%s", named);
    } else {
        own_folder(tried, size - sizeof LIBRARY);
        strcat(tried, LIBRARY);
        if (access(tried, F_OK) != 0)
            snprintf(tried, size, "%s", LIBRARY);
    }
    return dlopen(tried, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

/* Built from the same rules as this library, in the same order. */
static bool same_rules(const struct hone_device_target *target)
{
    int count = 0;
    while (target->rules[count] != NULL && count < hone_rules_count &&
           strcmp(target->rules[count], hone_rules[count]->name) == 0)
        count++;
    return target->rules[count] == NULL && count == hone_rules_count;
}

static hone_status load_library(struct hone_devices *devices, hone_error *error)
{
    char tried[4096];
    void *const library = find_library(tried, sizeof tried);
    if (library == NULL) {
        const char *const reason = dlerror();
        return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                         "tensors on a device need %.300s, which cannot be loaded: %.500s", tried,
                         reason == NULL ? "no reason given" : reason);
    }
    const struct hone_device_target *const target = dlsym(library, TEXT(HONE_DEVICE_SYMBOL));
    if (target == NULL || target->version != HONE_DEVICE_VERSION || !same_rules(target)) {
        dlclose(library);
        return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                         "%.300s is not of this build of hone %s: %s", tried, hone_version(),
                         target == NULL                           ? "it has no table"
                         : target->version != HONE_DEVICE_VERSION ? "its table is another version"
                                                                  : "its rules are others");
    }
    devices->library = library;
    devices->target = target;
    return HONE_OK;
}

/* ---- devices ---------------------------------------------------------------------------------- */

hone_status hone_device_check(const struct hone_device *device, struct hone_device_status status,
                              const char *what, hone_error *error)
{
    static const hone_status statuses[] = {[HONE_DEVICE_OK] = HONE_OK,
                                           [HONE_DEVICE_MEMORY] = HONE_ERROR_MEMORY,
                                           [HONE_DEVICE_UNSUPPORTED] = HONE_ERROR_UNSUPPORTED,
                                           [HONE_DEVICE_ARGUMENT] = HONE_ERROR_ARGUMENT,
                                           [HONE_DEVICE_LOST] = HONE_ERROR_DEVICE};
    if (status.fault == HONE_DEVICE_OK)
        return HONE_OK;
    return hone_fail(error, statuses[status.fault], "%s: device %d answers \"%s\"", what,
                     device->queue.device, status.text);
}

struct hone_device *hone_device_find(const hone_optimizer *optimizer, int index)
{
    const struct hone_devices *const devices = optimizer->devices;
    for (int i = 0; devices != NULL && i < devices->count; i++)
        if (devices->list[i]->queue.device == index)
            return devices->list[i];
    return NULL;
}

/* "8.0, 9.0". Returns `text`. */
static const char *list_architectures(char *text, size_t size, const int *architectures)
{
    size_t length = 0;
    text[0] = '\0';
    for (; *architectures != 0 && length + 8 < size; architectures++)
        length += (size_t)snprintf(text + length, size - length, "%s%d.%d", length == 0 ? "" : ", ",
                                   *architectures / 100, *architectures / 10 % 10);
    return text;
}

static hone_status check_opened(const struct hone_device_target *target,
                                const struct hone_device *device, struct hone_device_status answer,
                                hone_error *error)
{
    const struct hone_device_facts *const facts = &device->facts;
    char list[64];
    if (answer.fault == HONE_DEVICE_OK)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                     "%s device %d%s%s (compute capability %d.%d) cannot be used: %s; this build "
                     "has kernels for %s and what runs their code",
                     target->name, device->queue.device, facts->name[0] == '\0' ? "" : ", ",
                     facts->name, facts->major, facts->minor, answer.text,
                     list_architectures(list, sizeof list, target->architectures));
}

static hone_status open_device(const hone_context *context, const struct hone_device_target *target,
                               int index, struct hone_device **device, hone_error *error)
{
    struct hone_device *const made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a device");
    made->context = context;
    made->target = target;
    made->queue.device = index;
    const struct hone_device_status answer = target->open(index, &made->facts);
    const hone_status status =
        answer.fault == HONE_DEVICE_MEMORY || answer.fault == HONE_DEVICE_LOST
            ? hone_device_check(made, answer, "opening a device", error)
            : check_opened(target, made, answer, error);
    if (status != HONE_OK)
        hone_release(context, made, sizeof *made);
    else
        *device = made;
    return status;
}

hone_status hone_devices_need(hone_optimizer *optimizer, hone_error *error)
{
    if (optimizer->devices != NULL)
        return HONE_OK;
    const hone_context *const context = optimizer->context;
    struct hone_devices *const made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "the list of devices");
    const hone_status status = load_library(made, error);
    if (status != HONE_OK) {
        hone_release(context, made, sizeof *made);
        return status;
    }
    optimizer->devices = made;
    return HONE_OK;
}

hone_status hone_device_open(hone_optimizer *optimizer, int index, struct hone_device **device,
                             hone_error *error)
{
    hone_status status = hone_devices_need(optimizer, error);
    if (status != HONE_OK)
        return status;
    struct hone_devices *const devices = optimizer->devices;
    *device = hone_device_find(optimizer, index);
    if (*device != NULL)
        return HONE_OK;
    if (devices->count == devices->capacity) {
        const size_t size = sizeof *devices->list, old = (size_t)devices->capacity;
        void *const grown =
            hone_reallocate(optimizer->context, devices->list, size * old, size * (old + 4));
        if (grown == NULL)
            return hone_fail_memory(error, size * (old + 4), "the list of devices");
        devices->list = grown;
        devices->capacity += 4;
    }
    status = open_device(optimizer->context, devices->target, index, device, error);
    if (status == HONE_OK)
        devices->list[devices->count++] = *device;
    return status;
}

static void free_device(struct hone_device *device)
{
    const hone_context *const context = device->context;
    hone_device_release(device, device->tables.data, device->tables.size);
    hone_device_release(device, device->workspace.data, device->workspace.size);
    device->target->close_products(device->queue, device->products);
    hone_release(context, device->tried, sizeof *device->tried * device->tried_capacity);
    hone_device_release(device, device->shares.data, device->shares.size);
    hone_device_release(device, device->prepared.data, device->prepared.size);
    hone_release(context, device->image.data, device->image.size);
    hone_release(context, device->members, sizeof *device->members * device->member_capacity);
    hone_release(context, device->classes, sizeof *device->classes * device->class_capacity);
    hone_release(context, device->buckets, sizeof *device->buckets * device->bucket_capacity);
    hone_release(context, device->share_ranges,
                 sizeof *device->share_ranges * device->tensor_capacity);
    hone_release(context, device->fetched, sizeof *device->fetched * device->fetched_capacity);
    hone_release(context, device->groups, sizeof *device->groups * device->group_capacity);
    hone_release(context, device, sizeof *device);
}

void hone_devices_free(hone_optimizer *optimizer)
{
    struct hone_devices *const devices = optimizer->devices;
    if (devices == NULL)
        return;
    const hone_context *const context = optimizer->context;
    for (int i = 0; i < devices->count; i++)
        free_device(devices->list[i]);
    hone_release(context, devices->list, sizeof(struct hone_device *) * (size_t)devices->capacity);
    hone_release(context, devices->lr, sizeof *devices->lr * (size_t)devices->lr_count);
    dlclose(devices->library);
    hone_release(context, devices, sizeof *devices);
    optimizer->devices = NULL;
}

/* ---- memory ----------------------------------------------------------------------------------- */

/* What waits for the device would end a capture that is under way. */
static hone_status check_not_capturing(struct hone_device *device, const char *what,
                                       hone_error *error)
{
    bool capturing = false;
    const hone_status status = hone_device_inspect(device, &capturing, error);
    if (status != HONE_OK || !capturing)
        return status;
    return hone_fail(error, HONE_ERROR_ARGUMENT,
                     "%s: device %d would have to be waited for, and a graph is being captured",
                     what, device->queue.device);
}

hone_status hone_device_allocate(struct hone_device *device, size_t size, void **memory,
                                 const char *what, hone_error *error)
{
    const hone_device_allocator *const own = &device->context->device_allocator;
    const size_t some = size == 0 ? 1 : size; /* a valid pointer, as on the host */
    const hone_status status = check_not_capturing(device, what, error);
    if (status != HONE_OK)
        return status;
    if (own->allocate == NULL)
        return hone_device_check(device, device->target->allocate(device->queue, some, memory),
                                 what, error);
    *memory = own->allocate(some, device->queue.device, device->queue.stream, own->user);
    if (*memory != NULL)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_MEMORY, "%s: no memory for %zu bytes on device %d", what,
                     size, device->queue.device);
}

void hone_device_release(struct hone_device *device, void *memory, size_t size)
{
    const hone_device_allocator *const own = &device->context->device_allocator;
    if (memory == NULL)
        return;
    if (own->release != NULL)
        own->release(memory, size == 0 ? 1 : size, device->queue.device, device->queue.stream,
                     own->user);
    else
        device->target->release(device->queue, memory);
}

hone_status hone_device_upload(struct hone_device *device, void *to, const void *from, size_t size,
                               const char *what, hone_error *error)
{
    const hone_status status = size == 0 ? HONE_OK : check_not_capturing(device, what, error);
    return status != HONE_OK || size == 0
               ? status
               : hone_device_check(device, device->target->upload(device->queue, to, from, size),
                                   what, error);
}

hone_status hone_device_download(struct hone_device *device, void *to, const void *from,
                                 size_t size, const char *what, hone_error *error)
{
    const hone_status status = size == 0 ? HONE_OK : check_not_capturing(device, what, error);
    return status != HONE_OK || size == 0
               ? status
               : hone_device_check(device, device->target->download(device->queue, to, from, size),
                                   what, error);
}

/* ---- what is handed in ------------------------------------------------------------------------ */

hone_status hone_device_check_tensor(hone_optimizer *optimizer, const hone_tensor *tensor,
                                     const char *what, struct hone_device **device,
                                     hone_error *error)
{
    *device = NULL;
    hone_status status = hone_tensor_check_anywhere(tensor, what, error);
    if (status != HONE_OK || tensor->device == HONE_CPU)
        return status;
    status = hone_device_open(optimizer, tensor->device_index, device, error);
    if (status != HONE_OK || hone_tensor_numel(tensor) == 0)
        return status;
    int found = -1;
    status =
        hone_device_check(*device, (*device)->target->locate(tensor->data, &found), what, error);
    if (status != HONE_OK || found == tensor->device_index)
        return status;
    if (found < 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s: data at %p is not memory of a device, but the tensor says device %d",
                         what, tensor->data, (int)tensor->device_index);
    return hone_fail(error, HONE_ERROR_ARGUMENT,
                     "%s: data at %p is memory of device %d, but the tensor says device %d", what,
                     tensor->data, found, (int)tensor->device_index);
}

const char *hone_device_text(char text[HONE_PLACE_TEXT], const struct hone_device *device)
{
    if (device == NULL)
        snprintf(text, HONE_PLACE_TEXT, "the CPU");
    else
        snprintf(text, HONE_PLACE_TEXT, "device %d", device->queue.device);
    return text;
}

bool hone_device_holds(const struct hone_device *device, const hone_tensor *tensor)
{
    if (device == NULL)
        return tensor->device == HONE_CPU;
    int found = -1;
    return tensor->device == HONE_CUDA && tensor->device_index == device->queue.device &&
           device->target->locate(tensor->data, &found).fault == HONE_DEVICE_OK &&
           found == device->queue.device;
}

hone_status hone_device_inspect(struct hone_device *device, bool *capturing, hone_error *error)
{
    return hone_device_check(device, device->target->inspect(device->queue, capturing),
                             "the stream of an optimizer", error);
}
