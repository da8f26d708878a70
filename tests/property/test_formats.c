/* SPDX-License-Identifier: Apache-2.0 */
/* Every mix of storage formats, direct or staged, against a reference by hand: all values widened
 * to the compute type, one step there, each result rounded once to its format. Same bits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "property/run.h"

#define STEPS 3
#define MOST_SLOTS 4

static const hone_dtype formats[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};

/* The mixed run and its reference, which starts each step from the mixed run's values. */
struct pair {
    const struct run *run;
    size_t n;
    int64_t shape[1];
    hone_dtype compute;
    hone_optimizer *mixed, *reference;
    hone_tensor mixed_param, mixed_grad, wide_param, wide_grad;
};

struct fixture {
    hone_context *context;
    struct run_data data;
    size_t mixes, variants;
};

static const char *slot_name(const struct pair *pair, int k)
{
    return hone_rule_slot(pair->run->rule, k)->name;
}

static hone_optimizer *make_optimizer(const hone_context *context, const struct run *run)
{
    hone_optimizer *const optimizer = test_optimizer(context, hone_rule_name(run->rule));
    assert_true(run_apply_hypers(run, optimizer));
    OK(hone_optimizer_clip_value(optimizer, run->clip_value, &problem));
    return optimizer;
}

/* A run of n stored values and its view. */
static hone_tensor make_array(struct pair *pair, hone_dtype dtype, const double *values)
{
    return hone_tensor_view(numbers_store(dtype, values, pair->n), dtype, 1, pair->shape);
}

static void widen(const hone_tensor *to, const hone_tensor *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        number_write(to->dtype, to->data, i, number_read(from->dtype, from->data, i));
}

static void pair_start(struct pair *pair, struct fixture *fixture, const struct run *run)
{
    *pair = (struct pair){.run = run, .n = fixture->data.n, .shape = {(int64_t)fixture->data.n}};
    pair->compute = run->param == HONE_F64 ? HONE_F64 : HONE_F32;
    pair->mixed = make_optimizer(fixture->context, run);
    pair->reference = make_optimizer(fixture->context, run);
    for (int k = 0; k < hone_rule_slot_count(run->rule); k++)
        OK(hone_optimizer_set_state_dtype(pair->mixed, 0, slot_name(pair, k),
                                          (hone_dtype)run->slot[k], &problem));
    pair->mixed_param = make_array(pair, run->param, fixture->data.start);
    pair->mixed_grad = make_array(pair, run->grad, fixture->data.start);
    pair->wide_param = make_array(pair, pair->compute, fixture->data.start);
    pair->wide_grad = make_array(pair, pair->compute, fixture->data.start);
    OK(hone_optimizer_add(pair->mixed, "p", &pair->mixed_param, 0, NULL, &problem));
    OK(hone_optimizer_add(pair->reference, "p", &pair->wide_param, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(pair->mixed, 0, &pair->mixed_grad, &problem));
    OK(hone_optimizer_set_grad(pair->reference, 0, &pair->wide_grad, &problem));
}

static void pair_stop(struct pair *pair)
{
    hone_optimizer_free(pair->mixed);
    hone_optimizer_free(pair->reference);
    free(pair->mixed_param.data);
    free(pair->mixed_grad.data);
    free(pair->wide_param.data);
    free(pair->wide_grad.data);
}

/* The reference takes over everything the mixed run holds. */
static void synchronise(struct pair *pair)
{
    widen(&pair->wide_param, &pair->mixed_param, pair->n);
    widen(&pair->wide_grad, &pair->mixed_grad, pair->n);
    for (int k = 0; k < hone_rule_slot_count(pair->run->rule); k++) {
        hone_tensor slot;
        OK(hone_optimizer_state(pair->mixed, 0, slot_name(pair, k), &slot, &problem));
        if (slot.data == NULL)
            continue;
        assert_int_equal(slot.dtype, pair->run->slot[k]);
        hone_tensor wide = pair->wide_param;
        wide.data = malloc(pair->n * hone_dtype_size(pair->compute));
        assert_non_null(wide.data);
        widen(&wide, &slot, pair->n);
        OK(hone_optimizer_set_state(pair->reference, 0, slot_name(pair, k), &wide, &problem));
        free(wide.data);
    }
}

static void compare(const struct pair *pair, const char *what, const hone_tensor *mixed,
                    const hone_tensor *wide)
{
    for (size_t i = 0; i < pair->n; i++) {
        const double found = number_read(mixed->dtype, mixed->data, i);
        const double exact = number_read(wide->dtype, wide->data, i);
        const double wanted = number_round(mixed->dtype, exact);
        if (!number_same(found, wanted))
            fail_msg("%s: %s (%s) [%zu] is %.9g; rounding %.17g by hand gives %.9g",
                     run_text(pair->run), what, hone_dtype_name(mixed->dtype), i, found, exact,
                     wanted);
    }
}

static void compare_all(const struct pair *pair)
{
    compare(pair, "param", &pair->mixed_param, &pair->wide_param);
    for (int k = 0; k < hone_rule_slot_count(pair->run->rule); k++) {
        hone_tensor mixed, wide;
        OK(hone_optimizer_state(pair->mixed, 0, slot_name(pair, k), &mixed, &problem));
        OK(hone_optimizer_state(pair->reference, 0, slot_name(pair, k), &wide, &problem));
        assert_int_equal(mixed.data == NULL, wide.data == NULL);
        if (mixed.data != NULL)
            compare(pair, slot_name(pair, k), &mixed, &wide);
    }
}

static void mix_agrees(struct fixture *fixture, const struct run *run)
{
    struct pair pair;
    pair_start(&pair, fixture, run);
    for (size_t step = 0; step < STEPS; step++) {
        const double *const grads = fixture->data.grads + step * pair.n;
        for (size_t i = 0; i < pair.n; i++)
            number_write(run->grad, pair.mixed_grad.data, i, grads[i]);
        synchronise(&pair);
        OK(hone_optimizer_step(pair.mixed, NULL, &problem));
        OK(hone_optimizer_step(pair.reference, NULL, &problem));
        compare_all(&pair);
    }
    pair_stop(&pair);
    fixture->mixes++;
}

/* All slots alike, then each slot another. */
static void every_mix(const struct run *given, void *user)
{
    struct fixture *const fixture = user;
    if (fixture->variants++ % (test_is_quick() ? 9 : 1) != 0)
        return;
    struct run run = *given;
    run.clip_value = 100;
    const int slots = hone_rule_slot_count(run.rule);
    for (int code = 0; code < 4 * 4 * 4 * 4; code++) {
        run.param = formats[code % 4];
        run.grad = formats[code / 4 % 4];
        const int first = code / 16 % 4, step = code / 64;
        if (step > 1 && slots < 2)
            continue;
        for (int k = 0; k < slots; k++)
            run.slot[k] = (int)formats[(first + k * step) % 4];
        mix_agrees(fixture, &run);
    }
}

static void test_every_mix(void **state)
{
    (void)state;
    /* A tile of the staged loop, one element more, and a tail. */
    struct fixture fixture = {.context = test_context(1, NULL)};
    fixture.data = run_data_create(test_is_quick() ? 530 : 541, STEPS, 31, true);
    run_each_variant(every_mix, &fixture);
    print_message("%zu mixes\n", fixture.mixes);
    assert_true(fixture.mixes >= (test_is_quick() ? 500u : 5000u));
    run_data_free(&fixture.data);
    hone_context_free(fixture.context);
}

/* Every 16-bit value goes through a step that must not change it, and through a copy of a state. */
static void test_every_16_bit_value(void **state)
{
    (void)state;
    hone_context *const context = test_context(1, NULL);
    for (int f = 2; f < 4; f++) {
        const hone_dtype dtype = formats[f];
        static uint16_t stored[65536];
        static float grad[65536];
        static double values[65536];
        const int64_t shape[] = {65536};
        for (size_t i = 0; i < 65536; i++) {
            stored[i] = (uint16_t)i;
            values[i] = number_read(dtype, stored, i);
        }
        hone_optimizer *const optimizer = test_optimizer(context, "sgd");
        OK(hone_optimizer_set(optimizer, 0, "momentum", 0.5, &problem));
        OK(hone_optimizer_set_state_dtype(optimizer, 0, NULL, dtype, &problem));
        const hone_tensor param = hone_tensor_view(stored, dtype, 1, shape);
        const hone_tensor zero = hone_tensor_view(grad, HONE_F32, 1, shape);
        const hone_tensor wide = hone_tensor_view(values, HONE_F64, 1, shape);
        OK(hone_optimizer_add(optimizer, "p", &param, 0, NULL, &problem));
        OK(hone_optimizer_set_grad(optimizer, 0, &zero, &problem));
        OK(hone_optimizer_step(optimizer, NULL, &problem));
        OK(hone_optimizer_set_state(optimizer, 0, "momentum_buffer", &wide, &problem));
        hone_tensor slot;
        OK(hone_optimizer_state(optimizer, 0, "momentum_buffer", &slot, &problem));
        for (size_t i = 0; i < 65536; i++) {
            assert_true(number_same(number_read(dtype, stored, i), values[i]));
            assert_true(number_same(number_read(dtype, slot.data, i), values[i]));
        }
        hone_optimizer_free(optimizer);
    }
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_mix),
        cmocka_unit_test(test_every_16_bit_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
