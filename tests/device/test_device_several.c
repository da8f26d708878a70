/* SPDX-License-Identifier: Apache-2.0 */
/* Two devices: what belongs to one is refused on the other, one optimizer steps parameters on both and on
 * the CPU, and optimizers on both run at once; always with the bits of the CPU alone. */
#include <stdlib.h>
#include <string.h>

#include "device/device_memory.h"
#include "support/checks.h"

#define N 20000
#define PIECES 9
#define STEPS 5

static const int64_t shape[] = {N};

/* A training of PIECES parameters, each on a device or on the CPU. */
struct training {
    hone_context *context;
    hone_optimizer *optimizer;
    hone_tensor param[PIECES], grad[PIECES];
};

enum { ON_CPU = -1 };

static void *place(int device, const float *values)
{
    if (device == ON_CPU) {
        float *const own = malloc(N * sizeof *own);
        assert_non_null(own);
        return memcpy(own, values, N * sizeof *own);
    }
    void *const memory = device_new(device, N * sizeof *values, 0);
    device_write(memory, values, N * sizeof *values);
    return memory;
}

static hone_tensor view_on(int device, void *data)
{
    hone_tensor view = hone_tensor_view(data, HONE_F32, 1, shape);
    view.device = device == ON_CPU ? HONE_CPU : HONE_CUDA;
    view.device_index = device == ON_CPU ? 0 : device;
    return view;
}

static void start(struct training *t, const char *rule, const int *devices, size_t count)
{
    static float values[N];
    t->context = test_context(1, NULL);
    t->optimizer = test_optimizer(t->context, rule);
    OK(hone_optimizer_clip_norm(t->optimizer, 1.5, 2, HONE_NONFINITE_PROPAGATE, &problem));
    for (int i = 0; i < PIECES; i++) {
        const int device = devices[(size_t)i % count];
        char name[] = "p0";
        name[1] = (char)('0' + i);
        for (int k = 0; k < N; k++)
            values[k] = (float)((k * 7 + i) % 41) * 0.25f - 5;
        t->param[i] = view_on(device, place(device, values));
        for (int k = 0; k < N; k++)
            values[k] = (float)((k * 11 + i) % 29) * 0.125f - 2;
        t->grad[i] = view_on(device, place(device, values));
        OK(hone_optimizer_add(t->optimizer, name, &t->param[i], 0, NULL, &problem));
        OK(hone_optimizer_set_grad(t->optimizer, i, &t->grad[i], &problem));
    }
}

static void step(struct training *t)
{
    OK(hone_optimizer_step(t->optimizer, NULL, &problem));
}

/* All parameters, which are released with the rest. */
static float *end(struct training *t)
{
    float *const values = malloc(sizeof *values * N * PIECES);
    assert_non_null(values);
    for (int i = 0; i < PIECES; i++) {
        float *const to = values + (size_t)i * N;
        if (t->param[i].device == HONE_CPU) {
            memcpy(to, t->param[i].data, sizeof *to * N);
            free(t->param[i].data);
            free(t->grad[i].data);
        } else
            device_read(to, t->param[i].data, sizeof *to * N);
    }
    hone_optimizer_free(t->optimizer);
    hone_context_free(t->context);
    return values;
}

static float *train(const char *rule, const int *devices, size_t count)
{
    struct training t;
    start(&t, rule, devices, count);
    for (int s = 0; s < STEPS; s++)
        step(&t);
    return end(&t);
}

static const char *const rules[] = {"adamw", "adopt", "sgd"};

static void test_one_optimizer(void **state)
{
    (void)state;
    static const int cpu[] = {ON_CPU}, both[] = {0, 1}, all[] = {1, ON_CPU, 0};
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++) {
        float *const wanted = train(rules[r], cpu, 1);
        float *const found = train(rules[r], both, 2), *const mixed = train(rules[r], all, 3);
        assert_memory_equal(wanted, found, sizeof *wanted * N * PIECES);
        assert_memory_equal(wanted, mixed, sizeof *wanted * N * PIECES);
        free(wanted);
        free(found);
        free(mixed);
        device_free_all();
    }
}

/* Two contexts, a thread each. */
static void test_at_once(void **state)
{
    (void)state;
    static const int cpu[] = {ON_CPU}, devices[] = {0, 1};
    float *const wanted = train("adamw", cpu, 1);
    struct training t[2];
    hone_status status[2] = {HONE_OK, HONE_OK};
    hone_error errors[2];
    start(&t[0], "adamw", &devices[0], 1);
    start(&t[1], "adamw", &devices[1], 1);
#pragma omp parallel for num_threads(2) schedule(static, 1)
    for (int i = 0; i < 2; i++)
        for (int s = 0; s < STEPS && status[i] == HONE_OK; s++)
            status[i] = hone_optimizer_step(t[i].optimizer, NULL, &errors[i]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(status[i], HONE_OK);
        float *const found = end(&t[i]);
        assert_memory_equal(wanted, found, sizeof *wanted * N * PIECES);
        free(found);
    }
    free(wanted);
    device_free_all();
}

static void test_refusals(void **state)
{
    (void)state;
    static const int first[] = {0};
    static const float values[N];
    struct training t;
    start(&t, "adamw", first, 1);
    hone_tensor far = view_on(0, place(1, values));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_set_grad(t.optimizer, 0, &far, &problem));
    assert_non_null(strstr(problem.message, "memory of device 1, but the tensor says device 0"));
    far.device_index = 1;
    FAILS(HONE_ERROR_ARGUMENT,
          "the gradient of \"p0\" is on device 1; the parameter is on device 0",
          hone_optimizer_set_grad(t.optimizer, 0, &far, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_set_stream(t.optimizer, 0, device_stream(1), &problem));
    assert_non_null(strstr(problem.message, "another device"));
    OK(hone_optimizer_set_stream(t.optimizer, 0, device_stream(0), &problem));
    step(&t);
    uint64_t count = 0;
    OK(hone_optimizer_step_count(t.optimizer, 0, &count, &problem));
    assert_int_equal(count, 1);
    OK(hone_optimizer_set_stream(t.optimizer, 0, NULL, &problem));
    free(end(&t));
    device_free_all();
}

static hone_tensor number_on(int device, float value)
{
    static float values[N];
    values[0] = value;
    hone_tensor view = view_on(device, place(device, values));
    view.ndim = 0;
    return view;
}

/* Numbers that a step reads on a device are on the device that reads them. */
static void test_numbers_elsewhere(void **state)
{
    (void)state;
    static const int both[] = {0, 1};
    struct training t;
    start(&t, "adamw", both, 2);
    const hone_tensor here = number_on(0, 0.5f), there = number_on(1, 0);
    OK(hone_optimizer_bind_lr(t.optimizer, 0, &here, &problem));
    FAILS(HONE_ERROR_ARGUMENT,
          "group 0 reads its learning rate on device 0, but its parameter \"p1\" is on device 1",
          hone_optimizer_step(t.optimizer, NULL, &problem));
    OK(hone_optimizer_bind_lr(t.optimizer, 0, NULL, &problem));
    FAILS(
        HONE_ERROR_ARGUMENT,
        "the loss scale is on device 0, the flag of non-finite gradients on device 1; they must be "
        "on one",
        hone_optimizer_bind_loss_scale(t.optimizer, &here, &there, &problem));
    OK(hone_optimizer_bind_loss_scale(t.optimizer, &here, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "the loss scale lies on device 0, but not all stepped parameters do",
          hone_optimizer_step(t.optimizer, NULL, &problem));
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    OK(hone_optimizer_bind_loss_scale(t.optimizer, NULL, NULL, &problem));
    OK(hone_optimizer_set_scaler(t.optimizer, &scaler, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "the optimizer has a scaler, which sets the loss scale itself",
          hone_optimizer_bind_loss_scale(t.optimizer, &here, NULL, &problem));
    OK(hone_optimizer_set_scaler(t.optimizer, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_bind_state(t.optimizer, 0, "exp_avg", &t.grad[1], true, &problem));
    assert_non_null(strstr(problem.message, "states lie on their parameter's device"));
    for (int s = 0; s < STEPS; s++)
        step(&t);
    float *const found = end(&t), *const wanted = train("adamw", both, 2);
    assert_memory_equal(wanted, found, sizeof *wanted * N * PIECES);
    free(wanted);
    free(found);
    device_free_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_optimizer),
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_numbers_elsewhere),
    };
    device_start();
    if (device_count() < 2)
        device_skip("this machine has one device; two are needed");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
