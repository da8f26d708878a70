/* SPDX-License-Identifier: Apache-2.0 */
/* AdamSpec, AdamWSpec and MuonSpec: their fields, defaults and order, files as their Python classes
 * wrote them, the exact round trip, the two groups of a MuonSpec, and every field out of range. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

#include "support/fixtures.h"

#define OK(call) assert_int_equal(call, HONE_OK)
#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static hone_spec *from_serialized(const char *name, const char *json)
{
    hone_spec *spec = NULL;
    hone_error error;
    if (hone_spec_from_serialized(&spec, context, name, json, strlen(json), &error) != HONE_OK)
        fail_msg("%s %s: %s", name, json, error.message);
    return spec;
}

static void expect_dict(const hone_spec *spec, const char *name, const char *dict)
{
    char *json = NULL;
    const char *found = NULL;
    hone_error error;
    if (hone_spec_to_dict(spec, &found, &json, &error) != HONE_OK)
        fail_msg("%s", error.message);
    assert_string_equal(found, name);
    assert_string_equal(json, dict);
    hone_string_free(context, json);
}

/* from_serialized(type, to_dict()) is the same spec, and so is what hone_spec_parse makes of it. */
static void expect_exact(const hone_spec *spec)
{
    char *dict = NULL, *canonical = NULL, *again = NULL;
    const char *name = NULL;
    OK(hone_spec_to_dict(spec, &name, &dict, NULL));
    OK(hone_spec_write(spec, &canonical, NULL));
    for (int way = 0; way < 2; way++) {
        hone_spec *const copy = way == 0 ? from_serialized(name, dict) : parse_spec(dict);
        OK(hone_spec_write(copy, &again, NULL));
        assert_string_equal(again, canonical);
        hone_string_free(context, again);
        expect_dict(copy, name, dict);
        hone_spec_free(copy);
    }
    hone_string_free(context, dict);
    hone_string_free(context, canonical);
}

static double get(const hone_spec *spec, int group, const char *hyper)
{
    double value = (double)NAN;
    OK(hone_spec_get(spec, group, hyper, &value, NULL));
    return value;
}

#define ADAM_DEFAULT                                                                           \
    "{\"optimizer_type\":\"adam\",\"learning_rate\":0.001,\"lr_decay_gamma\":null,\"betas\":[" \
    "0.9,0.999],\"eps\":1e-8,\"weight_decay\":0}"
#define ADAMW_DEFAULT                                                                           \
    "{\"optimizer_type\":\"adamw\",\"learning_rate\":0.001,\"lr_decay_gamma\":null,\"betas\":[" \
    "0.9,0.999],\"eps\":1e-8,\"weight_decay\":0.01}"
#define MUON_HEAD                                                                               \
    "{\"optimizer_type\":\"muon\",\"learning_rate\":0.02,\"lr_decay_gamma\":null,\"momentum\":" \
    "0.95,\"nesterov\":true,\"adamw_lr\":0.0003,\"weight_decay\":0.01,\"betas\":[0.9,0.999]"

static void defaults_are_the_specifications(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"adam", ADAM_DEFAULT}, {"adamw", ADAMW_DEFAULT}, {"muon", MUON_HEAD "}"}};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        hone_spec *const spec = from_serialized(cases[i][0], "{}");
        expect_dict(spec, cases[i][0], cases[i][1]);
        expect_exact(spec);
        hone_spec_free(spec);
    }
}

/* As pydantic's model_dump goes through Python's json: spaces, 1e-08, 0.0, its order of keys. */
static void files_of_the_python_classes_load(void **state)
{
    (void)state;
    hone_spec *spec = parse_spec(
        "{\"optimizer_type\": \"adam\", \"learning_rate\": 0.001, \"lr_decay_gamma\": 0.95, "
        "\"betas\": [0.9, 0.999], \"eps\": 1e-08, \"weight_decay\": 0.01}");
    expect_dict(spec, "adam",
                "{\"optimizer_type\":\"adam\",\"learning_rate\":0.001,\"lr_decay_gamma\":0.95,"
                "\"betas\":[0.9,0.999],\"eps\":1e-8,\"weight_decay\":0.01}");
    hone_spec_free(spec);
    spec = parse_spec(
        "{\"learning_rate\": 1, \"lr_decay_gamma\": null, \"betas\": [0, 0.5], \"eps\": 0, "
        "\"weight_decay\": 0.0, \"optimizer_type\": \"adamw\"}");
    expect_dict(spec, "adamw",
                "{\"optimizer_type\":\"adamw\",\"learning_rate\":1,\"lr_decay_gamma\":null,"
                "\"betas\":[0,0.5],\"eps\":0,\"weight_decay\":0}");
    expect_exact(spec);
    hone_spec_free(spec);
    spec =
        parse_spec("{\"optimizer_type\":\"muon\",\"learning_rate\":0.02,\"lr_decay_gamma\":null,"
                   "\"momentum\":0.95,\"nesterov\":true,\"adamw_lr\":0.0003,\"weight_decay\":0.01,"
                   "\"betas\":[0.9,0.999]}");
    expect_dict(spec, "muon", MUON_HEAD "}");
    hone_spec_free(spec);
}

/* Group 0 is AdamW and has what group 1, Muon, does not take. */
static void a_muon_spec_is_two_groups(void **state)
{
    (void)state;
    hone_spec *const spec = parse_spec(
        "{\"optimizer_type\": \"muon\", \"learning_rate\": 0.5, \"momentum\": 0.8, "
        "\"nesterov\": false, \"adamw_lr\": 0.25, \"weight_decay\": 0.125, \"betas\": [0.7, "
        "0.75], \"muon_weight_decay\": 0.0625, \"adamw_eps\": 1e-3, \"ns_steps\": 6, "
        "\"adjust_lr_fn\": \"match_rms_adamw\", \"lr_decay_gamma\": 0.5}");
    assert_int_equal(hone_spec_group_count(spec), 2);
    assert_string_equal(hone_rule_name(hone_spec_group_rule(spec, 0)), "adamw");
    assert_string_equal(hone_rule_name(hone_spec_group_rule(spec, 1)), "muon");
    assert_true(get(spec, 0, "lr") == 0.25 && get(spec, 0, "weight_decay") == 0.125);
    assert_true(get(spec, 0, "beta1") == 0.7 && get(spec, 0, "beta2") == 0.75);
    assert_true(get(spec, 0, "eps") == 1e-3);
    assert_true(get(spec, 1, "lr") == 0.5 && get(spec, 1, "weight_decay") == 0.0625);
    assert_true(get(spec, 1, "momentum") == 0.8 && get(spec, 1, "nesterov") == 0);
    assert_true(get(spec, 1, "ns_steps") == 6 && get(spec, 1, "adjust_lr_fn") == 1);
    assert_true(get(spec, 1, "eps") == 1e-7);
    expect_dict(spec, "muon",
                "{\"optimizer_type\":\"muon\",\"learning_rate\":0.5,\"lr_decay_gamma\":0.5,"
                "\"momentum\":0.8,\"nesterov\":false,\"adamw_lr\":0.25,\"weight_decay\":0.125,"
                "\"betas\":[0.7,0.75],\"muon_weight_decay\":0.0625,\"adamw_eps\":0.001,"
                "\"ns_steps\":6,\"adjust_lr_fn\":\"match_rms_adamw\"}");
    expect_exact(spec);
    hone_optimizer *optimizer = NULL; /* the decay drives both rates */
    OK(hone_optimizer_create(&optimizer, context, spec, NULL));
    OK(hone_optimizer_schedule_epoch(optimizer, NULL));
    assert_true(get(hone_optimizer_spec(optimizer), 0, "lr") == 0.125);
    assert_true(get(hone_optimizer_spec(optimizer), 1, "lr") == 0.25);
    hone_optimizer_free(optimizer);
    hone_spec_free(spec);
}

/* Muon alone is a recipe of its own; "muon" as a specification never means it. */
static void muon_alone_is_another_recipe(void **state)
{
    (void)state;
    hone_error error;
    char *json = NULL;
    hone_spec *const alone = parse_spec("{\"optimizer_type\": \"muon\", \"learning_rate\": 0.5}");
    assert_int_equal(hone_spec_group_count(alone), 1);
    assert_int_equal(hone_spec_to_dict(alone, NULL, &json, &error), HONE_ERROR_UNSUPPORTED);
    assert_string_equal(error.message, "a recipe of muon is none of AdamSpec, AdamWSpec and "
                                       "MuonSpec; hone_spec_write writes it");
    hone_spec *const beside = from_serialized("muon", "{\"learning_rate\": 0.5}");
    assert_int_equal(hone_spec_group_count(beside), 2);
    assert_true(get(beside, 1, "lr") == 0.5);
    hone_spec_free(alone);
    hone_spec_free(beside);
    assert_int_equal(hone_spec_to_dict(NULL, NULL, &json, &error), HONE_ERROR_ARGUMENT);
}

struct placed {
    const char *name;
    int32_t ndim;
    int group;
};

static void expect_split(const char *split, const struct placed *wanted, size_t count)
{
    char json[512];
    snprintf(json, sizeof json, "{\"split\": %s}", split);
    hone_spec *const spec = from_serialized("muon", json);
    for (size_t i = 0; i < count; i++)
        if (hone_spec_match(spec, wanted[i].name, wanted[i].ndim) != wanted[i].group)
            fail_msg("%s: %s", split, wanted[i].name);
    expect_exact(spec);
    hone_spec_free(spec);
}

static void splits_have_names_or_are_spelt_out(void **state)
{
    (void)state;
    static const struct placed by_name[] = {
        {"transformer.h.weight", 2, 1}, {"my_transformer_block", 3, 1},
        {"transformer.h.bias", 1, 0},   {"Transformer.weight", 2, 0},
        {"head.weight", 2, 0},          {"transformer.scale", 0, 0}};
    static const struct placed by_ndim[] = {
        {"head.weight", 2, 1}, {"head.bias", 1, 0}, {"x", 4, 1}, {"x", 0, 0}};
    static const struct placed hidden[] = {
        {"h.0.weight", 2, 1},           {"h.0.bias", 1, 0},       {"wte.weight", 2, 0},
        {"model.embed_tokens.w", 2, 0}, {"lm_head.weight", 2, 0}, {"head.weight", 2, 0},
        {"heads.weight", 2, 1},         {"tok_emb.weight", 2, 0}, {"a.member.w", 2, 1}};
    static const struct placed own[] = {
        {"a.w", 2, 0}, {"a.w", 3, 1}, {"b.w", 3, 0}, {"a.skip", 3, 0}};
    static const struct placed some[] = {{"transformer.h.w", 2, 1}, {"transformer.wte.w", 2, 0}};
    static const struct placed given[] = {{"one", 1, 1}, {"two", 2, 1}, {"three", 2, 0}};
    static const struct placed list[] = {{"one", 2, 1}, {"two", 2, 1}, {"three", 2, 0}};
    expect_split("\"transformer\"", by_name, LENGTH(by_name));
    expect_split("\"matrices\"", by_ndim, LENGTH(by_ndim));
    expect_split("{}", by_ndim, LENGTH(by_ndim));
    expect_split("\"hidden\"", hidden, LENGTH(hidden));
    expect_split("{\"match\": \"a.*\", \"except\": [\"*.skip\"], \"min_ndim\": 3}", own,
                 LENGTH(own));
    expect_split("{\"match\": \"transformer.*\", \"except\": \"embeddings_and_heads\"}", some,
                 LENGTH(some));
    expect_split("{\"match\": [\"one\", \"two\"]}", list, LENGTH(list));
    expect_split("[\"one\", \"tw?\"]", given, LENGTH(given));
    expect_split("[\"*\"]", by_ndim, 1);
    expect_split("[]", by_name + 4, 2);
}

/* What the form has no field for is written behind its fields, in the order of names. */
static void other_keys_follow(void **state)
{
    (void)state;
    hone_spec *spec = parse_spec(
        "{\"optimizer_type\": \"adamw\", \"clip_grad_norm\": 1, \"amsgrad\": true, \"groups\": "
        "[{\"match\": \"*.bias\", \"weight_decay\": 0}], \"lr_multipliers\": {\"b\": 2, \"a.x\": "
        "0}, \"schedule\": {\"type\": \"linear\"}, \"precision\": \"kahan\"}");
    expect_dict(spec, "adamw",
                "{\"optimizer_type\":\"adamw\",\"learning_rate\":0.001,\"lr_decay_gamma\":null,"
                "\"betas\":[0.9,0.999],\"eps\":1e-8,\"weight_decay\":0.01,\"amsgrad\":true,"
                "\"clip_grad_norm\":1,\"groups\":[{\"match\":\"*.bias\",\"weight_decay\":0}],"
                "\"lr_multipliers\":{\"a.x\":0,\"b\":2},\"precision\":\"kahan\",\"schedule\":{"
                "\"type\":\"linear\"}}");
    expect_exact(spec);
    hone_spec_free(spec);
    spec = from_serialized(
        "muon", "{\"groups\": [{\"match\": \"x\", \"learning_rate\": 3}], \"matrices\": \"batch\", "
                "\"products\": \"bfloat16\", \"ns_coefficients\": [1.5, -0.5, 0], \"muon_eps\": "
                "1e-5, \"precision\": \"master\", \"lr_multipliers\": {\"head\": 5}, "
                "\"nonfinite\": \"skip\", \"split\": {\"match\": [\"q\", \"r\"]}}");
    expect_dict(spec, "muon",
                MUON_HEAD ",\"split\":{\"match\":[\"q\",\"r\"]},\"groups\":[{\"learning_rate\":3,"
                          "\"match\":\"x\"}],\"lr_multipliers\":{\"head\":5},\"matrices\":"
                          "\"batch\",\"muon_eps\":1e-5,\"nonfinite\":\"skip\","
                          "\"ns_coefficients\":[[1.5,-0.5,0]],\"precision\":\"master\","
                          "\"products\":\"bfloat16\"}");
    expect_exact(spec);
    hone_spec_free(spec);
}

/* AdamW's rate may have a schedule of its own, or none. */
static void the_second_rate_has_its_schedule(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        double muon, adamw; /* after three steps and one epoch */
    } cases[] = {
        {"\"schedule\": {\"type\": \"exponential\", \"gamma\": 0.5}", 0.125, 1},
        {"\"schedule\": {\"type\": \"exponential\", \"gamma\": 0.5}, \"adamw_schedule\": null",
         0.125, 8},
        {"\"adamw_schedule\": {\"type\": \"exponential\", \"gamma\": 0.5}, \"lr_decay_gamma\": 0.5",
         0.5, 1},
        {"\"adamw_schedule\": {\"type\": \"exponential\", \"gamma\": 0.5}", 1, 1},
        {"\"adamw_schedule\": {\"type\": \"exponential\", \"gamma\": 0.5, \"per\": \"epoch\"}", 1,
         4},
        {"\"lr_decay_gamma\": 0.5, \"adamw_schedule\": {\"type\": \"step\", \"step_size\": 2}", 0.5,
         0.8},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char json[512];
        snprintf(json, sizeof json,
                 "{\"optimizer_type\": \"muon\", \"learning_rate\": 1, \"adamw_lr\": 8, %s}",
                 cases[i].keys);
        hone_spec *const spec = parse_spec(json);
        expect_exact(spec);
        hone_optimizer *optimizer = NULL;
        OK(hone_optimizer_create(&optimizer, context, spec, NULL));
        for (int step = 0; step < 3; step++)
            OK(hone_optimizer_schedule_step(optimizer, NULL));
        OK(hone_optimizer_schedule_epoch(optimizer, NULL));
        assert_float_equal(get(hone_optimizer_spec(optimizer), 1, "lr"), cases[i].muon, 1e-15);
        assert_float_equal(get(hone_optimizer_spec(optimizer), 0, "lr"), cases[i].adamw, 1e-15);
        hone_optimizer_free(optimizer);
        hone_spec_free(spec);
    }
}

/* A recipe that Muon's form cannot hold is an AdamWSpec with groups. */
static void what_muon_cannot_say_adamw_does(void **state)
{
    (void)state;
    static const char *const recipes[] = {
        "{\"optimizer_type\": \"adamw\", \"amsgrad\": true, \"groups\": [{\"match\": \"m*\", "
        "\"optimizer_type\": \"muon\"}]}",
        "{\"optimizer_type\": \"adamw\", \"groups\": [{\"match\": \"m*\", \"optimizer_type\": "
        "\"muon\", \"masked_lr\": 3}]}",
        "{\"optimizer_type\": \"adamw\", \"groups\": [{\"match\": \"m*\", \"optimizer_type\": "
        "\"muon\", \"lr_multiplier\": 3}]}",
        "{\"optimizer_type\": \"adamw\", \"groups\": [{\"match\": \"m*\", \"optimizer_type\": "
        "\"muon\", \"precision\": \"master\"}]}",
        "{\"optimizer_type\": \"adamw\", \"state_dtype\": \"f64\", \"groups\": [{\"match\": "
        "\"m*\", "
        "\"optimizer_type\": \"muon\"}]}",
        "{\"optimizer_type\": \"adamw\", \"groups\": [{\"match\": \"m*\", \"optimizer_type\": "
        "\"muon\", \"maximize\": true}]}",
    };
    for (size_t i = 0; i < LENGTH(recipes); i++) {
        hone_spec *const spec = parse_spec(recipes[i]);
        char *json = NULL;
        const char *name = NULL;
        OK(hone_spec_to_dict(spec, &name, &json, NULL));
        assert_string_equal(name, "adamw");
        hone_string_free(context, json);
        expect_exact(spec);
        hone_spec_free(spec);
    }
    hone_spec *const spec =
        parse_spec("{\"optimizer_type\": \"adamw\", \"groups\": [{\"match\": \"m*\", "
                   "\"optimizer_type\": \"muon\"}]}");
    expect_dict(spec, "muon",
                "{\"optimizer_type\":\"muon\",\"learning_rate\":0.001,\"lr_decay_gamma\":null,"
                "\"momentum\":0.95,\"nesterov\":true,\"adamw_lr\":0.001,\"weight_decay\":0.01,"
                "\"betas\":[0.9,0.999],\"split\":[\"m*\"],"
                "\"flatten\":true}");
    expect_exact(spec);
    hone_spec_free(spec);
}

static void expect_refusal(const char *name, const char *json, hone_status status,
                           const char *message)
{
    hone_spec *const untouched = (hone_spec *)&context;
    hone_spec *spec = untouched;
    hone_error error;
    assert_int_equal(hone_spec_from_serialized(&spec, context, name, json, strlen(json), &error),
                     status);
    if (strncmp(error.message, message, strlen(message)) != 0)
        fail_msg("%s\n%s\n%s", json, error.message, message);
    assert_ptr_equal(spec, untouched);
}

static void every_field_has_a_range(void **state)
{
    (void)state;
    static const struct {
        const char *name, *json, *message;
    } cases[] = {
        {"adam", "{\"learning_rate\": -1}",
         "learning_rate is -1; adam allows finite and at least 0"},
        {"adam", "{\"learning_rate\": \"0.1\"}",
         "learning_rate: found the string \"0.1\"; allowed:"},
        {"adam", "{\"learning_rate\": null}", "learning_rate: found null; allowed: a number"},
        {"adam", "{\"lr_decay_gamma\": 0}",
         "lr_decay_gamma: found the number 0; allowed: a number"},
        {"adam", "{\"lr_decay_gamma\": 1.5}", "lr_decay_gamma: found the number 1.5; allowed:"},
        {"adam", "{\"betas\": [0.9]}", "betas: found a list of 1; allowed: a list of 2 numbers"},
        {"adam", "{\"betas\": [0.9, 0.99, 0.999]}", "betas: found a list of 3; allowed:"},
        {"adam", "{\"betas\": [0.9, 1]}", "betas[1] is 1; adam allows at least 0 and below 1"},
        {"adam", "{\"betas\": [-0.1, 0.9]}",
         "betas[0] is -0.1; adam allows at least 0 and below 1"},
        {"adam", "{\"eps\": -1e-8}", "eps is -1e-8; adam allows finite and at least 0"},
        {"adamw", "{\"weight_decay\": -1}",
         "weight_decay is -1; adamw allows finite and at least 0"},
        {"adamw", "{\"momentum\": 0.9}", "momentum: unknown key of adamw"},
        {"adamw", "{\"adamw_lr\": 0.9}", "adamw_lr: unknown key of adamw"},
        {"muon", "{\"learning_rate\": -1}",
         "learning_rate is -1; muon allows finite and at least 0"},
        {"muon", "{\"momentum\": -1}", "momentum is -1; muon allows finite and at least 0"},
        {"muon", "{\"nesterov\": 1}", "nesterov: found the number 1; allowed: true or false"},
        {"muon", "{\"adamw_lr\": -1}", "adamw_lr is -1; adamw allows finite and at least 0"},
        {"muon", "{\"weight_decay\": -1}",
         "weight_decay is -1; adamw allows finite and at least 0"},
        {"muon", "{\"betas\": [0.9, 1]}", "betas[1] is 1; adamw allows at least 0 and below 1"},
        {"muon", "{\"muon_weight_decay\": -1}", "muon_weight_decay is -1; muon allows"},
        {"muon", "{\"adamw_eps\": -1}", "adamw_eps is -1; adamw allows"},
        {"muon", "{\"ns_steps\": 0}", "ns_steps is 0; muon allows"},
        {"muon", "{\"ns_steps\": 100}", "ns_steps is 100; muon allows"},
        {"muon", "{\"ns_steps\": 5.5}", "ns_steps: must be a whole number"},
        {"muon", "{\"adjust_lr_fn\": \"no\"}", "adjust_lr_fn: found the string \"no\""},
        {"muon", "{\"split\": \"transformers\"}",
         "split: found the string \"transformers\"; nearest: \"transformer\"; allowed: "
         "transformer, "
         "matrices, hidden"},
        {"muon", "{\"split\": {\"matches\": \"a\"}}",
         "split.matches: unknown key of split; nearest: \"match\"; allowed: except, match, "
         "min_ndim"},
        {"muon", "{\"split\": {\"match\": 3}}", "split.match: found the number 3; allowed: a glob"},
        {"muon", "{\"split\": {\"min_ndim\": -1}}",
         "split.min_ndim: found the number -1; allowed: an integer from 0 to 64"},
        {"muon", "{\"split\": {\"min_ndim\": 2.5}}", "split.min_ndim: found the number 2.5"},
        {"muon", "{\"adamw_schedule\": {\"type\": \"no\"}}", "adamw_schedule.type: found"},
        {"muon", "{\"schedule\": {\"type\": \"linear\"}, \"lr_decay_gamma\": 0.5}",
         "lr_decay_gamma: found beside \"schedule\""},
        {"muon", "{\"flatten\": 1}", "flatten: found the number 1; allowed: true or false"},
        {"muon", "{\"flatten\": true, \"matrices\": \"batch\"}",
         "matrices: found beside \"flatten\", which gives the same value"},
        {"muon", "{\"split\": [3]}", "split[0]: found the number 3; allowed: a glob"},
        {"muon", "{\"masked_lr\": 0.5}", "masked_lr: unknown key of muon beside adamw"},
        {"muon", "{\"lr\": 0.5, \"learning_rate\": 1}", "learning_rate: found beside \"lr\""},
        {"muon", "{\"lr_multipliers\": {\"head\": -1}}",
         "lr_multipliers.head: found the number -1; allowed: a number >= 0"},
        {"muon", "{\"lr_multipliers\": {\"\": 1}}", "lr_multipliers"},
        {"muon", "{\"lr_multipliers\": 3}",
         "lr_multipliers: found the number 3; allowed: an object"},
        {"muon", "{\"optimizer_type\": \"adam\"}",
         "optimizer_type: found the string \"adam\"; allowed: muon"},
        {"adam", "[]", "top level: found a list of 0; allowed: an object"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        expect_refusal(cases[i].name, cases[i].json, HONE_ERROR_SPEC, cases[i].message);
    expect_refusal("sgd", "{}", HONE_ERROR_NAME,
                   "unknown optimizer name \"sgd\"; allowed: adam, adamw, muon");
    expect_refusal("", "{}", HONE_ERROR_NAME, "unknown optimizer name \"\"");
    hone_error error;
    assert_int_equal(hone_spec_from_serialized(NULL, context, "adam", "{}", 2, &error),
                     HONE_ERROR_ARGUMENT);
}

/* A misspelt field of a MuonSpec is found whichever of its forms it stands in. */
static void misspelt_fields_have_a_nearest(void **state)
{
    (void)state;
    hone_spec *spec = NULL;
    hone_error error;
    static const char *const cases[][2] = {
        {"{\"optimizer_type\": \"muon\", \"adamw_lrr\": 1}",
         "adamw_lrr: unknown key of muon; nearest: "
         "\"adamw_lr\""},
        {"{\"optimizer_type\": \"muon\", \"momentums\": 1, \"adamw_lr\": 1}",
         "momentums: unknown key of muon beside adamw; nearest: \"momentum\""}};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_int_equal(hone_spec_parse(&spec, context, cases[i][0], strlen(cases[i][0]), &error),
                         HONE_ERROR_SPEC);
        assert_memory_equal(error.message, cases[i][1], strlen(cases[i][1]));
    }
}

static uint64_t random_state = 1;

static double random_unit(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

/* Doubles with all their digits survive. */
static void random_values_survive(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        char json[1024];
        snprintf(json, sizeof json,
                 "{\"learning_rate\": %.17g, \"lr_decay_gamma\": %.17g, \"momentum\": %.17g, "
                 "\"adamw_lr\": %.17g, \"weight_decay\": %.17g, \"betas\": [%.17g, %.17g], "
                 "\"muon_weight_decay\": %.17g, \"adamw_eps\": %.17g, \"ns_steps\": %d, "
                 "\"lr_multipliers\": {\"a\": %.17g, \"b.c\": %.17g}}",
                 pow(10, 20 * random_unit() - 10), 0.1 + 0.9 * random_unit(), random_unit(),
                 pow(10, 600 * random_unit() - 300), random_unit(), random_unit(), random_unit(),
                 random_unit(), pow(10, -320 * random_unit()), 1 + (int)(98 * random_unit()),
                 random_unit(), 10 * random_unit());
        hone_spec *const spec = from_serialized("muon", json);
        expect_exact(spec);
        hone_spec_free(spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_specifications),
        cmocka_unit_test(files_of_the_python_classes_load),
        cmocka_unit_test(a_muon_spec_is_two_groups),
        cmocka_unit_test(muon_alone_is_another_recipe),
        cmocka_unit_test(splits_have_names_or_are_spelt_out),
        cmocka_unit_test(other_keys_follow),
        cmocka_unit_test(the_second_rate_has_its_schedule),
        cmocka_unit_test(what_muon_cannot_say_adamw_does),
        cmocka_unit_test(every_field_has_a_range),
        cmocka_unit_test(misspelt_fields_have_a_nearest),
        cmocka_unit_test(random_values_survive),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
