/* SPDX-License-Identifier: Apache-2.0 */
/* Every way a spec's JSON can be refused, with the sentence and the offset word for word. In the
 * tables '@' marks the byte that the offset must point at; it is taken out before parsing. */
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

#include "support/fixtures.h"

/* Parses and expects this refusal; the out-pointer must not be touched. */
static void expect(const char *json, size_t length, int64_t offset, const char *message)
{
    hone_spec *const untouched = (hone_spec *)&context;
    hone_spec *spec = untouched;
    hone_error error;
    const hone_status status = hone_spec_parse(&spec, context, json, length, &error);
    if (status == HONE_OK)
        fail_msg("accepted: %.*s", (int)length, json);
    assert_string_equal(error.message, message);
    assert_int_equal(error.offset, offset);
    assert_int_equal(status, HONE_ERROR_SPEC);
    assert_int_equal(error.status, HONE_ERROR_SPEC);
    assert_ptr_equal(spec, untouched);
    assert_int_equal(hone_spec_parse(&spec, context, json, length, NULL), HONE_ERROR_SPEC);
}

struct refusal {
    const char *json, *message;
};

static void expect_all(const struct refusal *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char json[1024];
        const char *const mark = strchr(refusals[i].json, '@');
        assert_non_null(mark);
        const size_t offset = (size_t)(mark - refusals[i].json);
        snprintf(json, sizeof json, "%.*s%s", (int)offset, refusals[i].json, mark + 1);
        expect(json, strlen(json), (int64_t)offset, refusals[i].message);
    }
}

#define EXPECT_ALL(refusals) expect_all(refusals, sizeof(refusals) / sizeof(refusals)[0])

/* Rules are added over time: lists of all of them are made here. */
static const char *all_rules(void)
{
    static char text[512];
    size_t used = 0;
    for (int i = 0; i < hone_rule_count(); i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i == 0 ? "" : ", ",
                                 hone_rule_name(hone_rule_at(i)));
    return text;
}

#define ADAMW "{\"optimizer_type\": \"adamw\", "
#define ADOPT "{\"optimizer_type\": \"adopt\", "
#define SGD "{\"optimizer_type\": \"sgd\", "
#define ADAMW_KEYS                                                                             \
    "amsgrad, beta1, beta2, betas, clip_grad_norm, clip_grad_value, clip_norm_type, eps, "     \
    "grad_accum_mode, grad_accum_steps, groups, learning_rate, lr, lr_decay_gamma, "           \
    "lr_multipliers, masked_lr, masked_schedule, masks, maximize, nonfinite, optimizer_type, " \
    "precision, schedule, state_dtype, unmasked_lr, weight_decay"
#define ADAMW_GROUP_KEYS                                                                     \
    "amsgrad, beta1, beta2, betas, eps, except, learning_rate, lr, lr_decay_gamma, "         \
    "lr_multiplier, masked_lr, masked_schedule, match, maximize, min_ndim, optimizer_type, " \
    "precision, schedule, state_dtype, unmasked_lr, weight_decay"

static void test_top_level(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"@3", "top level: found the number 3; allowed: an object"},
        {" @\"adam\"", "top level: found the string \"adam\"; allowed: an object"},
        {"\n@[{}, 2]", "top level: found a list of 2; allowed: an object"},
        {"@true", "top level: found true; allowed: an object"},
        {"@false", "top level: found false; allowed: an object"},
        {"@null", "top level: found null; allowed: an object"},
        {" @{\"learning_rate\": 1}",
         "top level: \"optimizer_type\" is missing; allowed: the name of a rule"},
    };
    EXPECT_ALL(refusals);
}

static void test_rule_names(void **state)
{
    (void)state;
    static const struct {
        const char *value, *found;
    } cases[] = {
        {"\"adamx\"", "the string \"adamx\"; nearest: \"adam\""},
        {"\"SGD\"", "the string \"SGD\""},
        {"\"\"", "the string \"\""},
        {"3", "the number 3"},
        {"null", "null"},
        {"[\"adam\"]", "a list of 1"},
        {"{}", "an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[128], message[1024];
        snprintf(json, sizeof json, "{\"eps\": 1, \"optimizer_type\":  %s}", cases[i].value);
        snprintf(message, sizeof message, "optimizer_type: found %s; allowed: %s", cases[i].found,
                 all_rules());
        expect(json, strlen(json), 30, message);
        snprintf(json, sizeof json, ADAMW "\"groups\": [{\"optimizer_type\": %s}]}",
                 cases[i].value);
        snprintf(message, sizeof message, "groups[0].optimizer_type: found %s; allowed: %s",
                 cases[i].found, all_rules());
        expect(json, strlen(json), 58, message);
    }
}

static void test_keys(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {ADAMW "@\"wieght_decay\": 0.1}",
         "wieght_decay: unknown key of adamw; nearest: \"weight_decay\"; allowed: " ADAMW_KEYS},
        {ADAMW "@\"momentum\": 0.1}", "momentum: unknown key of adamw; allowed: " ADAMW_KEYS},
        {ADAMW "@\"a b\\n\": 0.1}", "\"a b\\x0a\": unknown key of adamw; allowed: " ADAMW_KEYS},
        {ADAMW "@\"\": 0.1}", "\"\": unknown key of adamw; allowed: " ADAMW_KEYS},
        {ADAMW "\"groups\": [{\"match\": \"a\"}, {\"match\": \"b\", @\"epz\": 0.1}]}",
         "groups[1].epz: unknown key of adamw; nearest: \"eps\"; allowed: " ADAMW_GROUP_KEYS},
        {ADAMW "\"groups\": [{\"match\": \"a\", @\"clip_grad_norm\": 1}]}",
         "groups[0].clip_grad_norm: found in the wrong place; allowed: at the top level"},
        {ADAMW "@\"lr_multiplier\": 1}",
         "lr_multiplier: found in the wrong place; allowed: in an entry of \"groups\""},
        {ADAMW "\"lr\": 1, @\"learning_rate\": 1}",
         "learning_rate: found beside \"lr\", which gives the same value; allowed: one of them"},
        {ADAMW "\"learning_rate\": 1, @\"lr\": 1}",
         "lr: found beside \"learning_rate\", which gives the same value; allowed: one of them"},
        {ADAMW "\"beta2\": 0.5, @\"betas\": [0.5, 0.5]}",
         "betas: found beside \"beta2\", which gives the same value; allowed: one of them"},
        {ADAMW "\"betas\": [0.5, 0.5], @\"beta1\": 0.5}",
         "beta1: found beside \"betas\", which gives the same value; allowed: one of them"},
    };
    EXPECT_ALL(refusals);
}

static void test_hypers(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {ADAMW "\"eps\": @\"1e-8\"}",
         "eps: found the string \"1e-8\"; allowed: a number, finite and at least 0"},
        {ADAMW "\"eps\": @null}", "eps: found null; allowed: a number, finite and at least 0"},
        {ADAMW "\"eps\": @-1}", "eps is -1; adamw allows finite and at least 0"},
        {ADAMW "\"lr\":@-0.5}", "lr is -0.5; adamw allows finite and at least 0"},
        {ADAMW "\"l\\u0072\":@-0.5}", "lr is -0.5; adamw allows finite and at least 0"},
        {ADAMW "\"betas\": @0.9}", "betas: found the number 0.9; allowed: a list of 2 numbers"},
        {ADAMW "\"betas\": @[0.9]}", "betas: found a list of 1; allowed: a list of 2 numbers"},
        {ADAMW "\"betas\": @[0.9, 0.9, 0.9]}",
         "betas: found a list of 3; allowed: a list of 2 numbers"},
        {ADAMW "\"betas\": [@1, 0.9]}", "betas[0] is 1; adamw allows at least 0 and below 1"},
        {ADAMW "\"betas\": [0.9 , @-1e-3]}",
         "betas[1] is -0.001; adamw allows at least 0 and below 1"},
        {ADAMW "\"betas\": [0.9, @true]}",
         "betas[1]: found true; allowed: a number, at least 0 and below 1"},
        {ADAMW "\"beta2\": @2}", "beta2 is 2; adamw allows at least 0 and below 1"},
        {ADAMW "\"amsgrad\": @1}", "amsgrad: found the number 1; allowed: true or false"},
        {ADAMW "\"amsgrad\": @\"true\"}",
         "amsgrad: found the string \"true\"; allowed: true or false"},
        {SGD "\"dampening\": @[]}",
         "dampening: found a list of 0; allowed: a number, any finite number"},
        {"{\"optimizer_type\": \"muon\", \"ns_steps\": @1.5}", "ns_steps: must be a whole number"},
        {SGD "\"groups\": [{\"match\": \"a\", \"optimizer_type\": \"muon\", \"ns_steps\": @1.5}]}",
         "groups[0].ns_steps: must be a whole number"},
        {"@" SGD "\"nesterov\": true}",
         "top level: Nesterov momentum requires a momentum and zero dampening"},
        {SGD "\"nesterov\": true, \"momentum\": 0.9,\n \"groups\": [{\"match\": \"[,]{}\\\"\"}, "
             "@{\"momentum\": 0, \"match\": \"b\"}]}",
         "groups[1]: Nesterov momentum requires a momentum and zero dampening"},
        {ADAMW "\"groups\": [{\"match\": \"a\", \"betas\": [0.5,@\"0.5\"]}]}",
         "groups[0].betas[1]: found the string \"0.5\"; allowed: a number, at least 0 and below "
         "1"},
    };
    EXPECT_ALL(refusals);
}

#define TOO_SMALL ", which a double holds as 0; allowed: 0, or at least about 4.9e-324 in size"

/* A number that would become 0 by itself is another recipe. */
static void test_small_numbers(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {SGD "\"lr\": @1e-400}", "lr: found \"1e-400\"" TOO_SMALL},
        {SGD "\"lr\": @2.4e-324 }", "lr: found \"2.4e-324\"" TOO_SMALL},
        {SGD "\"lr\": @1E-99999999999999999999}",
         "lr: found \"1E-99999999999999999999\"" TOO_SMALL},
        {SGD "\"dampening\":@-0.1e-330}", "dampening: found \"-0.1e-330\"" TOO_SMALL},
        {ADOPT "\"clip_lambda\": {\"power\": @3e-325, \"scale\": 1}}",
         "clip_lambda.power: found \"3e-325\"" TOO_SMALL},
        {ADAMW "\"betas\": [0.5, @1000e-400]}", "betas[1]: found \"1000e-400\"" TOO_SMALL},
    };
    EXPECT_ALL(refusals);
    static const char *const numbers[] = {"2.5e-324", "0",     "0.0e-400",   "0e-99999999999",
                                          "-0.0",     "1e-10", "100000e-328"};
    static const double values[] = {0x1p-1074, 0, 0, 0, 0, 1e-10, 1e-323};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char json[128];
        double value = -1;
        hone_spec *spec = NULL;
        snprintf(json, sizeof json, "%s\"lr\": %s, \"masks\": \"1e-400\"}", SGD, numbers[i]);
        assert_int_equal(hone_spec_parse(&spec, context, json, strlen(json), NULL), HONE_OK);
        assert_int_equal(hone_spec_get(spec, 0, "lr", &value, NULL), HONE_OK);
        assert_true(value == values[i]);
        hone_spec_free(spec);
    }
}

static hone_status parse_long(const char *begin, int zeros, const char *end)
{
    char json[1024];
    hone_spec *spec = NULL;
    snprintf(json, sizeof json, "%s\"lr\": %s%0*d%s}", SGD, begin, zeros, 0, end);
    const hone_status status = hone_spec_parse(&spec, context, json, strlen(json), NULL);
    if (status == HONE_OK)
        hone_spec_free(spec);
    return status;
}

/* As many digits as one likes: 0.00...01 and 100...0e-400. */
static void test_long_numbers(void **state)
{
    (void)state;
    assert_int_equal(parse_long("0.", 322, "1"), HONE_OK);
    assert_int_equal(parse_long("0.", 400, "1"), HONE_ERROR_SPEC);
    assert_int_equal(parse_long("1", 400, "e-400"), HONE_OK);
    assert_int_equal(parse_long("1", 400, "e-800"), HONE_ERROR_SPEC);
    assert_int_equal(parse_long("0.", 400, ""), HONE_OK);
    assert_int_equal(parse_long("0.1", 400, "9"), HONE_OK);
}

#define CURVES "{\"power\": p, \"scale\": c}, a number, or null"

static void test_curves(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {ADOPT "\"clip_lambda\": @true}", "clip_lambda: found true; allowed: " CURVES},
        {ADOPT "\"clip_lambda\": @\"null\"}",
         "clip_lambda: found the string \"null\"; allowed: " CURVES},
        {ADOPT "\"clip_lambda\": @-2}", "clip_lambda is -2; adopt allows at least 0"},
        {ADOPT "\"clip_lambda\": @{\"power\": 1}}",
         "clip_lambda: \"scale\" is missing; allowed: " CURVES},
        {ADOPT "\"clip_lambda\": @{}}", "clip_lambda: \"power\" is missing; allowed: " CURVES},
        {ADOPT "\"clip_lambda\": {\"power\": 1, \"scale\": @null}}",
         "clip_lambda.scale: found null; allowed: a number"},
        {ADOPT "\"clip_lambda\": {\"power\": 1, @\"scael\": 2}}",
         "clip_lambda.scael: unknown key; nearest: \"scale\"; allowed: power, scale"},
        {ADOPT "\"clip_lambda\": @{\"power\": 1, \"scale\": -1}}",
         "clip_lambda is -1; adopt allows at least 0"},
    };
    EXPECT_ALL(refusals);
}

static void test_frame(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {ADAMW "\"clip_grad_norm\": @0}",
         "clip_grad_norm: found the number 0; allowed: a number > 0, or null"},
        {ADAMW "\"clip_grad_norm\": @\"1\"}",
         "clip_grad_norm: found the string \"1\"; allowed: a number > 0, or null"},
        {ADAMW "\"clip_grad_value\": @-1}",
         "clip_grad_value: found the number -1; allowed: a number > 0, or null"},
        {ADAMW "\"clip_norm_type\": @0.5}",
         "clip_norm_type: found the number 0.5; allowed: a number >= 1, or \"inf\""},
        {ADAMW "\"clip_norm_type\": @\"infinity\"}",
         "clip_norm_type: found the string \"infinity\"; allowed: a number >= 1, or \"inf\""},
        {ADAMW "\"nonfinite\": @\"skipp\"}",
         "nonfinite: found the string \"skipp\"; nearest: \"skip\"; allowed: propagate, error, "
         "skip"},
        {ADAMW "\"nonfinite\": @null}", "nonfinite: found null; allowed: propagate, error, skip"},
        {ADAMW "\"lr_decay_gamma\": @1.5}",
         "lr_decay_gamma: found the number 1.5; allowed: a number above 0 and at most 1, or null"},
        {ADAMW "\"lr_decay_gamma\": 0.9, @\"schedule\": {\"type\": \"step\", \"step_size\": 3}}",
         "schedule: found beside \"lr_decay_gamma\", which gives a schedule too; allowed: one of "
         "them"},
        {ADAMW "\"schedule\": @7}",
         "schedule: found the number 7; allowed: an object with \"type\""},
        {ADAMW "\"schedule\": @{}}",
         "schedule: \"type\" is missing; allowed: the name of a schedule"},
        {ADAMW "\"schedule\": {\"type\": \"step\", @\"step_sise\": 3}}",
         "schedule.step_sise: unknown key of the schedule step; nearest: \"step_size\"; allowed: "
         "type, "
         "per, warmup_from_one, warmup_steps, step_size, gamma"},
        {ADAMW "\"schedule\": {\"type\": \"step\", \"step_size\": @0}}",
         "schedule.step_size: found the number 0; allowed: an integer >= 1"},
        {"{\"optimizer_type\": \"sgd\", \"schedule\": {\"type\": \"step\", \"step_size\": "
         "@9223372036854775807}}",
         "schedule.step_size: found the number 9.223372036854776e18; allowed: an integer from 1 to "
         "9007199254740992"},
        {"{\"optimizer_type\": \"sgd\", \"schedule\": {\"type\": \"step\", \"step_size\": 1, "
         "\"warmup_steps\": @1e18}}",
         "schedule.warmup_steps: found the number 1e18; allowed: an integer from 0 to "
         "9007199254740992"},
        {"{\"optimizer_type\": \"sgd\", \"schedule\": {\"type\": \"sequential\", \"milestones\": "
         "[], "
         "\"schedulers\": [{\"type\": \"step\", \"step_size\": 1, @\"per\": \"epoch\"}]}}",
         "schedule.schedulers[0].per: a schedule within a schedule counts as the outermost one "
         "does; "
         "allowed: \"per\" in that one"},
        {ADAMW "\"schedule\": @{\"type\": \"step\"}}",
         "schedule: \"step_size\" is missing, which the schedule step needs"},
        {ADAMW
         "\"schedule\": {\"type\": \"sequential\", \"milestones\": [@-1], \"schedulers\": []}}",
         "schedule.milestones[0]: found the number -1; allowed: an integer >= 0"},
        {ADAMW "\"schedule\": @{\"type\": \"sequential\", \"milestones\": [2, 4], "
               "\"schedulers\": [{\"type\": \"constant\"}]}}",
         "schedule: \"milestones\" must hold one number less than \"schedulers\""},
        {ADAMW "\"state_dtype\": @\"bf15\"}",
         "state_dtype: found the string \"bf15\"; nearest: \"bf16\"; allowed: f32, f64, bf16, "
         "f16"},
        {ADAMW "\"state_dtype\": @16}",
         "state_dtype: found the number 16; allowed: f32, f64, bf16, f16"},
        {ADAMW "\"state_dtype\": {\"exp_avg\": @\"F32\"}}",
         "state_dtype.exp_avg: found the string \"F32\"; nearest: \"f32\"; allowed: f32, f64, "
         "bf16, f16"},
        {ADAMW "\"state_dtype\": {\"exp_avg\": \"f32\", @\"exp_avg_sqr\": \"f32\"}}",
         "state_dtype.exp_avg_sqr: unknown state; nearest: \"exp_avg_sq\"; allowed: exp_avg, "
         "exp_avg_sq, max_exp_avg_sq"},
    };
    EXPECT_ALL(refusals);
}

static void test_groups(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {ADAMW "\"groups\": @{}}", "groups: found an object; allowed: a list of objects"},
        {ADAMW "\"groups\": @null}", "groups: found null; allowed: a list of objects"},
        {ADAMW "\"groups\": [@3]}",
         "groups[0]: found the number 3; allowed: an object with \"match\""},
        {ADAMW "\"groups\": [{\"match\": []}, @{\"eps\": 0}]}",
         "groups[1]: \"match\" is missing; allowed: a glob or a list of globs"},
        {ADAMW "\"groups\": [{\"match\": @\"\"}]}",
         "groups[0].match: found the string \"\"; allowed: a glob of at least one character"},
        {ADAMW "\"groups\": [{\"match\": @null}]}",
         "groups[0].match: found null; allowed: a glob or a list of globs"},
        {ADAMW "\"groups\": [{\"match\": [\"a\", @[\"b\"]]}]}",
         "groups[0].match[1]: found a list of 1; allowed: a glob of at least one character"},
        {ADAMW "\"groups\": [{\"match\": \"a\", \"lr_multiplier\": @-1}]}",
         "groups[0].lr_multiplier: found the number -1; allowed: a number >= 0"},
        {ADAMW "\"groups\": [{\"match\": \"a\", \"lr_multiplier\": @true}]}",
         "groups[0].lr_multiplier: found true; allowed: a number >= 0"},
    };
    EXPECT_ALL(refusals);
}

static void test_syntax(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"@", "top level: the text ends inside a value; allowed: complete JSON"},
        {"  \n@", "top level: the text ends inside a value; allowed: complete JSON"},
        {ADAMW "\"eps\":@", "eps: the text ends inside a value; allowed: complete JSON"},
        {ADAMW "\"betas\": [0, @", "betas[1]: the text ends inside a value; allowed: complete "
                                   "JSON"},
        {ADAMW "\"eps\": 1, @\"eps\": 2}", "eps: found the key a second time; allowed: each key "
                                           "once"},
        {ADAMW "\"groups\": [{\"match\": \"a\", @\"match\": \"b\"}]}",
         "groups[0].match: found the key a second time; allowed: each key once"},
        {ADAMW "\"eps\": @1e999}",
         "eps: found \"1e999\"; allowed: numbers that a double can hold, up to about 1.8e308"},
        {ADAMW "\"betas\": [0.9, @-1e400]}",
         "betas[1]: found \"-1e400\"; allowed: numbers that a double can hold, up to about "
         "1.8e308"},
        {ADAMW "\"eps\": @1e999izer\x0e}",
         "eps: found \"1e999izer\\x0e\"; allowed: numbers that a double can hold, up to about "
         "1.8e308"},
        {ADAMW "\"eps\": @nan}", "eps: found \"nan\"; this is not JSON: invalid token"},
        {ADAMW "\"eps\": @Infinity}", "eps: found \"Infinity\"; this is not JSON: invalid token"},
        {ADAMW "\"eps\": @+1}", "eps: found \"+1\"; this is not JSON: invalid token"},
        {ADAMW "\"eps\": 1,@}", "top level: found \"}\"; this is not JSON: string or '}' expected"},
        {ADAMW "\"eps\": 1} @x", "top level: found \"x\"; this is not JSON: end of file expected"},
        {"{@eps: 1}", "top level: found \"eps\"; this is not JSON: string or '}' expected"},
        {ADAMW "\"eps\"@, 1}", "eps: found \",\"; this is not JSON: ':' expected"},
        {ADAMW "\"nonfinite\": @\"a\\q\"}",
         "nonfinite: found \"a\\q\"; this is not JSON: invalid escape"},
        {ADAMW "\"nonfinite\": @\"a\nb\"}",
         "nonfinite: found \"a\\x0ab\"; this is not JSON: unexpected newline"},
        {ADAMW "\"nonfinite\": @\"\\u0000\"}",
         "nonfinite: found \"\\u0000\" with a zero character; allowed: strings without one"},
        {ADAMW "@\"eps\\u0000\": 1}", "\"eps\\u0000\": found \"eps\\u0000\" with a zero character; "
                                      "allowed: strings without one"},
        {"@\xef\xbb\xbf{}", "top level: found \"\\xef\\xbb\\xbf\"; this is not JSON: invalid "
                            "token"},
        {ADAMW "\"eps\": 1,@\xff}", "top level: found the byte 0xff; allowed: UTF-8"},
        {ADAMW "\"eps\": @\xff}", "eps: found the byte 0xff; allowed: UTF-8"},
        {ADAMW "\"nonfinite\": \"sk@\xc0\xaf\"}", "nonfinite: found the byte 0xc0; allowed: UTF-8"},
    };
    EXPECT_ALL(refusals);
    expect("{\"a\0b\": 1}", 10, 1,
           "\"a\\x00b\": found \"a\\x00b\"; this is not JSON: control character 0x0");
    expect("{\"a\": 1}\0", 9, 8,
           "top level: found \"\\x00\"; this is not JSON: end of file "
           "expected");
}

static void test_depth(void **state)
{
    (void)state;
    enum { LEVELS = 100000 };
    char *const text = malloc(6 * LEVELS);
    assert_non_null(text);
    memset(text, '[', LEVELS);
    expect(text, LEVELS, 2048,
           "[0][0][0][0][0][0][0][0]...: found one more level; allowed: 2048 levels of lists and "
           "objects");
    for (int i = 0; i < LEVELS; i++)
        memcpy(text + 5 * i, "{\"a\":", 5);
    expect(text, 5 * LEVELS, 5 * 2048,
           "a.a.a.a.a.a.a.a...: found one more level; allowed: 2048 levels of lists and objects");
    const int used = snprintf(text, 64, ADAMW "\"eps\": ");
    memset(text + used, '[', 2000);
    memset(text + used + 2000, ']', 2000);
    text[used + 4000] = '}';
    expect(text, (size_t)used + 4001, used,
           "eps: found a list of 1; allowed: a number, finite and at least 0");
    free(text);
}

/* Long and unprintable input is shown shortened and harmless. */
static void test_long_text(void **state)
{
    (void)state;
    char json[4096], key[1001];
    memset(key, 'k', 1000);
    key[1000] = '\0';
    snprintf(json, sizeof json, ADAMW "\"%s\": 1}", key);
    expect(
        json, strlen(json), 28,
        "\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...\": unknown key of adamw; "
        "allowed: " ADAMW_KEYS);
    snprintf(json, sizeof json, ADAMW "\"nonfinite\": \"\\u001b[31m%s\"}", key);
    expect(json, strlen(json), 41,
           "nonfinite: found the string \"\\x1b[31mkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
           "k...\"; allowed: propagate, error, skip");
    memset(key, '9', 1000);
    snprintf(json, sizeof json, ADAMW "\"eps\": %s}", key);
    expect(json, strlen(json), 35,
           "eps: found \"999999999999999999999999999999999999999999999999999999999...\"; allowed: "
           "numbers that a double can hold, up to about 1.8e308");
}

static void test_length(void **state)
{
    (void)state;
    expect("{}", (size_t)INT_MAX + 1, 0,
           "top level: found a text of 2147483648 bytes; allowed: 2147483647");
}

static void test_null_arguments(void **state)
{
    (void)state;
    hone_spec *spec = NULL;
    hone_error error;
    assert_int_equal(hone_spec_parse(NULL, context, "{}", 2, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_spec_parse(&spec, NULL, "{}", 2, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_spec_parse(&spec, context, NULL, 2, &error), HONE_ERROR_ARGUMENT);
    assert_string_equal(error.message,
                        "hone_spec_parse needs a spec, a context and a text; one is NULL");
    assert_int_equal(error.offset, -1);
    assert_null(spec);
}

static const char full[] =
    "{\"optimizer_type\": \"adopt\", \"lr\": 1.5e-3, \"betas\": [0.5, 0.25],\n\t\"eps\": 1e-300, "
    "\"clip_lambda\": {\"power\": 0.5, \"scale\": 3}, \"decouple\": true, \"maximize\": false,"
    "\"weight_decay\": 0.1, \"clip_grad_norm\": 2, \"clip_norm_type\": \"inf\", "
    "\"clip_grad_value\": 7, \"nonfinite\": \"skip\", \"lr_decay_gamma\": null, "
    "\"state_dtype\": {\"exp_avg\": \"bf16\", \"exp_avg_sq\": null}, \"groups\": ["
    "{\"match\": \"*.bias\", \"weight_decay\": 0, \"state_dtype\": \"f64\"}, "
    "{\"match\": [\"h\\u00e9ad.*\", \"\\\"[a-c]?\"], \"lr_multiplier\": 5.0, "
    "\"clip_lambda\": null}, "
    "{\"optimizer_type\": \"sgd\", \"momentum\": 0.9, \"nesterov\": true, \"match\": []}]}";

/* Whatever is accepted can be written, read again and written alike. */
static void check_fixed_point(const char *json, size_t length)
{
    hone_spec *spec, *again;
    hone_error error;
    if (hone_spec_parse(&spec, context, json, length, &error) != HONE_OK) {
        assert_int_equal(error.status, HONE_ERROR_SPEC);
        assert_in_range(error.offset, 0, length);
        return;
    }
    char *first, *second;
    assert_int_equal(hone_spec_write(spec, &first, NULL), HONE_OK);
    assert_int_equal(hone_spec_parse(&again, context, first, strlen(first), NULL), HONE_OK);
    assert_int_equal(hone_spec_write(again, &second, NULL), HONE_OK);
    assert_string_equal(first, second);
    hone_string_free(context, first);
    hone_string_free(context, second);
    hone_spec_free(spec);
    hone_spec_free(again);
}

static void test_truncated(void **state)
{
    (void)state;
    hone_spec *spec = NULL;
    hone_error error;
    assert_int_equal(hone_spec_parse(&spec, context, full, strlen(full), &error), HONE_OK);
    hone_spec_free(spec);
    for (size_t length = 0; length < strlen(full); length++) {
        char *const part = malloc(length + 1); /* of its own, so that sanitizers see every byte */
        memcpy(part, full, length);
        assert_int_equal(hone_spec_parse(&spec, context, part, length, &error), HONE_ERROR_SPEC);
        assert_in_range(error.offset, 0, length);
        free(part);
    }
}

static void test_every_byte_replaced(void **state)
{
    (void)state;
    static const char bytes[] = "\0 \"\\{}[],:0-.eEtnf\x80\xe2\xff";
    char text[sizeof full];
    for (size_t i = 0; i + 1 < sizeof full; i++)
        for (size_t j = 0; j + 1 < sizeof bytes; j++) {
            memcpy(text, full, sizeof full);
            text[i] = bytes[j];
            check_fixed_point(text, sizeof full - 1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top_level),    cmocka_unit_test(test_rule_names),
        cmocka_unit_test(test_keys),         cmocka_unit_test(test_hypers),
        cmocka_unit_test(test_curves),       cmocka_unit_test(test_small_numbers),
        cmocka_unit_test(test_long_numbers), cmocka_unit_test(test_frame),
        cmocka_unit_test(test_groups),       cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_depth),        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_length),       cmocka_unit_test(test_null_arguments),
        cmocka_unit_test(test_truncated),    cmocka_unit_test(test_every_byte_replaced),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
