/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out: a story of calls is told again and again, and each time one allocation of
 * one call fails. The call must say so, leave everything as it was, and succeed when repeated; at
 * the end nothing may be left. Allocations are the context's and jansson's. Then: a step allocates
 * nothing. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hone/mask.h>

#include "support/checks.h"
#include "support/counting_allocator.h"
#include "support/failing_json.h"

#define PARAMS 20
#define LENGTH 5

/* ---- the world of the story ----------------------------------------------------------------- */

struct world {
    struct counting counting;
    hone_context *context;
    hone_spec *spec;
    hone_optimizer *optimizer;
    char *text;
    hone_file *file;
    int64_t shape[2];
    int32_t ndim;
    uint16_t half[PARAMS][LENGTH]; /* even parameters are bf16, odd ones f32 */
    float single[PARAMS][LENGTH], grad[PARAMS][LENGTH];
    double norm;
};

static char saved[64]; /* a checkpoint's path */

static hone_tensor param_view(struct world *w, int i)
{
    void *const data = i % 2 == 0 ? (void *)w->half[i] : (void *)w->single[i];
    return hone_tensor_view(data, i % 2 == 0 ? HONE_BF16 : HONE_F32, w->ndim, w->shape);
}

static hone_tensor grad_view(struct world *w, int i)
{
    return hone_tensor_view(w->grad[i], HONE_F32, w->ndim, w->shape);
}

static void world_start(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->shape[0] = LENGTH;
    w->shape[1] = 1;
    w->ndim = 1;
    for (int i = 0; i < PARAMS; i++)
        for (int k = 0; k < LENGTH; k++) {
            w->grad[i][k] = (float)(i - k) / 8;
            w->single[i][k] = (float)(k + 1) / 16;
            w->half[i][k] = (uint16_t)(0x3f80 + k);
        }
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = 1;
    options.allocator = counting_allocator(&w->counting);
    OK(hone_context_create(&w->context, &options, &problem));
    failing_json.fail_at = 0;
}

static void world_stop(struct world *w)
{
    hone_file_close(w->file);
    hone_string_free(w->context, w->text);
    hone_optimizer_free(w->optimizer);
    hone_spec_free(w->spec);
    hone_context_free(w->context);
    assert_int_equal(w->counting.blocks, 0);
    assert_int_equal(w->counting.bytes, 0);
    assert_int_equal(w->counting.wrong, 0);
}

/* ---- the story ------------------------------------------------------------------------------ */

static const char recipe[] =
    "{\"optimizer_type\": \"adam\", \"learning_rate\": 0.01, \"betas\": [0.8, 0.9],"
    " \"groups\": [{\"match\": [\"p.1\", \"p.3*\"], \"weight_decay\": 0.1},"
    " {\"match\": \"p.7\", \"optimizer_type\": \"adopt\", \"clip_lambda\": {\"power\": 0.5, "
    "\"scale\": 2}}]}";

static hone_status parse(struct world *w, int i)
{
    (void)i;
    return hone_spec_parse(&w->spec, w->context, recipe, sizeof recipe - 1, &problem);
}

static hone_status add_to_spec(struct world *w, int i)
{
    (void)i;
    return hone_spec_add_group(w->spec, "sgd", "p.11", NULL, &problem);
}

static hone_status write_spec(struct world *w, int i)
{
    (void)i;
    return hone_spec_write(w->spec, &w->text, &problem);
}

static hone_status create(struct world *w, int i)
{
    (void)i;
    return hone_optimizer_create(&w->optimizer, w->context, w->spec, &problem);
}

static hone_status replace_spec(struct world *w, int i)
{
    (void)i;
    return hone_optimizer_set_spec(w->optimizer, w->spec, &problem);
}

static hone_status attach(struct world *w, int i, bool masked)
{
    static const char text[] =
        "{\"type\": \"sequential\", \"milestones\": [1, 2], \"schedulers\": [{\"type\": "
        "\"constant\"}, {\"type\": \"multi_step\", \"milestones\": [1]}, {\"type\": \"linear\"}]}";
    hone_schedule *made = NULL;
    hone_status status = hone_schedule_parse(&made, w->context, text, sizeof text - 1, &problem);
    if (status == HONE_OK)
        status = masked ? hone_optimizer_set_masked_schedule(w->optimizer, i, made, &problem)
                        : hone_optimizer_set_schedule(w->optimizer, i, made, &problem);
    hone_schedule_free(made);
    return status;
}

static hone_status schedule(struct world *w, int i)
{
    return attach(w, i, false);
}

static hone_status masked_schedule(struct world *w, int i)
{
    return attach(w, i, true);
}

/* Masks for the first `count` parameters, all in one set. */
static hone_status mask(struct world *w, int count)
{
    hone_mask_set *set = NULL;
    hone_status status = hone_mask_set_create(&set, w->context, &problem);
    for (int i = 0; i < count && status == HONE_OK; i++) {
        char name[16];
        snprintf(name, sizeof name, "p.%d", i);
        hone_mask *made = NULL;
        status = hone_mask_filled(&made, w->context, w->ndim, w->shape, i % 2 == 0, &problem);
        if (status == HONE_OK)
            status = hone_mask_set_add(set, name, made, &problem);
        hone_mask_free(made);
    }
    if (status == HONE_OK)
        status = hone_optimizer_set_masks(w->optimizer, set, false, NULL, NULL, &problem);
    hone_mask_set_free(set);
    return status;
}

static hone_status add_group(struct world *w, int i)
{
    (void)i;
    return hone_optimizer_add_group(w->optimizer, "rmsprop", NULL, &problem);
}

static hone_status add(struct world *w, int i)
{
    char name[16];
    snprintf(name, sizeof name, "p.%d", i);
    const hone_tensor view = param_view(w, i);
    const int group = i == 12 ? 4 : HONE_GROUP_BY_NAME;
    return hone_optimizer_add(w->optimizer, name, &view, group, NULL, &problem);
}

static hone_status set_grads(struct world *w, int i)
{
    hone_status status = HONE_OK;
    for (; i < PARAMS && status == HONE_OK; i += 2) {
        const hone_tensor view = grad_view(w, i);
        status = hone_optimizer_set_grad(w->optimizer, i, &view, &problem);
    }
    return status;
}

static hone_status prepare(struct world *w, int i)
{
    (void)i;
    return hone_optimizer_prepare(w->optimizer, &problem);
}

static hone_status step(struct world *w, int i)
{
    (void)i;
    return hone_optimizer_step(w->optimizer, NULL, &problem);
}

static hone_status set_state(struct world *w, int i)
{
    const hone_tensor view = grad_view(w, i);
    return hone_optimizer_set_state(w->optimizer, i, "max_exp_avg_sq", &view, &problem);
}

static hone_status amsgrad(struct world *w, int i)
{
    return hone_optimizer_set(w->optimizer, i, "amsgrad", 1, &problem);
}

static hone_status master(struct world *w, int i)
{
    return hone_optimizer_set_precision(w->optimizer, i, HONE_PRECISION_MASTER, &problem);
}

static hone_status accumulate(struct world *w, int i)
{
    return hone_optimizer_set_grad_accum_steps(w->optimizer, i, false, &problem);
}

static hone_status total_norm(struct world *w, int i)
{
    const hone_tensor view = grad_view(w, i);
    const hone_tensor *const grads[] = {&view};
    return hone_total_norm(w->context, grads, 1, 2, &w->norm, &problem);
}

static hone_status clip(struct world *w, int i)
{
    const hone_tensor view = grad_view(w, i);
    const hone_tensor *const grads[] = {&view};
    return hone_clip_grad_norm(w->context, grads, 1, 0.5, 2, false, &w->norm, &problem);
}

static hone_status save(struct world *w, int i)
{
    (void)i;
    return hone_optimizer_save(w->optimizer, saved, &problem);
}

static hone_status load(struct world *w, int i)
{
    (void)i;
    return hone_optimizer_load(w->optimizer, saved, &problem);
}

static hone_status open_file(struct world *w, int i)
{
    (void)i;
    return hone_file_open(&w->file, w->context, saved, &problem);
}

struct scene {
    const char *name;
    hone_status (*call)(struct world *w, int i);
    int i;
    bool allocates; /* at least once: else the test looks at nothing */
};

#define ADD(i)                          \
    {                                   \
        "add a parameter", add, i, true \
    }

static const struct scene story[] = {
    {"parse a spec", parse, 0, true},
    {"add a group to it", add_to_spec, 0, true},
    {"write it", write_spec, 0, true},
    {"create an optimizer", create, 0, true},
    {"replace its recipe", replace_spec, 0, true},
    {"add a group", add_group, 0, false},
    ADD(0),
    ADD(1),
    ADD(2),
    ADD(3),
    ADD(4),
    ADD(5),
    ADD(6),
    ADD(7),
    ADD(8),
    ADD(9),
    ADD(10),
    ADD(11),
    ADD(12),
    ADD(13),
    ADD(14),
    ADD(15),
    ADD(16),
    ADD(17),
    ADD(18),
    ADD(19),
    {"set every other gradient", set_grads, 0, false},
    {"the first step", step, 0, true},
    {"set a state that does not exist", set_state, 2, true},
    {"set it on a parameter without gradient", set_state, 5, true},
    {"switch amsgrad on", amsgrad, 0, false},
    {"set the other gradients", set_grads, 1, false},
    {"prepare", prepare, 0, true},
    {"a step with everything", step, 0, false},
    {"attach a schedule", schedule, 0, true},
    {"attach a schedule to masked_lr", masked_schedule, 0, true},
    {"a norm", total_norm, 3, true},
    {"give masks", mask, 9, true},
    {"a clip", clip, 4, true},
    {"save", save, 0, true},
    {"another step", step, 0, false},
    {"load", load, 0, true},
    {"open the file", open_file, 0, true},
    {"ask for masters", master, 0, false},
    {"a step with new masters", step, 0, true},
    {"collect gradients", accumulate, 2, false},
    {"half a step", step, 0, true},
    {"the other half", step, 0, false},
};

#define SCENES ((int)(sizeof story / sizeof story[0]))

/* ---- what must not change ------------------------------------------------------------------- */

struct record {
    char *bytes;
    size_t size, room;
};

static void note(struct record *record, const void *bytes, size_t size)
{
    if (record->size + size > record->room) {
        record->room = 2 * (record->size + size);
        record->bytes = realloc(record->bytes, record->room);
        assert_non_null(record->bytes);
    }
    memcpy(record->bytes + record->size, bytes, size);
    record->size += size;
}

static void note_spec(struct record *record, const struct world *w, const hone_spec *spec)
{
    char *text = NULL;
    OK(hone_spec_write(spec, &text, &problem));
    note(record, text, strlen(text) + 1);
    hone_string_free(w->context, text);
}

static void note_states(struct record *record, const struct world *w, int64_t index)
{
    static const char *const frame[] = {"master", "accumulated_grad"};
    const hone_optimizer *const o = w->optimizer;
    const hone_rule *const rule = hone_optimizer_group_rule(o, hone_optimizer_group_of(o, index));
    const int slots = hone_rule_slot_count(rule);
    for (int k = 0; k < slots + 2; k++) {
        hone_tensor view;
        const char *const name = k < slots ? hone_rule_slot(rule, k)->name : frame[k - slots];
        OK(hone_optimizer_state(o, index, name, &view, &problem));
        note(record, &view.data, sizeof view.data);
        note(record, &view.dtype, sizeof view.dtype);
        if (view.data != NULL)
            note(record, view.data, LENGTH * hone_dtype_size(view.dtype));
    }
}

static void note_optimizer(struct record *record, const struct world *w)
{
    const hone_optimizer *const o = w->optimizer;
    const int64_t count = hone_optimizer_count(o);
    const uint64_t bytes = hone_optimizer_state_bytes(o);
    note(record, &count, sizeof count);
    note(record, &bytes, sizeof bytes);
    note_spec(record, w, hone_optimizer_spec(o));
    for (int group = 0; group < hone_optimizer_group_count(o); group++) {
        hone_lr_info info;
        OK(hone_optimizer_lr_info(o, group, &info, &problem));
        note(record, &info.masks, sizeof info.masks);
        note(record, &info.masked_parameters, sizeof info.masked_parameters);
    }
    for (int64_t i = 0; i < count; i++) {
        uint64_t steps;
        double multiplier;
        OK(hone_optimizer_step_count(o, i, &steps, &problem));
        OK(hone_optimizer_lr_multiplier(o, i, &multiplier, &problem));
        note(record, &steps, sizeof steps);
        note(record, &multiplier, sizeof multiplier);
        note(record, hone_optimizer_name(o, i), strlen(hone_optimizer_name(o, i)));
        note_states(record, w, i);
    }
}

static struct record take_record(const struct world *w)
{
    struct record record = {0};
    note(&record, w->half, sizeof w->half);
    note(&record, w->single, sizeof w->single);
    note(&record, w->grad, sizeof w->grad);
    note(&record, &w->norm, sizeof w->norm);
    note(&record, &w->text, sizeof w->text);
    note(&record, &w->file, sizeof w->file);
    if (w->spec != NULL)
        note_spec(&record, w, w->spec);
    if (w->optimizer != NULL)
        note_optimizer(&record, w);
    return record;
}

static void assert_unchanged(const struct record *before, const struct world *w,
                             const struct scene *scene, size_t k)
{
    struct record after = take_record(w);
    if (after.size != before->size || memcmp(after.bytes, before->bytes, after.size) != 0)
        fail_msg("%s: changed something although allocation %zu failed", scene->name, k);
    free(after.bytes);
}

/* ---- telling it ----------------------------------------------------------------------------- */

/* Tells the story up to `scene` and lets allocation `k` of that scene fail. False when the scene
 * has no such allocation any more. */
static bool tell(int scene, size_t k, bool json, struct world *w)
{
    world_start(w);
    for (int i = 0; i < scene; i++)
        OK(story[i].call(w, story[i].i));
    struct record before = take_record(w);
    const size_t blocks = w->counting.blocks;
    if (json)
        failing_json.fail_at = failing_json.calls + k;
    else
        w->counting.fail_at = w->counting.calls + k;
    const hone_status status = story[scene].call(w, story[scene].i);
    w->counting.fail_at = failing_json.fail_at = 0;
    const bool failed = status != HONE_OK;
    if (failed) {
        if (status != HONE_ERROR_MEMORY)
            fail_msg("%s, %s allocation %zu: %s: %s", story[scene].name, json ? "jansson's" : "our",
                     k, hone_status_name(status), problem.message);
        assert_int_equal(problem.status, HONE_ERROR_MEMORY);
        assert_unchanged(&before, w, &story[scene], k);
        if (w->optimizer == NULL) /* later, a plan may keep room that it made */
            assert_int_equal(w->counting.blocks, blocks);
        OK(story[scene].call(w, story[scene].i));
    }
    for (int i = scene + 1; i < SCENES; i++)
        OK(story[i].call(w, story[i].i));
    free(before.bytes);
    return failed;
}

/* Where parameters end, if nothing ever fails. */
static void tell_undisturbed(struct world *w)
{
    world_start(w);
    for (int i = 0; i < SCENES; i++)
        OK(story[i].call(w, story[i].i));
}

static size_t tell_every_failure(bool json)
{
    static struct world undisturbed, w;
    tell_undisturbed(&undisturbed);
    size_t failures = 0;
    for (int scene = 0; scene < SCENES; scene += test_is_quick() ? 2 : 1) {
        bool failed = true;
        size_t k = 1;
        for (; failed; k++) {
            failed = tell(scene, k, json, &w);
            failures += failed;
            assert_memory_equal(w.half, undisturbed.half, sizeof w.half);
            assert_memory_equal(w.single, undisturbed.single, sizeof w.single);
            world_stop(&w);
        }
        if (!json && story[scene].allocates && k == 2)
            fail_msg("%s: no allocation failed", story[scene].name);
    }
    world_stop(&undisturbed);
    return failures;
}

static void test_our_allocations(void **state)
{
    (void)state;
    const size_t failures = tell_every_failure(false);
    print_message("%zu failures\n", failures);
    assert_true(failures >= (test_is_quick() ? 60u : 150u));
}

static void test_jansson(void **state)
{
    (void)state;
    json_set_alloc_funcs(failing_json_allocate, free);
    const size_t failures = tell_every_failure(true);
    json_set_alloc_funcs(malloc, free);
    print_message("%zu failures\n", failures);
    assert_true(failures >= 50);
}

/* ---- none at all ---------------------------------------------------------------------------- */

static void test_step_allocates_nothing(void **state)
{
    (void)state;
    for (int r = 0; r < hone_rule_count(); r++) {
        static struct world w;
        world_start(&w);
        w.ndim = hone_rule_is_matrix(hone_rule_at(r)) ? 2 : 1;
        OK(hone_spec_create(&w.spec, w.context, hone_rule_name(hone_rule_at(r)), &problem));
        OK(create(&w, 0));
        for (int i = 0; i < PARAMS; i++) {
            const hone_tensor view = param_view(&w, i);
            char name[16];
            snprintf(name, sizeof name, "p.%d", i);
            OK(hone_optimizer_add(w.optimizer, name, &view, 0, NULL, &problem));
        }
        OK(set_grads(&w, 0));
        OK(set_grads(&w, 1));
        OK(hone_optimizer_prepare(w.optimizer, &problem));
        const size_t calls = w.counting.calls;
        for (int i = 0; i < 5; i++) {
            OK(hone_optimizer_step(w.optimizer, NULL, &problem));
            OK(hone_optimizer_set(w.optimizer, 0, "lr", 0.01 / (i + 1), &problem));
            OK(hone_optimizer_set_lr_multiplier(w.optimizer, i, 0.5, &problem));
            OK(hone_optimizer_clip_norm(w.optimizer, i + 1, 2, HONE_NONFINITE_SKIP, &problem));
            OK(hone_optimizer_clip_value(w.optimizer, i + 1, &problem));
            OK(hone_optimizer_zero_grad(w.optimizer, i % 2 == 0, &problem));
            OK(set_grads(&w, 0));
            const hone_tensor elsewhere = grad_view(&w, i + 1); /* another buffer */
            OK(hone_optimizer_set_grad(w.optimizer, 1, &elsewhere, &problem));
            OK(set_grads(&w, 3));
        }
        assert_int_equal(w.counting.calls, calls);
        world_stop(&w);
    }
}

static int make_path(void **state)
{
    (void)state;
    strcpy(saved, "/dev/shm/hone_alloc_XXXXXX"); /* in memory: saving waits for the disk */
    int descriptor = mkstemp(saved);
    if (descriptor < 0) {
        strcpy(saved, "/tmp/hone_alloc_XXXXXX");
        descriptor = mkstemp(saved);
    }
    return descriptor < 0 ? 1 : close(descriptor);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_our_allocations),
        cmocka_unit_test(test_jansson),
        cmocka_unit_test(test_step_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
