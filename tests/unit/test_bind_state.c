/* SPDX-License-Identifier: Apache-2.0 */
/* States in the caller's memory: the same bits as the library's own, adopted and new, moved, taken
 * away, refused; and gradients that come at another address every step. */
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"

enum { N = 5 };

struct side {
    hone_optimizer *optimizer;
    float w[N], exp_avg[N], exp_avg_sq[N];
};

static const int64_t length[1] = {N};
static const char *const slots[2] = {"exp_avg", "exp_avg_sq"};
static hone_context *context;
static struct side own, bound; /* the library's states; the caller's */
static float grads[4][N];

static hone_tensor view(void *data)
{
    return hone_tensor_view(data, HONE_F32, 1, length);
}

static void make(struct side *side, const char *rule)
{
    side->optimizer = test_optimizer(context, rule);
    for (int i = 0; i < N; i++)
        side->w[i] = (float)i - 2;
    const hone_tensor w = view(side->w);
    OK(hone_optimizer_add(side->optimizer, "w", &w, 0, NULL, &problem));
}

static void bind(struct side *side, int slot, float *memory, bool adopt)
{
    const hone_tensor tensor = view(memory);
    OK(hone_optimizer_bind_state(side->optimizer, 0, slots[slot], &tensor, adopt, &problem));
}

static int set_up(void **state)
{
    (void)state;
    context = test_context(1, NULL);
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < N; i++)
            grads[k][i] = (float)(k + 1) * 0.25f - (float)i * 0.125f;
    memset(&own, 0, sizeof own);
    memset(&bound, 0x55, sizeof bound);
    make(&own, "adam");
    make(&bound, "adam");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_optimizer_free(own.optimizer);
    hone_optimizer_free(bound.optimizer);
    hone_context_free(context);
    return 0;
}

static void step(struct side *side, int k)
{
    const hone_tensor g = view(grads[k]);
    OK(hone_optimizer_set_grad(side->optimizer, 0, &g, &problem));
    OK(hone_optimizer_step(side->optimizer, NULL, &problem));
}

static void assert_same(const float *exp_avg, const float *exp_avg_sq)
{
    const float *const memory[2] = {exp_avg, exp_avg_sq};
    assert_memory_equal(own.w, bound.w, sizeof own.w);
    for (int k = 0; k < 2; k++) {
        hone_tensor mine, theirs;
        OK(hone_optimizer_state(own.optimizer, 0, slots[k], &mine, &problem));
        OK(hone_optimizer_state(bound.optimizer, 0, slots[k], &theirs, &problem));
        assert_ptr_equal(theirs.data, memory[k]);
        assert_memory_equal(mine.data, memory[k], sizeof own.w);
    }
}

/* Memory full of rubbish, as a new state. */
static void test_new_state(void **state)
{
    (void)state;
    bind(&bound, 0, bound.exp_avg, false);
    bind(&bound, 1, bound.exp_avg_sq, false);
    hone_tensor fresh;
    OK(hone_optimizer_state(bound.optimizer, 0, "exp_avg", &fresh, &problem));
    assert_true(fresh.data == NULL && fresh.ndim == 0); /* no step has filled it */
    for (int k = 0; k < 4; k++) {
        step(&own, k);
        step(&bound, k);
        assert_same(bound.exp_avg, bound.exp_avg_sq);
    }
    assert_int_equal(hone_optimizer_state_bytes(bound.optimizer), 0);
    assert_int_equal(hone_optimizer_state_bytes(own.optimizer), sizeof own.w * 2);
}

/* From the library's memory into the caller's in mid-training, to another place, and back. */
static void test_adopted(void **state)
{
    (void)state;
    step(&own, 0);
    step(&bound, 0);
    for (int k = 0; k < 2; k++) {
        hone_tensor values;
        OK(hone_optimizer_state(bound.optimizer, 0, slots[k], &values, &problem));
        float *const memory = k == 0 ? bound.exp_avg : bound.exp_avg_sq;
        memcpy(memory, values.data, sizeof bound.w);
        bind(&bound, k, memory, true);
    }
    step(&own, 1);
    step(&bound, 1);
    assert_same(bound.exp_avg, bound.exp_avg_sq);
    float moved[N];
    memcpy(moved, bound.exp_avg, sizeof moved);
    bind(&bound, 0, moved, true);
    const float left = bound.exp_avg[0];
    step(&own, 2);
    step(&bound, 2);
    assert_same(moved, bound.exp_avg_sq);
    assert_true(bound.exp_avg[0] == left);
}

static void test_taken_away(void **state)
{
    (void)state;
    bind(&bound, 0, bound.exp_avg, false);
    step(&bound, 0);
    const float first = bound.exp_avg[0];
    OK(hone_optimizer_bind_state(bound.optimizer, 0, "exp_avg", NULL, true, &problem));
    hone_tensor none;
    OK(hone_optimizer_state(bound.optimizer, 0, "exp_avg", &none, &problem));
    assert_null(none.data);
    step(&bound, 0); /* into memory of the library's own, from zero */
    OK(hone_optimizer_state(bound.optimizer, 0, "exp_avg", &none, &problem));
    assert_true(*(float *)none.data == first && none.data != bound.exp_avg);
    assert_true(bound.exp_avg[0] == first);
}

/* SGD's first buffer is a copy of the gradient; an adopted one is not. */
static void test_first_buffer(void **state)
{
    (void)state;
    for (int adopt = 0; adopt < 2; adopt++) {
        struct side side;
        make(&side, "sgd");
        OK(hone_optimizer_set(side.optimizer, 0, "momentum", 0.5, &problem));
        float buffer[N] = {8, 8, 8, 8, 8};
        const hone_tensor tensor = view(buffer);
        OK(hone_optimizer_bind_state(side.optimizer, 0, "momentum_buffer", &tensor, adopt,
                                     &problem));
        step(&side, 0);
        assert_true(buffer[1] == (adopt ? 4 : 0) + grads[0][1]);
        hone_optimizer_free(side.optimizer);
    }
}

/* The memory's type counts, not the parameter's and not the group's. */
static void test_formats(void **state)
{
    (void)state;
    uint16_t half[N];
    hone_tensor tensor = hone_tensor_view(half, HONE_BF16, 1, length);
    OK(hone_optimizer_set_state_dtype(bound.optimizer, 0, NULL, HONE_F64, &problem));
    OK(hone_optimizer_bind_state(bound.optimizer, 0, "exp_avg", &tensor, false, &problem));
    OK(hone_optimizer_set_state_dtype(bound.optimizer, 0, NULL, HONE_F32, &problem));
    step(&own, 0);
    step(&bound, 0);
    assert_memory_equal(own.w, bound.w, sizeof own.w);
    for (int i = 0; i < N; i++) {
        const uint32_t bits = (uint32_t)half[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        const float exact = 0.1f * grads[0][i];
        assert_true(value >= exact - 0.01f && value <= exact + 0.01f);
    }
}

static void test_empty(void **state)
{
    (void)state;
    const int64_t zero[1] = {0};
    const hone_tensor empty = hone_tensor_view(NULL, HONE_F32, 1, zero);
    OK(hone_optimizer_add(bound.optimizer, "empty", &empty, 0, NULL, &problem));
    OK(hone_optimizer_bind_state(bound.optimizer, 1, "exp_avg", &empty, false, &problem));
    OK(hone_optimizer_bind_state(bound.optimizer, 1, "exp_avg_sq", &empty, true, &problem));
    OK(hone_optimizer_set_grad(bound.optimizer, 1, &empty, &problem));
    step(&bound, 0);
    uint64_t count = 0;
    OK(hone_optimizer_step_count(bound.optimizer, 1, &count, &problem));
    assert_int_equal(count, 1);
}

/* Nothing changes when binding fails. */
static void test_errors(void **state)
{
    (void)state;
    bind(&bound, 0, bound.exp_avg, false);
    hone_optimizer *const o = bound.optimizer;
    const hone_tensor right = view(bound.exp_avg_sq);
    const int64_t shorter[1] = {N - 1};
    hone_tensor wrong = hone_tensor_view(bound.exp_avg_sq, HONE_F32, 1, shorter);
    FAILS(HONE_ERROR_SHAPE, "the memory for exp_avg of \"w\" does not have the parameter's shape",
          hone_optimizer_bind_state(o, 0, "exp_avg", &wrong, false, &problem));
    wrong = hone_tensor_view(bound.exp_avg_sq, HONE_I32, 1, length);
    FAILS(HONE_ERROR_DTYPE,
          "the memory for exp_avg of \"w\" is I32; F32, F64, BF16 or F16 can hold a state",
          hone_optimizer_bind_state(o, 0, "exp_avg", &wrong, false, &problem));
    wrong = view(NULL);
    FAILS(HONE_ERROR_ARGUMENT, "the memory for exp_avg of \"w\": data is NULL for 5 elements",
          hone_optimizer_bind_state(o, 0, "exp_avg", &wrong, false, &problem));
    wrong = view(bound.w);
    FAILS(HONE_ERROR_ARGUMENT,
          "the memory for exp_avg of \"w\" overlaps the memory of parameter \"w\"",
          hone_optimizer_bind_state(o, 0, "exp_avg", &wrong, false, &problem));
    FAILS(HONE_ERROR_NAME, "parameter \"w\": rule adam has no state named \"exp_arg\"",
          hone_optimizer_bind_state(o, 0, "exp_arg", &right, false, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "parameter 1 does not exist; there are 1",
          hone_optimizer_bind_state(o, 1, "exp_avg", &right, false, &problem));
    step(&own, 0);
    step(&bound, 0);
    assert_memory_equal(own.w, bound.w, sizeof own.w);
    assert_true(bound.exp_avg[1] == 0.1f * grads[0][1]);
}

/* Memory of two states, or of a state and a parameter that came later, is found before the step. */
static void test_overlaps(void **state)
{
    (void)state;
    hone_optimizer *const o = bound.optimizer;
    float memory[N + 1] = {0}, before[N];
    bind(&bound, 0, memory, true);
    bind(&bound, 1, memory + 1, true);
    memcpy(before, bound.w, sizeof before);
    FAILS(HONE_ERROR_ARGUMENT,
          "the memory for exp_avg_sq of \"w\" overlaps that for exp_avg of \"w\"",
          hone_optimizer_step(o, NULL, &problem));
    assert_memory_equal(bound.w, before, sizeof before);
    bind(&bound, 1, bound.exp_avg_sq, false);
    OK(hone_optimizer_step(o, NULL, &problem));
    const hone_tensor late = hone_tensor_view(memory + N - 1, HONE_F32, 0, NULL);
    OK(hone_optimizer_add(o, "late", &late, 0, NULL, &problem));
    for (int i = 0; i < 2; i++)
        FAILS(HONE_ERROR_ARGUMENT,
              "the memory for exp_avg of \"w\" overlaps the memory of parameter \"late\", which "
              "came there later",
              hone_optimizer_step(o, NULL, &problem));
}

/* A gradient of the same type at another address, and what it may not be, with a
 * plan that stands. */
static void test_moved_grads(void **state)
{
    (void)state;
    float copies[4][N];
    memcpy(copies, grads, sizeof copies);
    for (int k = 0; k < 4; k++) {
        const hone_tensor fixed = view(grads[0]);
        memcpy(grads[0], copies[k], sizeof grads[0]);
        OK(hone_optimizer_set_grad(own.optimizer, 0, &fixed, &problem));
        OK(hone_optimizer_step(own.optimizer, NULL, &problem));
        const hone_tensor moved = view(copies[k]);
        OK(hone_optimizer_set_grad(bound.optimizer, 0, &moved, &problem));
        FAILS(
            HONE_ERROR_ARGUMENT, "the gradient of \"w\" overlaps the memory of parameter \"w\"",
            hone_optimizer_set_grad(
                bound.optimizer, 0,
                &(hone_tensor){.data = bound.w + 1, .device = HONE_CPU, .ndim = 1, .shape = length},
                &problem));
        const hone_tensor missing = view(NULL);
        FAILS(HONE_ERROR_ARGUMENT, NULL,
              hone_optimizer_set_grad(bound.optimizer, 0, &missing, &problem));
        OK(hone_optimizer_step(bound.optimizer, NULL, &problem));
        assert_memory_equal(own.w, bound.w, sizeof own.w);
    }
}

/* The same while gradients are added up over calls. */
static void test_moved_while_accumulating(void **state)
{
    (void)state;
    OK(hone_optimizer_set_grad_accum_steps(own.optimizer, 2, false, &problem));
    OK(hone_optimizer_set_grad_accum_steps(bound.optimizer, 2, false, &problem));
    float fixed[N];
    const hone_tensor same = view(fixed);
    for (int k = 0; k < 4; k++) {
        memcpy(fixed, grads[k], sizeof fixed);
        OK(hone_optimizer_set_grad(own.optimizer, 0, &same, &problem));
        OK(hone_optimizer_step(own.optimizer, NULL, &problem));
        step(&bound, k);
        assert_memory_equal(own.w, bound.w, sizeof own.w);
    }
    assert_true(own.w[0] != -2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_new_state),   TEST(test_adopted),
        TEST(test_taken_away),  TEST(test_first_buffer),
        TEST(test_formats),     TEST(test_empty),
        TEST(test_errors),      TEST(test_overlaps),
        TEST(test_moved_grads), TEST(test_moved_while_accumulating),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
