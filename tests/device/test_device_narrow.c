/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix rules with factors of 16 bits on the device, against float on the CPU. A program of its own, as
 * not every checker of GPU memory can follow what Hopper's products do (tools/gpu_sanitize.sh). */
#include "device/device_memory.h"
#include "device/matrix_trial.h"
#include "support/checks.h"
#include "support/shard.h"

static void test_narrow_products(void **state)
{
    (void)state;
    struct matrix_trial trial = {.param = HONE_F32,
                                 .grad = HONE_F32,
                                 .recipe = ", \"products\": \"bfloat16\"",
                                 .tolerance = 3e-2};
    matrix_trial_check("narrow", &trial);
    trial.recipe = ", \"products\": \"bfloat16\", \"ns_steps\": 9";
    matrix_trial_check("narrow", &trial);
    trial.capturable = true;
    matrix_trial_check("narrow, prepared on the device", &trial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_narrow_products)};
    device_start();
    return shard_end(cmocka_run_group_tests(tests, NULL, NULL));
}
