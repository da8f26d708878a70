/* SPDX-License-Identifier: Apache-2.0 */
/* A small optimizer to save and restore: four parameters (one of them empty, one without a
 * gradient) whose gradients depend on nothing but their name and the step. */
#ifndef HONE_TESTS_CHECKPOINT_SUBJECT_H
#define HONE_TESTS_CHECKPOINT_SUBJECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hone/hone.h>

#define LENGTH(array) (int)(sizeof(array) / sizeof(*(array)))
#define SUBJECT_COUNT 4
#define SUBJECT_BYTES (37 * 16)

static const char *const subject_names[SUBJECT_COUNT] = {"layer.weight", "layer.bias", "empty",
                                                         "late"};
static const int64_t subject_shapes[SUBJECT_COUNT][2] = {{37, 1}, {5, 1}, {0, 3}, {2, 3}};
static const int32_t subject_ndims[SUBJECT_COUNT] = {2, 1, 2, 2};

struct subject {
    hone_optimizer *optimizer;
    hone_dtype dtype;
    bool matrices; /* the rule takes no vectors */
    int late;      /* the number of the first step in which "late" has a gradient */
    int poison;    /* the number of a step with a NaN among its gradients */
    struct {
        _Alignas(16) unsigned char value[SUBJECT_BYTES], gradient[SUBJECT_BYTES];
        int64_t index;
    } params[SUBJECT_COUNT];
};

static inline hone_tensor subject_tensor(const struct subject *subject, int i, const void *data)
{
    return hone_tensor_view((void *)(uintptr_t)data, subject->dtype,
                            subject->matrices ? 2 : subject_ndims[i], subject_shapes[i]);
}

/* Finite values of moderate size in any of the formats, from a seed. */
static inline void fill_values(unsigned char *bytes, hone_dtype dtype, uint64_t seed)
{
    const int complex = dtype == HONE_C64 || dtype == HONE_C128;
    const size_t size = hone_dtype_size(dtype) / (complex ? 2 : 1);
    for (size_t at = 0; at + size <= SUBJECT_BYTES; at += size) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const uint64_t bits = seed >> 32;
        const double number = (double)bits / 4294967296.0 - 0.5;
        const float single = (float)number;
        uint32_t word;
        memcpy(&word, &single, sizeof(word));
        const uint16_t half =
            dtype == HONE_BF16 ? (uint16_t)(word >> 16) : (uint16_t)(0x2800 | (bits & 0x8fff));
        memcpy(bytes + at,
               size == 8   ? (const void *)&number
               : size == 4 ? (const void *)&single
                           : (const void *)&half,
               size);
    }
}

/* Registers the parameters in the given order (NULL: 0, 1, 2, 3). */
static inline void subject_create(struct subject *subject, const hone_context *context,
                                  const hone_spec *spec, hone_dtype dtype, const int *order)
{
    hone_error error;
    subject->dtype = dtype;
    subject->matrices = hone_rule_is_matrix(hone_spec_group_rule(spec, 0));
    subject->late = 5;
    subject->poison = -1;
    if (hone_optimizer_create(&subject->optimizer, context, spec, &error) != HONE_OK)
        fail_msg("%s", error.message);
    for (int k = 0; k < SUBJECT_COUNT; k++) {
        const int i = order == NULL ? k : order[k];
        fill_values(subject->params[i].value, dtype, (uint64_t)i);
        const hone_tensor tensor = subject_tensor(subject, i, subject->params[i].value);
        if (hone_optimizer_add(subject->optimizer, subject_names[i], &tensor, HONE_GROUP_BY_NAME,
                               &subject->params[i].index, &error) != HONE_OK)
            fail_msg("%s", error.message);
    }
}

static inline hone_spec *parse_spec(const hone_context *context, const char *json)
{
    hone_spec *spec = NULL;
    hone_error error;
    if (hone_spec_parse(&spec, context, json, strlen(json), &error) != HONE_OK)
        fail_msg("%s: %s", json, error.message);
    return spec;
}

static inline void subject_create_json(struct subject *subject, const hone_context *context,
                                       const char *json, const int *order)
{
    hone_spec *spec = parse_spec(context, json);
    subject_create(subject, context, spec, HONE_F32, order);
    hone_spec_free(spec);
}

static inline void subject_free(struct subject *subject)
{
    hone_optimizer_free(subject->optimizer);
}

/* Takes step number `step`, counted from 1. */
static inline void subject_step(struct subject *subject, int step)
{
    hone_error error;
    for (int i = 0; i < SUBJECT_COUNT; i++) {
        fill_values(subject->params[i].gradient, subject->dtype, (uint64_t)(100 * step + i));
        if (i == 1 && step == subject->poison)
            memset(subject->params[i].gradient, 0xff, 16);
        const hone_tensor grad = subject_tensor(subject, i, subject->params[i].gradient);
        const bool missing = i == 3 && step < subject->late;
        if (hone_optimizer_set_grad(subject->optimizer, subject->params[i].index,
                                    missing ? NULL : &grad, &error) != HONE_OK)
            fail_msg("%s", error.message);
    }
    if (hone_optimizer_step(subject->optimizer, NULL, &error) != HONE_OK)
        fail_msg("%s", error.message);
}

static inline void subject_copy_values(struct subject *to, const struct subject *from)
{
    for (int i = 0; i < SUBJECT_COUNT; i++)
        memcpy(to->params[i].value, from->params[i].value, SUBJECT_BYTES);
}

/* ---- comparing ------------------------------------------------------------------------------ */

static inline void hash_bytes(uint64_t *hash, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        *hash = (*hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
}

static inline void hash_state(uint64_t *hash, const hone_optimizer *optimizer, int64_t index,
                              const char *slot)
{
    hone_tensor view;
    assert_int_equal(hone_optimizer_state(optimizer, index, slot, &view, NULL), HONE_OK);
    const bool exists = view.data != NULL;
    hash_bytes(hash, &exists, sizeof(exists));
    if (!exists)
        return;
    hash_bytes(hash, &view.dtype, sizeof(view.dtype));
    hash_bytes(hash, view.shape, sizeof(*view.shape) * (size_t)view.ndim);
    hash_bytes(hash, view.data, (size_t)hone_tensor_numel(&view) * hone_dtype_size(view.dtype));
}

/* Everything that a load may change and everything that a step depends on, by parameter name. */
static inline uint64_t subject_hash(const struct subject *subject)
{
    uint64_t hash = 14695981039346656037u;
    const hone_optimizer *optimizer = subject->optimizer;
    char *json = NULL;
    if (hone_spec_write(hone_optimizer_spec(optimizer), &json, NULL) == HONE_OK)
        hash_bytes(&hash, json, strlen(json));
    hone_string_free(hone_optimizer_context(optimizer), json);
    const uint64_t skipped = hone_optimizer_skipped(optimizer);
    const double scale = hone_optimizer_loss_scale(optimizer);
    hash_bytes(&hash, &skipped, sizeof(skipped));
    hash_bytes(&hash, &scale, sizeof(scale));
    for (int i = 0; i < SUBJECT_COUNT; i++) {
        const int64_t index = subject->params[i].index;
        const int group = hone_optimizer_group_of(optimizer, index);
        uint64_t count = 0;
        double multiplier = 0;
        assert_int_equal(hone_optimizer_step_count(optimizer, index, &count, NULL), HONE_OK);
        assert_int_equal(hone_optimizer_lr_multiplier(optimizer, index, &multiplier, NULL),
                         HONE_OK);
        hash_bytes(&hash, &count, sizeof(count));
        hash_bytes(&hash, &multiplier, sizeof(multiplier));
        hash_bytes(&hash, &group, sizeof(group));
        hash_bytes(&hash, subject->params[i].value, SUBJECT_BYTES);
        const hone_rule *rule = hone_optimizer_group_rule(optimizer, group);
        for (int k = 0; k < hone_rule_slot_count(rule); k++)
            hash_state(&hash, optimizer, index, hone_rule_slot(rule, k)->name);
        hash_state(&hash, optimizer, index, "master");
        hash_state(&hash, optimizer, index, "compensation");
    }
    return hash;
}

/* ---- memory that runs out ------------------------------------------------------------------- */

struct failing_memory {
    int allowed;   /* allocations before one fails */
    bool only_one; /* and those after it succeed again */
    int live;
};

static inline void *allocate_some(size_t size, size_t alignment, void *user)
{
    struct failing_memory *memory = user;
    const int left = memory->allowed--;
    if (left == 0 || (left < 0 && !memory->only_one))
        return NULL;
    memory->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static inline void release_some(void *block, size_t size, void *user)
{
    (void)size;
    struct failing_memory *memory = user;
    memory->live--;
    free(block);
}

static inline hone_context *failing_context(struct failing_memory *memory)
{
    hone_context_options options;
    hone_context_options_init(&options);
    options.allocator = (hone_allocator){allocate_some, release_some, memory};
    hone_context *context = NULL;
    memory->allowed = 1 << 30;
    assert_int_equal(hone_context_create(&context, &options, NULL), HONE_OK);
    return context;
}

#endif
