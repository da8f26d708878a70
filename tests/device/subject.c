/* SPDX-License-Identifier: Apache-2.0 */
#include "device/subject.h"

#include "device/device_memory.h"
#include "support/checks.h"

const int64_t subject_shape[] = {SUBJECT_N};

float subject_value(int i)
{
    return (float)(i % 37) * 0.25f - 4;
}

void *subject_values(float scale)
{
    static float values[SUBJECT_N];
    for (int i = 0; i < SUBJECT_N; i++)
        values[i] = scale * subject_value(i);
    void *const memory = device_new(0, sizeof values, 0);
    device_write(memory, values, sizeof values);
    return memory;
}

void subject_start(struct subject *s, const char *rule)
{
    s->context = test_context(1, NULL);
    s->optimizer = test_optimizer(s->context, rule);
    s->param = device_view(subject_values(1), HONE_F32, 1, subject_shape);
    s->grad = device_view(subject_values(0.5f), HONE_F32, 1, subject_shape);
    device_read(s->before, s->param.data, sizeof s->before);
    OK(hone_optimizer_add(s->optimizer, "w", &s->param, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(s->optimizer, 0, &s->grad, &problem));
}

void subject_stop(struct subject *s)
{
    hone_optimizer_free(s->optimizer);
    hone_context_free(s->context);
    device_free_all();
}

void subject_read(const struct subject *s, float values[SUBJECT_N])
{
    device_read(values, s->param.data, SUBJECT_N * sizeof *values);
}

void subject_assert_unmoved(const struct subject *s)
{
    static float now[SUBJECT_N];
    subject_read(s, now);
    assert_memory_equal(now, s->before, sizeof now);
}

uint64_t subject_count(const struct subject *s)
{
    uint64_t count = 99;
    OK(hone_optimizer_step_count(s->optimizer, 0, &count, &problem));
    return count;
}

hone_tensor subject_scalar(hone_dtype dtype, double value)
{
    const float narrow = (float)value;
    void *const memory = device_new(0, sizeof value, 0);
    device_write(memory, dtype == HONE_F64 ? (const void *)&value : &narrow,
                 hone_dtype_size(dtype));
    return device_view(memory, dtype, 0, NULL);
}

size_t subject_waits(void)
{
    return device_control() == NULL ? 0 : device_control()->waits;
}
