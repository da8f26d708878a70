/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes that cannot be, beside those of one AdamW (test_spec_errors): Muon's values and keys, a
 * matrix with NaN, a state from another recipe, a schedule that is over. Each is refused in a
 * sentence, and everything stays as it was. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/checks.h"

static hone_context *context;
static char path[] = "/tmp/hone-recipe-XXXXXX";

static int open_context(void **state)
{
    (void)state;
    context = test_context(1, NULL);
    const int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int close_context(void **state)
{
    (void)state;
    hone_context_free(context);
    return unlink(path);
}

/* ---- values and keys ------------------------------------------------------------------------- */

#define MUON "{\"optimizer_type\": \"muon\", "
#define HYBRID                                                                \
    "{\"optimizer_type\": \"adamw\", \"groups\": [{\"match\": \"*.weight\", " \
    "\"optimizer_type\": \"muon\", "

/* '@' marks the byte that the offset must point at. The sentence ends where `message` does, or goes
 * on with the keys that are allowed. */
static void refuse(const char *marked, const char *message)
{
    char json[512];
    const char *const mark = strchr(marked, '@');
    snprintf(json, sizeof json, "%.*s%s", (int)(mark - marked), marked, mark + 1);
    hone_spec *spec = NULL;
    FAILS(HONE_ERROR_SPEC, NULL, hone_spec_parse(&spec, context, json, strlen(json), &problem));
    assert_null(spec);
    if (strncmp(problem.message, message, strlen(message)) != 0)
        fail_msg("%s: \"%s\"; expected \"%s\"", json, problem.message, message);
    assert_int_equal(problem.offset, mark - marked);
}

static void test_muons_values(void **state)
{
    (void)state;
    refuse(MUON "\"ns_steps\": @0}", "ns_steps is 0; muon allows at least 1 and at most 99");
    refuse(MUON "\"ns_steps\": @100}", "ns_steps is 100; muon allows at least 1 and at most 99");
    refuse(HYBRID "\"ns_steps\": @0}]}",
           "groups[0].ns_steps is 0; muon allows at least 1 and at most 99");
    refuse(HYBRID "\"ns_steps\": @100}]}",
           "groups[0].ns_steps is 100; muon allows at least 1 and at most 99");
    refuse(HYBRID "\"momentum\": @-0.1}]}",
           "groups[0].momentum is -0.1; muon allows finite and at least 0");
    refuse(HYBRID "\"weight_decay\": @-1}]}",
           "groups[0].weight_decay is -1; muon allows finite and at least 0");
    refuse(HYBRID "\"eps\": @-1}]}", "groups[0].eps is -1; muon allows finite and at least 0");
    refuse(HYBRID "\"lr_multiplier\": @-1}]}", "groups[0].lr_multiplier");
}

static void test_misspelt_keys(void **state)
{
    (void)state;
    refuse(MUON "@\"ns_stesp\": 5}",
           "ns_stesp: unknown key of muon; nearest: \"ns_steps\"; allowed: ");
    refuse(MUON "@\"nestrov\": true}",
           "nestrov: unknown key of muon; nearest: \"nesterov\"; allowed: ");
    refuse(HYBRID "@\"momentun\": 0.9}]}",
           "groups[0].momentun: unknown key of muon; nearest: \"momentum\"; allowed: ");
    refuse(HYBRID "@\"betas\": [0.9, 0.99]}]}", "groups[0].betas: unknown key of muon; ");
    refuse(MUON "\"schedule\": {\"type\": \"linear\", @\"total_iter\": 5}}",
           "schedule.total_iter: unknown key of the schedule linear; nearest: \"total_iters\"; ");
    refuse("{\"optimizer_type\": @\"moun\"}",
           "optimizer_type: found the string \"moun\"; nearest: \"muon\"; allowed: ");
    refuse("{\"optimizer_type\": \"adamw\", \"precision\": @\"masters\"}",
           "precision: found the string \"masters\"");
}

/* ---- a model to be left alone ---------------------------------------------------------------- */

enum { ROWS = 4, COLUMNS = 3, SIZE = ROWS * COLUMNS };

struct model {
    hone_optimizer *optimizer;
    float weight[SIZE], bias[ROWS], weight_grad[SIZE], bias_grad[ROWS];
    float kept[SIZE + ROWS];
};

static hone_spec *parse(const char *json)
{
    hone_spec *spec = NULL;
    OK(hone_spec_parse(&spec, context, json, strlen(json), &problem));
    return spec;
}

static void add(struct model *m, const char *name, float *data, float *grad, int ndim)
{
    static const int64_t shape[] = {ROWS, COLUMNS};
    const hone_tensor param = hone_tensor_view(data, HONE_F32, ndim, shape);
    const hone_tensor gradient = hone_tensor_view(grad, HONE_F32, ndim, shape);
    int64_t index;
    OK(hone_optimizer_add(m->optimizer, name, &param, HONE_GROUP_BY_NAME, &index, &problem));
    OK(hone_optimizer_set_grad(m->optimizer, index, &gradient, &problem));
}

static void make(struct model *m, const char *json)
{
    for (int i = 0; i < SIZE; i++) {
        m->weight[i] = (float)(i % 5) - 2;
        m->weight_grad[i] = (float)(i * i % 7) - 3;
        m->bias[i % ROWS] = 1;
        m->bias_grad[i % ROWS] = (float)(i % ROWS) + 1;
    }
    hone_spec *const spec = parse(json);
    OK(hone_optimizer_create(&m->optimizer, context, spec, &problem));
    hone_spec_free(spec);
    add(m, "a.weight", m->weight, m->weight_grad, 2);
    add(m, "a.bias", m->bias, m->bias_grad, 1);
}

static void keep(struct model *m)
{
    memcpy(m->kept, m->weight, sizeof m->weight);
    memcpy(m->kept + SIZE, m->bias, sizeof m->bias);
}

static void expect_kept(const struct model *m)
{
    assert_memory_equal(m->kept, m->weight, sizeof m->weight);
    assert_memory_equal(m->kept + SIZE, m->bias, sizeof m->bias);
}

#define STEP(m) OK(hone_optimizer_step((m)->optimizer, NULL, &problem))

static const char hybrid[] = HYBRID "\"learning_rate\": 0.02}]}";
static const char adamw[] = "{\"optimizer_type\": \"adamw\"}";

/* ---- a matrix with NaN ----------------------------------------------------------------------- */

/* In the gradient, under each policy. */
static void test_gradient_with_nan(void **state)
{
    (void)state;
    struct model m;
    hone_step_report report;
    make(&m, hybrid);
    STEP(&m);
    keep(&m);
    m.weight_grad[5] = (float)NAN;
    OK(hone_optimizer_clip_norm(m.optimizer, (double)INFINITY, 2, HONE_NONFINITE_ERROR, &problem));
    FAILS(HONE_ERROR_NONFINITE,
          "the gradients' total norm of order 2 is nan, first by that of \"a.weight\"; nothing was "
          "stepped",
          hone_optimizer_step(m.optimizer, NULL, &problem));
    expect_kept(&m);
    OK(hone_optimizer_clip_norm(m.optimizer, (double)INFINITY, 2, HONE_NONFINITE_SKIP, &problem));
    OK(hone_optimizer_step(m.optimizer, &report, &problem));
    assert_true(report.skipped);
    expect_kept(&m);
    uint64_t count = 0;
    OK(hone_optimizer_step_count(m.optimizer, 0, &count, &problem));
    assert_int_equal(count, 1);
    hone_tensor buffer;
    OK(hone_optimizer_state(m.optimizer, 0, "momentum_buffer", &buffer, &problem));
    for (int i = 0; i < SIZE; i++)
        assert_true(isfinite(((const float *)buffer.data)[i]));
    hone_optimizer_free(m.optimizer);
}

/* In the parameter: the direction does not read it, so NaN stays where it is and all else moves as
 * if it were not there. */
static void test_parameter_with_nan(void **state)
{
    (void)state;
    struct model m, sound;
    make(&m, hybrid);
    make(&sound, hybrid);
    m.weight[5] = (float)NAN;
    for (int step = 0; step < 3; step++) {
        STEP(&m);
        STEP(&sound);
    }
    for (int i = 0; i < SIZE; i++)
        assert_true(i == 5 ? isnan(m.weight[i]) : m.weight[i] == sound.weight[i]);
    hone_optimizer_free(m.optimizer);
    hone_optimizer_free(sound.optimizer);
}

/* ---- a state from another recipe ------------------------------------------------------------- */

static void refuse_state(const char *saved, const char *own, const char *words)
{
    struct model from, to, beside;
    make(&from, saved);
    STEP(&from);
    OK(hone_optimizer_save(from.optimizer, path, &problem));
    make(&to, own);
    make(&beside, own);
    STEP(&to);
    STEP(&beside);
    keep(&to);
    FAILS(HONE_ERROR_MISMATCH, NULL, hone_optimizer_load(to.optimizer, path, &problem));
    if (strstr(problem.message, words) == NULL)
        fail_msg("\"%s\"; expected \"%s\"", problem.message, words);
    expect_kept(&to);
    STEP(&to); /* and its states are its own */
    STEP(&beside);
    assert_memory_equal(to.weight, beside.weight, sizeof to.weight);
    assert_memory_equal(to.bias, beside.bias, sizeof to.bias);
    hone_optimizer_free(from.optimizer);
    hone_optimizer_free(to.optimizer);
    hone_optimizer_free(beside.optimizer);
}

static void test_state_from_another_recipe(void **state)
{
    (void)state;
    refuse_state(hybrid, adamw, "'a.weight' was stepped by muon, but its group has adamw");
    refuse_state(adamw, hybrid, "'a.weight' was stepped by adamw, but its group has muon");
    refuse_state("{\"optimizer_type\": \"sgd\", \"momentum\": 0.9}", hybrid,
                 "'a.bias' was stepped by sgd, but its group has adamw");
}

/* ---- a schedule that is over ----------------------------------------------------------------- */

#define SGD "{\"optimizer_type\": \"sgd\", \"learning_rate\": 0.5, \"schedule\": "
#define ONE_CYCLE(steps)                                                         \
    SGD "{\"type\": \"one_cycle\", \"max_lr\": 1, \"total_steps\": " #steps ", " \
        "\"cycle_momentum\": false}}"

static double rate(const struct model *m)
{
    double value = 0;
    OK(hone_optimizer_get(m->optimizer, 0, "lr", &value, &problem));
    return value;
}

/* Five steps done, going on by a recipe of three; then by one of six, and past its end. */
static void test_resumed_past_the_end(void **state)
{
    (void)state;
    struct model m, again;
    make(&m, ONE_CYCLE(6));
    for (int step = 0; step < 5; step++) {
        STEP(&m);
        OK(hone_optimizer_schedule_step(m.optimizer, &problem));
    }
    OK(hone_optimizer_save(m.optimizer, path, &problem));
    const double before = rate(&m);
    hone_spec *const shorter = parse(ONE_CYCLE(3));
    FAILS(HONE_ERROR_RANGE, "the schedule one_cycle ends at step 2; there is no value for step 5",
          hone_optimizer_set_spec(m.optimizer, shorter, &problem));
    assert_true(rate(&m) == before);
    make(&again, ONE_CYCLE(6));
    OK(hone_optimizer_load(again.optimizer, path, &problem));
    assert_true(rate(&again) == before);
    assert_int_equal(hone_optimizer_schedule_count(again.optimizer, 0), 5);
    FAILS(HONE_ERROR_RANGE, "the schedule one_cycle ends at step 5; there is no value for step 6",
          hone_optimizer_schedule_step(again.optimizer, &problem));
    assert_true(rate(&again) == before);
    assert_int_equal(hone_optimizer_schedule_count(again.optimizer, 0), 5);
    hone_spec_free(shorter);
    hone_optimizer_free(m.optimizer);
    hone_optimizer_free(again.optimizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_muons_values),
        cmocka_unit_test(test_misspelt_keys),
        cmocka_unit_test(test_gradient_with_nan),
        cmocka_unit_test(test_parameter_with_nan),
        cmocka_unit_test(test_state_from_another_recipe),
        cmocka_unit_test(test_resumed_past_the_end),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
