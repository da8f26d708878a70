/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an optimizer: parameters, the cached plan of a step, and what plan.c, step.c and
 * the checkpoint share. */
#ifndef HONE_CORE_OPTIMIZER_INTERNAL_H
#define HONE_CORE_OPTIMIZER_INTERNAL_H

#include <hone/scaler.h>

#include "core/core.h"
#include "kernel/judge.h"
#include "kernel/noise.h"
#include "kernel/stage.h"

/* A parameter's states: the rule's slots, and after them what the frame keeps. */
enum {
    HONE_STATE_MASTER = HONE_MAX_SLOTS, /* f32 copy of a 16-bit parameter */
    HONE_STATE_KAHAN,                   /* what rounding took from it */
    HONE_STATE_ACCUMULATED,             /* sum of gradients that wait for their update */
    HONE_STATE_COUNT
};

enum hone_state_owner {
    HONE_ALONE, /* allocated by itself, and freed with the state */
    HONE_BLOCK, /* part of one of the optimizer's blocks, which is freed with the optimizer */
    HONE_CALLER /* hone_optimizer_bind_state: never freed here */
};

/* One state slot of one parameter. */
struct hone_state {
    void *data; /* NULL until it is needed; an empty parameter's slot is a valid pointer too */
    enum hone_format format;
    size_t size; /* bytes */
    enum hone_state_owner owner;
    struct hone_device *device; /* whose memory it is; NULL: the host's */
};

/* Memory that many small states share. */
struct hone_block {
    void *memory;
    size_t size;
    struct hone_device *device;
};

struct hone_param {
    char *name;
    int64_t *shape; /* own copy; tensor.shape points here. One length more than ndim: the 2 of */
    hone_tensor tensor; /* complex parameters' states */
    enum hone_format format;
    int reals;    /* per element: 2 for complex */
    size_t count; /* reals in all */
    int group;
    double multiplier;
    uint64_t step; /* completed calls; on a device, as far as hone_devices_settle has fetched it */
    struct hone_device *device; /* where it lives; NULL: on the CPU */

    bool has_grad;
    void *grad;
    hone_dtype grad_dtype;
    enum hone_format grad_format;
    size_t planned; /* its tensor in a valid plan; meaningless without a gradient */

    struct hone_state state[HONE_STATE_COUNT];
    uint32_t fresh; /* bit i: state i was created and no step has filled it yet */
    bool pending;   /* the accumulated gradient holds something */

    const uint32_t *mask; /* a bit for each real, or NULL: no mask */
    void *mask_owner;     /* what keeps the words, given back through mask_release */
    void (*mask_release)(void *owner);
    uint64_t mask_hash;
    uint64_t masked_count;         /* true elements */
    struct hone_state device_mask; /* the device's copy of the words, once a plan has made it */
};

/* A tensor of the plan: where its arrays start and what steps them. */
struct hone_plan_tensor {
    struct hone_chunk base;     /* n is not used */
    struct hone_device *device; /* what steps it; NULL: the host, and the kernels here */
    uint32_t listed;            /* its place in the device's list */
    bool matrix;                /* stepped by matrix.c, by way of the direction below */
    struct hone_stage direction, move;
    hone_kernel_fn *kernel; /* direct; NULL: staged */
    struct hone_stage stage;
    const void *source; /* accumulating: this call's gradient, or NULL; base.grad is the sum */
    enum hone_format source_format;
    size_t param_size, grad_size, slot_size[HONE_MAX_SLOTS];
    uint64_t noise; /* what this call's random bits start from */
    int64_t param;  /* index of the parameter */
    size_t scalars; /* index into the plan's scalars */
    enum hone_form form;
};

struct hone_plan_chunk {
    size_t tensor; /* index into the plan's tensors */
    size_t first;  /* element of the tensor */
    size_t n;
    size_t before; /* elements of all chunks before this one: how threads share the work */
    size_t share;  /* its number among the chunks of all tensors, devices' too */
};

/* What tells two tensors' scalars apart. */
struct hone_scalars_key {
    uint64_t step;
    double multiplier;
    uint32_t fresh;
    bool masked;
};

/* Tensors of matrix rules. The first `shared` ones are stepped by all threads together, the others by a
 * thread each. */
struct hone_matrix_plan {
    struct hone_matrix *matrices;
    size_t count, capacity, shared;
    void *workspace; /* of a tensor: its directions, then the polar steps' own; one per slice */
    size_t workspace_size, slice_size;
    int slices; /* threads that step tensors alone */
};

struct hone_plan {
    bool valid;
    struct hone_plan_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    size_t host_count;              /* tensors that the host steps */
    struct hone_plan_chunk *chunks; /* of those */
    size_t chunk_count, chunk_capacity;
    size_t elements;
    struct hone_scalars *scalars; /* as many as tensors: enough when no two share */
    size_t scalars_capacity;
    struct hone_matrix_plan matrix;
    double *shares; /* a norm's share of each chunk, of all tensors in order */
    size_t share_count, shares_capacity;
    struct hone_scalars_key *last_key; /* per group: the key and index computed last in this step */
    size_t *last_scalars;
    bool *has_last;
    int group_capacity;
};

/* An address range of a registered parameter, kept sorted to find overlaps. */
struct hone_range {
    uintptr_t begin, end;
    int64_t param;
};

struct hone_optimizer {
    const hone_context *context;
    hone_spec *spec; /* own copy: groups, values, clipping */
    struct hone_param *params;
    int64_t count, capacity;
    int64_t *table; /* open addressing over names; -1 empty; table_size a power of two */
    int64_t table_size;
    struct hone_range *ranges;
    int64_t range_count, range_capacity;
    bool ranges_changed; /* since gradients were last checked against them */
    bool bound_changed;  /* states in the caller's memory, since they were last checked */
    struct hone_block *blocks;
    size_t block_count, block_capacity;
    struct hone_plan plan;
    int micro_step;    /* gradients accumulated since the last update */
    double loss_scale; /* what the loss, and so the gradients, were multiplied by */
    bool scaling;      /* the scaler below runs */
    hone_scaler scaler;
    uint64_t skipped;             /* steps that found a gradient that is not finite */
    struct hone_devices *devices; /* NULL until a parameter lives on one */
};

/* Errors for an optimizer that is NULL, and for a group or parameter that does not exist. */
hone_status hone_check_optimizer(const struct hone_optimizer *optimizer, hone_error *error);
hone_status hone_check_group(const struct hone_optimizer *optimizer, int group, hone_error *error);
hone_status hone_check_index(const struct hone_optimizer *optimizer, int64_t index,
                             hone_error *error);

bool hone_same_shape(const hone_tensor *a, const hone_tensor *b);
hone_status hone_fail_shape(const struct hone_param *param, const hone_tensor *tensor,
                            const char *what, hone_error *error);

/* The parameter other than `except` whose memory [data, data + size) touches, or -1. */
int64_t hone_overlapping(const struct hone_optimizer *optimizer, const void *data, size_t size,
                         int64_t except);
void hone_range_insert(struct hone_optimizer *optimizer, const void *data, size_t size,
                       int64_t param); /* room for it is there */
void hone_range_remove(struct hone_optimizer *optimizer, int64_t param);

/* Puts a gradient of the same type at another address into a valid plan. */
void hone_plan_move_grad(struct hone_optimizer *optimizer, const struct hone_param *param);

/* States in the caller's memory against each other and against parameters. Before the gradients. */
hone_status hone_check_bound(struct hone_optimizer *optimizer, hone_error *error);

/* Gradients against parameters that were registered or moved after they were handed in. */
hone_status hone_check_grads(struct hone_optimizer *optimizer, hone_error *error);

/* Bits of the optional slots that a group's values call for: the kernel variant. */
int hone_group_variant(const struct hone_group *group);

/* Whether slot `slot` exists under the group's values. */
bool hone_group_needs_slot(const struct hone_group *group, int slot);

/* The name of state `state` under a rule: its slot's, "master", "compensation", "accumulated_grad";
 * NULL beyond the rule's slots. And the other way round; -1 if there is none. */
const char *hone_state_name(const hone_rule *rule, int state);
int hone_state_find(const hone_rule *rule, const char *name);

/* Whether the next step of `param` uses state `state`. */
bool hone_param_needs_state(const struct hone_optimizer *optimizer, const struct hone_param *param,
                            int state);

/* Frees the master or compensation that the group's precision does not use: not stepped any more, it
 * would be wrong if it ever came back. */
void hone_param_drop_precision(const struct hone_optimizer *optimizer, struct hone_param *param);

/* Sets a fresh master to the parameter's value. */
void hone_param_copy_master(const struct hone_optimizer *optimizer, struct hone_param *param);

/* Gives a parameter its mask: `words` holds param->count bits and lives until release(owner). NULL
 * words take the mask away. */
void hone_param_set_mask(struct hone_param *param, const uint32_t *words, void *owner,
                         void (*release)(void *owner), uint64_t hash, uint64_t masked_count);

/* The format a new state of `param` gets. */
enum hone_format hone_state_format(const struct hone_optimizer *optimizer,
                                   const struct hone_param *param, int slot);

/* Memory for states on a device, or on the host where `device` is NULL. */
hone_status hone_state_memory(const hone_context *context, struct hone_device *device, size_t size,
                              char **memory, hone_error *error);
void hone_state_give_back(const hone_context *context, struct hone_device *device, void *memory,
                          size_t size);

/* Makes `state` an array of `count` values of `format`, all `initial`, in memory that is there. */
hone_status hone_state_place(const hone_context *context, struct hone_device *device,
                             struct hone_state *state, void *memory, size_t count,
                             enum hone_format format, double initial, hone_error *error);

/* Makes `state` an array of `count` values of `format`, all `initial`. */
hone_status hone_state_create(const hone_context *context, struct hone_device *device,
                              struct hone_state *state, size_t count, enum hone_format format,
                              double initial, hone_error *error);
void hone_state_free(const hone_context *context, struct hone_state *state);

/* The whole of a state, from or to the host's memory, wherever the state lies. */
hone_status hone_state_fetch(const struct hone_state *state, void *to, hone_error *error);
hone_status hone_state_send(const struct hone_state *state, const void *from, hone_error *error);

/* Brings devices' counters home: after it parameters, scaler and skipped steps are as the devices'. */
hone_status hone_devices_settle(const hone_optimizer *optimizer, hone_error *error);

/* Before the host changes counters itself: settles, and makes the host's the true ones. */
hone_status hone_devices_take_counters(hone_optimizer *optimizer, hone_error *error);

/* How a matrix rule reads a parameter's shape. Errors: SHAPE, DTYPE. */
hone_status hone_matrix_shape(const struct hone_group *group, const hone_tensor *tensor,
                              const char *name, size_t *batches, size_t *rows, size_t *columns,
                              hone_error *error);

/* Whether the group's choices make sense together. */
hone_status hone_matrix_check(const struct hone_group *group, hone_error *error);

/* Checks all matrices and plans their step on the host. Errors: SHAPE, DTYPE, ARGUMENT, MEMORY. */
hone_status hone_matrix_plan(struct hone_optimizer *optimizer, hone_error *error);
void hone_matrix_plan_free(const hone_context *context, struct hone_matrix_plan *plan);

/* With a gradient now, or with one that waits for its update. */
bool hone_param_is_stepped(const struct hone_param *param);

/* Room for `needed` elements in a plan's array; contents are not kept. */
hone_status hone_plan_reserve(const hone_context *context, void **array, size_t *capacity,
                              size_t needed, size_t size, hone_error *error);

/* `n` elements of a tensor from element `first` on, as kernels get them. */
struct hone_chunk hone_plan_part(const struct hone_plan_tensor *tensor, size_t first, size_t n);

/* The numbers of one call for tensors that share `key`. Errors: RANGE of a curve's callback. */
hone_status hone_compute_scalars(const struct hone_group *group, const struct hone_scalars_key *key,
                                 struct hone_scalars *scalars, hone_error *error);

struct hone_loss_scale hone_scaler_state(const hone_scaler *scaler);
hone_status hone_scaler_check(const hone_scaler *scaler, hone_error *error);

/* The index of the direct loop for these formats and the slots that are not NULL in `base`; -1 if
 * they have none and go through a tile. */
int hone_find_direct(const struct hone_stage *stage, const struct hone_chunk *base);

/* Brings the plan up to date, creating missing states; on failure nothing has changed. */
hone_status hone_plan_update(struct hone_optimizer *optimizer, hone_error *error);
void hone_plan_free(const hone_context *context, struct hone_plan *plan);

#endif
