/* SPDX-License-Identifier: Apache-2.0 */
/* States of small tensors share blocks, those of large ones stand alone, and some are the caller's: all
 * kinds in one optimizer, with every allocation of their making failing in turn. */
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"
#include "support/cmocka_all.h"
#include "support/counting_allocator.h"

#define SMALL 1000
#define LARGE 300000 /* 1.2 MB of f32 */

static float params[2][LARGE], grads[2][LARGE], memory[LARGE]; /* of the large one's exp_avg */

static void add_all(hone_optimizer *optimizer)
{
    static const int64_t lengths[] = {SMALL, LARGE};
    static const char *const names[] = {"small", "large"};
    for (int i = 0; i < 2; i++) {
        const hone_tensor param = hone_tensor_view(params[i], HONE_F32, 1, &lengths[i]);
        const hone_tensor grad = hone_tensor_view(grads[i], HONE_F32, 1, &lengths[i]);
        OK(hone_optimizer_add(optimizer, names[i], &param, 0, NULL, &problem));
        OK(hone_optimizer_set_grad(optimizer, i, &grad, &problem));
    }
}

/* Whether the k-th allocation of the first step existed. */
static bool fail_kth(size_t k, size_t *bytes)
{
    struct counting counting = {0};
    hone_context_options options;
    hone_context_options_init(&options);
    options.allocator = counting_allocator(&counting);
    hone_context *context;
    OK(hone_context_create(&context, &options, &problem));
    hone_optimizer *const optimizer = test_optimizer(context, "adamw");
    add_all(optimizer);
    const int64_t length[] = {LARGE};
    const hone_tensor caller = hone_tensor_view(memory, HONE_F32, 1, length);
    counting.fail_at = counting.calls + 1; /* binding asks for no memory */
    OK(hone_optimizer_bind_state(optimizer, 1, "exp_avg", &caller, false, &problem));
    for (int i = 0; i < LARGE; i++)
        params[0][i] = params[1][i] = 1, grads[0][i] = grads[1][i] = 0.5f;
    counting.fail_at = counting.calls + k;
    const hone_status status = hone_optimizer_step(optimizer, NULL, &problem);
    counting.fail_at = 0;
    if (status != HONE_OK) {
        assert_int_equal(status, HONE_ERROR_MEMORY);
        assert_true(params[0][0] == 1 && params[1][LARGE - 1] == 1);
        assert_int_equal(hone_optimizer_state_bytes(optimizer), 0);
        assert_true(memory[0] == 0 && memory[LARGE - 1] == 0);
        OK(hone_optimizer_step(optimizer, NULL, &problem));
    }
    assert_true(params[0][SMALL - 1] < 1 && params[1][LARGE - 1] < 1);
    assert_true(memory[0] > 0 && memory[LARGE - 1] > 0);
    *bytes = hone_optimizer_state_bytes(optimizer);
    hone_optimizer_free(optimizer);
    hone_context_free(context);
    assert_int_equal(counting.blocks, 0);
    assert_int_equal(counting.wrong, 0);
    return status != HONE_OK;
}

static void test_states(void **state)
{
    (void)state;
    size_t k = 1, bytes = 0;
    while (fail_kth(k, &bytes))
        k++;
    assert_true(k > 3); /* the plan's arrays, the block's list and the block, one large state */
    assert_int_equal(bytes, 4 * (2 * SMALL + LARGE)); /* the caller's are not counted */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_states)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
