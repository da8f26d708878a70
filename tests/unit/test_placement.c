/* SPDX-License-Identifier: Apache-2.0 */
/* Placing the parameters of one or several models: groups by pattern, exception and dimensions,
 * multipliers by module, parameters that are the same, frozen ones, notices, refusals; and the
 * optimizer made of it, its steps and its checkpoint. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

#include "support/fixtures.h"

#define OK(call) assert_int_equal(call, HONE_OK)
#define LENGTH(array) ((int)(sizeof(array) / sizeof(array)[0]))

static const int64_t square[] = {2, 2, 2, 2};

/* A parameter of 2^ndim elements. */
static hone_model_parameter parameter(const char *name, float *data, int32_t ndim)
{
    return (hone_model_parameter){name, hone_tensor_view(data, HONE_F32, ndim, square), true, NULL};
}

static hone_placement *place(const char *json, const hone_model *models, int count)
{
    hone_spec *const spec = parse_spec(json);
    hone_placement *placement = NULL;
    hone_error error;
    if (hone_placement_create(&placement, context, spec, models, count, &error) != HONE_OK)
        fail_msg("%s: %s", json, error.message);
    hone_spec_free(spec);
    return placement;
}

static hone_placement *place_list(const char *json, const hone_model_parameter *list, int count)
{
    const hone_model model = {NULL, list, count};
    return place(json, &model, 1);
}

static void expect_failure(const char *json, const hone_model *models, int count,
                           hone_status status, const char *message)
{
    hone_spec *const spec = parse_spec(json);
    hone_placement *const untouched = (hone_placement *)&context;
    hone_placement *placement = untouched;
    hone_error error;
    assert_int_equal(hone_placement_create(&placement, context, spec, models, count, &error),
                     status);
    assert_string_equal(error.message, message);
    assert_ptr_equal(placement, untouched);
    hone_spec_free(spec);
}

static hone_place at(const hone_placement *placement, int64_t index)
{
    hone_place found;
    OK(hone_placement_at(placement, index, &found, NULL));
    return found;
}

static void groups_go_by_name_and_dimensions(void **state)
{
    (void)state;
    const hone_model_parameter list[] = {
        parameter("a.weight", NULL, 2), parameter("a.bias", NULL, 1),
        parameter("b.weight", NULL, 2), parameter("a.skip", NULL, 3), parameter("c", NULL, 0)};
    hone_placement *const placement = place_list(
        "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, \"groups\": [{\"match\": \"a.*\", "
        "\"except\": [\"*.skip\", \"*.other\"], \"min_ndim\": 2, \"learning_rate\": 2, "
        "\"lr_multiplier\": 3}, {\"match\": \"*.bias\", \"min_ndim\": 2}]}",
        list, LENGTH(list));
    static const int groups[] = {1, 0, 0, 0, 0};
    assert_int_equal(hone_placement_count(placement), 5);
    for (int i = 0; i < 5; i++) {
        const hone_place found = at(placement, i);
        assert_string_equal(found.name, list[i].name);
        assert_int_equal(found.group, groups[i]);
        assert_true(found.lr == (groups[i] == 1 ? 6 : 1));
        assert_true(found.multiplier == (groups[i] == 1 ? 3 : 1));
        assert_null(found.module);
        assert_false(found.left_out || found.module_ignored);
    }
    int index = 0;
    hone_notice notice;
    assert_true(hone_placement_notice(placement, &index, &notice));
    assert_int_equal(notice.kind, HONE_NOTICE_EXCEPTION);
    assert_string_equal(notice.text, "*.other");
    assert_int_equal(notice.group, 1);
    assert_true(hone_placement_notice(placement, &index, &notice));
    assert_int_equal(notice.kind, HONE_NOTICE_PATTERN); /* a vector, where matrices are asked for */
    assert_string_equal(notice.text, "*.bias");
    assert_int_equal(notice.group, 2);
    assert_false(hone_placement_notice(placement, &index, &notice));
    hone_place unused;
    hone_error error;
    assert_int_equal(hone_placement_at(placement, 5, &unused, &error), HONE_ERROR_ARGUMENT);
    hone_placement_free(placement);
}

#define MODULES                                                                                 \
    "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.5, \"lr_multipliers\": {\"net\": 2, " \
    "\"net.head\": 8, \"net.head.bias\": 1, \"net.frozen\": 0, \"absent\": 4}}"

static void the_most_specific_module_counts(void **state)
{
    (void)state;
    const hone_model_parameter list[] = {parameter("net.body.weight", NULL, 2),
                                         parameter("net.head.weight", NULL, 2),
                                         parameter("net.head.bias", NULL, 1),
                                         parameter("net.header", NULL, 1),
                                         parameter("net", NULL, 1),
                                         parameter("network.x", NULL, 1),
                                         parameter("net.frozen.x", NULL, 1)};
    static const double multipliers[] = {2, 8, 1, 2, 2, 1, 0};
    static const char *const modules[] = {"net", "net.head", "net.head.bias", "net",
                                          "net", NULL,       "net.frozen"};
    hone_placement *const placement = place_list(MODULES, list, LENGTH(list));
    for (int i = 0; i < LENGTH(list); i++) {
        const hone_place found = at(placement, i);
        assert_true(found.multiplier == multipliers[i] && found.lr == 0.5 * multipliers[i]);
        assert_true((found.module == NULL) == (modules[i] == NULL));
        if (modules[i] != NULL)
            assert_string_equal(found.module, modules[i]);
    }
    int index = 0;
    hone_notice notice;
    assert_true(hone_placement_notice(placement, &index, &notice));
    assert_int_equal(notice.kind, HONE_NOTICE_MODULE);
    assert_string_equal(notice.text, "absent");
    assert_int_equal(notice.group, -1);
    assert_false(hone_placement_notice(placement, &index, &notice));
    hone_placement_free(placement);
}

static void matrices_keep_their_rate(void **state)
{
    (void)state;
    const hone_model_parameter list[] = {parameter("transformer.a.weight", NULL, 2),
                                         parameter("transformer.a.bias", NULL, 1),
                                         parameter("transformer.b.weight", NULL, 2)};
    hone_placement *const placement =
        place_list("{\"optimizer_type\": \"muon\", \"learning_rate\": 0.5, \"adamw_lr\": 0.25, "
                   "\"lr_multipliers\": {\"transformer\": 2, \"transformer.b\": 1}}",
                   list, LENGTH(list));
    const hone_place matrix = at(placement, 0), vector = at(placement, 1);
    assert_true(matrix.group == 1 && matrix.lr == 0.5 && matrix.module_ignored);
    assert_true(vector.group == 0 && vector.lr == 0.5 && !vector.module_ignored);
    int index = 0;
    hone_notice notice;
    assert_true(hone_placement_notice(placement, &index, &notice));
    assert_int_equal(notice.kind, HONE_NOTICE_MATRICES);
    assert_string_equal(notice.text, "transformer");
    assert_int_equal(notice.count, 1);
    assert_false(hone_placement_notice(placement, &index, &notice));
    hone_placement_free(placement);
}

/* ---- several models ------------------------------------------------------------------------- */

static void the_same_parameter_is_one(void **state)
{
    (void)state;
    float shared[4], one[4], other[4];
    const hone_model_parameter first[] = {parameter("shared", shared, 2),
                                          parameter("weight", one, 2)};
    const hone_model_parameter second[] = {parameter("weight", other, 2),
                                           parameter("tied", shared, 2),
                                           parameter("tied_again", shared, 2)};
    const hone_model models[] = {{"a", first, 2}, {"b", second, 3}};
    hone_placement *const placement = place(
        "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, \"lr_multipliers\": {\"b.tied\": "
        "4, \"b.weight\": 2}}",
        models, 2);
    assert_int_equal(hone_placement_count(placement), 3);
    assert_string_equal(at(placement, 0).name, "a.shared");
    assert_true(at(placement, 0).lr == 4);
    assert_string_equal(at(placement, 0).module, "b.tied");
    assert_string_equal(at(placement, 1).name, "a.weight");
    assert_true(at(placement, 1).lr == 1);
    assert_string_equal(at(placement, 2).name, "b.weight");
    assert_true(at(placement, 2).lr == 2);
    int index = 0;
    hone_notice notice;
    assert_false(hone_placement_notice(placement, &index, &notice));
    hone_optimizer *optimizer = NULL;
    OK(hone_optimizer_create_placed(&optimizer, placement, NULL));
    assert_int_equal(hone_optimizer_count(optimizer), 3);
    double multiplier = 0;
    OK(hone_optimizer_lr_multiplier(optimizer, 0, &multiplier, NULL));
    assert_true(multiplier == 4);
    hone_optimizer_free(optimizer);
    hone_placement_free(placement);
}

/* Without prefixes one name may stand for one tensor, in both models. */
static void names_may_be_shared_with_their_tensor(void **state)
{
    (void)state;
    float shared[4], other[4];
    hone_model_parameter first[] = {parameter("w", shared, 2), parameter("empty", NULL, 0)};
    const hone_model_parameter second[] = {parameter("w", shared, 2), parameter("empty", NULL, 0)};
    const hone_model models[] = {{NULL, first, 2}, {"", second, 2}};
    hone_placement *const placement = place("{\"optimizer_type\": \"sgd\"}", models, 2);
    assert_int_equal(hone_placement_count(placement), 2);
    hone_placement_free(placement);
    first[0].tensor.data = other;
    expect_failure("{\"optimizer_type\": \"sgd\"}", models, 2, HONE_ERROR_NAME,
                   "the name \"w\" belongs to two tensors; models that share names need prefixes");
    first[0] = parameter("w", shared, 1);
    expect_failure("{\"optimizer_type\": \"sgd\"}", models, 2, HONE_ERROR_NAME,
                   "the name \"w\" belongs to two tensors; models that share names need prefixes");
}

static void overlaps_must_agree(void **state)
{
    (void)state;
    float tied[4];
    const hone_model_parameter list[] = {parameter("embed.weight", tied, 2),
                                         parameter("head.weight", tied, 2)};
    const hone_model model = {NULL, list, 2};
    hone_placement *const placement = place("{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, "
                                            "\"lr_multipliers\": {\"embed\": 3, \"head\": 3}}",
                                            &model, 1);
    assert_int_equal(hone_placement_count(placement), 1);
    assert_true(at(placement, 0).lr == 3);
    hone_placement_free(placement);
    expect_failure(
        "{\"optimizer_type\": \"sgd\", \"lr_multipliers\": {\"embed\": 3, \"head\": 0.5}}", &model,
        1, HONE_ERROR_ARGUMENT,
        "parameter \"embed.weight\" is in the modules \"embed\", whose multiplier is 3, "
        "and \"head\" (as \"head.weight\"), whose multiplier is 0.5; allowed: equal ones");
}

static void frozen_parameters(void **state)
{
    (void)state;
    float a[2], b[2];
    int32_t c[2] = {0};
    hone_model_parameter list[] = {parameter("a", a, 1), parameter("b", b, 1),
                                   parameter("c", NULL, 1)};
    list[1].requires_grad = false;
    list[2] = (hone_model_parameter){"c", hone_tensor_view(c, HONE_I32, 1, square), false, NULL};
    static const struct {
        const char *json;
        bool kept;
    } cases[] = {
        {"{\"optimizer_type\": \"adam\"}", true},
        {"{\"optimizer_type\": \"adam\", \"lr_multipliers\": {\"a\": 1}}", true},
        {"{\"optimizer_type\": \"adam\", \"lr_multipliers\": {\"a\": 2}}", false},
        {"{\"optimizer_type\": \"muon\", \"adamw_lr\": 1}", false},
    };
    for (int i = 0; i < LENGTH(cases); i++) {
        hone_placement *const placement = place_list(cases[i].json, list, 3);
        assert_int_equal(hone_placement_count(placement), 3);
        assert_false(at(placement, 0).left_out);
        assert_int_equal(at(placement, 1).left_out, !cases[i].kept);
        assert_true(at(placement, 2).left_out);
        hone_optimizer *optimizer = NULL;
        OK(hone_optimizer_create_placed(&optimizer, placement, NULL));
        assert_int_equal(hone_optimizer_count(optimizer), cases[i].kept ? 2 : 1);
        hone_optimizer_free(optimizer);
        hone_placement_free(placement);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const int64_t negative[] = {-1};
    const hone_model_parameter cube = parameter("transformer.conv", NULL, 3);
    const hone_model_parameter unnamed = parameter("", NULL, 1);
    const hone_model_parameter shapeless = {"x", {.dtype = HONE_F32, .ndim = 1}, true, NULL};
    const hone_model_parameter inside_out = {"x", hone_tensor_view(NULL, HONE_F32, 1, negative),
                                             true, NULL};
    int no_table; /* only its address is looked at */
    const hone_model_parameter rows = {.name = "items", .table = (void *)&no_table};
    const hone_model models[] = {{NULL, &cube, 1},       {NULL, &unnamed, 1}, {NULL, &shapeless, 1},
                                 {NULL, &inside_out, 1}, {NULL, NULL, 1},     {NULL, &cube, -1},
                                 {NULL, &rows, 1}};
    expect_failure(
        "{\"optimizer_type\": \"muon\", \"adamw_lr\": 1}", &models[0], 1, HONE_ERROR_SHAPE,
        "parameter \"transformer.conv\" has 3 dimensions; muon steps matrices, which have "
        "exactly 2; \"matrices\" may be \"flatten\" or \"batch\"");
    hone_placement_free(place(
        "{\"optimizer_type\": \"muon\", \"adamw_lr\": 1, \"matrices\": \"flatten\"}", models, 1));
    hone_placement_free(place("{\"optimizer_type\": \"muon\", \"flatten\": true}", models, 1));
    expect_failure("{\"optimizer_type\": \"sgd\"}", &models[1], 1, HONE_ERROR_NAME,
                   "parameter 0 of model 0 has no name");
    for (int i = 2; i < 4; i++)
        expect_failure("{\"optimizer_type\": \"sgd\"}", &models[i], 1, HONE_ERROR_SHAPE,
                       "parameter \"x\" has no shape, or one that no tensor has");
    for (int i = 4; i < 6; i++)
        expect_failure("{\"optimizer_type\": \"sgd\"}", &models[i], 1, HONE_ERROR_ARGUMENT,
                       "model 0 has no list of parameters");
    expect_failure("{\"optimizer_type\": \"sgd\"}", &models[6], 1, HONE_ERROR_ARGUMENT,
                   "\"items\" is a table; only parameters are placed: hone_filter_out_sparse "
                   "separates the two");
    expect_failure("{\"optimizer_type\": \"sgd\"}", models, -1, HONE_ERROR_ARGUMENT,
                   "the number of models is -1");
    const hone_model_parameter plain = parameter("a.b", NULL, 0);
    const hone_model huge = {NULL, &plain, 1};
    expect_failure("{\"optimizer_type\": \"sgd\", \"lr_multipliers\": {\"a\": 1e300}, \"groups\": "
                   "[{\"match\": \"*\", \"lr_multiplier\": 1e300}]}",
                   &huge, 1, HONE_ERROR_RANGE,
                   "parameter \"a.b\": the multipliers of its group and of the module \"a\" make "
                   "more than a double holds");
    hone_error error;
    hone_optimizer *optimizer = NULL;
    hone_placement *const none = place("{\"optimizer_type\": \"sgd\"}", NULL, 0);
    assert_int_equal(hone_optimizer_create_placed(&optimizer, none, &error), HONE_ERROR_ARGUMENT);
    assert_string_equal(error.message, "none of the models' 0 parameters needs a gradient");
    hone_placement_free(none);
    hone_placement *const nowhere = place("{\"optimizer_type\": \"sgd\"}", &huge, 1);
    assert_int_equal(hone_optimizer_create_placed(&optimizer, nowhere, &error),
                     HONE_ERROR_ARGUMENT); /* data NULL */
    assert_null(optimizer);
    hone_placement_free(nowhere);
    hone_placement_free(NULL);
    assert_int_equal(hone_placement_count(NULL), 0);
}

/* ---- multipliers in the spec, the optimizer and the checkpoint ------------------------------- */

static void multipliers_are_the_specs(void **state)
{
    (void)state;
    hone_error error;
    double value = 0;
    char *json = NULL;
    hone_spec *const spec = parse_spec("{\"optimizer_type\": \"sgd\"}");
    OK(hone_spec_set_lr_multiplier(spec, "b", 2, NULL));
    OK(hone_spec_set_lr_multiplier(spec, "a.b", 3, NULL));
    OK(hone_spec_set_lr_multiplier(spec, "c", 0, NULL));
    OK(hone_spec_set_lr_multiplier(spec, "b", 5, NULL));
    assert_string_equal(hone_spec_lr_module(spec, 0, &value), "a.b");
    assert_true(value == 3);
    assert_string_equal(hone_spec_lr_module(spec, 1, &value), "b");
    assert_true(value == 5);
    assert_string_equal(hone_spec_lr_module(spec, 2, NULL), "c");
    assert_null(hone_spec_lr_module(spec, 3, &value));
    assert_null(hone_spec_lr_module(spec, -1, &value));
    assert_null(hone_spec_lr_module(NULL, 0, &value));
    OK(hone_spec_write(spec, &json, NULL));
    assert_string_equal(json,
                        "{\"learning_rate\":0.001,\"lr_multipliers\":{\"a.b\":3,\"b\":5,\"c\":"
                        "0},\"optimizer_type\":\"sgd\"}");
    hone_string_free(context, json);
    assert_int_equal(hone_spec_set_lr_multiplier(spec, "", 1, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_spec_set_lr_multiplier(spec, NULL, 1, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_spec_set_lr_multiplier(spec, "\xff", 1, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_spec_set_lr_multiplier(NULL, "a", 1, &error), HONE_ERROR_ARGUMENT);
    const double wrong[] = {-1, (double)NAN, (double)INFINITY};
    for (int i = 0; i < 3; i++)
        assert_int_equal(hone_spec_set_lr_multiplier(spec, "b", wrong[i], &error),
                         HONE_ERROR_RANGE);
    assert_string_equal(error.message, "the learning-rate multiplier of the module \"b\" is "
                                       "Infinity; it must be finite and at least 0");
    hone_spec_lr_module(spec, 1, &value);
    assert_true(value == 5);
    hone_spec_free(spec);
}

static void create_and_step(hone_optimizer **optimizer, const char *json, float *params,
                            const float *grad)
{
    const hone_model_parameter list[] = {parameter("head.w", params, 0),
                                         parameter("body.w", params + 1, 0)};
    hone_placement *const placement = place_list(json, list, 2);
    OK(hone_optimizer_create_placed(optimizer, placement, NULL));
    hone_placement_free(placement);
    for (int i = 0; i < 2; i++) {
        const hone_tensor view = hone_tensor_view((void *)(uintptr_t)&grad[i], HONE_F32, 0, square);
        OK(hone_optimizer_set_grad(*optimizer, i, &view, NULL));
    }
    for (int i = 0; i < 3; i++)
        OK(hone_optimizer_step(*optimizer, NULL, NULL));
}

/* The rate that a module multiplies is that of a plain run at the product. */
static void multiplied_rates_are_stepped(void **state)
{
    (void)state;
    static const float grad[] = {0.3f, -0.7f};
    float both[] = {1, 2}, head[] = {1, 2}, body[] = {1, 2};
    hone_optimizer *a = NULL, *b = NULL, *c = NULL;
    create_and_step(&a,
                    "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.125, "
                    "\"lr_multipliers\": {\"head\": 4}}",
                    both, grad);
    create_and_step(&b, "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.5}", head, grad);
    create_and_step(&c, "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.125}", body, grad);
    assert_memory_equal(&both[0], &head[0], sizeof both[0]);
    assert_memory_equal(&both[1], &body[1], sizeof both[1]);
    assert_memory_not_equal(&head[0], &body[0], sizeof head[0]);
    hone_optimizer_free(a);
    hone_optimizer_free(b);
    hone_optimizer_free(c);
}

static void a_checkpoint_keeps_them(void **state)
{
    (void)state;
    static const char path[] = "test_placement.safetensors";
    static const float grad[] = {0.3f, -0.7f};
    float first[] = {1, 2}, second[] = {1, 2};
    hone_optimizer *saved = NULL, *loaded = NULL;
    create_and_step(&saved, "{\"optimizer_type\": \"adamw\", \"lr_multipliers\": {\"head\": 4}}",
                    first, grad);
    OK(hone_optimizer_save(saved, path, NULL));
    create_and_step(&loaded, "{\"optimizer_type\": \"adamw\"}", second, grad);
    OK(hone_optimizer_load(loaded, path, NULL));
    double value = 0;
    OK(hone_optimizer_lr_multiplier(loaded, 0, &value, NULL));
    assert_true(value == 4);
    assert_string_equal(hone_spec_lr_module(hone_optimizer_spec(loaded), 0, &value), "head");
    assert_true(value == 4);
    hone_spec *const next =
        parse_spec("{\"optimizer_type\": \"adamw\", \"lr_multipliers\": {\"body\": 8}}");
    OK(hone_optimizer_set_spec(loaded, next, NULL));
    hone_spec_free(next);
    OK(hone_optimizer_lr_multiplier(loaded, 0, &value, NULL));
    assert_true(value == 1);
    OK(hone_optimizer_lr_multiplier(loaded, 1, &value, NULL));
    assert_true(value == 8);
    remove(path);
    hone_optimizer_free(saved);
    hone_optimizer_free(loaded);
}

/* ---- Muon beside AdamW, saved and resumed ---------------------------------------------------- */

#define HYBRID                                                                                  \
    "{\"optimizer_type\": \"muon\", \"adamw_lr\": 0.01, \"schedule\": {\"type\": \"linear\"}, " \
    "\"adamw_schedule\": {\"type\": \"cosine_annealing\", \"T_max\": 9}, \"lr_multipliers\": {" \
    "\"head\": 3}}"

struct hybrid {
    float params[3][4];
    hone_optimizer *optimizer;
};

static void create_hybrid(struct hybrid *hybrid, const char *json)
{
    static const char *const names[] = {"transformer.w", "transformer.b", "head.w"};
    hone_model_parameter list[3];
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 4; k++)
            hybrid->params[i][k] = (float)(k + 1) / (float)(i + 2);
        list[i] = parameter(names[i], hybrid->params[i], i == 1 ? 1 : 2);
    }
    hone_placement *const placement = place_list(json, list, 3);
    OK(hone_optimizer_create_placed(&hybrid->optimizer, placement, NULL));
    hone_placement_free(placement);
}

static void step_hybrid(struct hybrid *hybrid, int call)
{
    float grads[3][4];
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 4; k++)
            grads[i][k] = sinf((float)(call * 12 + i * 4 + k));
        const hone_tensor view = hone_tensor_view(grads[i], HONE_F32, i == 1 ? 1 : 2, square);
        OK(hone_optimizer_set_grad(hybrid->optimizer, i, &view, NULL));
    }
    OK(hone_optimizer_step(hybrid->optimizer, NULL, NULL));
    OK(hone_optimizer_schedule_step(hybrid->optimizer, NULL));
}

static void muon_beside_adamw_resumes_exactly(void **state)
{
    (void)state;
    static const char path[] = "test_placement_hybrid.safetensors";
    static struct hybrid whole, resumed, other;
    hone_error error;
    create_hybrid(&whole, HYBRID);
    create_hybrid(&resumed, HYBRID);
    create_hybrid(&other, "{\"optimizer_type\": \"muon\", \"split\": \"matrices\"}");
    for (int call = 0; call < 4; call++)
        step_hybrid(&whole, call);
    OK(hone_optimizer_save(whole.optimizer, path, NULL));
    memcpy(resumed.params, whole.params, sizeof whole.params);
    OK(hone_optimizer_load(resumed.optimizer, path, NULL));
    for (int call = 4; call < 9; call++) {
        step_hybrid(&whole, call);
        step_hybrid(&resumed, call);
    }
    assert_memory_equal(whole.params, resumed.params, sizeof whole.params);
    /* A checkpoint of another split changes nothing. */
    char *before = NULL, *after = NULL;
    OK(hone_spec_write(hone_optimizer_spec(other.optimizer), &before, NULL));
    assert_int_equal(hone_optimizer_load(other.optimizer, path, &error), HONE_ERROR_MISMATCH);
    assert_non_null(strstr(error.message, "parameter 'head.w' was stepped by adamw, but its group "
                                          "has muon"));
    OK(hone_spec_write(hone_optimizer_spec(other.optimizer), &after, NULL));
    assert_string_equal(before, after);
    uint64_t steps = 1;
    OK(hone_optimizer_step_count(other.optimizer, 0, &steps, NULL));
    assert_int_equal(steps, 0);
    hone_string_free(context, before);
    hone_string_free(context, after);
    hone_optimizer_free(whole.optimizer);
    hone_optimizer_free(resumed.optimizer);
    hone_optimizer_free(other.optimizer);
    remove(path);
}

/* Many names in random order, against a plain search. */
static void many_parameters(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static float memory[COUNT];
    static char names[COUNT][24];
    static hone_model_parameter list[COUNT];
    uint32_t random = 7;
    int wanted = 0;
    static int first_of[COUNT];
    for (int i = 0; i < COUNT; i++) {
        random = random * 1664525u + 1013904223u;
        const int slot = (int)(random >> 16) % 300;
        snprintf(names[i], sizeof names[i], "m%d.p%d", (int)(random >> 8) % 10, i);
        list[i] = parameter(names[i], &memory[slot], 0);
        int k = 0;
        while (k < i && list[k].tensor.data != list[i].tensor.data)
            k++;
        if (k == i)
            first_of[wanted++] = i;
    }
    hone_placement *const placement = place_list("{\"optimizer_type\": \"sgd\"}", list, COUNT);
    assert_int_equal(hone_placement_count(placement), wanted);
    for (int i = 0; i < wanted; i++)
        assert_string_equal(at(placement, i).name, names[first_of[i]]);
    hone_placement_free(placement);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_go_by_name_and_dimensions),
        cmocka_unit_test(the_most_specific_module_counts),
        cmocka_unit_test(matrices_keep_their_rate),
        cmocka_unit_test(the_same_parameter_is_one),
        cmocka_unit_test(names_may_be_shared_with_their_tensor),
        cmocka_unit_test(overlaps_must_agree),
        cmocka_unit_test(frozen_parameters),
        cmocka_unit_test(refusals),
        cmocka_unit_test(multipliers_are_the_specs),
        cmocka_unit_test(multiplied_rates_are_stepped),
        cmocka_unit_test(a_checkpoint_keeps_them),
        cmocka_unit_test(muon_beside_adamw_resumes_exactly),
        cmocka_unit_test(many_parameters),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
