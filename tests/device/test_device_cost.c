/* SPDX-License-Identifier: Apache-2.0 */
/* What a step costs beside its bytes: launches, waits, memory of the device. */
#include <math.h>
#include <stdio.h>

#include "device/device_memory.h"
#include "device/subject.h"
#include "support/checks.h"

/* ---- launches and waits ---------------------------------------------------------------------- */

#define MANY 300

/* What a step does beside stepping, and the launches that all of it takes, however many tensors there are. */
enum cost {
    PLAIN,
    OWN_RATES,
    CLIPPED,
    SKIPPING,
    SCALED,
    CAPTURABLE,
    BOUND_RATE,
    BOUND_SCALE,
    MOVING
};
static const size_t launches_of[] = {
    [PLAIN] = 1,      /* step */
    [OWN_RATES] = 2,  /* rates to the device, step */
    [CLIPPED] = 3,    /* norm, judgement, step */
    [SKIPPING] = 4,   /* norm, judgement, preparation, step */
    [SCALED] = 5,     /* judgement, norm, judgement, preparation, step */
    [CAPTURABLE] = 3, /* judgement, preparation, step */
    [BOUND_RATE] = 3, [BOUND_SCALE] = 3, [MOVING] = 2, /* addresses to the device, step */
};

static void add_many(struct subject *s, bool own_rates)
{
    for (int i = 1; i < MANY; i++) {
        const int64_t small[] = {i % 9};
        const hone_tensor param = device_view(subject_values(1), HONE_F32, 1, small);
        const hone_tensor grad = device_view(subject_values(0.5f), HONE_F32, 1, small);
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        int64_t index;
        OK(hone_optimizer_add(s->optimizer, name, &param, 0, &index, &problem));
        OK(hone_optimizer_set_grad(s->optimizer, index, &grad, &problem));
        if (own_rates)
            OK(hone_optimizer_set_lr_multiplier(s->optimizer, index, 1.0 / i, &problem));
    }
}

static void set_cost(struct subject *s, enum cost cost)
{
    const hone_tensor rate = subject_scalar(HONE_F32, 0.01), scale = subject_scalar(HONE_F32, 2);
    const hone_tensor flag = subject_scalar(HONE_F32, 0);
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    if (cost == CLIPPED)
        OK(hone_optimizer_clip_norm(s->optimizer, 1, 2, HONE_NONFINITE_PROPAGATE, &problem));
    if (cost == SKIPPING)
        OK(hone_optimizer_clip_norm(s->optimizer, 1, 2, HONE_NONFINITE_SKIP, &problem));
    if (cost == SCALED)
        OK(hone_optimizer_set_scaler(s->optimizer, &scaler, &problem));
    if (cost == CAPTURABLE)
        OK(hone_optimizer_set_capturable(s->optimizer, true, &problem));
    if (cost == BOUND_RATE)
        OK(hone_optimizer_bind_lr(s->optimizer, 0, &rate, &problem));
    if (cost == BOUND_SCALE)
        OK(hone_optimizer_bind_loss_scale(s->optimizer, &scale, &flag, &problem));
}

static void check_launches(enum cost cost)
{
    struct host_control *const control = device_control();
    struct subject s;
    subject_start(&s, "adamw");
    add_many(&s, cost == OWN_RATES);
    set_cost(&s, cost);
    const hone_tensor slopes[] = {device_view(subject_values(0.5f), HONE_F32, 1, subject_shape),
                                  s.grad};
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    const size_t launches = control == NULL ? 0 : control->launches, waits = subject_waits();
    for (int i = 0; i < 5; i++) {
        if (cost == MOVING)
            OK(hone_optimizer_set_grad(s.optimizer, 0, &slopes[i % 2], &problem));
        OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    }
    if (control != NULL)
        assert_int_equal(control->launches - launches, 5 * launches_of[cost]);
    assert_int_equal(subject_waits(), waits);
    assert_int_equal(subject_count(&s), 6);
    assert_true(hone_optimizer_device_bytes(s.optimizer, 0) > 0);
    assert_true(hone_optimizer_device_bytes(s.optimizer, 0) < 1 << 20);
    subject_stop(&s);
}

static void test_launches(void **state)
{
    (void)state;
    for (enum cost cost = PLAIN; cost <= MOVING; cost++)
        check_launches(cost);
}

/* ---- memory -------------------------------------------------------------------------------- */

struct own_memory {
    size_t blocks, bytes;
};

static void *own_allocate(size_t size, int device, void *stream, void *user)
{
    struct own_memory *const own = user;
    const struct hone_device_queue queue = {.device = device, .stream = stream};
    void *memory = NULL;
    if (device_target()->allocate(queue, size, &memory).fault != HONE_DEVICE_OK)
        return NULL;
    own->blocks++;
    own->bytes += size;
    return memory;
}

static void own_release(void *memory, size_t size, int device, void *stream, void *user)
{
    struct own_memory *const own = user;
    const struct hone_device_queue queue = {.device = device, .stream = stream};
    device_target()->release(queue, memory);
    own->blocks--;
    own->bytes -= size;
}

static void test_own_memory(void **state)
{
    (void)state;
    struct subject s;
    struct own_memory own = {0};
    hone_context_options options;
    hone_context_options_init(&options);
    options.device_allocator.allocate = own_allocate;
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_context_create(&s.context, &options, &problem));
    options.device_allocator.release = own_release;
    options.device_allocator.user = &own;
    subject_start(&s, "adamw");
    hone_context *context;
    OK(hone_context_create(&context, &options, &problem));
    hone_optimizer *const optimizer = test_optimizer(context, "adamw");
    OK(hone_optimizer_add(optimizer, "w", &s.param, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(optimizer, 0, &s.grad, &problem));
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    assert_int_equal(hone_optimizer_state_bytes(optimizer), 2 * SUBJECT_N * sizeof(float));
    assert_true(own.bytes >= 2 * SUBJECT_N * sizeof(float) &&
                own.bytes < 2 * SUBJECT_N * sizeof(float) + 8192);
    hone_optimizer_free(optimizer);
    assert_int_equal(own.blocks, 0);
    assert_int_equal(own.bytes, 0);
    hone_context_free(context);
    subject_stop(&s);
}

/* Ten thousand tensors cost their states, which begin at multiples of 64 bytes, a number for each of the
 * norm's sums, and 1 MiB. */
static void test_memory_bound(void **state)
{
    (void)state;
    enum { TENSORS = 10000, LENGTH = 17, ROOM = (4 * LENGTH + 63) / 64 * 64 };
    const int64_t length[] = {LENGTH};
    struct own_memory own = {0};
    hone_context_options options;
    hone_context_options_init(&options);
    options.device_allocator = (hone_device_allocator){own_allocate, own_release, &own};
    hone_context *context = NULL;
    OK(hone_context_create(&context, &options, &problem));
    hone_optimizer *const optimizer = test_optimizer(context, "adamw");
    OK(hone_optimizer_clip_norm(optimizer, 1, 2, HONE_NONFINITE_SKIP, &problem));
    const size_t size = (size_t)TENSORS * LENGTH * sizeof(float);
    float *const param = device_new(0, size, 0), *const grad = device_new(0, size, 0);
    assert_int_equal(device_target()->zero((struct hone_device_queue){0}, param, size).fault,
                     HONE_DEVICE_OK);
    assert_int_equal(device_target()->zero((struct hone_device_queue){0}, grad, size).fault,
                     HONE_DEVICE_OK);
    for (int i = 0; i < TENSORS; i++) {
        const hone_tensor p = device_view(param + (size_t)i * LENGTH, HONE_F32, 1, length);
        const hone_tensor g = device_view(grad + (size_t)i * LENGTH, HONE_F32, 1, length);
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        OK(hone_optimizer_add(optimizer, name, &p, 0, NULL, &problem));
        OK(hone_optimizer_set_grad(optimizer, i, &g, &problem));
    }
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    assert_int_equal(hone_optimizer_state_bytes(optimizer), 2 * size);
    const size_t room = (size_t)2 * TENSORS * ROOM;
    assert_in_range(own.bytes, room, room + TENSORS * sizeof(double) + (1 << 20));
    hone_optimizer_free(optimizer);
    assert_int_equal(own.bytes, 0);
    hone_context_free(context);
    device_free_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launches),
        cmocka_unit_test(test_own_memory),
        cmocka_unit_test(test_memory_bound),
    };
    device_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
