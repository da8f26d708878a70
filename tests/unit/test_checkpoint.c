/* SPDX-License-Identifier: Apache-2.0 */
/* Save, load, continue gives the bits of a run that never stopped: for every rule, each of its
 * options, every parameter type and state type; in another order, in other groups, in place. */
#include <unistd.h>

#include "checkpoint_subject.h"

static hone_context *context;
static char path[64];

static int setup(void **state)
{
    (void)state;
    /* Thousands of synced files: in memory, where there is such a place. */
    snprintf(path, sizeof(path), "%s/hone-test-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    const int descriptor = mkstemp(path);
    return descriptor < 0 || close(descriptor) != 0 ||
           hone_context_create(&context, NULL, NULL) != HONE_OK;
}

static int teardown(void **state)
{
    (void)state;
    hone_context_free(context);
    return unlink(path);
}

static void must(hone_status status, const hone_error *error)
{
    if (status != HONE_OK)
        fail_msg("%s", error->message);
}

/* ---- every rule ----------------------------------------------------------------------------- */

static const int backwards[SUBJECT_COUNT] = {3, 2, 1, 0};

/* Stops after `pause` steps and goes on in a second optimizer, which begins with the rule's
 * defaults and other values, and in which the parameters stand in another order. */
static void expect_same_bits(const hone_spec *spec, const char *rule, hone_dtype dtype, int pause,
                             const char *what)
{
    if (hone_rule_is_matrix(hone_rule_find(rule)) && (dtype == HONE_C64 || dtype == HONE_C128))
        return; /* refused */
    static struct subject whole, resumed;
    hone_error error;
    subject_create(&whole, context, spec, dtype, NULL);
    for (int step = 1; step <= pause; step++)
        subject_step(&whole, step);
    must(hone_optimizer_save(whole.optimizer, path, &error), &error);

    hone_spec *defaults = NULL;
    must(hone_spec_create(&defaults, context, rule, &error), &error);
    subject_create(&resumed, context, defaults, dtype, backwards);
    hone_spec_free(defaults);
    subject_copy_values(&resumed, &whole);
    must(hone_optimizer_load(resumed.optimizer, path, &error), &error);
    if (subject_hash(&resumed) != subject_hash(&whole))
        fail_msg("%s %s %s: not restored after step %d", rule, hone_dtype_name(dtype), what, pause);
    for (int step = pause + 1; step <= 8; step++) {
        subject_step(&whole, step);
        subject_step(&resumed, step);
    }
    if (subject_hash(&resumed) != subject_hash(&whole))
        fail_msg("%s %s %s: step 8 differs after a pause at %d", rule, hone_dtype_name(dtype), what,
                 pause);
    subject_free(&whole);
    subject_free(&resumed);
}

/* Whether the hyperparameter can be switched on: a flag, or a number that a slot depends on. */
static bool is_switch(const hone_rule *rule, int hyper)
{
    if (hone_rule_hyper(rule, hyper)->kind == HONE_FLAG)
        return true;
    for (int k = 0; k < hone_rule_slot_count(rule); k++)
        if (hone_rule_slot(rule, k)->condition == hyper)
            return true;
    return false;
}

static void switch_on(hone_spec *spec, const hone_rule *rule, int hyper)
{
    const hone_hyper *about = hone_rule_hyper(rule, hyper);
    hone_spec_set(spec, 0, about->name, about->kind == HONE_FLAG ? 1 : 0.5, NULL);
}

/* Option 0: the defaults; 1..n: with one switch on (refused ones leave the defaults); n + 1: with
 * everything on that goes together, and odd values. */
static hone_spec *make_spec(const hone_rule *rule, int option)
{
    hone_spec *spec = NULL;
    assert_int_equal(hone_spec_create(&spec, context, hone_rule_name(rule), NULL), HONE_OK);
    const int count = hone_rule_hyper_count(rule);
    for (int i = 0; i < count; i++)
        if (is_switch(rule, i) && (option == i + 1 || option == count + 1))
            switch_on(spec, rule, i);
    if (option == count + 1) {
        hone_spec_set(spec, 0, "lr", 0.1 / 3, NULL);
        hone_spec_set(spec, 0, "weight_decay", 1e-3 / 7, NULL);
    }
    return spec;
}

static void every_rule_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    static const hone_dtype dtypes[] = {HONE_F32, HONE_F64, HONE_BF16,
                                        HONE_F16, HONE_C64, HONE_C128};
    assert_true(hone_rule_count() >= 6);
    for (int r = 0; r < hone_rule_count(); r++) {
        const hone_rule *rule = hone_rule_at(r);
        for (int option = 0; option <= hone_rule_hyper_count(rule) + 1; option++) {
            hone_spec *spec = make_spec(rule, option);
            char what[40];
            snprintf(what, sizeof(what), "option %d", option);
            for (int d = 0; d < LENGTH(dtypes); d++)
                for (int pause = 0; pause <= 5; pause++)
                    expect_same_bits(spec, hone_rule_name(rule), dtypes[d], pause, what);
            hone_spec_free(spec);
        }
    }
}

static void every_state_type_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    static const char *const types[] = {"f32", "f64", "bf16", "f16"};
    for (int r = 0; r < hone_rule_count(); r++) {
        const char *rule = hone_rule_name(hone_rule_at(r));
        for (int t = 0; t < LENGTH(types); t++) {
            char json[200];
            snprintf(json, sizeof(json), "{\"optimizer_type\":\"%s\",\"state_dtype\":\"%s\"}", rule,
                     types[t]);
            hone_spec *spec = parse_spec(context, json);
            expect_same_bits(spec, rule, HONE_F32, 3, types[t]);
            expect_same_bits(spec, rule, HONE_BF16, 3, types[t]);
            expect_same_bits(spec, rule, HONE_C128, 3, types[t]);
            hone_spec_free(spec);
        }
    }
}

static const char *const precisions[] = {"plain", "master", "stochastic", "kahan"};

/* In the middle of a round of micro-batches too. */
static void precision_and_accumulation_go_on_with_the_same_bits(void **state)
{
    (void)state;
    static const hone_dtype dtypes[] = {HONE_BF16, HONE_F16, HONE_F32, HONE_C64};
    for (int p = 0; p < LENGTH(precisions); p++) {
        for (int round = 1; round <= 3; round += 2) {
            char json[240];
            snprintf(json, sizeof(json),
                     "{\"optimizer_type\":\"sgd\",\"learning_rate\":0.05,\"momentum\":0.9,"
                     "\"precision\":\"%s\",\"grad_accum_steps\":%d,\"grad_accum_mode\":\"mean\"}",
                     precisions[p], round);
            hone_spec *spec = parse_spec(context, json);
            for (int d = 0; d < LENGTH(dtypes); d++)
                for (int pause = 0; pause <= 5; pause++)
                    expect_same_bits(spec, "sgd", dtypes[d], pause, precisions[p]);
            hone_spec_free(spec);
        }
    }
}

/* A parameter whose gradient came in the first half of a round, and none in the second. */
static void a_waiting_gradient_is_not_forgotten(void **state)
{
    (void)state;
    static struct subject saved, loaded;
    hone_error error;
    const char *json = "{\"optimizer_type\":\"sgd\",\"grad_accum_steps\":2}";
    subject_create_json(&saved, context, json, NULL);
    subject_create_json(&loaded, context, json, NULL);
    subject_step(&saved, 1);
    must(hone_optimizer_save(saved.optimizer, path, &error), &error);
    subject_copy_values(&loaded, &saved);
    must(hone_optimizer_load(loaded.optimizer, path, &error), &error);
    must(hone_optimizer_zero_grad(saved.optimizer, true, &error), &error);
    must(hone_optimizer_step(saved.optimizer, NULL, &error), &error);
    must(hone_optimizer_step(loaded.optimizer, NULL, &error), &error);
    uint64_t count = 0;
    must(hone_optimizer_step_count(loaded.optimizer, 0, &count, &error), &error);
    assert_int_equal(count, 1);
    assert_true(subject_hash(&loaded) == subject_hash(&saved));
    subject_free(&saved);
    subject_free(&loaded);
}

/* A scale that has grown and been cut, with a step left out. */
static void the_scaler_goes_on(void **state)
{
    (void)state;
    static struct subject saved, loaded;
    hone_error error;
    hone_scaler scaler, restored;
    hone_scaler_init(&scaler);
    scaler.scale = 8;
    scaler.growth_interval = 2;
    scaler.min_scale = 0.1 / 3;
    const char *json = "{\"optimizer_type\":\"adam\",\"learning_rate\":0.1}";
    for (int pause = 0; pause <= 6; pause++) {
        subject_create_json(&saved, context, json, NULL);
        must(hone_optimizer_set_scaler(saved.optimizer, &scaler, &error), &error);
        saved.poison = 4;
        for (int step = 1; step <= pause; step++)
            subject_step(&saved, step);
        assert_int_equal(hone_optimizer_skipped(saved.optimizer), pause >= 4);
        must(hone_optimizer_save(saved.optimizer, path, &error), &error);
        subject_create_json(&loaded, context, json, NULL);
        loaded.poison = saved.poison;
        subject_copy_values(&loaded, &saved);
        must(hone_optimizer_load(loaded.optimizer, path, &error), &error);
        assert_true(hone_optimizer_scaler(loaded.optimizer, &restored));
        assert_true(restored.min_scale == scaler.min_scale);
        assert_true(restored.max_scale == scaler.max_scale);
        for (int step = pause + 1; step <= 8; step++) {
            subject_step(&saved, step);
            subject_step(&loaded, step);
        }
        assert_true(subject_hash(&loaded) == subject_hash(&saved));
        subject_free(&saved);
        subject_free(&loaded);
    }
}

static void a_scaler_that_never_grows_is_loaded(void **state)
{
    (void)state;
    static struct subject saved;
    hone_error error;
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    scaler.growth_interval = UINT64_MAX;
    subject_create_json(&saved, context, "{\"optimizer_type\":\"sgd\"}", NULL);
    must(hone_optimizer_set_scaler(saved.optimizer, &scaler, &error), &error);
    must(hone_optimizer_save(saved.optimizer, path, &error), &error);
    must(hone_optimizer_load(saved.optimizer, path, &error), &error);
    assert_true(hone_optimizer_scaler(saved.optimizer, &scaler));
    assert_true(scaler.growth_interval == INT64_MAX);
    subject_free(&saved);
}

/* ---- what is restored ----------------------------------------------------------------------- */

static const char grouped[] =
    "{\"optimizer_type\":\"adamw\",\"learning_rate\":0.05,\"clip_grad_norm\":1.5,"
    "\"groups\":[{\"match\":\"*.bias\",\"weight_decay\":0,\"lr_multiplier\":2},"
    "{\"match\":[\"late\",\"empty\"],\"betas\":[0.8,0.9]}]}";

static void groups_and_values_come_from_the_file(void **state)
{
    (void)state;
    static struct subject saved, loaded;
    hone_error error;
    subject_create_json(&saved, context, grouped, NULL);
    int group = -1;
    must(hone_optimizer_add_group(saved.optimizer, NULL, &group, &error), &error);
    assert_int_equal(group, 3);
    must(hone_optimizer_set(saved.optimizer, 2, "lr", 0.3, &error), &error);
    must(hone_optimizer_set_lr_multiplier(saved.optimizer, saved.params[0].index, 0.1 / 3, &error),
         &error);
    must(hone_optimizer_clip_value(saved.optimizer, 0.25, &error), &error);
    for (int step = 1; step <= 3; step++)
        subject_step(&saved, step);
    must(hone_optimizer_save(saved.optimizer, path, &error), &error);

    subject_create_json(&loaded, context,
                        "{\"optimizer_type\":\"adamw\",\"amsgrad\":true,\"learning_rate\":7}",
                        backwards);
    subject_step(&loaded, 1); /* states that the file must replace, and one that it does not have */
    subject_copy_values(&loaded, &saved);
    must(hone_optimizer_load(loaded.optimizer, path, &error), &error);
    assert_int_equal(hone_optimizer_group_count(loaded.optimizer), 4);
    assert_int_equal(hone_optimizer_group_of(loaded.optimizer, loaded.params[1].index), 1);
    assert_int_equal(hone_optimizer_group_of(loaded.optimizer, loaded.params[3].index), 2);
    double value = 0;
    must(hone_optimizer_get(loaded.optimizer, 2, "lr", &value, &error), &error);
    assert_true(value == 0.3);
    must(hone_optimizer_lr_multiplier(loaded.optimizer, loaded.params[0].index, &value, &error),
         &error);
    assert_true(value == 0.1 / 3);
    hone_tensor view;
    must(hone_optimizer_state(loaded.optimizer, loaded.params[0].index, "max_exp_avg_sq", &view,
                              &error),
         &error);
    assert_null(view.data);
    assert_true(subject_hash(&loaded) == subject_hash(&saved));
    for (int step = 4; step <= 7; step++) {
        subject_step(&saved, step);
        subject_step(&loaded, step);
    }
    assert_true(subject_hash(&loaded) == subject_hash(&saved));
    subject_free(&saved);
    subject_free(&loaded);
}

static void counters_keep_all_their_digits(void **state)
{
    (void)state;
    static struct subject saved, loaded;
    hone_error error;
    const uint64_t most = INT64_MAX;
    subject_create_json(&saved, context, grouped, NULL);
    must(hone_optimizer_set_step_count(saved.optimizer, 0, most, &error), &error);
    must(hone_optimizer_save(saved.optimizer, path, &error), &error);
    subject_create_json(&loaded, context, grouped, NULL);
    must(hone_optimizer_load(loaded.optimizer, path, &error), &error);
    uint64_t count = 0;
    must(hone_optimizer_step_count(loaded.optimizer, 0, &count, &error), &error);
    assert_true(count == most);
    must(hone_optimizer_set_step_count(saved.optimizer, 0, most + 1, &error), &error);
    assert_int_equal(hone_optimizer_save(saved.optimizer, path, &error), HONE_ERROR_RANGE);
    assert_non_null(strstr(error.message, "'layer.weight'"));
    assert_non_null(strstr(error.message, "9223372036854775808"));
    must(hone_optimizer_load(loaded.optimizer, path, &error), &error); /* the file is the old one */
    subject_free(&saved);
    subject_free(&loaded);
}

/* Creates the states of "layer.weight" without a step. */
static void prepare_states(struct subject *subject)
{
    hone_error error;
    const int64_t index = subject->params[0].index;
    const hone_tensor grad = subject_tensor(subject, 0, subject->params[0].gradient);
    must(hone_optimizer_set_grad(subject->optimizer, index, &grad, &error), &error);
    must(hone_optimizer_prepare(subject->optimizer, &error), &error);
}

static void expect_same_steps(struct subject *one, struct subject *other)
{
    for (int step = 11; step <= 12; step++) {
        subject_step(one, step);
        subject_step(other, step);
    }
    assert_true(subject_hash(one) == subject_hash(other));
}

/* States prepared ahead of time but not yet stepped are as good as none: the first step of SGD must
 * still begin its momentum with the gradient itself. A load brings or takes that away. */
static void unused_states_stay_unused(void **state)
{
    (void)state;
    static struct subject saved, loaded;
    hone_error error;
    const char *json = "{\"optimizer_type\":\"sgd\",\"momentum\":0.9,\"dampening\":0.5}";
    for (int stepped = 0; stepped < 2; stepped++) {
        subject_create_json(&saved, context, json, NULL);
        subject_create_json(&loaded, context, json, NULL);
        prepare_states(stepped ? &loaded : &saved);
        subject_step(stepped ? &saved : &loaded, 1);
        must(hone_optimizer_save(saved.optimizer, path, &error), &error);
        subject_copy_values(&loaded, &saved);
        must(hone_optimizer_load(loaded.optimizer, path, &error), &error);
        expect_same_steps(&saved, &loaded);
        subject_free(&saved);
        subject_free(&loaded);
    }
}

static void views_stay_where_the_type_stays(void **state)
{
    (void)state;
    static struct subject subject;
    hone_error error;
    subject_create_json(&subject, context, grouped, NULL);
    for (int step = 1; step <= 2; step++)
        subject_step(&subject, step);
    must(hone_optimizer_save(subject.optimizer, path, &error), &error);
    hone_tensor before, after;
    must(hone_optimizer_state(subject.optimizer, 0, "exp_avg", &before, &error), &error);
    const float first = *(const float *)before.data;
    subject_step(&subject, 3);
    assert_true(*(const float *)before.data != first);
    must(hone_optimizer_load(subject.optimizer, path, &error), &error);
    must(hone_optimizer_state(subject.optimizer, 0, "exp_avg", &after, &error), &error);
    assert_ptr_equal(before.data, after.data);
    assert_true(*(const float *)after.data == first);
    subject_free(&subject);
}

/* ---- the file ------------------------------------------------------------------------------- */

static void the_file_is_plain_safetensors(void **state)
{
    (void)state;
    static struct subject subject;
    hone_error error;
    hone_spec *spec = parse_spec(context, grouped);
    subject_create(&subject, context, spec, HONE_C64, NULL);
    hone_spec_free(spec);
    subject_step(&subject, 1);
    must(hone_optimizer_save(subject.optimizer, path, &error), &error);
    hone_file *file = NULL;
    must(hone_file_open(&file, context, path, &error), &error);
    assert_int_equal(hone_file_count(file), 6); /* three parameters had a gradient */
    hone_tensor tensor, view;
    must(hone_file_tensor(file, hone_file_find(file, "layer.weight@exp_avg"), &tensor, &error),
         &error);
    assert_int_equal(tensor.dtype, HONE_F32);
    assert_int_equal(tensor.ndim, 3); /* real and imaginary parts */
    assert_int_equal(tensor.shape[2], 2);
    must(hone_optimizer_state(subject.optimizer, 0, "exp_avg", &view, &error), &error);
    assert_memory_equal(tensor.data, view.data, 37 * 8);
    assert_int_equal(hone_file_metadata_count(file), 1);
    char *json = NULL;
    must(hone_spec_write(hone_optimizer_spec(subject.optimizer), &json, &error), &error);
    char expected[2000];
    snprintf(expected, sizeof(expected),
             "{\"format\":1,\"version\":\"%s\",\"spec\":%s,\"params\":{"
             "\"layer.weight\":{\"group\":0,\"step\":1,\"dtype\":\"C64\",\"shape\":[37,1],"
             "\"slots\":[\"exp_avg\",\"exp_avg_sq\"]},"
             "\"layer.bias\":{\"group\":1,\"step\":1,\"lr_multiplier\":2,\"dtype\":\"C64\","
             "\"shape\":[5],\"slots\":[\"exp_avg\",\"exp_avg_sq\"]},"
             "\"empty\":{\"group\":2,\"step\":1,\"dtype\":\"C64\",\"shape\":[0,3],"
             "\"slots\":[\"exp_avg\",\"exp_avg_sq\"]},"
             "\"late\":{\"group\":2,\"step\":0,\"dtype\":\"C64\",\"shape\":[2,3],\"slots\":[]}}}",
             hone_version(), json);
    assert_string_equal(hone_file_metadata(file, "hone"), expected);
    hone_string_free(context, json);
    hone_file_close(file);
    subject_free(&subject);
}

/* The optimizer is saved over the file that it is being read from. */
static void saves_over_an_open_checkpoint(void **state)
{
    (void)state;
    static struct subject subject;
    hone_error error;
    subject_create_json(&subject, context, grouped, NULL);
    subject_step(&subject, 1);
    must(hone_optimizer_save(subject.optimizer, path, &error), &error);
    const uint64_t first = subject_hash(&subject);
    static struct subject values;
    subject_copy_values(&values, &subject);
    hone_file *file = NULL;
    must(hone_file_open(&file, context, path, &error), &error);
    subject_step(&subject, 2);
    must(hone_optimizer_save(subject.optimizer, path, &error), &error);
    must(hone_optimizer_load_file(subject.optimizer, file, &error), &error);
    hone_file_close(file);
    subject_copy_values(&subject, &values);
    assert_true(subject_hash(&subject) == first);
    subject_free(&subject);
}

static void thousands_of_parameters_are_quick(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    static float values[COUNT], grads[COUNT];
    const int64_t one = 1;
    hone_error error;
    hone_spec *spec = parse_spec(context, "{\"optimizer_type\":\"adam\",\"learning_rate\":0.1}");
    hone_optimizer *optimizers[2];
    for (int o = 0; o < 2; o++) {
        must(hone_optimizer_create(&optimizers[o], context, spec, &error), &error);
        for (int i = 0; i < COUNT; i++) {
            const int p = o == 0 ? i : COUNT - 1 - i;
            char name[32];
            snprintf(name, sizeof(name), "block.%d.weight", p);
            const hone_tensor tensor = hone_tensor_view(&values[p], HONE_F32, 1, &one);
            const hone_tensor grad = hone_tensor_view(&grads[p], HONE_F32, 1, &one);
            grads[p] = (float)p;
            must(hone_optimizer_add(optimizers[o], name, &tensor, 0, NULL, &error), &error);
            if (o == 0)
                must(hone_optimizer_set_grad(optimizers[o], i, &grad, &error), &error);
        }
    }
    hone_spec_free(spec);
    must(hone_optimizer_step(optimizers[0], NULL, &error), &error);
    must(hone_optimizer_save(optimizers[0], path, &error), &error);
    must(hone_optimizer_load(optimizers[1], path, &error), &error);
    for (int i = 0; i < COUNT; i++) {
        hone_tensor a, b;
        must(hone_optimizer_state(optimizers[0], i, "exp_avg", &a, &error), &error);
        must(hone_optimizer_state(optimizers[1], COUNT - 1 - i, "exp_avg", &b, &error), &error);
        assert_memory_equal(a.data, b.data, sizeof(float));
    }
    hone_optimizer_free(optimizers[0]);
    hone_optimizer_free(optimizers[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_goes_on_with_the_same_bits),
        cmocka_unit_test(every_state_type_goes_on_with_the_same_bits),
        cmocka_unit_test(precision_and_accumulation_go_on_with_the_same_bits),
        cmocka_unit_test(a_waiting_gradient_is_not_forgotten),
        cmocka_unit_test(the_scaler_goes_on),
        cmocka_unit_test(a_scaler_that_never_grows_is_loaded),
        cmocka_unit_test(groups_and_values_come_from_the_file),
        cmocka_unit_test(counters_keep_all_their_digits),
        cmocka_unit_test(unused_states_stay_unused),
        cmocka_unit_test(views_stay_where_the_type_stays),
        cmocka_unit_test(the_file_is_plain_safetensors),
        cmocka_unit_test(saves_over_an_open_checkpoint),
        cmocka_unit_test(thousands_of_parameters_are_quick),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
