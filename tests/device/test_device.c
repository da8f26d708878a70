/* SPDX-License-Identifier: Apache-2.0 */
/* What parameters on a device answer: wrong pointers, streams and devices, memory that runs out, devices that
 * are lost. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device_memory.h"
#include "device/subject.h"
#include "support/checks.h"

/* ---- what is handed in -------------------------------------------------------------------------- */

static void test_wrong_memory(void **state)
{
    (void)state;
    struct subject s;
    static float host[SUBJECT_N];
    subject_start(&s, "adamw");
    hone_tensor wrong = device_view(host, HONE_F32, 1, subject_shape);
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_add(s.optimizer, "x", &wrong, 0, NULL, &problem));
    assert_non_null(strstr(problem.message, "is not memory of a device"));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_set_grad(s.optimizer, 0, &wrong, &problem));
    wrong.device = HONE_CPU;
    FAILS(HONE_ERROR_ARGUMENT, "the gradient of \"w\" is on the CPU; the parameter is on device 0",
          hone_optimizer_set_grad(s.optimizer, 0, &wrong, &problem));
    FAILS(HONE_ERROR_ARGUMENT,
          "parameter \"w\" is on device 0 with its states; it cannot move elsewhere",
          hone_optimizer_rebind(s.optimizer, 0, &wrong, &problem));
    wrong = s.param;
    wrong.device_index = 77;
    FAILS(HONE_ERROR_UNSUPPORTED, NULL,
          hone_optimizer_add(s.optimizer, "x", &wrong, 0, NULL, &problem));
    assert_non_null(strstr(problem.message, "device 77"));
    wrong.device = (hone_device_type)5;
    FAILS(HONE_ERROR_UNSUPPORTED, NULL,
          hone_optimizer_add(s.optimizer, "x", &wrong, 0, NULL, &problem));
    assert_int_equal(hone_optimizer_count(s.optimizer), 1);
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_int_equal(subject_count(&s), 1);
    subject_stop(&s);
}

static void test_no_library(void **state)
{
    (void)state;
    struct subject s;
    char *const before = strdup(getenv("HONE_CUDA"));
    subject_start(&s, "adamw");
    hone_optimizer *const other = test_optimizer(s.context, "sgd");
    setenv("HONE_CUDA", "/no/such/libhone_cuda.so", 1);
    FAILS(HONE_ERROR_UNSUPPORTED, NULL,
          hone_optimizer_add(other, "w", &s.param, 0, NULL, &problem));
    assert_non_null(strstr(problem.message, "/no/such/libhone_cuda.so"));
    setenv("HONE_CUDA", before, 1);
    OK(hone_optimizer_add(other, "w", &s.param, 0, NULL, &problem));
    hone_optimizer_free(other);
    free(before);
    subject_stop(&s);
}

static void test_devices_that_do_not_open(void **state)
{
    (void)state;
    struct host_control *const control = device_control();
    if (control == NULL)
        SKIP("a real device does not fail when a test asks for it");
    struct subject s;
    subject_start(&s, "adamw");
    hone_optimizer *const other = test_optimizer(s.context, "sgd");
    control->open_fault = HONE_DEVICE_UNSUPPORTED;
    FAILS(HONE_ERROR_UNSUPPORTED,
          "host device 0, host (compute capability 1.0) cannot be used: no kernel image is "
          "available; this build has kernels for 2.0, 3.5 and what runs their code",
          hone_optimizer_add(other, "w", &s.param, 0, NULL, &problem));
    control->open_fault = HONE_DEVICE_MEMORY;
    FAILS(HONE_ERROR_MEMORY, "opening a device: device 0 answers \"out of memory\"",
          hone_optimizer_add(other, "w", &s.param, 0, NULL, &problem));
    control->open_fault = HONE_DEVICE_LOST;
    FAILS(HONE_ERROR_DEVICE, "opening a device: device 0 answers \"the device fell off the bus\"",
          hone_optimizer_add(other, "w", &s.param, 0, NULL, &problem));
    control->open_fault = HONE_DEVICE_OK;
    OK(hone_optimizer_add(other, "w", &s.param, 0, NULL, &problem));
    hone_optimizer_free(other);
    subject_stop(&s);
}

static void test_rules(void **state)
{
    (void)state;
    struct subject s;
    subject_start(&s, "adamw");
    int group;
    OK(hone_optimizer_add_group(s.optimizer, "muon", &group, &problem));
    const int64_t matrix[] = {100, 100};
    const hone_tensor view = device_view(subject_values(1), HONE_F32, 2, matrix);
    OK(hone_optimizer_add(s.optimizer, "m", &view, group, NULL, &problem));
    subject_stop(&s);
}

/* The work of a matrix needs room that depends on its steps, which may change at any time. */
static void test_more_steps_of_a_matrix(void **state)
{
    (void)state;
    struct subject s;
    subject_start(&s, "adamw");
    int group;
    OK(hone_optimizer_add_group(s.optimizer, "muon", &group, &problem));
    const int64_t matrix[] = {100, 100};
    const hone_tensor view = device_view(subject_values(1), HONE_F32, 2, matrix);
    const hone_tensor grad = device_view(subject_values(0.5f), HONE_F32, 2, matrix);
    OK(hone_optimizer_add(s.optimizer, "m", &view, group, NULL, &problem));
    OK(hone_optimizer_set_grad(s.optimizer, 1, &grad, &problem));
    for (int steps = 1; steps < 50; steps += 12) {
        OK(hone_optimizer_set(s.optimizer, group, "ns_steps", steps, &problem));
        OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    }
    subject_stop(&s);
}

/* ---- callbacks -------------------------------------------------------------------------------- */

static double half(uint64_t calls, void *user)
{
    (void)calls, (void)user;
    return 0.5;
}

static void test_callbacks(void **state)
{
    (void)state;
    struct subject s;
    subject_start(&s, "adopt");
    OK(hone_optimizer_set_curve_callback(s.optimizer, 0, "clip_lambda", half, NULL, &problem));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    OK(hone_optimizer_set_capturable(s.optimizer, true, &problem));
    FAILS(HONE_ERROR_UNSUPPORTED, NULL, hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_int_equal(subject_count(&s), 1);
    OK(hone_optimizer_set_capturable(s.optimizer, false, &problem));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_int_equal(subject_count(&s), 2);
    subject_stop(&s);
}

/* ---- numbers in the device's memory -------------------------------------------------------------- */

/* A rate, a scale and a flag on the device are the numbers themselves. */
static void test_bound_numbers(void **state)
{
    (void)state;
    static float plain[SUBJECT_N], bound[SUBJECT_N];
    for (int skip = 0; skip < 2; skip++) {
        struct subject s;
        subject_start(&s, "adamw");
        OK(hone_optimizer_set(s.optimizer, 0, "lr", (double)0.02f, &problem));
        OK(hone_optimizer_set_loss_scale(s.optimizer, 1024, &problem));
        for (int i = 0; i < 3 - skip; i++)
            OK(hone_optimizer_step(s.optimizer, NULL, &problem));
        subject_read(&s, plain);
        subject_stop(&s);

        subject_start(&s, "adamw");
        const hone_tensor lr = subject_scalar(skip ? HONE_F64 : HONE_F32, (double)0.02f);
        const hone_tensor scale = subject_scalar(HONE_F32, 1024),
                          flag = subject_scalar(HONE_F32, 0);
        OK(hone_optimizer_bind_lr(s.optimizer, 0, &lr, &problem));
        OK(hone_optimizer_bind_loss_scale(s.optimizer, &scale, &flag, &problem));
        for (int i = 0; i < 3; i++) {
            const float found = skip && i == 1 ? 1 : 0;
            device_write(flag.data, &found, sizeof found);
            const size_t waits = subject_waits();
            OK(hone_optimizer_bind_lr(s.optimizer, 0, &lr, &problem)); /* as it was */
            assert_int_equal(subject_waits(), waits);
            OK(hone_optimizer_step(s.optimizer, NULL, &problem));
        }
        subject_read(&s, bound);
        assert_memory_equal(plain, bound, sizeof plain);
        assert_int_equal(subject_count(&s), 3 - skip);
        assert_int_equal(hone_optimizer_skipped(s.optimizer), skip);
        const hone_tensor wide = subject_scalar(HONE_F64, 1);
        FAILS(HONE_ERROR_DTYPE, "the loss scale is F64; it must be F32",
              hone_optimizer_bind_loss_scale(s.optimizer, &wide, NULL, &problem));
        FAILS(HONE_ERROR_SHAPE, "the learning rate has 10000 elements; it must have one",
              hone_optimizer_bind_lr(s.optimizer, 0, &s.grad, &problem));
        OK(hone_optimizer_bind_lr(s.optimizer, 0, NULL, &problem));
        OK(hone_optimizer_bind_loss_scale(s.optimizer, NULL, NULL, &problem));
        OK(hone_optimizer_step(s.optimizer, NULL, &problem));
        assert_int_equal(subject_count(&s), 4 - skip);
        subject_stop(&s);
    }
}

/* A scaler and the caller's loss scale are not together, wherever the scaler comes from. */
static void test_scaler_of_a_checkpoint(void **state)
{
    (void)state;
    struct subject s;
    char path[64];
    snprintf(path, sizeof path, "scaler.%ld.safetensors", (long)getpid());
    subject_start(&s, "adamw");
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    OK(hone_optimizer_set_scaler(s.optimizer, &scaler, &problem));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    OK(hone_optimizer_save(s.optimizer, path, &problem));
    OK(hone_optimizer_set_scaler(s.optimizer, NULL, &problem));
    const hone_tensor scale = subject_scalar(HONE_F32, 1024);
    OK(hone_optimizer_bind_loss_scale(s.optimizer, &scale, NULL, &problem));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_int_equal(hone_optimizer_load(s.optimizer, path, &problem), HONE_ERROR_ARGUMENT);
    assert_non_null(strstr(problem.message, "the checkpoint has a scaler, but the loss scale"));
    assert_int_equal(subject_count(&s), 2);
    OK(hone_optimizer_bind_loss_scale(s.optimizer, NULL, NULL, &problem));
    OK(hone_optimizer_load(s.optimizer, path, &problem));
    assert_int_equal(subject_count(&s), 1);
    remove(path);
    subject_stop(&s);
}

static void test_bound_states(void **state)
{
    (void)state;
    struct subject s;
    static float own[SUBJECT_N], other[SUBJECT_N];
    subject_start(&s, "sgd");
    OK(hone_optimizer_set(s.optimizer, 0, "momentum", 0.9, &problem));
    const hone_tensor memory =
        device_view(device_new(0, sizeof own, 0), HONE_F32, 1, subject_shape);
    OK(hone_optimizer_bind_state(s.optimizer, 0, "momentum_buffer", &memory, false, &problem));
    for (int i = 0; i < 2; i++)
        OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    hone_tensor view;
    OK(hone_optimizer_state(s.optimizer, 0, "momentum_buffer", &view, &problem));
    assert_ptr_equal(view.data, memory.data);
    assert_int_equal(view.device, HONE_CUDA);
    device_read(own, memory.data, sizeof own);
    const hone_tensor home = hone_tensor_view(other, HONE_F32, 1, subject_shape);
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_bind_state(s.optimizer, 0, "momentum_buffer", &home, true, &problem));
    assert_true(own[1] == 1.9f * 0.5f * subject_value(1));
    memcpy(other, own, sizeof own);
    other[7] = 42;
    OK(hone_optimizer_set_state(s.optimizer, 0, "momentum_buffer", &home, &problem));
    device_read(own, memory.data, sizeof own);
    assert_memory_equal(own, other, sizeof own);
    OK(hone_optimizer_zero_grad(s.optimizer, false, &problem));
    device_read(own, s.grad.data, sizeof own);
    for (int i = 0; i < SUBJECT_N; i++)
        assert_true(own[i] == 0);
    subject_stop(&s);
}

/* Finite gradients whose powers overflow do not make a scaler back off; one that is infinite does, also
 * where the value clip hides it. */
static void test_overflowing_norm(void **state)
{
    (void)state;
    struct subject s;
    subject_start(&s, "sgd");
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    scaler.scale = 1;
    OK(hone_optimizer_set_scaler(s.optimizer, &scaler, &problem));
    OK(hone_optimizer_clip_norm(s.optimizer, 1, 10000, HONE_NONFINITE_PROPAGATE, &problem));
    hone_step_report report;
    OK(hone_optimizer_step(s.optimizer, &report, &problem));
    assert_false(report.skipped);
    assert_true(isinf(report.total_norm) && report.clip_coef == 0);
    assert_true(hone_optimizer_loss_scale(s.optimizer) == 1);
    const float strange = -INFINITY;
    device_write((float *)s.grad.data + 77, &strange, sizeof strange);
    for (int hidden = 0; hidden < 2; hidden++) {
        OK(hone_optimizer_clip_value(s.optimizer, hidden ? 2 : (double)INFINITY, &problem));
        OK(hone_optimizer_step(s.optimizer, &report, &problem));
        assert_true(report.skipped && isnan(report.total_norm));
        assert_true(hone_optimizer_loss_scale(s.optimizer) == (hidden ? 0.25 : 0.5));
    }
    subject_assert_unmoved(&s);
    subject_stop(&s);
}

/* Gradients that are an error leave the report alone, as on the CPU. */
static void test_report_of_an_error(void **state)
{
    (void)state;
    struct subject s;
    subject_start(&s, "sgd");
    OK(hone_optimizer_clip_norm(s.optimizer, 1, 2, HONE_NONFINITE_ERROR, &problem));
    const float strange = -INFINITY;
    device_write((float *)s.grad.data + 77, &strange, sizeof strange);
    hone_step_report report = {.stepped = 99, .total_norm = 7};
    FAILS(HONE_ERROR_NONFINITE, "the gradients' total norm of order 2 is inf; nothing was stepped",
          hone_optimizer_step(s.optimizer, &report, &problem));
    assert_int_equal(report.stepped, 99);
    assert_true(report.total_norm == 7 && report.clip_coef == 0 && !report.skipped);
    subject_assert_unmoved(&s);
    subject_stop(&s);
}

/* ---- what can go wrong on the way --------------------------------------------------------------- */

static void test_out_of_memory(void **state)
{
    (void)state;
    struct host_control *const control = device_control();
    if (control == NULL)
        SKIP("a real device does not fail when a test asks for it");
    const size_t bytes = control->bytes;
    int refused = 0;
    for (size_t at = 1; at < 20; at++) {
        struct subject s;
        subject_start(&s, "adamw");
        OK(hone_optimizer_clip_norm(s.optimizer, 1, 2, HONE_NONFINITE_SKIP, &problem));
        control->refuse_at = control->allocations + at;
        const hone_status status = hone_optimizer_step(s.optimizer, NULL, &problem);
        control->refuse_at = 0;
        if (status != HONE_OK) {
            assert_int_equal(status, HONE_ERROR_MEMORY);
            subject_assert_unmoved(&s);
            assert_int_equal(subject_count(&s), 0);
            refused++;
            OK(hone_optimizer_step(s.optimizer, NULL, &problem));
        }
        assert_int_equal(subject_count(&s), 1);
        subject_stop(&s);
        assert_int_equal(control->bytes, bytes);
        assert_int_equal(control->wrong, 0);
    }
    assert_true(refused >= 4);
}

/* Not there yet, or as it began. */
static void assert_fresh(const hone_optimizer *optimizer, int64_t index, const char *name)
{
    static float values[SUBJECT_N];
    hone_tensor view;
    OK(hone_optimizer_state(optimizer, index, name, &view, &problem));
    const size_t count = view.data == NULL ? 0 : (size_t)hone_tensor_numel(&view);
    assert_in_range(count, 0, SUBJECT_N);
    if (count > 0)
        device_read(values, view.data, count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        assert_true(values[i] == 0);
}

/* Kernels come to the device when they are first used, and need memory there too. */
static void test_no_memory_for_kernels(void **state)
{
    (void)state;
    struct host_control *const control = device_control();
    if (control == NULL)
        SKIP("a real device does not fail when a test asks for it");
    struct subject s;
    subject_start(&s, "adamw");
    const int64_t matrix[] = {50, 50};
    const hone_tensor view = device_view(subject_values(1), HONE_F32, 2, matrix);
    int group;
    OK(hone_optimizer_add_group(s.optimizer, "muon", &group, &problem));
    OK(hone_optimizer_add(s.optimizer, "m", &view, group, NULL, &problem));
    const hone_tensor slope = device_view(subject_values(0.5f), HONE_F32, 2, matrix);
    OK(hone_optimizer_set_grad(s.optimizer, 1, &slope, &problem));
    OK(hone_optimizer_set_capturable(s.optimizer, true, &problem));
    static const char *const messages[] = {
        "the kernels of a step: device 0 answers \"out of memory\"", /* adamw's, and muon's two */
        "the kernels of a step: device 0 answers \"out of memory\"",
        "the kernels of a step: device 0 answers \"out of memory\"",
        "products of matrices: device 0 answers \"out of memory\"",
    };
    const size_t count = sizeof messages / sizeof messages[0];
    for (size_t i = 0; i < count; i++) {
        control->load_fails_at = control->loads + i + 1;
        FAILS(HONE_ERROR_MEMORY, messages[i], hone_optimizer_step(s.optimizer, NULL, &problem));
        control->load_fails_at = 0;
        subject_assert_unmoved(&s);
        assert_int_equal(subject_count(&s), 0);
        assert_fresh(s.optimizer, 1, "momentum_buffer");
    }
    const size_t loads = control->loads;
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_int_equal(control->loads, loads + count);
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_int_equal(control->loads, loads + count);
    assert_int_equal(subject_count(&s), 2);
    subject_stop(&s);
}

/* A step that a device refuses leaves the CPU's parameters alone; then the same step succeeds. */
static void test_lost_device_beside_the_cpu(void **state)
{
    (void)state;
    struct host_control *const control = device_control();
    if (control == NULL)
        SKIP("a real device does not fail when a test asks for it");
    static float before[SUBJECT_N], here[SUBJECT_N], slope[SUBJECT_N];
    const hone_tensor param = hone_tensor_view(here, HONE_F32, 1, subject_shape);
    const hone_tensor grad = hone_tensor_view(slope, HONE_F32, 1, subject_shape);
    int lost[2] = {0, 0};
    for (size_t run = 0; run < 2 * 12; run++) {
        const bool measured = run % 2 == 1;
        struct subject s;
        subject_start(&s, "adamw");
        for (int i = 0; i < SUBJECT_N; i++)
            before[i] = here[i] = slope[i] = subject_value(i);
        OK(hone_optimizer_add(s.optimizer, "h", &param, 0, NULL, &problem));
        OK(hone_optimizer_set_grad(s.optimizer, 1, &grad, &problem));
        if (measured)
            OK(hone_optimizer_clip_norm(s.optimizer, 1, 2, HONE_NONFINITE_SKIP, &problem));
        OK(hone_optimizer_set_capturable(s.optimizer, run >= 12, &problem));
        OK(hone_optimizer_prepare(s.optimizer, &problem));
        control->fail_at = control->calls + 1 + run % 12 / 2;
        const hone_status status = hone_optimizer_step(s.optimizer, NULL, &problem);
        control->fail_at = 0;
        uint64_t count = 9;
        OK(hone_optimizer_step_count(s.optimizer, 1, &count, &problem));
        assert_int_equal(count, status == HONE_OK);
        assert_int_equal(memcmp(here, before, sizeof here) == 0, status != HONE_OK);
        lost[measured] += status != HONE_OK;
        subject_stop(&s);
    }
    assert_true(lost[0] >= 2 && lost[1] >= 4);
}

static void test_lost_device(void **state)
{
    (void)state;
    struct host_control *const control = device_control();
    if (control == NULL)
        SKIP("a real device does not fail when a test asks for it");
    const size_t bytes = control->bytes;
    int lost = 0;
    for (size_t at = 1; at < 20; at++) {
        struct subject s;
        subject_start(&s, "adamw");
        OK(hone_optimizer_clip_norm(s.optimizer, 1, 2, HONE_NONFINITE_SKIP, &problem));
        control->fail_at = control->calls + at;
        const hone_status status = hone_optimizer_step(s.optimizer, NULL, &problem);
        if (status != HONE_OK) {
            assert_int_equal(status, HONE_ERROR_DEVICE);
            assert_non_null(strstr(problem.message, "the device fell off the bus"));
            lost++;
        }
        control->fail_at = 0;
        subject_stop(&s);
        assert_int_equal(control->bytes, bytes);
    }
    assert_true(lost >= 6);
}

/* ---- counters ----------------------------------------------------------------------------------- */

/* A policy decides whether the device counts; what it has counted stays. */
static void test_policy_changes(void **state)
{
    (void)state;
    static float wanted[SUBJECT_N], found[SUBJECT_N];
    for (int changing = 0; changing < 2; changing++) {
        struct subject s;
        subject_start(&s, "adamw");
        for (int i = 0; i < 6; i++) {
            const hone_nonfinite policy =
                changing && i % 3 != 2 ? HONE_NONFINITE_SKIP : HONE_NONFINITE_PROPAGATE;
            OK(hone_optimizer_clip_norm(s.optimizer, 1, 2, policy, &problem));
            OK(hone_optimizer_step(s.optimizer, NULL, &problem));
        }
        subject_read(&s, changing ? found : wanted);
        assert_int_equal(subject_count(&s), 6);
        subject_stop(&s);
    }
    assert_memory_equal(found, wanted, sizeof wanted);
}

/* Momentum that is switched off and on again goes on as it was, also where counts are read in between. */
static void test_momentum_off_and_on(void **state)
{
    (void)state;
    static float wanted[SUBJECT_N], found[SUBJECT_N];
    static const double momentum[] = {0.9, 0, 0.9, 0.9};
    for (int reading = 0; reading < 2; reading++) {
        struct subject s;
        subject_start(&s, "sgd");
        for (uint64_t i = 0; i < 4; i++) {
            OK(hone_optimizer_set(s.optimizer, 0, "momentum", momentum[i], &problem));
            OK(hone_optimizer_step(s.optimizer, NULL, &problem));
            if (reading && momentum[i] == 0)
                assert_int_equal(subject_count(&s), i + 1);
        }
        subject_read(&s, reading ? found : wanted);
        subject_stop(&s);
    }
    assert_memory_equal(found, wanted, sizeof wanted);
}

/* A master is the parameter as it is when the first step that counts begins. */
static void test_master_after_a_skipped_step(void **state)
{
    (void)state;
    const int64_t one[] = {1};
    const uint16_t two = 0x4000, nan = 0x7fc0, zero = 0; /* of bfloat16 */
    hone_context *const context = test_context(1, NULL);
    hone_optimizer *const optimizer = test_optimizer(context, "sgd");
    const hone_tensor param = device_view(device_new(0, 2, 0), HONE_BF16, 1, one);
    const hone_tensor grad = device_view(device_new(0, 2, 0), HONE_BF16, 1, one);
    OK(hone_optimizer_set_precision(optimizer, 0, HONE_PRECISION_MASTER, &problem));
    OK(hone_optimizer_clip_norm(optimizer, INFINITY, 2, HONE_NONFINITE_SKIP, &problem));
    OK(hone_optimizer_add(optimizer, "w", &param, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &grad, &problem));
    device_write(param.data, &zero, sizeof zero);
    device_write(grad.data, &nan, sizeof nan);
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    device_write(param.data, &two, sizeof two);
    device_write(grad.data, &zero, sizeof zero);
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    uint16_t found;
    device_read(&found, param.data, sizeof found);
    assert_int_equal(found, two);
    hone_optimizer_free(optimizer);
    hone_context_free(context);
    device_free_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_memory),
        cmocka_unit_test(test_no_library),
        cmocka_unit_test(test_devices_that_do_not_open),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_more_steps_of_a_matrix),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_bound_numbers),
        cmocka_unit_test(test_scaler_of_a_checkpoint),
        cmocka_unit_test(test_bound_states),
        cmocka_unit_test(test_overflowing_norm),
        cmocka_unit_test(test_report_of_an_error),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_no_memory_for_kernels),
        cmocka_unit_test(test_lost_device),
        cmocka_unit_test(test_lost_device_beside_the_cpu),
        cmocka_unit_test(test_policy_changes),
        cmocka_unit_test(test_momentum_off_and_on),
        cmocka_unit_test(test_master_after_a_skipped_step),
    };
    device_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
