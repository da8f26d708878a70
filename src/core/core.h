/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the core share: the context's inside, allocation, error sentences, and the
 * inside of a spec. Private to src/. */
#ifndef HONE_CORE_CORE_H
#define HONE_CORE_CORE_H

#include <hone/hone.h>
#include <hone/schedule.h>

#include "cpu/cpu.h"
#include "kernel/kernel.h"

struct hone_context {
    hone_allocator allocator;
    const struct hone_cpu_level *cpu;
    int threads;
    uint64_t seed;
    hone_log_fn *log;
    void *log_user;
    hone_device_allocator device_allocator; /* NULL functions: the device's own */
};

/* ---- errors --------------------------------------------------------------------------------- */

/* Fills `error` (may be NULL) and returns `status`, so that a caller can `return hone_fail(...)`.
 */
hone_status hone_fail(hone_error *error, hone_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
hone_status hone_fail_at(hone_error *error, hone_status status, int64_t offset, const char *format,
                         ...) __attribute__((format(printf, 4, 5)));

/* The entry of `names` nearest to a misspelt `name` by edit distance, or NULL if none is near. */
const char *hone_nearest(const char *name, const char *const *names, int count);

/* A double in the shortest decimal form that reads back to the same bits; "Infinity", "-Infinity",
 * "NaN" otherwise. `text` holds at least 32 bytes. Returns `text`. */
const char *hone_format_number(char *text, double value);

/* ---- memory --------------------------------------------------------------------------------- */

/* NULL when out of memory; size 0 gives a valid pointer. Zeroed where the name says so. */
void *hone_allocate(const hone_context *context, size_t size);
void *hone_allocate_zeroed(const hone_context *context, size_t size);
void *hone_allocate_aligned(const hone_context *context, size_t size, size_t alignment);
/* Grows (or first makes) an array: contents are kept, the old block is released on success only. */
void *hone_reallocate(const hone_context *context, void *memory, size_t old_size, size_t new_size);
void hone_release(const hone_context *context, void *memory, size_t size); /* size as allocated */
char *hone_copy_string(const hone_context *context, const char *text);     /* hone_string_free */

hone_status hone_fail_memory(hone_error *error, size_t size, const char *what);

/* ---- rules ---------------------------------------------------------------------------------- */

/* Checks `value` against hyperparameter `index`'s kind and range; the sentence names `path`. */
hone_status hone_rule_check_value(const hone_rule *rule, int index, const struct hone_value *value,
                                  const char *path, hone_error *error);
/* "finite and at least 0", "at least 0 and below 1", "any finite number", "0 or 1" */
void hone_describe_range(char *text, size_t size, const hone_hyper *hyper);

void hone_rule_defaults(const hone_rule *rule, struct hone_value *values);

/* ---- tensors -------------------------------------------------------------------------------- */

/* Storage format of the reals behind a steppable dtype; reals per element (2 for complex). */
bool hone_dtype_format(hone_dtype dtype, enum hone_format *format, int *reals);
hone_dtype hone_format_dtype(enum hone_format format);

/* Bytes of a checked view. */
size_t hone_tensor_bytes(const hone_tensor *tensor);

/* Checks a view: known dtype, non-negative shape, contiguous, on the CPU, data present and aligned
 * to its element. The sentence calls it `what`. */
hone_status hone_tensor_check(const hone_tensor *tensor, const char *what, hone_error *error);

/* The same for a view on the CPU or on a device; that the memory is there is not looked at. */
hone_status hone_tensor_check_anywhere(const hone_tensor *tensor, const char *what,
                                       hone_error *error);

/* ---- specs ---------------------------------------------------------------------------------- */

#define HONE_STATE_DTYPE_DEFAULT (-1)
#define HONE_MAX_TRIPLES 16

/* What changes as a schedule of a group runs. */
struct hone_schedule_state {
    uint64_t e;
    double base;            /* the rate when the schedule was attached */
    double masked_base;     /* of masked_lr, where it follows lr; NaN: it does not */
    double best;            /* plateau: best metric so far */
    uint64_t bad, cooldown; /* plateau: bad metrics in a row, and how many more do not count */
};

/* Globs over parameter names; the array and its strings are the spec's. */
struct hone_globs {
    char **texts;
    int count;
};

struct hone_group {
    const hone_rule *rule;
    struct hone_value values[HONE_MAX_HYPERS];
    int state_dtype[HONE_MAX_SLOTS]; /* hone_dtype, or HONE_STATE_DTYPE_DEFAULT */
    double lr_multiplier;
    double masked_lr; /* of elements under a mask; NaN: as lr */
    hone_precision precision;
    double triples[HONE_MAX_TRIPLES][3]; /* a matrix rule's own Newton-Schulz coefficients */
    int triple_count;
    hone_schedule *schedule; /* of lr; the group's own; NULL: none */
    struct hone_schedule_state schedule_state;
    hone_schedule *masked_schedule; /* of masked_lr; NULL: it keeps its ratio to lr */
    struct hone_schedule_state masked_state;
    struct hone_globs match, except; /* which names it takes */
    int32_t min_ndim;                /* and with how many dimensions at least */
};

/* A module's multiplier of the learning rate. */
struct hone_multiplier {
    char *module;
    double value;
};

struct hone_spec {
    const hone_context *context;
    struct hone_group *groups;
    int group_count;
    double clip_norm;      /* infinity: off */
    double clip_norm_type; /* the order p; default 2 */
    double clip_value;     /* infinity: off */
    hone_nonfinite nonfinite;
    int accumulate; /* calls of step that make one update; default 1 */
    bool accumulate_mean;
    struct hone_multiplier *multipliers; /* sorted by module */
    int multiplier_count;
    char *masks; /* the file that a program should take masks from; NULL: none */
};

/* Schedules (schedule.c): start those that the group has at e = 0; follow rates that were set by
 * hand; the decay of an epoch; equality of what JSON would say. */
hone_status hone_schedule_check_rule(const hone_schedule *schedule, const hone_rule *rule,
                                     hone_error *error);
hone_status hone_group_attach(struct hone_group *group, hone_error *error);
/* The same at the places where the schedules of `before` stand, if it has them. */
hone_status hone_group_resume(struct hone_group *group, const struct hone_group *before,
                              hone_error *error);
void hone_group_rescale(struct hone_group *group, double old_lr, double old_masked_lr);
/* Those counted in epochs (or in steps): whether there are any; whether they have a next value; going
 * there. */
bool hone_group_advances(const struct hone_group *group, bool epoch);
hone_status hone_group_check_next(const struct hone_group *group, bool epoch, hone_error *error);
void hone_group_advance(struct hone_group *group, bool epoch);
/* Whether lr or masked_lr has one. */
bool hone_group_has_schedule(const struct hone_group *group);
/* A metric, for schedules that wait for metrics. */
void hone_group_observe(struct hone_group *group, double metric);
/* RANGE where the schedule has ended before e. */
hone_status hone_schedule_check_end(const hone_schedule *schedule, double e, hone_error *error);
hone_status hone_schedule_create_decay(hone_schedule **schedule, const hone_context *context,
                                       double gamma, hone_error *error);
hone_status hone_schedule_copy(hone_schedule **copy, const hone_context *context,
                               const hone_schedule *schedule, hone_error *error);
bool hone_schedule_equal(const hone_schedule *a, const hone_schedule *b);

hone_status hone_spec_copy(hone_spec **copy, const hone_context *context, const hone_spec *spec,
                           hone_error *error);

/* Whether hyperparameter `index` is a choice whose last word stands for the group's triples. */
bool hone_group_is_custom(const struct hone_group *group, int index);

/* Adds a glob (not empty, UTF-8) to one of a group's lists; empties a list. */
hone_status hone_spec_append_glob(hone_spec *spec, struct hone_globs *globs, const char *text,
                                  hone_error *error);
void hone_spec_clear_globs(hone_spec *spec, struct hone_globs *globs);
bool hone_glob_takes(const char *glob, const char *name);
bool hone_globs_take(const struct hone_globs *globs, const char *name);

/* Whether module `index` of the multipliers holds a parameter of this name. */
bool hone_module_holds(const hone_spec *spec, int index, const char *name);

/* Where a module of this name, `length` bytes of it, stands or would stand among the multipliers. */
int hone_spec_place_module(const hone_spec *spec, const char *name, size_t length, bool *there);

/* The most specific module with a multiplier that holds a parameter of this name; -1: none. */
int hone_spec_find_module(const hone_spec *spec, const char *name);

/* By what the rate of a parameter in `group` is multiplied: by the group, and by the module (-1:
 * none) unless the rule steps matrices, whose rate is their own. RANGE if that is not finite; `name`
 * is for the sentence. */
hone_status hone_spec_multiplier(const hone_spec *spec, int group, int module, const char *name,
                                 double *value, hone_error *error);

/* Whether `text` is UTF-8, which JSON strings have to be: no surrogates, nothing longer than needed,
 * nothing past U+10FFFF. */
bool hone_text_is_utf8(const char *text);

/* Checks a value alone and stores it in its canonical form: no -0, no power beside an infinite
 * scale. The rule's own check of all values together is left to the caller. The sentence names
 * `path`. */
hone_status hone_group_store(struct hone_group *group, int index, struct hone_value value,
                             const char *path, hone_error *error);

/* Whether any group rounds at random, so that the context's seed is part of its arithmetic. */
bool hone_spec_is_random(const hone_spec *spec);

/* Replaces every value, clip setting and group of `spec` by those of `from`; cannot fail half-way.
 */
hone_status hone_spec_assign(hone_spec *spec, const hone_spec *from, hone_error *error);

#endif
