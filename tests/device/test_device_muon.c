/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix rules on a device against the CPU: shapes, batches, formats, every choice, and everything of
 * the frame around them. Factors of 16 bits are test_device_narrow.c's. */
#include "device/device_memory.h"
#include "device/matrix_trial.h"
#include "support/checks.h"
#include "support/shard.h"

static const char *const recipes[] = {
    "",
    ", \"nesterov\": false, \"weight_decay\": 0",
    ", \"maximize\": true",
    ", \"adjust_lr_fn\": \"match_rms_adamw\", \"ns_steps\": 1",
    ", \"ns_coefficients\": \"polar_express\", \"adjust_lr_fn\": \"spectral_unclamped\"",
    ", \"ns_coefficients\": [[3.4, -4.7, 2.0], [2.5, -2.1, 0.6]], \"ns_steps\": 7",
    ", \"matrices\": \"batch\", \"ns_coefficients\": \"dion\"",
    ", \"eps\": 100",
};
enum { RECIPES = sizeof recipes / sizeof recipes[0] };

static struct matrix_trial trial_of(int recipe, hone_dtype dtype, double tolerance)
{
    return (struct matrix_trial){
        .param = dtype, .grad = dtype, .recipe = recipes[recipe], .tolerance = tolerance};
}

static void test_choices(void **state)
{
    (void)state;
    for (int r = 0; r < RECIPES; r += test_is_quick() ? 3 : 1) {
        struct matrix_trial trial = trial_of(r, HONE_F32, 2e-4);
        matrix_trial_check("float", &trial);
        trial = trial_of(r, HONE_F64, 1e-9);
        matrix_trial_check("double", &trial);
        trial.capturable = true;
        matrix_trial_check("double, prepared on the device", &trial);
    }
}

static void test_frame(void **state)
{
    (void)state;
    for (int r = 0; r < RECIPES; r += test_is_quick() ? 4 : 1) {
        struct matrix_trial trial = trial_of(r, HONE_F32, 2e-4);
        trial.masked = true;
        matrix_trial_check("masks", &trial);
        trial.scaled = true;
        matrix_trial_check("masks and a scaler", &trial);
        trial.capturable = true;
        matrix_trial_check("masks and a scaler, prepared on the device", &trial);
        trial.grad = HONE_BF16;
        matrix_trial_check("gradients of 16 bits", &trial);
        trial.param = HONE_BF16;
        trial.precision = HONE_PRECISION_MASTER;
        trial.tolerance = 2e-2; /* the parameter itself has 8 bits */
        matrix_trial_check("masters", &trial);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_frame),
    };
    device_start();
    return shard_end(cmocka_run_group_tests(tests, NULL, NULL));
}
