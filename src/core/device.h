/* SPDX-License-Identifier: Apache-2.0 */
/* Devices of an optimizer: their memory, their part of the plan, their part of a step. Everything
 * below works through the seam of kernel/device.h; without a device none of it runs. */
#ifndef HONE_CORE_DEVICE_H
#define HONE_CORE_DEVICE_H

#include "core/optimizer_internal.h"
#include "kernel/device.h"

/* Tensors that one kernel steps: neighbours in the device's list. Those of a matrix rule are of one
 * group and shape, and as many as become polar factors at once. */
struct hone_device_bucket {
    int rule, direct; /* direct: -1 for any formats; of a matrix rule that of its move */
    bool wide;
    uint32_t tensor, tensor_count, chunk, chunk_count;
    int group;
    size_t rows, columns, batch; /* rows 0: an element rule */
    size_t at_once;
    bool narrow; /* directions and what becomes of them are halves */
};

/* Memory on the device that grows. */
struct hone_device_memory {
    void *data;
    size_t size;
};

/* A device that parameters of the optimizer live on. */
struct hone_device {
    const hone_context *context;
    const struct hone_device_target *target;
    struct hone_device_queue queue;
    struct hone_device_facts facts;
    uint64_t bytes; /* held on the device beside states and masks */

    /* The plan, on the host: every parameter stepped here, empty ones too; their classes; the kernels'
     * buckets; and where each tensor of the list has its shares among all of the plan's. */
    struct hone_device_member {
        int64_t param;
        uint32_t class_index;
        uint32_t states; /* bit i: a step of this plan fills its state i */
    } * members;
    size_t member_count, member_capacity;
    struct hone_device_class *classes;
    size_t class_count, class_capacity;
    struct hone_device_bucket *buckets;
    size_t bucket_count, bucket_capacity;
    struct hone_device_share {
        size_t own, global, count;
    } * share_ranges;
    size_t tensor_count, tensor_capacity;
    size_t chunk_count;
    double *fetched; /* shares on their way to the plan's, where the host adds them up */
    size_t fetched_capacity;
    bool classified;    /* false: counts or multipliers have changed since */
    bool fresh_masters; /* a step has to make them first */
    bool ahead;         /* classes have counted steps that their parameters do not know of */

    /* The plan, on the device, and the host's copy of the tables. */
    struct hone_device_memory tables, image;
    bool moved;    /* gradients in the image have new addresses */
    bool captured; /* a graph may have put other addresses into the tables */
    struct hone_device_tensor *tensors;
    uint32_t *first;
    struct hone_device_source *sources; /* while gradients are accumulated */
    struct hone_device_tensor
        *moves; /* of matrix rules: how what became of the directions goes in */
    struct hone_device_memory workspace; /* of matrix rules: directions, and what products need */
    void *products;                      /* the target's; NULL until there are matrices */
    struct hone_device_polar *tried;     /* products whose kernels are there */
    size_t tried_count, tried_capacity;
    struct hone_device_memory shares;

    /* Numbers of a step that do not travel with the launch. */
    struct hone_device_memory prepared;
    struct hone_device_outcome *outcome;
    struct hone_scalars *scalars;
    struct hone_device_class *own_classes;
    struct hone_device_group *own_groups;
    struct hone_device_group *groups; /* what own_groups holds */
    size_t group_capacity;
    size_t sent_groups;
    bool counts; /* own_classes and outcome are the true counters */

    bool capturing;               /* this step is, into a graph */
    struct hone_device_call call; /* what launches are made from; its own scalars are this step's */
};

/* All devices of one optimizer. */
struct hone_devices {
    void *library; /* of dlopen */
    const struct hone_device_target *target;
    struct hone_device **list;
    int count, capacity;
    bool capturable;
    struct hone_device_lr { /* by group: a rate in device memory */
        const void *data;
        bool is_double;
        int device;
    } * lr;
    int lr_count;
    const float *grad_scale, *found_inf; /* the caller's, or NULL */
    int scale_device;
};

/* ---- devices and their memory (device.c) ------------------------------------------------------ */

/* Loads the devices' library when there is none yet. */
hone_status hone_devices_need(hone_optimizer *optimizer, hone_error *error);

/* The same, and opens the device. */
hone_status hone_device_open(hone_optimizer *optimizer, int index, struct hone_device **device,
                             hone_error *error);
struct hone_device *hone_device_find(const hone_optimizer *optimizer, int index);
void hone_devices_free(hone_optimizer *optimizer);

hone_status hone_device_check(const struct hone_device *device, struct hone_device_status status,
                              const char *what, hone_error *error);
hone_status hone_device_allocate(struct hone_device *device, size_t size, void **memory,
                                 const char *what, hone_error *error);
void hone_device_release(struct hone_device *device, void *memory, size_t size);

/* Room for `size` bytes; contents are not kept. */
hone_status hone_device_reserve(struct hone_device *device, struct hone_device_memory *memory,
                                size_t size, const char *what, hone_error *error);

/* A view on a device: that the memory is really there. */
hone_status hone_device_check_tensor(hone_optimizer *optimizer, const hone_tensor *tensor,
                                     const char *what, struct hone_device **device,
                                     hone_error *error);

/* "device 0", or "the CPU" for NULL. Returns `text`. */
#define HONE_PLACE_TEXT 32
const char *hone_device_text(char text[HONE_PLACE_TEXT], const struct hone_device *device);

/* Whether a tensor of at least one element is where it says, and that is `device` (NULL: the CPU). */
bool hone_device_holds(const struct hone_device *device, const hone_tensor *tensor);

/* Values from the host, from or to memory of either side. */
hone_status hone_device_upload(struct hone_device *device, void *to, const void *from, size_t size,
                               const char *what, hone_error *error);
hone_status hone_device_download(struct hone_device *device, void *to, const void *from,
                                 size_t size, const char *what, hone_error *error);

/* ---- the plan (device_plan.c) ----------------------------------------------------------------- */

/* A gradient of the plan has only another address. */
void hone_device_move_grad(struct hone_device *device, const struct hone_plan_tensor *tensor);

/* Whether steps are prepared on the devices: by their own counters and rates. */
bool hone_devices_prepare(const hone_optimizer *optimizer);

/* Whether the rate of a group lies in a device's memory. */
bool hone_devices_have_lr(const struct hone_devices *devices);

/* Whether the loss scale or its flag does. */
bool hone_devices_have_scale(const struct hone_devices *devices);

/* Whether a capture of the device's stream is under way, and that the stream is the device's. */
hone_status hone_device_inspect(struct hone_device *device, bool *capturing, hone_error *error);

/* The device's part of a new plan; not while a capture is under way. */
hone_status hone_device_plan(hone_optimizer *optimizer, struct hone_device *device,
                             hone_error *error);

/* ---- matrix rules (device_matrix.c) ------------------------------------------------------------ */

/* The bucket that a matrix tensor wants, and whether `bucket`, of that kind, has room for it. */
hone_status hone_device_matrix_bucket(const hone_optimizer *optimizer,
                                      const struct hone_device *device,
                                      const struct hone_plan_tensor *tensor,
                                      struct hone_device_bucket *wanted, hone_error *error);
bool hone_device_matrix_fits(const struct hone_device_bucket *bucket,
                             const struct hone_device_bucket *wanted);

/* Memory for the buckets' work. */
hone_status hone_device_matrix_reserve(const hone_optimizer *optimizer, struct hone_device *device,
                                       hone_error *error);

/* A tensor of the list becomes that of its directions, which are the bucket's from element `first` on,
 * and gets a tensor that moves the parameter by what becomes of them. */
void hone_device_matrix_split(const struct hone_device *device,
                              const struct hone_device_bucket *bucket, size_t first,
                              struct hone_device_tensor *tensor, struct hone_device_tensor *move);

/* Runs the products of every bucket that are new, once the tables are sent: their kernels come to the
 * device at their first launch and need memory there, which must not be found missing when momentum has
 * moved. */
hone_status hone_device_matrix_try(const hone_optimizer *optimizer, struct hone_device *device,
                                   hone_error *error);

/* Steps a bucket; the device's call is aimed at it. */
hone_status hone_device_matrix_step(const hone_optimizer *optimizer, struct hone_device *device,
                                    const struct hone_device_bucket *bucket, hone_error *error);

/* ---- the step (device_step.c) ----------------------------------------------------------------- */

/* What one call of hone_optimizer_step does, decided before anything is written. */
struct hone_call {
    bool accumulate, update;
    bool norm, clip; /* measure the gradients first; and scale them by it */
    bool scaling;    /* a scaler runs: a norm tells whether every entry is finite (judge.h) */
    double order;
    double accumulated; /* gradients in a mean, 1 for a sum */
    struct hone_frame frame;
};

struct hone_outcome {
    double norm, coef;
    bool finite, go;
};

#define HONE_EACH_DEVICE(devices, i) for (int i = 0; (devices) != NULL && i < (devices)->count; i++)

/* Makes everything ready that a step needs on devices; all that can fail (device_ready.c). */
hone_status hone_devices_ready(hone_optimizer *optimizer, hone_error *error);

/* Whether all parameters are on one device, which then decides about the step itself. */
bool hone_devices_alone(const hone_optimizer *optimizer);

/* Scalars of a step that the host prepares, and checks of what only this call asks for. */
hone_status hone_devices_begin(hone_optimizer *optimizer, const struct hone_call *call,
                               bool reported, hone_error *error);

/* The parts of a step: adds gradients to sums; takes norms and fetches their shares into the plan's
 * (waits); steps, by host decisions. */
hone_status hone_devices_accumulate(hone_optimizer *optimizer, const struct hone_call *call,
                                    hone_error *error);
hone_status hone_devices_shares(hone_optimizer *optimizer, const struct hone_call *call,
                                hone_error *error);
hone_status hone_devices_step(hone_optimizer *optimizer, const struct hone_frame *frame,
                              hone_error *error);

/* Sums that have been used start from nothing. */
hone_status hone_devices_clear(hone_optimizer *optimizer, const struct hone_call *call,
                               hone_error *error);

/* All of it, for one device that decides itself. `outcome` NULL: do not wait. */
hone_status hone_device_step_alone(hone_optimizer *optimizer, const struct hone_call *call,
                                   struct hone_outcome *outcome, hone_error *error);

/* Counts a step of all devices' parameters that the host has decided. */
void hone_devices_count(hone_optimizer *optimizer);
int64_t hone_devices_param_count(const hone_optimizer *optimizer);

#endif
