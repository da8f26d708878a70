/* SPDX-License-Identifier: Apache-2.0 */
/* The law of same bits between the CPU and a device: every rule with every combination of its flags,
 * every combination of formats, and every option of the frame. */
#include <math.h>

#include "device/device_memory.h"
#include "device/trial.h"
#include "support/shard.h"

static const hone_dtype formats[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};
static size_t visits;

/* Formats of parameter and gradient, and of the states by turns. */
static void formats_agree(const struct run *given, void *user)
{
    (void)user;
    for (int p = 0; p < 4; p++)
        for (int g = 0; g < 4; g++) {
            struct trial trial = trial_of(given);
            trial.run.param = formats[p];
            trial.run.grad = formats[g];
            trial.run.multiplier = 0.5;
            trial.special = g % 2 == 1;
            visits++;
            trial_check("formats", &trial);
            for (int k = 0; k < RUN_MAX_SLOTS; k++)
                trial.run.slot[k] = (int)formats[(visits + (size_t)k * (visits % 3)) % 4];
            trial.masked = true;
            trial.masked_lr = visits % 2 == 0 ? 0 : 0.007;
            trial_check("formats of states, masks", &trial);
        }
}

static void test_formats(void **state)
{
    (void)state;
    run_each_variant(formats_agree, NULL);
    assert_true(visits >= 16 * 25);
}

/* What stands beside 16-bit parameters. */
static void precisions_agree(const struct run *given, void *user)
{
    (void)user;
    const hone_precision precisions[] = {HONE_PRECISION_MASTER, HONE_PRECISION_KAHAN,
                                         HONE_PRECISION_STOCHASTIC};
    for (int i = 0; i < 3; i++)
        for (int p = 2; p < 4; p++)
            for (int g = 0; g < 4; g++) {
                struct trial trial = trial_of(given);
                trial.precision = precisions[i];
                trial.run.param = formats[p];
                trial.run.grad = formats[g];
                trial.masked = g == 2;
                trial.special = g == 3;
                trial_check("precision", &trial);
            }
}

static void test_precisions(void **state)
{
    (void)state;
    run_each_variant(precisions_agree, NULL);
}

/* Each option by itself and with others, by the bits of a number. */
static void set_options(struct trial *trial, unsigned bits)
{
    static const double orders[] = {2, 1, INFINITY};
    trial->run.clip_norm = (bits & 1) != 0 ? 3 : (double)INFINITY;
    trial->run.clip_order = orders[bits / 2 % 3];
    trial->run.clip_value = (bits & 4) != 0 ? 0.5 : (double)INFINITY;
    trial->accumulate = (bits & 8) != 0 ? 2 : 1;
    trial->mean = (bits & 16) != 0;
    trial->scaled = (bits & 32) != 0;
    trial->capturable = (bits & 64) != 0;
    trial->several_groups = (bits & 128) != 0;
    trial->masked = (bits & 256) != 0;
    trial->mixed = (bits & 512) != 0;
    trial->resumed = (bits & 1024) != 0;
    trial->nonfinite = (hone_nonfinite)(bits / 5 % 3);
    trial->special = bits % 7 == 0;
    trial->run.multiplier = bits % 3 == 0 ? 0.25 : 1;
    trial->steps = 5;
}

static void options_agree(const struct run *given, void *user)
{
    const unsigned stride = *(const unsigned *)user;
    static unsigned next;
    for (unsigned i = 0; i < 2048 / stride; i++) {
        struct trial trial = trial_of(given);
        set_options(&trial, (next++ * 997u + 3) % 2048);
        trial.run.param = formats[next % 5 % 4];
        trial.run.grad = formats[next % 7 % 4];
        trial_check("options", &trial);
    }
}

static void test_options(void **state)
{
    (void)state;
    unsigned stride = test_is_quick() ? 512 : 64;
    run_each_variant(options_agree, &stride);
}

/* Every combination of flags and of several values of each number. */
static void values_agree(const struct run *given, void *user)
{
    (void)user;
    struct trial trial = trial_of(given);
    trial.run.clip_norm = 2;
    trial_check("values", &trial);
    trial.capturable = true;
    trial_check("values, prepared on the device", &trial);
}

static void test_values(void **state)
{
    (void)state;
    run_each_combination(values_agree, 97, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_precisions),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_values),
    };
    device_start();
    return shard_end(cmocka_run_group_tests(tests, NULL, NULL));
}
