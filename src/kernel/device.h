/* SPDX-License-Identifier: Apache-2.0 */
/* The seam between the core and a device: the tables that lie in the device's memory, the launches
 * that read them, and the functions through which the core reaches all of it. The device's library
 * (src/cuda) exports one constant, HONE_DEVICE_SYMBOL; nothing else crosses. Plain C, shared by both
 * compilers. */
#ifndef HONE_KERNEL_DEVICE_H
#define HONE_KERNEL_DEVICE_H

#include "kernel/judge.h"
#include "kernel/kernel.h"

#define HONE_DEVICE_VERSION 5
#define HONE_DEVICE_SYMBOL hone_device_target_5

/* Threads of a block, at most; a block steps one chunk of at most HONE_CHUNK elements. */
#define HONE_DEVICE_THREADS 512

/* ---- tables in the device's memory ------------------------------------------------------------ */

/* Formats of a tensor's arrays, two bits each; enum hone_extra and the variant after them. */
enum hone_device_place {
    HONE_PLACE_PARAM,
    HONE_PLACE_GRAD,
    HONE_PLACE_CAST,
    HONE_PLACE_EXTRA,
    HONE_PLACE_VARIANT,
    HONE_PLACE_SLOT /* and one for each slot more */
};

/* A tensor of the plan, as hone_plan_tensor. A chunk is found from its number: `first` of a launch holds
 * the number of each tensor's first chunk. */
struct hone_device_tensor {
    void *param;
    const void *grad;
    void *slot[HONE_MAX_SLOTS];
    const uint32_t *mask; /* NULL: the dense form */
    void *extra;
    uint64_t count;   /* elements, at least 1 */
    uint64_t noise;   /* of the parameter: see hone_noise_of_call */
    uint32_t scalars; /* index of its class */
    uint32_t share;   /* where the shares of its chunks begin */
    uint32_t places;  /* by hone_device_place */
};

/* A gradient to be added to a sum: what hone_device_tensor has no room for. */
struct hone_device_source {
    const void *grad; /* NULL: nothing to add */
    uint32_t format;
};

RULE_ON_HOST_AND_DEVICE uint32_t hone_place_bits(int place, int value)
{
    return (uint32_t)value << (2 * place);
}

RULE_ON_HOST_AND_DEVICE int hone_place_value(uint32_t places, int place)
{
    return (int)(places >> (2 * place) & 3u);
}

RULE_ON_HOST_AND_DEVICE uint32_t hone_place_set(uint32_t places, int place, uint32_t value)
{
    return (places & ~((uint32_t)3 << (2 * place))) | value << (2 * place);
}

/* What a group's preparation reads, for steps that are prepared on the device. */
struct hone_device_group {
    double number[HONE_MAX_HYPERS], power[HONE_MAX_HYPERS];
    double masked_lr; /* NaN: as lr */
    const void *lr;   /* a value in device memory instead of the number; or NULL */
    uint32_t lr_is_double;
    int32_t lr_index, maximize_index; /* of the hyperparameters; -1: none */
    int32_t rule;
};

/* Tensors that share group, count, multiplier and mask share their scalars, and count together. */
struct hone_device_class {
    uint64_t step; /* completed calls */
    double multiplier;
    uint32_t fresh;
    uint32_t group : 31, masked : 1;
};

/* What is decided about a step while it runs; and what goes on from step to step, where steps are prepared
 * on the device. */
struct hone_device_outcome {
    double norm, coef;
    double grad_scale; /* what gradients are multiplied by */
    uint32_t finite, go;
    uint64_t skipped;
    struct hone_loss_scale scale; /* where a scaler runs */
};

/* ---- launches --------------------------------------------------------------------------------- */

/* So many scalars travel with a launch; more come from memory. Keeps a call below 4 KiB. */
#define HONE_DEVICE_SCALARS 20

/* One step of all tensors that one kernel serves. */
struct hone_device_call {
    const struct hone_device_tensor *tensors;
    const uint32_t *first; /* of these tensors */
    uint32_t tensor_count, chunk_count;
    uint32_t base;                             /* the number of the first chunk */
    const struct hone_scalars *scalars;        /* NULL: own */
    const struct hone_device_outcome *outcome; /* NULL: frame holds all, and the step goes ahead */
    uint32_t own_frame;                        /* not 0: frame holds all even so */
    double *squares; /* of each chunk's directions, their sum; NULL: nobody asks */
    struct hone_frame frame;
    struct hone_scalars own[HONE_DEVICE_SCALARS];
};

/* Scalars of every class whose group has the rule: reads the outcome, counts, prepares. */
struct hone_device_prepare {
    const struct hone_device_group *groups;
    struct hone_device_class *classes;
    struct hone_scalars *scalars;
    const struct hone_device_outcome *outcome;
    uint32_t class_count;
    int32_t rule;
};

/* A norm: the share of each chunk, and what follows from all of them. */
struct hone_device_norm {
    const struct hone_device_tensor *tensors;
    const uint32_t *first;
    uint32_t tensor_count, chunk_count;
    double *shares;
    bool scaling; /* entries that are not finite make the share NaN: judge.h */
    double order, value_limit;
    double grad_scale;                         /* used where outcome is NULL */
    const struct hone_device_outcome *outcome; /* has the scale that a judgement opened with */
};

/* Opens a step (chooses the scale), closes it (go, coef, the next scale), or both. */
struct hone_device_judgement {
    struct hone_device_outcome *outcome;
    bool open, close, scaling, skip_nonfinite, clip;
    const float *grad_scale, *found_inf; /* the caller's values in device memory, or NULL */
    double loss_scale, accumulated;      /* gradients in the mean, 1 for a sum */
    const double *shares;                /* NULL: no norm was taken */
    uint32_t chunk_count;
    double order, max_norm;
};

/* ---- matrix rules ----------------------------------------------------------------------------- */

enum hone_device_products {
    HONE_DEVICE_PRODUCTS_HALF,  /* factors of 16 bits, sums in float */
    HONE_DEVICE_PRODUCTS_FLOAT, /* float, never tf32 */
    HONE_DEVICE_PRODUCTS_DOUBLE /* matrices of double */
};

/* Directions as halves: each chunk of a matrix times the power of two that this gives for its sum of
 * squares, so that its elements are about 1 and at most 1449. Most chunks of a matrix agree. */
RULE_ON_HOST_AND_DEVICE int hone_half_exponent(double squares, double count)
{
    if (!(squares > 0) || !isfinite(squares))
        return 0;
    const int exponent = ilogb(squares / count);            /* of the mean square */
    const int steps = (exponent + 8 + 16 * 128) / 16 - 128; /* rounded: roots go by 8 */
    const int most = 15;
    return -8 * (steps > most ? most : steps < -most ? -most : steps);
}

/* `batch` row-major matrices of one shape, one after another, that become their polar factors times
 * `scale`; core/polar.h tells what the numbers mean. */
struct hone_device_polar {
    size_t rows, columns, batch;
    enum hone_device_products products;
    double eps;
    int steps;
    const double (*coefficients)[3];
    int coefficient_count;
    double scale;
    bool measured; /* the workspace begins with the sum of squares of each chunk of each matrix */
    bool narrow;   /* measured, come as halves by hone_half_exponent and go as plain halves */
};

/* The kernels of one rule for one compute type: of an element rule step, by direct combination, and
 * any, which reads all formats from the tensor; of a matrix rule direction, likewise for any formats,
 * which leaves each element's direction at `extra` in the compute type, or as halves where the tensor's
 * PLACE_CAST says so. */
typedef void hone_device_step_fn(const struct hone_device_call call);
typedef void hone_device_prepare_fn(const struct hone_device_prepare call);
struct hone_rule_device_kernels {
    struct {
        hone_device_step_fn *kernel;
        uint32_t threads; /* of a block */
    } step[HONE_MAX_DIRECT];
    hone_device_step_fn *any;
    hone_device_step_fn *direction;
    hone_device_prepare_fn *prepare; /* in the table of doubles */
};

/* ---- what the core calls ---------------------------------------------------------------------- */

enum hone_device_fault {
    HONE_DEVICE_OK,
    HONE_DEVICE_MEMORY,      /* out of memory */
    HONE_DEVICE_UNSUPPORTED, /* no such device, no kernels for it, no driver */
    HONE_DEVICE_ARGUMENT,    /* a stream or pointer that is not the device's */
    HONE_DEVICE_LOST         /* anything else: the device cannot be used any more */
};

struct hone_device_status {
    enum hone_device_fault fault;
    const char *text; /* what the driver says; static */
};

/* Where work goes. Functions leave the calling thread's current device as it was. */
struct hone_device_queue {
    int device;
    void *stream;
};

struct hone_device_facts {
    char name[64];
    int major, minor, multiprocessors;
};

/* Everything but the functions named so is ordered on the queue and returns at once. */
struct hone_device_target {
    uint32_t version;
    const char *name;         /* "CUDA" */
    const int *architectures; /* compute capabilities with kernels here, times 100; ends with 0 */
    const char *const
        *rules; /* in the order of rule indices, NULL-terminated; "move" comes after */

    /* Whether the device exists and has kernels here. */
    struct hone_device_status (*open)(int device, struct hone_device_facts *facts);
    /* The device on which memory lies; -1: on none. */
    struct hone_device_status (*locate)(const void *memory, int *device);
    /* Whether the stream is the device's, and whether it is being captured. */
    struct hone_device_status (*inspect)(struct hone_device_queue queue, bool *capturing);

    /* Memory by default; both wait for the device. */
    struct hone_device_status (*allocate)(struct hone_device_queue queue, size_t size,
                                          void **memory);
    void (*release)(struct hone_device_queue queue, void *memory);

    /* To the device (`from` may change afterwards; not while capturing), back (waits), zeros, `size`
     * bytes of the caller's in the launch itself (any size, may be captured), and waiting. */
    struct hone_device_status (*upload)(struct hone_device_queue queue, void *to, const void *from,
                                        size_t size);
    struct hone_device_status (*download)(struct hone_device_queue queue, void *to,
                                          const void *from, size_t size);
    struct hone_device_status (*zero)(struct hone_device_queue queue, void *memory, size_t size);
    struct hone_device_status (*put)(struct hone_device_queue queue, void *to, const void *from,
                                     size_t size);
    struct hone_device_status (*wait)(struct hone_device_queue queue);

    /* to[i] = from[i], between any formats; to[i] = value. */
    struct hone_device_status (*convert)(struct hone_device_queue queue, void *to,
                                         enum hone_format to_format, const void *from,
                                         enum hone_format from_format, size_t count);
    struct hone_device_status (*fill)(struct hone_device_queue queue, void *to,
                                      enum hone_format format, double value, size_t count);

    /* Brings what `step` launches for these arguments to the device, or `direction` where the rule has
     * matrices, and the rule's `prepare`. That may take memory of the device; their launches then take none. */
    struct hone_device_status (*load)(struct hone_device_queue queue, int rule, bool wide,
                                      int direct);

    /* The kernels: `rule` is a rule index, `direct` a combination of formats, or -1 for any. `wide`:
     * in double. */
    struct hone_device_status (*step)(struct hone_device_queue queue, int rule, bool wide,
                                      int direct, const struct hone_device_call *call);
    struct hone_device_status (*direction)(struct hone_device_queue queue, int rule, bool wide,
                                           const struct hone_device_call *call);
    struct hone_device_status (*prepare)(struct hone_device_queue queue,
                                         const struct hone_device_prepare *call);
    struct hone_device_status (*norm)(struct hone_device_queue queue,
                                      const struct hone_device_norm *call);
    struct hone_device_status (*judge)(struct hone_device_queue queue,
                                       const struct hone_device_judgement *call);
    /* grad += source of every tensor, in the grad's format: the sums of accumulation. `sources`
     * NULL: grad = 0. */
    struct hone_device_status (*accumulate)(struct hone_device_queue queue,
                                            const struct hone_device_call *call,
                                            const struct hone_device_source *sources);

    /* What products of matrices need beside memory, made once for a device; not while capturing. */
    struct hone_device_status (*open_products)(struct hone_device_queue queue, void **products);
    void (*close_products)(struct hone_device_queue queue, void *products);
    /* Whether such matrices can be narrow; how many like these to step at once, so that they and their
     * workspace take at most `bytes` (one at least); and the workspace's bytes for a batch, a multiple of
     * 256. */
    bool (*polar_narrow)(struct hone_device_queue queue, const struct hone_device_polar *polar);
    size_t (*polar_batch)(const struct hone_device_polar *polar, size_t bytes);
    size_t (*polar_workspace)(const struct hone_device_polar *polar);
    /* `to` may be `from` unless they are narrow, which loses `from`. */
    struct hone_device_status (*polar)(struct hone_device_queue queue, void *products,
                                       const struct hone_device_polar *polar, void *from, void *to,
                                       void *workspace);
};

/* ---- what a device decides, for any device ---------------------------------------------------- */

/* Whether the step goes ahead as far as is known before its norm, and at which scale. */
RULE_ON_HOST_AND_DEVICE void hone_open_step(const struct hone_device_judgement *call)
{
    struct hone_device_outcome *const outcome = call->outcome;
    const double scale = call->scaling              ? outcome->scale.scale
                         : call->grad_scale != NULL ? (double)*call->grad_scale
                                                    : call->loss_scale;
    outcome->grad_scale = hone_unscale(scale, call->accumulated);
    outcome->norm = (double)NAN;
    outcome->coef = 1;
    outcome->finite = call->found_inf == NULL || *call->found_inf == 0;
    outcome->go = outcome->finite;
}

/* The rest, with the sum of all shares of the norm, if there is one. */
RULE_ON_HOST_AND_DEVICE void hone_close_step(const struct hone_device_judgement *call, double sum)
{
    struct hone_device_outcome *const outcome = call->outcome;
    if (call->shares != NULL) {
        outcome->norm = hone_norm_of_sum(sum, call->order);
        outcome->coef = call->clip ? hone_coef_of_norm(call->max_norm, outcome->norm) : 1;
        if (!hone_entries_finite(outcome->norm, call->scaling))
            outcome->finite = 0;
        if ((call->scaling && outcome->finite == 0) ||
            (call->skip_nonfinite && !isfinite(outcome->norm)))
            outcome->go = 0;
    }
    if (call->scaling)
        hone_next_scale(&outcome->scale, outcome->finite == 0);
    if (outcome->go == 0)
        outcome->skipped++;
}

/* Counts a call of one class and makes its scalars by its rule's preparation. */
RULE_ON_HOST_AND_DEVICE void
hone_prepare_class(void (*prepare)(const struct hone_step_input *in, struct hone_step_output *out),
                   int hyper_count, const struct hone_device_group *group,
                   struct hone_device_class *one, struct hone_scalars *scalars)
{
    struct hone_value values[HONE_MAX_HYPERS];
    for (int k = 0; k < hyper_count; k++) {
        values[k].number = group->number[k];
        values[k].power = group->power[k];
        values[k].callback = NULL;
        values[k].user = NULL;
    }
    double rate = group->lr_index < 0 ? 0 : group->number[group->lr_index];
    if (group->lr != NULL)
        rate = group->lr_is_double ? *(const double *)group->lr : (double)*(const float *)group->lr;
    const bool own_rate = group->masked_lr == group->masked_lr; /* not NaN */
    struct hone_step_input in;
    in.values = values;
    in.step = one->step + 1;
    in.lr = rate * one->multiplier;
    in.fresh = one->fresh;
    hone_prepare_scalars(
        prepare, &in, own_rate ? group->masked_lr * one->multiplier : in.lr, one->masked != 0,
        group->maximize_index >= 0 && group->number[group->maximize_index] != 0, scalars);
    one->step = in.step;
    one->fresh = 0;
}

#endif
