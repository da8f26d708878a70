/* SPDX-License-Identifier: Apache-2.0 */
/* The law of status.h about NULL, call by call: everything that a function needs is left
 * out once, and it answers ARGUMENT or nothing. tests/abi/nulls.sh sees that no function
 * is forgotten here. */
#include <string.h>

#include "support/checks.h"
#include "support/cmocka_all.h"

static const int64_t shape[] = {4};
static float param[4], values[16];
static hone_context *context;
static hone_spec *spec;
static hone_optimizer *optimizer;
static hone_mask *mask;
static hone_mask_set *set;
static hone_schedule *schedule;
static hone_placement *placement;
static hone_file *file;
static char bytes[4096];

/* Where answers would go; what must never be made. */
static hone_optimizer *made_optimizer;
static hone_mask *made_mask;
static hone_mask_set *made_set;
static hone_schedule *made_schedule;
static hone_placement *made_placement;
static hone_file *made_file;
static hone_spec *made_spec;
static hone_scaler scaler;
static double number;

static int set_up(void **state)
{
    (void)state;
    static const char momentum[] = "{\"optimizer_type\":\"sgd\",\"momentum\":0.9}";
    static const char halving[] = "{\"type\":\"exponential\",\"gamma\":0.5}";
    const hone_tensor tensor = hone_tensor_view(param, HONE_F32, 1, shape);
    const hone_model_parameter parameter = {.name = "w", .tensor = tensor, .requires_grad = true};
    const hone_model model = {NULL, &parameter, 1};
    const hone_file_entry entry = {"w", tensor};
    size_t size = 0;
    context = test_context(1, NULL);
    OK(hone_spec_parse(&spec, context, momentum, strlen(momentum), &problem));
    OK(hone_spec_add_group(spec, "muon", NULL, NULL, &problem));
    OK(hone_spec_add_group(spec, "adopt", NULL, NULL, &problem));
    OK(hone_optimizer_create(&optimizer, context, spec, &problem));
    OK(hone_optimizer_add(optimizer, "w", &tensor, 0, NULL, &problem));
    OK(hone_mask_filled(&mask, context, 1, shape, true, &problem));
    OK(hone_mask_set_create(&set, context, &problem));
    OK(hone_mask_set_add(set, "w", mask, &problem));
    OK(hone_schedule_parse(&schedule, context, halving, strlen(halving), &problem));
    OK(hone_placement_create(&placement, context, spec, &model, 1, &problem));
    OK(hone_file_pack(context, bytes, sizeof bytes, &size, &entry, 1, NULL, 0, &problem));
    OK(hone_file_read(&file, context, bytes, size, &problem));
    hone_scaler_init(&scaler);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_file_close(file);
    hone_placement_free(placement);
    hone_schedule_free(schedule);
    hone_mask_set_free(set);
    hone_mask_free(mask);
    hone_optimizer_free(optimizer);
    hone_spec_free(spec);
    hone_context_free(context);
    return 0;
}

/* The sentence says what was NULL. */
static void check_null(hone_status status, const char *call)
{
    if (status != HONE_ERROR_ARGUMENT)
        fail_msg("%s answers %s", call, hone_status_name(status));
    if (strstr(problem.message, "NULL") == NULL)
        fail_msg("%s says \"%s\"", call, problem.message);
    memset(&problem, 0, sizeof problem);
}

#define NULLS(call) check_null((call), #call)

/* ---- with an error --------------------------------------------------------------------------- */

static double curve(uint64_t calls, void *user)
{
    (void)user;
    return (double)calls;
}

static double factor(double e, void *user)
{
    (void)user;
    return e;
}

static int closure(double *loss, void *user)
{
    (void)user;
    *loss = 0;
    return 0;
}

static void test_optimizers(void **state)
{
    (void)state;
    static const double triples[1][3] = {{1, 1, 1}};
    hone_tensor tensor = hone_tensor_view(values, HONE_F32, 1, shape);
    hone_step_report report;
    int64_t position;
    uint64_t count;
    int group;
    NULLS(hone_optimizer_create(NULL, context, spec, &problem));
    NULLS(hone_optimizer_create(&made_optimizer, NULL, spec, &problem));
    NULLS(hone_optimizer_create(&made_optimizer, context, NULL, &problem));
    NULLS(hone_optimizer_set_spec(NULL, spec, &problem));
    NULLS(hone_optimizer_set_spec(optimizer, NULL, &problem));
    NULLS(hone_optimizer_add_group(NULL, "sgd", &group, &problem));
    NULLS(hone_optimizer_get(NULL, 0, "lr", &number, &problem));
    NULLS(hone_optimizer_get(optimizer, 0, NULL, &number, &problem));
    NULLS(hone_optimizer_get(optimizer, 0, "lr", NULL, &problem));
    NULLS(hone_optimizer_set(NULL, 0, "lr", 0, &problem));
    NULLS(hone_optimizer_set(optimizer, 0, NULL, 0, &problem));
    NULLS(hone_optimizer_set_curve(NULL, 0, "lr", 0, 0, &problem));
    NULLS(hone_optimizer_set_curve(optimizer, 2, NULL, 0, 0, &problem));
    NULLS(hone_optimizer_set_coefficients(NULL, 0, triples, 1, &problem));
    NULLS(hone_optimizer_set_coefficients(optimizer, 1, NULL, 1, &problem));
    NULLS(hone_optimizer_set_curve_callback(NULL, 0, "lr", curve, NULL, &problem));
    NULLS(hone_optimizer_set_curve_callback(optimizer, 2, NULL, curve, NULL, &problem));
    NULLS(hone_optimizer_set_state_dtype(NULL, 0, "momentum_buffer", HONE_I32, &problem));
    NULLS(hone_optimizer_set_precision(NULL, 0, HONE_PRECISION_PLAIN, &problem));
    NULLS(hone_optimizer_add(NULL, "w", &tensor, 0, &position, &problem));
    NULLS(hone_optimizer_add(optimizer, NULL, &tensor, 0, &position, &problem));
    NULLS(hone_optimizer_add(optimizer, "another", NULL, 0, &position, &problem));
    NULLS(hone_optimizer_tensor(NULL, 0, &tensor, &problem));
    NULLS(hone_optimizer_tensor(optimizer, 0, NULL, &problem));
    NULLS(hone_optimizer_rebind(NULL, 0, &tensor, &problem));
    NULLS(hone_optimizer_rebind(optimizer, 0, NULL, &problem));
    NULLS(hone_optimizer_set_grad(NULL, 0, &tensor, &problem));
    NULLS(hone_optimizer_set_lr_multiplier(NULL, 0, 0, &problem));
    NULLS(hone_optimizer_lr_multiplier(NULL, 0, &number, &problem));
    NULLS(hone_optimizer_lr_multiplier(optimizer, 0, NULL, &problem));
    NULLS(hone_optimizer_clip_norm(NULL, 1, 2, HONE_NONFINITE_SKIP, &problem));
    NULLS(hone_optimizer_clip_value(NULL, 1, &problem));
    NULLS(hone_optimizer_set_grad_accum_steps(NULL, 2, true, &problem));
    NULLS(hone_optimizer_step(NULL, &report, &problem));
    NULLS(hone_optimizer_prepare(NULL, &problem));
    NULLS(hone_optimizer_step_closure(NULL, closure, NULL, &number, &report, &problem));
    NULLS(hone_optimizer_step_closure(optimizer, NULL, NULL, &number, &report, &problem));
    NULLS(hone_optimizer_zero_grad(NULL, true, &problem));
    NULLS(hone_optimizer_step_count(NULL, 0, &count, &problem));
    NULLS(hone_optimizer_step_count(optimizer, 0, NULL, &problem));
    NULLS(hone_optimizer_set_step_count(NULL, 0, 1, &problem));
    NULLS(hone_optimizer_state(NULL, 0, "momentum_buffer", &tensor, &problem));
    NULLS(hone_optimizer_state(optimizer, 0, NULL, &tensor, &problem));
    NULLS(hone_optimizer_state(optimizer, 0, "momentum_buffer", NULL, &problem));
    NULLS(hone_optimizer_set_state(NULL, 0, "momentum_buffer", &tensor, &problem));
    NULLS(hone_optimizer_set_state(optimizer, 0, NULL, &tensor, &problem));
    NULLS(hone_optimizer_set_state(optimizer, 0, "momentum_buffer", NULL, &problem));
    NULLS(hone_optimizer_bind_state(NULL, 0, "momentum_buffer", &tensor, true, &problem));
    NULLS(hone_optimizer_bind_state(optimizer, 0, NULL, &tensor, true, &problem));
    assert_null(made_optimizer);
    assert_int_equal(hone_optimizer_count(optimizer), 1);
}

static void test_around_optimizers(void **state)
{
    (void)state;
    const hone_tensor tensor = hone_tensor_view(values, HONE_F32, 1, shape);
    hone_lr_info info;
    NULLS(hone_optimizer_save(NULL, "no-such-folder/w", &problem));
    NULLS(hone_optimizer_save(optimizer, NULL, &problem));
    NULLS(hone_optimizer_load(NULL, "no-such-folder/w", &problem));
    NULLS(hone_optimizer_load(optimizer, NULL, &problem));
    NULLS(hone_optimizer_load_file(NULL, file, &problem));
    NULLS(hone_optimizer_load_file(optimizer, NULL, &problem));
    NULLS(hone_optimizer_set_stream(NULL, 0, NULL, &problem));
    NULLS(hone_optimizer_set_capturable(NULL, true, &problem));
    NULLS(hone_optimizer_bind_lr(NULL, 0, &tensor, &problem));
    NULLS(hone_optimizer_bind_loss_scale(NULL, &tensor, &tensor, &problem));
    NULLS(hone_optimizer_set_mask(NULL, 0, mask, &problem));
    NULLS(hone_optimizer_set_masks(NULL, set, false, NULL, NULL, &problem));
    NULLS(hone_optimizer_set_masks(optimizer, NULL, false, NULL, NULL, &problem));
    NULLS(hone_optimizer_lr_info(NULL, 0, &info, &problem));
    NULLS(hone_optimizer_lr_info(optimizer, 0, NULL, &problem));
    NULLS(hone_optimizer_create_placed(NULL, placement, &problem));
    NULLS(hone_optimizer_create_placed(&made_optimizer, NULL, &problem));
    NULLS(hone_optimizer_set_scaler(NULL, &scaler, &problem));
    NULLS(hone_optimizer_set_loss_scale(NULL, 0, &problem));
    NULLS(hone_optimizer_set_schedule(NULL, 0, schedule, &problem));
    NULLS(hone_optimizer_set_masked_schedule(NULL, 0, schedule, &problem));
    NULLS(hone_optimizer_schedule_step(NULL, &problem));
    NULLS(hone_optimizer_schedule_epoch(NULL, &problem));
    NULLS(hone_optimizer_schedule_metric(NULL, 0, &problem));
    assert_null(made_optimizer);
}

static void test_specs(void **state)
{
    (void)state;
    static const double triples[1][3] = {{1, 1, 1}};
    hone_precision precision;
    const char *name;
    char *json = NULL;
    int group;
    NULLS(hone_spec_create(NULL, context, "sgd", &problem));
    NULLS(hone_spec_create(&made_spec, NULL, "sgd", &problem));
    NULLS(hone_spec_create(&made_spec, context, NULL, &problem));
    NULLS(hone_spec_parse(NULL, context, "{}", 2, &problem));
    NULLS(hone_spec_parse(&made_spec, NULL, "{}", 2, &problem));
    NULLS(hone_spec_parse(&made_spec, context, NULL, 2, &problem));
    NULLS(hone_spec_write(NULL, &json, &problem));
    NULLS(hone_spec_write(spec, NULL, &problem));
    NULLS(hone_spec_from_serialized(NULL, context, "adam", "{}", 2, &problem));
    NULLS(hone_spec_from_serialized(&made_spec, NULL, "adam", "{}", 2, &problem));
    NULLS(hone_spec_from_serialized(&made_spec, context, NULL, "{}", 2, &problem));
    NULLS(hone_spec_from_serialized(&made_spec, context, "adam", NULL, 2, &problem));
    NULLS(hone_spec_to_dict(NULL, &name, &json, &problem));
    NULLS(hone_spec_to_dict(spec, &name, NULL, &problem));
    NULLS(hone_spec_get(NULL, 0, "lr", &number, &problem));
    NULLS(hone_spec_get(spec, 0, NULL, &number, &problem));
    NULLS(hone_spec_get(spec, 0, "lr", NULL, &problem));
    NULLS(hone_spec_set(NULL, 0, "lr", 0, &problem));
    NULLS(hone_spec_set(spec, 0, NULL, 0, &problem));
    NULLS(hone_spec_set_curve(NULL, 0, "lr", 0, 0, &problem));
    NULLS(hone_spec_set_curve(spec, 2, NULL, 0, 0, &problem));
    NULLS(hone_spec_get_curve(NULL, 0, "lr", &number, &number, &problem));
    NULLS(hone_spec_get_curve(spec, 2, NULL, &number, &number, &problem));
    NULLS(hone_spec_get_curve(spec, 2, "clip_lambda", NULL, &number, &problem));
    NULLS(hone_spec_get_curve(spec, 2, "clip_lambda", &number, NULL, &problem));
    NULLS(hone_spec_set_coefficients(NULL, 0, triples, 1, &problem));
    NULLS(hone_spec_set_coefficients(spec, 1, NULL, 1, &problem));
    NULLS(hone_spec_add_group(NULL, "sgd", "w", &group, &problem));
    NULLS(hone_spec_set_precision(NULL, 0, HONE_PRECISION_PLAIN, &problem));
    NULLS(hone_spec_get_precision(NULL, 0, &precision, &problem));
    NULLS(hone_spec_get_precision(spec, 0, NULL, &problem));
    NULLS(hone_spec_set_masks(NULL, "w", &problem));
    NULLS(hone_spec_set_lr_multiplier(NULL, "w", 0, &problem));
    NULLS(hone_spec_set_lr_multiplier(spec, NULL, 0, &problem));
    NULLS(hone_spec_group_multiplier(NULL, 0, &number, &problem));
    NULLS(hone_spec_group_multiplier(spec, 0, NULL, &problem));
    assert_null(made_spec);
    assert_null(json);
}

static void test_schedules_and_placements(void **state)
{
    (void)state;
    const hone_model model = {NULL, NULL, 0};
    hone_place place;
    NULLS(hone_placement_create(NULL, context, spec, &model, 1, &problem));
    NULLS(hone_placement_create(&made_placement, NULL, spec, &model, 1, &problem));
    NULLS(hone_placement_create(&made_placement, context, NULL, &model, 1, &problem));
    NULLS(hone_placement_create(&made_placement, context, spec, NULL, 1, &problem));
    NULLS(hone_placement_at(NULL, 0, &place, &problem));
    NULLS(hone_placement_at(placement, 0, NULL, &problem));
    NULLS(hone_schedule_parse(NULL, context, "{}", 2, &problem));
    NULLS(hone_schedule_parse(&made_schedule, NULL, "{}", 2, &problem));
    NULLS(hone_schedule_parse(&made_schedule, context, NULL, 2, &problem));
    NULLS(hone_schedule_create_callback(NULL, context, factor, NULL, &problem));
    NULLS(hone_schedule_create_callback(&made_schedule, NULL, factor, NULL, &problem));
    NULLS(hone_schedule_create_callback(&made_schedule, context, NULL, NULL, &problem));
    NULLS(hone_schedule_value(NULL, 0, 0, &number, &problem));
    NULLS(hone_schedule_value(schedule, 0, 0, NULL, &problem));
    assert_null(made_schedule);
    assert_null(made_placement);
}

static void test_masks(void **state)
{
    (void)state;
    const hone_tensor tensor = hone_tensor_view(values, HONE_F32, 1, shape);
    static const int64_t row[] = {1, 4};
    const hone_tensor indices = hone_tensor_view(values, HONE_I32, 2, row);
    const hone_tensor positions = hone_tensor_view(values, HONE_I32, 1, shape);
    const hone_tensor words = hone_tensor_view(values, HONE_U32, 1, shape);
    NULLS(hone_mask_filled(NULL, context, 1, shape, true, &problem));
    NULLS(hone_mask_filled(&made_mask, NULL, 1, shape, true, &problem));
    NULLS(hone_mask_filled(&made_mask, context, 1, NULL, true, &problem));
    NULLS(hone_mask_from_dense(NULL, context, &tensor, &problem));
    NULLS(hone_mask_from_dense(&made_mask, NULL, &tensor, &problem));
    NULLS(hone_mask_from_dense(&made_mask, context, NULL, &problem));
    NULLS(hone_mask_from_coo(NULL, context, 1, shape, &tensor, &tensor, &problem));
    NULLS(hone_mask_from_coo(&made_mask, NULL, 1, shape, &tensor, &tensor, &problem));
    NULLS(hone_mask_from_coo(&made_mask, context, 1, NULL, &indices, &tensor, &problem));
    NULLS(hone_mask_from_coo(&made_mask, context, 1, shape, NULL, &tensor, &problem));
    NULLS(hone_mask_from_positions(NULL, context, 1, shape, &tensor, &problem));
    NULLS(hone_mask_from_positions(&made_mask, NULL, 1, shape, &tensor, &problem));
    NULLS(hone_mask_from_positions(&made_mask, context, 1, NULL, &positions, &problem));
    NULLS(hone_mask_from_positions(&made_mask, context, 1, shape, NULL, &problem));
    NULLS(hone_mask_from_words(NULL, context, 1, shape, &tensor, &problem));
    NULLS(hone_mask_from_words(&made_mask, NULL, 1, shape, &tensor, &problem));
    NULLS(hone_mask_from_words(&made_mask, context, 1, NULL, &words, &problem));
    NULLS(hone_mask_from_words(&made_mask, context, 1, shape, NULL, &problem));
    NULLS(hone_mask_top_count(NULL, context, &tensor, 0, &problem));
    NULLS(hone_mask_top_count(&made_mask, NULL, &tensor, 0, &problem));
    NULLS(hone_mask_top_count(&made_mask, context, NULL, 0, &problem));
    NULLS(hone_mask_top_fraction(NULL, context, &tensor, 0, &problem));
    NULLS(hone_mask_top_fraction(&made_mask, NULL, &tensor, 0, &problem));
    NULLS(hone_mask_top_fraction(&made_mask, context, NULL, 0, &problem));
    NULLS(hone_mask_from_threshold(NULL, context, &tensor, 0, &problem));
    NULLS(hone_mask_from_threshold(&made_mask, NULL, &tensor, 0, &problem));
    NULLS(hone_mask_from_threshold(&made_mask, context, NULL, 0, &problem));
    NULLS(hone_mask_combine(NULL, mask, mask, HONE_MASK_OR, &problem));
    NULLS(hone_mask_combine(&made_mask, NULL, mask, HONE_MASK_OR, &problem));
    NULLS(hone_mask_combine(&made_mask, mask, NULL, HONE_MASK_OR, &problem));
    NULLS(hone_mask_not(NULL, mask, &problem));
    NULLS(hone_mask_not(&made_mask, NULL, &problem));
    NULLS(hone_mask_to_dense(NULL, values, &problem));
    NULLS(hone_mask_to_dense(mask, NULL, &problem));
    NULLS(hone_mask_to_positions(NULL, HONE_I32, values, &problem));
    NULLS(hone_mask_to_positions(mask, HONE_I32, NULL, &problem));
    NULLS(hone_mask_to_coo(NULL, HONE_I32, values, &problem));
    NULLS(hone_mask_to_coo(mask, HONE_I32, NULL, &problem));
    NULLS(hone_mask_set_create(NULL, context, &problem));
    NULLS(hone_mask_set_create(&made_set, NULL, &problem));
    NULLS(hone_mask_set_add(NULL, "w", mask, &problem));
    NULLS(hone_mask_set_add(set, NULL, mask, &problem));
    NULLS(hone_mask_set_add(set, "w", NULL, &problem));
    NULLS(hone_mask_set_note(NULL, "w", "w", &problem));
    NULLS(hone_mask_set_note(set, NULL, "w", &problem));
    NULLS(hone_mask_set_note(set, "w", NULL, &problem));
    NULLS(hone_mask_set_load(NULL, context, "no-such-folder/w", NULL, &problem));
    NULLS(hone_mask_set_load(&made_set, NULL, "no-such-folder/w", NULL, &problem));
    NULLS(hone_mask_set_load(&made_set, context, NULL, NULL, &problem));
    NULLS(hone_mask_set_read(NULL, context, values, 4, NULL, &problem));
    NULLS(hone_mask_set_read(&made_set, NULL, values, 4, NULL, &problem));
    NULLS(hone_mask_set_read(&made_set, context, NULL, 4, NULL, &problem));
    NULLS(hone_mask_set_save(NULL, "no-such-folder/w", &problem));
    NULLS(hone_mask_set_save(set, NULL, &problem));
    assert_null(made_mask);
    assert_null(made_set);
}

static void test_files_and_gradients(void **state)
{
    (void)state;
    hone_tensor tensor = hone_tensor_view(values, HONE_F32, 1, shape);
    const hone_tensor *const grad = &tensor;
    const hone_file_entry entry = {"w", tensor};
    size_t size;
    NULLS(hone_total_norm(NULL, &grad, 1, 2, &number, &problem));
    NULLS(hone_total_norm(context, NULL, 1, 2, &number, &problem));
    NULLS(hone_total_norm(context, &grad, 1, 2, NULL, &problem));
    NULLS(hone_clip_grad_norm(NULL, &grad, 1, 1, 2, false, &number, &problem));
    NULLS(hone_clip_grad_norm(context, NULL, 1, 1, 2, false, &number, &problem));
    NULLS(hone_clip_grads_with_norm(NULL, &grad, 1, 1, 1, &problem));
    NULLS(hone_clip_grads_with_norm(context, NULL, 1, 1, 1, &problem));
    NULLS(hone_clip_grad_value(NULL, &grad, 1, 1, &problem));
    NULLS(hone_clip_grad_value(context, NULL, 1, 1, &problem));
    NULLS(hone_context_create(NULL, NULL, &problem));
    NULLS(hone_file_open(NULL, context, "no-such-folder/w", &problem));
    NULLS(hone_file_open(&made_file, NULL, "no-such-folder/w", &problem));
    NULLS(hone_file_open(&made_file, context, NULL, &problem));
    NULLS(hone_file_read(NULL, context, values, 4, &problem));
    NULLS(hone_file_read(&made_file, NULL, values, 4, &problem));
    NULLS(hone_file_read(&made_file, context, NULL, 4, &problem));
    NULLS(hone_file_tensor(NULL, 0, &tensor, &problem));
    NULLS(hone_file_tensor(file, 0, NULL, &problem));
    NULLS(hone_file_write(NULL, "no-such-folder/w", &entry, 1, NULL, 0, &problem));
    NULLS(hone_file_write(context, NULL, &entry, 1, NULL, 0, &problem));
    NULLS(hone_file_write(context, "no-such-folder/w", NULL, 1, NULL, 0, &problem));
    NULLS(hone_file_pack(NULL, values, 4, &size, &entry, 1, NULL, 0, &problem));
    NULLS(hone_file_pack(context, values, 4, NULL, &entry, 1, NULL, 0, &problem));
    NULLS(hone_file_pack(context, values, 4, &size, NULL, 1, NULL, 0, &problem));
    assert_null(made_file);
}

/* ---- without --------------------------------------------------------------------------------- */

static void test_getters(void **state)
{
    (void)state;
    int group = 0, index = 0;
    hone_notice notice;
    const char *const names[] = {"w"};
    const hone_rule *const rule = hone_rule_at(0);
    const hone_tensor shapeless = hone_tensor_view(values, HONE_F32, 1, NULL);
    assert_null(hone_context_cpu(NULL));
    assert_int_equal(hone_context_threads(NULL), 0);
    assert_int_equal(hone_context_seed(NULL), 0);
    assert_int_equal(hone_optimizer_device_bytes(NULL, 0), 0);
    assert_null(hone_mask_share(NULL));
    assert_int_equal(hone_mask_ndim(NULL), 0);
    assert_null(hone_mask_shape(NULL));
    assert_int_equal(hone_mask_numel(NULL), 0);
    assert_int_equal(hone_mask_count(NULL), 0);
    assert_true(hone_mask_density(NULL) == 0);
    assert_false(hone_mask_get(NULL, 0));
    assert_false(hone_mask_equal(NULL, mask));
    assert_false(hone_mask_equal(mask, NULL));
    assert_false(hone_mask_has_shape(NULL, 1, shape));
    assert_false(hone_mask_has_shape(mask, 1, NULL));
    assert_int_equal(hone_mask_hash(NULL), 0);
    assert_null(hone_mask_words(NULL));
    assert_int_equal(hone_mask_word_count(NULL), 0);
    assert_int_equal(hone_mask_position_dtype(NULL), HONE_I32);
    assert_int_equal(hone_mask_memory_as(NULL, HONE_MASK_DENSE).bytes, 0);
    assert_int_equal(hone_mask_set_count(NULL), 0);
    assert_null(hone_mask_set_name(NULL, 0));
    assert_null(hone_mask_set_mask(NULL, 0));
    assert_int_equal(hone_mask_set_find(NULL, "w"), -1);
    assert_int_equal(hone_mask_set_find(set, NULL), -1);
    assert_int_equal(hone_mask_set_memory_as(NULL, HONE_MASK_DENSE).bytes, 0);
    assert_int_equal(hone_mask_set_note_count(NULL), 0);
    assert_null(hone_mask_set_note_key(NULL, 0));
    assert_null(hone_mask_set_note_value(NULL, "w"));
    assert_null(hone_mask_set_note_value(set, NULL));
    assert_null(hone_mask_set_summary(NULL, 0));
    assert_int_equal(hone_mask_set_form(NULL, 0), 0);
    assert_null(hone_mask_set_key(NULL));
    assert_null(hone_optimizer_context(NULL));
    assert_null(hone_optimizer_spec(NULL));
    assert_int_equal(hone_optimizer_group_count(NULL), 0);
    assert_null(hone_optimizer_group_rule(NULL, 0));
    assert_int_equal(hone_optimizer_count(NULL), 0);
    assert_int_equal(hone_optimizer_find(NULL, "w"), -1);
    assert_int_equal(hone_optimizer_find(optimizer, NULL), -1);
    assert_null(hone_optimizer_name(NULL, 0));
    assert_int_equal(hone_optimizer_group_of(NULL, 0), -1);
    assert_int_equal(hone_optimizer_state_bytes(NULL), 0);
    assert_int_equal(hone_placement_count(NULL), 0);
    assert_false(hone_placement_notice(NULL, &index, &notice));
    assert_false(hone_placement_notice(placement, NULL, &notice));
    assert_false(hone_placement_notice(placement, &index, NULL));
    assert_null(hone_rule_find(NULL));
    assert_null(hone_rule_name(NULL));
    assert_null(hone_rule_doc(NULL));
    assert_false(hone_rule_is_matrix(NULL));
    assert_int_equal(hone_rule_hyper_count(NULL), 0);
    assert_null(hone_rule_hyper(NULL, 0));
    assert_int_equal(hone_rule_hyper_find(NULL, "w"), -1);
    assert_int_equal(hone_rule_hyper_find(rule, NULL), -1);
    assert_int_equal(hone_rule_slot_count(NULL), 0);
    assert_null(hone_rule_slot(NULL, 0));
    assert_int_equal(hone_rule_slot_find(NULL, "w"), -1);
    assert_int_equal(hone_rule_slot_find(rule, NULL), -1);
    assert_null(hone_rule_nearest(NULL));
    assert_int_equal(hone_file_count(NULL), 0);
    assert_null(hone_file_name(NULL, 0));
    assert_int_equal(hone_file_find(NULL, "w"), -1);
    assert_int_equal(hone_file_find(file, NULL), -1);
    assert_null(hone_file_metadata(NULL, "w"));
    assert_null(hone_file_metadata(file, NULL));
    assert_int_equal(hone_file_metadata_count(NULL), 0);
    assert_null(hone_file_metadata_key(NULL, 0));
    assert_false(hone_optimizer_scaler(NULL, &scaler));
    assert_true(hone_optimizer_loss_scale(NULL) == 1);
    assert_int_equal(hone_optimizer_skipped(NULL), 0);
    assert_null(hone_schedule_type(NULL));
    assert_false(hone_schedule_counts_epochs(NULL));
    assert_null(hone_optimizer_schedule(NULL, 0));
    assert_null(hone_optimizer_masked_schedule(NULL, 0));
    assert_int_equal(hone_optimizer_schedule_count(NULL, 0), 0);
    assert_int_equal(hone_optimizer_masked_schedule_count(NULL, 0), 0);
    assert_int_equal(hone_spec_group_count(NULL), 0);
    assert_null(hone_spec_group_rule(NULL, 0));
    assert_int_equal(hone_spec_match(NULL, "w", 1), 0);
    assert_int_equal(hone_spec_match(spec, NULL, 1), 0);
    assert_null(hone_spec_group_pattern(NULL, 0, 0));
    assert_null(hone_spec_group_except(NULL, 0, 0));
    assert_int_equal(hone_spec_group_min_ndim(NULL, 0), 0);
    assert_null(hone_spec_unmatched(NULL, names, 1, &group, &index));
    assert_null(hone_spec_unmatched(spec, NULL, 1, &group, &index));
    assert_null(hone_spec_unmatched(spec, names, 1, NULL, &index));
    assert_null(hone_spec_unmatched(spec, names, 1, &group, NULL));
    assert_null(hone_spec_masks(NULL));
    assert_null(hone_spec_lr_module(NULL, 0, &number));
    assert_int_equal(hone_tensor_numel(NULL), -1);
    assert_int_equal(hone_tensor_numel(&shapeless), -1);
}

/* Nothing happens, and nothing is written. */
static void test_procedures(void **state)
{
    (void)state;
    hone_context_options_init(NULL);
    hone_context_free(NULL);
    hone_mask_free(NULL);
    hone_mask_set_free(NULL);
    hone_mask_load_options_init(NULL);
    hone_optimizer_free(NULL);
    hone_placement_free(NULL);
    hone_file_close(NULL);
    hone_scaler_init(NULL);
    hone_scaler_update(NULL, 0);
    hone_schedule_free(NULL);
    hone_spec_free(NULL);
    hone_string_free(NULL, "w");
    hone_string_free(context, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimizers), cmocka_unit_test(test_around_optimizers),
        cmocka_unit_test(test_specs),      cmocka_unit_test(test_schedules_and_placements),
        cmocka_unit_test(test_masks),      cmocka_unit_test(test_files_and_gradients),
        cmocka_unit_test(test_getters),    cmocka_unit_test(test_procedures)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
