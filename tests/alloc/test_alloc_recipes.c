/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes of every new kind of key, with every allocation of reading, writing, placing and creating
 * failing in turn: nothing leaks, and nothing that was there changes. */
#include <string.h>

#include <hone/placement.h>

#include "support/checks.h"
#include "support/cmocka_all.h"
#include "support/counting_allocator.h"

static const char recipe[] =
    "{\"lr_multipliers\": {\"head\": 5, \"head.bias\": 1, \"a\": 0.5}, \"adamw_lr\": 0.5, "
    "\"adamw_schedule\": {\"type\": \"multi_step\", \"milestones\": [1]}, \"schedule\": {\"type\": "
    "\"linear\"}, \"split\": {\"match\": [\"*.weight\", \"x\"], \"except\": "
    "\"embeddings_and_heads\"}, \"groups\": [{\"match\": \"q\", \"except\": [\"r\", \"s\"], "
    "\"masked_schedule\": {\"type\": \"multi_step\", \"milestones\": [2, 3]}}]}";

static const int64_t shape[] = {2, 2};
static float memory[4][4];
static const struct {
    const char *name;
    int32_t ndim;
} named[] = {{"a.weight", 2}, {"a.bias", 1}, {"head.weight", 2}, {"head.bias", 1}};

/* What is made, in order; each needs what stands before it. */
struct made {
    hone_spec *spec;
    char *dict, *canonical;
    hone_placement *placement;
    hone_optimizer *optimizer;
};

static hone_status read_recipe(struct made *made, const hone_context *context)
{
    return hone_spec_from_serialized(&made->spec, context, "muon", recipe, strlen(recipe),
                                     &problem);
}

static hone_status set_module(struct made *made, const hone_context *context)
{
    (void)context;
    return hone_spec_set_lr_multiplier(made->spec, "b.c", 2, &problem);
}

static hone_status write_dict(struct made *made, const hone_context *context)
{
    (void)context;
    return hone_spec_to_dict(made->spec, NULL, &made->dict, &problem);
}

static hone_status write_canonical(struct made *made, const hone_context *context)
{
    (void)context;
    return hone_spec_write(made->spec, &made->canonical, &problem);
}

static hone_status place(struct made *made, const hone_context *context)
{
    hone_model_parameter list[4];
    for (int i = 0; i < 4; i++)
        list[i] = (hone_model_parameter){
            named[i].name, hone_tensor_view(memory[i], HONE_F32, named[i].ndim, shape), true, NULL};
    const hone_model models[] = {{NULL, list, 2}, {"m", list + 2, 2}};
    return hone_placement_create(&made->placement, context, made->spec, models, 2, &problem);
}

static hone_status create(struct made *made, const hone_context *context)
{
    (void)context;
    return hone_optimizer_create_placed(&made->optimizer, made->placement, &problem);
}

static hone_status (*const steps[])(struct made *made, const hone_context *context) = {
    read_recipe, set_module, write_dict, write_canonical, place, create};
#define STEPS (sizeof steps / sizeof steps[0])

static void test_every_failure(void **state)
{
    (void)state;
    struct counting counting = {0};
    hone_context *context = NULL;
    hone_context_options options;
    struct made made = {.spec = NULL};
    hone_context_options_init(&options);
    options.threads = 1;
    options.allocator = counting_allocator(&counting);
    OK(hone_context_create(&context, &options, &problem));
    for (size_t step = 0; step < STEPS; step++) {
        const size_t blocks = counting.blocks;
        hone_status status;
        size_t k = 0;
        do {
            const struct made before = made;
            counting.fail_at = counting.calls + ++k;
            status = steps[step](&made, context);
            counting.fail_at = 0;
            assert_true(status == HONE_OK || status == HONE_ERROR_MEMORY);
            if (status != HONE_OK) {
                assert_memory_equal(&made, &before, sizeof made);
                assert_true(step == 1 || counting.blocks == blocks);
            }
        } while (status != HONE_OK);
        assert_true(k > 1);
    }
    assert_string_equal(hone_spec_lr_module(made.spec, 2, NULL), "head");
    assert_int_equal(hone_optimizer_count(made.optimizer), 4);
    hone_optimizer_free(made.optimizer);
    hone_placement_free(made.placement);
    hone_string_free(context, made.dict);
    hone_string_free(context, made.canonical);
    hone_spec_free(made.spec);
    hone_context_free(context);
    assert_int_equal(counting.blocks, 0);
    assert_int_equal(counting.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_failure)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
