/* SPDX-License-Identifier: Apache-2.0 */
/* Two learning rates inside one tensor: the identities of a masked step, for every element rule,
 * the golden numbers' matching by name, counts, and checkpoints that know their mask. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/mask.h>

#include "support/checks.h"
#include "support/cmocka_all.h"
#include "support/fixtures.h"

#define N 10007 /* more than a chunk, and no whole number of words */

static float start[N], grad[N];
static uint8_t bits[N];
static const int64_t shape[] = {N};

static int set_up(void **state)
{
    (void)state;
    context = test_context(2, NULL);
    for (int i = 0; i < N; i++) {
        start[i] = sinf((float)i);
        grad[i] = cosf((float)i * 1.7f);
        bits[i] = i % 20 == 3;
    }
    return 0;
}

/* A parameter stepped five times at (lr, masked_lr) under `mask`; masked_lr NaN: unset. */
static void run(const hone_rule *rule, double lr, double masked_lr, const hone_mask *mask,
                const float *gradient, float *param)
{
    hone_optimizer *const optimizer = test_optimizer(context, hone_rule_name(rule));
    memcpy(param, start, sizeof start);
    const hone_tensor p = hone_tensor_view(param, HONE_F32, 1, shape);
    const hone_tensor g = hone_tensor_view((void *)(uintptr_t)gradient, HONE_F32, 1, shape);
    OK(hone_optimizer_add(optimizer, "p", &p, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &g, &problem));
    OK(hone_optimizer_set(optimizer, 0, "unmasked_lr", lr, &problem));
    OK(hone_optimizer_set(optimizer, 0, "masked_lr", masked_lr, &problem));
    OK(hone_optimizer_set(optimizer, 0, "weight_decay", 0.01, &problem));
    OK(hone_optimizer_set_mask(optimizer, 0, mask, &problem));
    for (int i = 0; i < 5; i++)
        OK(hone_optimizer_step(optimizer, NULL, &problem));
    hone_optimizer_free(optimizer);
}

static hone_mask *mask_of(const uint8_t *values)
{
    hone_mask *mask;
    const hone_tensor dense = hone_tensor_view((void *)(uintptr_t)values, HONE_BOOL, 1, shape);
    OK(hone_mask_from_dense(&mask, context, &dense, &problem));
    return mask;
}

static float fast[N], slow[N], mixed[N], other[N];

static void check_identities(const hone_rule *rule, const hone_mask *mask)
{
    hone_mask *all, *none;
    OK(hone_mask_filled(&all, context, 1, shape, true, &problem));
    OK(hone_mask_filled(&none, context, 1, shape, false, &problem));
    run(rule, 1e-2, NAN, NULL, grad, fast);
    run(rule, 1e-4, NAN, NULL, grad, slow);
    run(rule, 1e-4, 1e-2, mask, grad, mixed);
    for (int i = 0; i < N; i++)
        assert_memory_equal(&mixed[i], bits[i] ? &fast[i] : &slow[i], sizeof(float));
    run(rule, 1e-4, 1e-2, all, grad, other);
    assert_memory_equal(other, fast, sizeof fast);
    run(rule, 1e-4, 1e-2, none, grad, other);
    assert_memory_equal(other, slow, sizeof slow);
    run(rule, 1e-4, 1e-2, NULL, grad, other);
    assert_memory_equal(other, slow, sizeof slow);
    run(rule, 1e-2, 1e-2, mask, grad, other);
    assert_memory_equal(other, fast, sizeof fast);
    run(rule, 1e-2, NAN, mask, grad, other);
    assert_memory_equal(other, fast, sizeof fast);
    hone_mask_free(all);
    hone_mask_free(none);
}

static void test_identities(void **state)
{
    (void)state;
    hone_mask *const mask = mask_of(bits);
    for (int r = 0; r < hone_rule_count(); r++)
        if (!hone_rule_is_matrix(hone_rule_at(r))) /* its elements move together: test_muon.c */
            check_identities(hone_rule_at(r), mask);
    hone_mask_free(mask);
}

/* A rate of 0 keeps the bits whatever the gradient is; the others' are as without the NaN. */
static void test_frozen(void **state)
{
    (void)state;
    static float poisoned[N];
    hone_mask *const mask = mask_of(bits);
    for (int i = 0; i < N; i++)
        poisoned[i] = bits[i] ? grad[i] : NAN;
    for (int r = 0; r < hone_rule_count(); r++) {
        if (hone_rule_is_matrix(hone_rule_at(r)))
            continue;
        run(hone_rule_at(r), 1e-2, NAN, NULL, grad, fast);
        run(hone_rule_at(r), 0, 1e-2, mask, poisoned, mixed);
        for (int i = 0; i < N; i++)
            assert_memory_equal(&mixed[i], bits[i] ? &fast[i] : &start[i], sizeof(float));
    }
    hone_mask_free(mask);
}

/* Two rates of 0 freeze every element; without a mask they do too, but for adamw_tf, whose decay
 * knows no rate: 1 % for each of five calls. */
static void test_frozen_without_a_mask(void **state)
{
    (void)state;
    hone_mask *const mask = mask_of(bits);
    for (int r = 0; r < hone_rule_count(); r++) {
        if (hone_rule_is_matrix(hone_rule_at(r)))
            continue;
        run(hone_rule_at(r), 0, 0, mask, grad, mixed);
        assert_memory_equal(mixed, start, sizeof start);
        run(hone_rule_at(r), 0, NAN, NULL, grad, other);
        const bool decays = strcmp(hone_rule_name(hone_rule_at(r)), "adamw_tf") == 0;
        const float keep = 1 - 0.01f;
        for (int i = 0; i < N; i++) {
            const float decayed = start[i] * keep * keep * keep * keep * keep;
            assert_memory_equal(&other[i], decays ? &decayed : &start[i], sizeof(float));
        }
    }
    hone_mask_free(mask);
}

/* The promise of the seed that its code does not keep: under equal gradients the distances moved
 * have the ratio of the rates, also after a thousand calls. */
static void test_ratio(void **state)
{
    (void)state;
    static const int64_t two[] = {2};
    static const uint8_t first[] = {1, 0};
    double param[] = {0, 0}, ones[] = {1, 1};
    hone_optimizer *const optimizer = test_optimizer(context, "adamw");
    const hone_tensor p = hone_tensor_view(param, HONE_F64, 1, two);
    const hone_tensor g = hone_tensor_view(ones, HONE_F64, 1, two);
    const hone_tensor dense = hone_tensor_view((void *)(uintptr_t)first, HONE_BOOL, 1, two);
    hone_mask *mask;
    OK(hone_mask_from_dense(&mask, context, &dense, &problem));
    OK(hone_optimizer_add(optimizer, "p", &p, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &g, &problem));
    OK(hone_optimizer_set_mask(optimizer, 0, mask, &problem));
    hone_mask_free(mask); /* the optimizer has its share */
    OK(hone_optimizer_set(optimizer, 0, "lr", 1e-5, &problem));
    OK(hone_optimizer_set(optimizer, 0, "masked_lr", 1e-3, &problem));
    OK(hone_optimizer_set(optimizer, 0, "weight_decay", 0, &problem));
    for (int i = 0; i < 1000; i++)
        OK(hone_optimizer_step(optimizer, NULL, &problem));
    assert_true(fabs(param[0] / param[1] - 100) < 1e-9);
    assert_true(fabs(param[0] + 1) < 1e-7);
    hone_optimizer_free(optimizer);
}

/* ---- by name -------------------------------------------------------------------------------- */

static int matches[4];

static void count_match(hone_mask_match match, const char *name, int64_t index, void *user)
{
    (void)name, (void)index, (void)user;
    matches[match]++;
}

static void test_names(void **state)
{
    (void)state;
    static const int64_t four[] = {4}, six[] = {6};
    static const uint8_t values[] = {1, 0, 0, 1, 0, 0};
    float data[4][6] = {{0}};
    hone_optimizer *const optimizer = test_optimizer(context, "adamw");
    const char *const names[] = {"module.a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        const hone_tensor p = hone_tensor_view(data[i], HONE_F32, 1, four);
        OK(hone_optimizer_add(optimizer, names[i], &p, 0, NULL, &problem));
    }
    hone_mask_set *set;
    OK(hone_mask_set_create(&set, context, &problem));
    const char *const masks[] = {"a", "b", "c", "x"};
    for (int i = 0; i < 4; i++) {
        hone_mask *mask;
        const hone_tensor dense =
            hone_tensor_view((void *)(uintptr_t)values, HONE_BOOL, 1, i == 2 ? six : four);
        OK(hone_mask_from_dense(&mask, context, &dense, &problem));
        OK(hone_mask_set_add(set, masks[i], mask, &problem));
        hone_mask_free(mask);
    }
    FAILS(
        HONE_ERROR_MISMATCH,
        "4 masks and parameters do not match: mask 'c' has another shape than its parameter; mask "
        "'x' has no parameter; parameter 'c' has no mask; parameter 'd' has no mask",
        hone_optimizer_set_masks(optimizer, set, true, NULL, NULL, &problem));
    hone_lr_info info;
    OK(hone_optimizer_lr_info(optimizer, 0, &info, &problem));
    assert_true(info.masks == 0 && info.unmasked_parameters == 16);
    OK(hone_optimizer_set_masks(optimizer, set, false, count_match, NULL, &problem));
    const int wanted[] = {2, 1, 1, 2};
    assert_memory_equal(matches, wanted, sizeof wanted);
    OK(hone_optimizer_set(optimizer, 0, "masked_lr", 0.5, &problem));
    OK(hone_optimizer_lr_info(optimizer, 0, &info, &problem));
    assert_true(info.masks == 2 && info.masked_parameters == 4 && info.unmasked_parameters == 12);
    assert_true(info.masked_lr == 0.5 && info.unmasked_lr == 1e-3);
    hone_mask_set_free(set);
    hone_optimizer_free(optimizer);
}

/* ---- complex and checkpoints ---------------------------------------------------------------- */

static void test_complex(void **state)
{
    (void)state;
    static const int64_t two[] = {2};
    static const uint8_t second[] = {0, 1};
    float param[] = {1, 2, 3, 4}, gradient[] = {1, 1, 1, 1};
    hone_optimizer *const optimizer = test_optimizer(context, "sgd");
    const hone_tensor p = hone_tensor_view(param, HONE_C64, 1, two);
    const hone_tensor g = hone_tensor_view(gradient, HONE_C64, 1, two);
    const hone_tensor dense = hone_tensor_view((void *)(uintptr_t)second, HONE_BOOL, 1, two);
    hone_mask *mask;
    OK(hone_mask_from_dense(&mask, context, &dense, &problem));
    OK(hone_optimizer_add(optimizer, "p", &p, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &g, &problem));
    OK(hone_optimizer_set_mask(optimizer, 0, mask, &problem));
    OK(hone_optimizer_set(optimizer, 0, "lr", 0, &problem));
    OK(hone_optimizer_set(optimizer, 0, "masked_lr", 0.5, &problem));
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    assert_true(param[0] == 1 && param[1] == 2 && param[2] == 2.5f && param[3] == 3.5f);
    hone_mask_free(mask);
    hone_optimizer_free(optimizer);
}

static hone_optimizer *masked_optimizer(const hone_mask *mask, float *param)
{
    hone_optimizer *const optimizer = test_optimizer(context, "adamw");
    const hone_tensor p = hone_tensor_view(param, HONE_F32, 1, shape);
    const hone_tensor g = hone_tensor_view(grad, HONE_F32, 1, shape);
    OK(hone_optimizer_add(optimizer, "p", &p, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &g, &problem));
    OK(hone_optimizer_set(optimizer, 0, "masked_lr", 0.1, &problem));
    OK(hone_optimizer_set_mask(optimizer, 0, mask, &problem));
    return optimizer;
}

static void test_checkpoint(void **state)
{
    (void)state;
    const char *const path = "test_mask_step.safetensors";
    hone_mask *const mask = mask_of(bits), *inverse;
    OK(hone_mask_not(&inverse, mask, &problem));
    memcpy(fast, start, sizeof start);
    hone_optimizer *const whole = masked_optimizer(mask, fast);
    OK(hone_optimizer_step(whole, NULL, &problem));
    OK(hone_optimizer_save(whole, path, &problem));
    memcpy(slow, fast, sizeof fast);
    hone_optimizer *const resumed = masked_optimizer(inverse, slow);
    FAILS(HONE_ERROR_MISMATCH, NULL, hone_optimizer_load(resumed, path, &problem));
    assert_non_null(strstr(problem.message, "parameter 'p' was stepped under another mask"));
    OK(hone_optimizer_set_mask(resumed, 0, NULL, &problem));
    FAILS(HONE_ERROR_MISMATCH, NULL, hone_optimizer_load(resumed, path, &problem));
    assert_non_null(strstr(problem.message, "was stepped under a mask, and has none now"));
    OK(hone_optimizer_set_mask(resumed, 0, mask, &problem));
    OK(hone_optimizer_load(resumed, path, &problem));
    for (int i = 0; i < 3; i++) {
        OK(hone_optimizer_step(whole, NULL, &problem));
        OK(hone_optimizer_step(resumed, NULL, &problem));
    }
    assert_memory_equal(fast, slow, sizeof fast);
    remove(path);
    hone_optimizer_free(whole);
    hone_optimizer_free(resumed);
    hone_mask_free(mask);
    hone_mask_free(inverse);
}

static void test_shape(void **state)
{
    (void)state;
    static const int64_t three[] = {3};
    float param[4] = {0};
    static const int64_t four[] = {2, 2};
    hone_optimizer *const optimizer = test_optimizer(context, "adamw");
    const hone_tensor p = hone_tensor_view(param, HONE_F32, 2, four);
    OK(hone_optimizer_add(optimizer, "w", &p, 0, NULL, &problem));
    hone_mask *mask;
    OK(hone_mask_filled(&mask, context, 1, three, true, &problem));
    FAILS(HONE_ERROR_SHAPE, "Mask shape [3] does not match parameter shape [2,2] for 'w'",
          hone_optimizer_set_mask(optimizer, 0, mask, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "parameter 1 does not exist; there are 1",
          hone_optimizer_set_mask(optimizer, 1, mask, &problem));
    hone_mask_free(mask);
    hone_optimizer_free(optimizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_frozen_without_a_mask),
        cmocka_unit_test(test_ratio),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_complex),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_shape),
    };
    return cmocka_run_group_tests(tests, set_up, close_context);
}
