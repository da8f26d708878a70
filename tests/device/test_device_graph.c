/* SPDX-License-Identifier: Apache-2.0 */
/* Captures into graphs, over the stand-in for a device: what is refused while one is under way, and what a
 * replay does. bench/cuda/check_graph.py and tests/python/test_cuda.py capture on a real device. */
#include <string.h>

#include "device/device_memory.h"
#include "device/subject.h"
#include "support/checks.h"

static void test_captures(void **state)
{
    (void)state;
    struct subject s;
    struct host_stream stream = {.device = 0};
    subject_start(&s, "adamw");
    OK(hone_optimizer_set_stream(s.optimizer, 0, &stream, &problem));
    stream.capturing = true;
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_non_null(strstr(problem.message, "call hone_optimizer_prepare before the capture"));
    stream.capturing = false;
    OK(hone_optimizer_prepare(s.optimizer, &problem));
    stream.capturing = true;
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_non_null(strstr(problem.message, "hone_optimizer_set_capturable"));
    stream.capturing = false;
    subject_assert_unmoved(&s);
    OK(hone_optimizer_set_capturable(s.optimizer, true, &problem));
    OK(hone_optimizer_prepare(s.optimizer, &problem));
    stream.capturing = true;
    hone_step_report report;
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_step(s.optimizer, &report, &problem));
    assert_non_null(strstr(problem.message, "has to wait for the device"));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    OK(hone_optimizer_clip_norm(s.optimizer, 1, 2, HONE_NONFINITE_PROPAGATE, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_step(s.optimizer, &report, &problem));
    OK(hone_optimizer_set(s.optimizer, 0, "lr", 0.5, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_step(s.optimizer, NULL, &problem));
    uint64_t count = 0;
    const size_t waits = device_control()->waits, allocations = device_control()->allocations;
    FAILS(HONE_ERROR_ARGUMENT,
          "the step counters: device 0 would have to be waited for, and a graph is being captured",
          hone_optimizer_step_count(s.optimizer, 0, &count, &problem));
    static const float values[SUBJECT_N];
    const hone_tensor home =
        hone_tensor_view((void *)(uintptr_t)values, HONE_F32, 1, subject_shape);
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_set_state(s.optimizer, 0, "exp_avg", &home, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_set_capturable(s.optimizer, false, &problem));
    assert_int_equal(device_control()->waits, waits);
    assert_int_equal(device_control()->allocations, allocations);
    stream.capturing = false;
    assert_int_equal(subject_count(&s), 1);
    OK(hone_optimizer_step(s.optimizer, &report, &problem));
    assert_true(report.total_norm > 0);
    assert_int_equal(subject_count(&s), 2);
    subject_stop(&s);
}

/* What two gradients, the first in turns with the second, do to the parameter. */
static void step_eagerly(const char *turns, double late_rate, float values[SUBJECT_N])
{
    struct subject s;
    subject_start(&s, "adamw");
    const hone_tensor second = device_view(subject_values(-2), HONE_F32, 1, subject_shape);
    OK(hone_optimizer_clip_norm(s.optimizer, 1, 2, HONE_NONFINITE_PROPAGATE, &problem));
    for (; *turns != '\0'; turns++) {
        if (*turns == '.')
            OK(hone_optimizer_set(s.optimizer, 0, "lr", late_rate, &problem));
        else {
            OK(hone_optimizer_set_grad(s.optimizer, 0, *turns == 'a' ? &s.grad : &second,
                                       &problem));
            OK(hone_optimizer_step(s.optimizer, NULL, &problem));
        }
    }
    subject_read(&s, values);
    subject_stop(&s);
}

/* A graph steps as it was captured, with what it was captured for, and takes new rates; steps beside it
 * keep gradients of their own. */
static void test_graphs(void **state)
{
    (void)state;
    struct host_control *const control = device_control();
    static float wanted[SUBJECT_N], found[SUBJECT_N];
    struct subject s;
    struct host_stream stream = {.device = 0, .graph = control->new_graph()};
    subject_start(&s, "adamw");
    const hone_tensor second = device_view(subject_values(-2), HONE_F32, 1, subject_shape);
    OK(hone_optimizer_clip_norm(s.optimizer, 1, 2, HONE_NONFINITE_PROPAGATE, &problem));
    OK(hone_optimizer_set_capturable(s.optimizer, true, &problem));
    OK(hone_optimizer_set_stream(s.optimizer, 0, &stream, &problem));
    OK(hone_optimizer_prepare(s.optimizer, &problem));
    stream.capturing = true;
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    stream.capturing = false;
    subject_assert_unmoved(&s);
    for (int i = 0; i < 3; i++)
        control->replay(stream.graph);
    assert_int_equal(subject_count(&s), 3);
    OK(hone_optimizer_set(s.optimizer, 0, "lr", 0.25, &problem));
    OK(hone_optimizer_prepare(s.optimizer, &problem));
    control->replay(stream.graph);
    OK(hone_optimizer_set_grad(s.optimizer, 0, &second, &problem));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    control->replay(stream.graph);
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    control->replay(stream.graph);
    assert_int_equal(subject_count(&s), 8);
    subject_read(&s, found);
    control->free_graph(stream.graph);
    subject_stop(&s);
    step_eagerly("aaa.ababa", 0.25, wanted);
    assert_memory_equal(found, wanted, sizeof wanted);
}

/* What a graph allows between its replays makes no new plan, which would have other places for what the graph
 * reads: numbers of momentum, and the gradient's address of a parameter that has no elements. */
static void test_no_new_plan(void **state)
{
    (void)state;
    const int64_t nothing[] = {0};
    struct subject s;
    subject_start(&s, "sgd");
    const hone_tensor param = device_view(subject_values(1), HONE_F32, 1, nothing);
    hone_tensor grad = device_view(subject_values(1), HONE_F32, 1, nothing);
    OK(hone_optimizer_set(s.optimizer, 0, "momentum", 0.9, &problem));
    OK(hone_optimizer_add(s.optimizer, "nothing", &param, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(s.optimizer, 1, &grad, &problem));
    OK(hone_optimizer_set_capturable(s.optimizer, true, &problem));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    const size_t waits = device_control()->waits;
    OK(hone_optimizer_set(s.optimizer, 0, "momentum", 0.5, &problem));
    grad.data = subject_values(2);
    const size_t own = device_control()->waits - waits; /* the test's */
    OK(hone_optimizer_set_grad(s.optimizer, 1, &grad, &problem));
    OK(hone_optimizer_prepare(s.optimizer, &problem));
    assert_int_equal(device_control()->waits, waits + own);
    OK(hone_optimizer_set(s.optimizer, 0, "momentum", 0, &problem));
    OK(hone_optimizer_prepare(s.optimizer, &problem));
    assert_true(device_control()->waits > waits + own);
    subject_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captures),
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_no_new_plan),
    };
    device_start();
    if (device_control() == NULL)
        device_skip("graphs on a real device are bench/cuda/check_graph.py's");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
