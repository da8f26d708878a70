/* SPDX-License-Identifier: Apache-2.0 */
/* Lives of optimizers, drawn from a seed: hundreds of public calls in any order, made to an optimizer on the
 * CPU and to one whose parameters are on devices, which must end every step with the same bits.
 * HONE_TEST_SEED=n lives the life of one seed alone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/calls.h"
#include "device/device_memory.h"
#include "support/checks.h"
#include "support/shard.h"

#define LIFE 100 /* calls */

static unsigned weight_of(const struct lockstep *l, size_t i)
{
    return (l->calls >> i & 1) != 0 ? calls[i].weight : 0;
}

static const struct call *some_call(struct lockstep *l)
{
    unsigned sum = 0;
    for (size_t i = 0; i < CALLS; i++)
        sum += weight_of(l, i);
    uint64_t at = lockstep_draw(l, sum);
    size_t i = 0;
    for (; at >= weight_of(l, i); i++)
        at -= weight_of(l, i);
    return &calls[i];
}

/* A graph lives for a while before a call ends it. Reading counters and states brings them home, and hides what comes of them when they stay: many lives
 * do it seldom or only at their end. */
static void live_on(struct lockstep *l)
{
    const struct call *call = some_call(l);
    while (l->graph != NULL && !call->keeps_graph && lockstep_draw(l, 4) != 0)
        call = some_call(l);
    lockstep_note(l, "\n  %s", call->name);
    if (!call->keeps_graph)
        lockstep_drop_graph(l);
    call->run(l);
    lockstep_compare_params(l);
    if (lockstep_draw(l, 12) < l->reading) {
        lockstep_note(l, ", read");
        lockstep_compare_all(l);
    }
}

/* Half of the lives are on device 0 alone, half have no gradients that are not finite, half no graphs, and each
 * does without some more of the calls. */
static void draw_kind(struct lockstep *l)
{
    const unsigned places = (unsigned)lockstep_draw(l, 8);
    l->places = places > 3 || ((places & 2) != 0 && device_count() < 2) ? 0 : places;
    l->reading = 2 * lockstep_draw(l, 4);
    l->strange = lockstep_draw(l, 2) == 0;
    l->calls = random_bits(&l->random) | random_bits(&l->random) | CALL_STEP;
    if (lockstep_draw(l, 2) == 0)
        l->calls &= ~(uint64_t)CALLS_OF_GRAPHS;
}

static struct lockstep life = {.over = true};

static void live(uint64_t seed)
{
    struct lockstep *const l = &life;
    lockstep_start(l, seed);
    draw_kind(l);
    const int pieces = lockstep_draw(l, 6) == 0 ? 30 : 4;
    for (int i = 0; i < pieces; i++) {
        lockstep_note(l, "\n  add");
        calls_add(l);
        if (pieces > 20) /* kinds of tensors that do not fit into a launch */
            BOTH_OK(l, hone_optimizer_set_lr_multiplier(o, i, i / 8.0, &problem));
    }
    for (int i = 0; i < LIFE; i++)
        live_on(l);
    lockstep_compare_all(l);
    lockstep_end(l);
}

static void test_lives(void **state)
{
    (void)state;
    const char *const one = getenv("HONE_TEST_SEED");
    if (one != NULL) {
        live(strtoull(one, NULL, 10));
        return;
    }
    const uint64_t lives = test_is_quick() ? 200 : 2000;
    const uint64_t most =
        device_control() != NULL ? lives : lives / 10; /* a real device is slower */
    for (uint64_t seed = 1; seed <= most; seed++) {
        char name[32];
        snprintf(name, sizeof name, "seed %" PRIu64, seed);
        if (shard_takes("life", name))
            live(seed);
    }
}

static int tell_failure(void **state)
{
    (void)state;
    if (!life.over)
        fprintf(stderr, "HONE_TEST_SEED=%llu: rule %s%s\n", (unsigned long long)life.seed,
                life.rules[0], life.history);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_lives, tell_failure)};
    device_start();
    return shard_end(cmocka_run_group_tests(tests, NULL, NULL));
}
