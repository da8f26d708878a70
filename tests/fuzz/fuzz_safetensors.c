/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a safetensors file: they are refused, or every byte they promise can be read; and as
 * a checkpoint: the optimizer takes all of it or stays as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"

static volatile unsigned sink; /* keeps the reads below alive */

static void touch_everything(const hone_file *file)
{
    unsigned sum = 0;
    for (int64_t i = 0; i < hone_file_count(file); i++) {
        hone_tensor tensor;
        REQUIRE(hone_file_tensor(file, i, &tensor, NULL) == HONE_OK);
        REQUIRE(hone_file_find(file, hone_file_name(file, i)) == i);
        const size_t size = (size_t)hone_tensor_numel(&tensor) * hone_dtype_size(tensor.dtype);
        const unsigned char *bytes = tensor.data;
        for (size_t k = 0; k < size; k++)
            sum += bytes[k];
    }
    for (int64_t i = 0; i < hone_file_metadata_count(file); i++) {
        const char *key = hone_file_metadata_key(file, i);
        sum += (unsigned)strlen(hone_file_metadata(file, key));
    }
    sink = sum;
}

/* An optimizer of two groups and four parameters, in the middle of its second round of gradients;
 * one parameter is narrow and has a master, one is empty. */
struct subject {
    float weight[6], gradient[6];
    double bias[2], bias_gradient[2];
    uint16_t half[3], half_gradient[3];
    hone_optimizer *optimizer;
};

static const int64_t weight_shape[] = {2, 3}, bias_shape[] = {2}, half_shape[] = {3},
                     none_shape[] = {0};
static const char recipe[] =
    "{\"optimizer_type\":\"adamw\",\"learning_rate\":0.01,\"amsgrad\":true,\"precision\":"
    "\"master\","
    "\"grad_accum_steps\":2,\"schedule\":{\"type\":\"reduce_lr_on_plateau\"},"
    "\"groups\":[{\"match\":\"b*\",\"optimizer_type\":\"sgd\",\"momentum\":0.9}]}";

static void prepare(struct subject *subject, const hone_context *context)
{
    memset(subject, 0, sizeof(*subject));
    for (int i = 0; i < 6; i++)
        subject->gradient[i] = (float)(i - 2);
    subject->bias_gradient[0] = 1;
    subject->half_gradient[1] = 0x3f80; /* 1 */
    hone_spec *spec = NULL;
    REQUIRE(hone_spec_parse(&spec, context, recipe, strlen(recipe), NULL) == HONE_OK);
    REQUIRE(hone_optimizer_create(&subject->optimizer, context, spec, NULL) == HONE_OK);
    hone_spec_free(spec);
    const hone_tensor tensors[] = {
        hone_tensor_view(subject->weight, HONE_F32, 2, weight_shape),
        hone_tensor_view(subject->bias, HONE_F64, 1, bias_shape),
        hone_tensor_view(subject->half, HONE_BF16, 1, half_shape),
        hone_tensor_view(NULL, HONE_BF16, 1, none_shape),
    };
    const hone_tensor grads[] = {
        hone_tensor_view(subject->gradient, HONE_F32, 2, weight_shape),
        hone_tensor_view(subject->bias_gradient, HONE_F64, 1, bias_shape),
        hone_tensor_view(subject->half_gradient, HONE_BF16, 1, half_shape),
    };
    static const char *const names[] = {"w", "b", "h", "none"};
    for (int i = 0; i < 4; i++)
        REQUIRE(hone_optimizer_add(subject->optimizer, names[i], &tensors[i], HONE_GROUP_BY_NAME,
                                   NULL, NULL) == HONE_OK);
    for (int i = 0; i < 3; i++)
        REQUIRE(hone_optimizer_set_grad(subject->optimizer, i, &grads[i], NULL) == HONE_OK);
    for (int i = 0; i < 3; i++)
        REQUIRE(hone_optimizer_step(subject->optimizer, NULL, NULL) == HONE_OK);
}

static uint64_t hash_state(uint64_t hash, const hone_optimizer *optimizer, int64_t index,
                           const char *name)
{
    hone_tensor view;
    REQUIRE(hone_optimizer_state(optimizer, index, name, &view, NULL) == HONE_OK);
    if (view.data == NULL)
        return hash;
    const size_t size = (size_t)hone_tensor_numel(&view) * hone_dtype_size(view.dtype);
    for (size_t k = 0; k < size; k++)
        hash = (hash ^ ((const unsigned char *)view.data)[k]) * 1099511628211u;
    return hash;
}

/* Everything a load may change, as one number. */
static uint64_t fingerprint(const struct subject *subject)
{
    uint64_t hash = 14695981039346656037u;
    char *json = NULL;
    REQUIRE(hone_spec_write(hone_optimizer_spec(subject->optimizer), &json, NULL) == HONE_OK);
    for (const char *at = json; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    hone_string_free(hone_optimizer_context(subject->optimizer), json);
    for (int64_t i = 0; i < hone_optimizer_count(subject->optimizer); i++) {
        uint64_t count = 0;
        double multiplier = 0;
        REQUIRE(hone_optimizer_step_count(subject->optimizer, i, &count, NULL) == HONE_OK);
        REQUIRE(hone_optimizer_lr_multiplier(subject->optimizer, i, &multiplier, NULL) == HONE_OK);
        hash = (hash ^ count ^ (uint64_t)(multiplier * 1000)) * 1099511628211u;
        const hone_rule *rule = hone_optimizer_group_rule(
            subject->optimizer, hone_optimizer_group_of(subject->optimizer, i));
        for (int slot = 0; slot < hone_rule_slot_count(rule); slot++)
            hash = hash_state(hash, subject->optimizer, i, hone_rule_slot(rule, slot)->name);
        hash = hash_state(hash, subject->optimizer, i, "master");
        hash = hash_state(hash, subject->optimizer, i, "accumulated_grad");
    }
    return hash;
}

/* A step may still be refused, by values that the checkpoint brought; it must not go astray. */
static void step_on(const struct subject *subject)
{
    hone_error error;
    for (int i = 0; i < 2; i++)
        if (hone_optimizer_step(subject->optimizer, NULL, &error) != HONE_OK)
            REQUIRE(error.status == HONE_ERROR_NONFINITE);
    hone_optimizer_schedule_step(subject->optimizer, NULL);
    hone_optimizer_schedule_metric(subject->optimizer, 1, NULL);
}

static void load(const hone_context *context, const hone_file *file)
{
    struct subject subject;
    prepare(&subject, context);
    const uint64_t before = fingerprint(&subject);
    hone_error error;
    if (hone_optimizer_load_file(subject.optimizer, file, &error) != HONE_OK) {
        REQUIRE(fingerprint(&subject) == before);
        REQUIRE(memchr(error.message, '\0', sizeof(error.message)) != NULL);
    }
    fingerprint(&subject);
    step_on(&subject);
    hone_optimizer_free(subject.optimizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_context *const context = fuzz_context();
    hone_file *file = NULL;
    if (hone_file_read(&file, context, data, size, NULL) != HONE_OK)
        return 0;
    touch_everything(file);
    if (hone_file_metadata(file, "hone") != NULL)
        load(context, file);
    hone_file_close(file);
    return 0;
}
