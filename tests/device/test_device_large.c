/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor of more than 2^32 elements on a device: windows of it, around every power of two that an index
 * of fewer bits would break at, get the bits that the CPU gives those elements. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device/device_memory.h"
#include "support/checks.h"

#define COUNT (((size_t)1 << 32) + 77777)
#define WINDOW 20000

static const size_t windows[] = {0, ((size_t)1 << 31) - WINDOW / 2, ((size_t)1 << 32) - WINDOW / 2,
                                 COUNT - WINDOW};
enum { WINDOWS = sizeof windows / sizeof windows[0] };

static uint16_t param[WINDOWS][WINDOW], grad[WINDOWS][WINDOW];

/* bfloat16 values between 0.5 and 2; the gradient's largest is in the last window. */
static void draw(void)
{
    for (size_t w = 0; w < WINDOWS; w++)
        for (size_t i = 0; i < WINDOW; i++) {
            param[w][i] = (uint16_t)(0x3f00 + (i * 31 + w * 7) % 256);
            grad[w][i] = (uint16_t)(0x3f00 + (i * 17 + w * 3) % 200);
        }
    grad[WINDOWS - 1][WINDOW - 1] = 0x4080; /* 4 */
}

static hone_optimizer *make(const hone_context *context)
{
    hone_optimizer *const optimizer = test_optimizer(context, "sgd");
    OK(hone_optimizer_set(optimizer, 0, "lr", 0.25, &problem));
    OK(hone_optimizer_set(optimizer, 0, "weight_decay", 0.125, &problem));
    OK(hone_optimizer_clip_norm(optimizer, 1.5, (double)INFINITY, HONE_NONFINITE_PROPAGATE,
                                &problem));
    return optimizer;
}

static void add(hone_optimizer *optimizer, const char *name, const hone_tensor *p,
                const hone_tensor *g)
{
    int64_t index;
    OK(hone_optimizer_add(optimizer, name, p, 0, &index, &problem));
    OK(hone_optimizer_set_grad(optimizer, index, g, &problem));
}

static void step_on_cpu(uint16_t values[WINDOWS][WINDOW])
{
    const int64_t shape[] = {WINDOW};
    hone_context *const context = test_context(1, NULL);
    hone_optimizer *const optimizer = make(context);
    memcpy(values, param, sizeof param);
    for (size_t w = 0; w < WINDOWS; w++) {
        const char name[] = {(char)('a' + w), 0};
        const hone_tensor p = hone_tensor_view(values[w], HONE_BF16, 1, shape);
        const hone_tensor g = hone_tensor_view(grad[w], HONE_BF16, 1, shape);
        add(optimizer, name, &p, &g);
    }
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    hone_optimizer_free(optimizer);
    hone_context_free(context);
}

static void fill(void *memory, double value)
{
    const struct hone_device_status status = device_target()->fill(
        (struct hone_device_queue){.device = 0}, memory, HONE_FORMAT_BF16, value, COUNT);
    assert_int_equal(status.fault, HONE_DEVICE_OK);
}

static void test_large(void **state)
{
    (void)state;
    static uint16_t wanted[WINDOWS][WINDOW], found[WINDOW];
    const int64_t shape[] = {(int64_t)COUNT};
    uint16_t *const p = device_try(0, COUNT * sizeof *p), *const g =
                                                              device_try(0, COUNT * sizeof *g);
    if (p == NULL || g == NULL) {
        device_free_all();
        device_skip("the device has no room for 18 GB");
    }
    draw();
    step_on_cpu(wanted);
    fill(p, 1);
    fill(g, 0.5);
    for (size_t w = 0; w < WINDOWS; w++) {
        device_write(p + windows[w], param[w], sizeof param[w]);
        device_write(g + windows[w], grad[w], sizeof grad[w]);
    }
    hone_context *const context = test_context(1, NULL);
    hone_optimizer *const optimizer = make(context);
    const hone_tensor weights = device_view(p, HONE_BF16, 1, shape);
    const hone_tensor slopes = device_view(g, HONE_BF16, 1, shape);
    add(optimizer, "w", &weights, &slopes);
    hone_step_report report;
    OK(hone_optimizer_step(optimizer, &report, &problem));
    assert_true(report.total_norm == 4); /* which only the last element has */
    OK(hone_optimizer_step(optimizer, NULL, &problem));
    for (size_t w = 0; w < WINDOWS; w++) {
        device_read(found, p + windows[w], sizeof found);
        assert_memory_equal(found, wanted[w], sizeof found);
    }
    hone_optimizer_free(optimizer);
    hone_context_free(context);
    device_free_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_large)};
    device_start();
    if (device_control() != NULL)
        device_skip("the host's stand-in for a device would need 18 GB");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
