/* SPDX-License-Identifier: Apache-2.0 */
/* The law of same bits, for every rule and variant: thread count, CPU level, cutting into tensors
 * and order of registration change nothing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "property/run.h"

/* Around the size of a chunk, of a staged tile and of a vector; empty tensors among them. */
static const size_t pieces[] = {8191, 8192, 8193, 0, 20000, 1, 7, 16, 33, 511, 512, 513, 0, 100001};
#define PIECES (sizeof pieces / sizeof pieces[0])

struct bench {
    struct run_data small, large; /* large enough for seven threads */
    hone_context *threads[4];
    hone_context *levels[8];
    int level_count;
    size_t visits;
};

static struct bench bench;

static size_t total_of_pieces(void)
{
    size_t total = 0;
    for (size_t i = 0; i < PIECES; i++)
        total += pieces[i];
    return total;
}

static int set_up(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 3, 7};
    bench.large = run_data_create(total_of_pieces(), 2, 11, true);
    bench.small = run_data_create(1100, 4, 12, true);
    for (int i = 0; i < 4; i++)
        bench.threads[i] = test_context(counts[i], NULL);
    for (int i = 0; hone_cpu_level(i) != NULL; i++, bench.level_count++)
        bench.levels[i] = test_context(1, hone_cpu_level(i));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    run_data_free(&bench.large);
    run_data_free(&bench.small);
    for (int i = 0; i < 4; i++)
        hone_context_free(bench.threads[i]);
    for (int i = 0; i < bench.level_count; i++)
        hone_context_free(bench.levels[i]);
    return 0;
}

static struct run cut(const struct run *run)
{
    struct run in_pieces = *run;
    in_pieces.pieces = pieces;
    in_pieces.piece_count = PIECES;
    return in_pieces;
}

/* With the clips too: a sum over all gradients must not depend on the threads either. */
static void threads_agree(const struct run *given, void *user)
{
    (void)user;
    struct run one = cut(given);
    one.clip_norm = 3;
    one.clip_value = 2;
    one.context = bench.threads[0];
    for (int i = 1; i < 4; i++) {
        struct run other = one;
        other.context = bench.threads[i];
        assert_same_end("thread count", &one, &other, &bench.large);
    }
}

static void cuts_agree(const struct run *given, void *user)
{
    (void)user;
    const struct run in_pieces = cut(given);
    assert_same_end("many tensors or one", given, &in_pieces, &bench.large);
    struct run reversed = in_pieces;
    reversed.backwards = true;
    assert_same_end("order of registration", &in_pieces, &reversed, &bench.large);
}

static const hone_dtype formats[] = {HONE_F32, HONE_F64, HONE_BF16, HONE_F16};

static void levels_agree(const struct run *given, void *user)
{
    (void)user;
    for (int p = 0; p < 4; p++)
        for (int g = 0; g < 4; g++) {
            struct run lowest = *given;
            lowest.context = bench.levels[0];
            lowest.param = formats[p];
            lowest.grad = formats[g];
            lowest.clip_norm = g % 2 == 0 ? (double)INFINITY : 5;
            for (int i = 1; i < bench.level_count; i++) {
                struct run other = lowest;
                other.context = bench.levels[i];
                assert_same_end(hone_context_cpu(other.context), &lowest, &other, &bench.small);
            }
        }
}

/* One format each: the loops of formats have the levels' test. */
static void threads_and_cuts(const struct run *given, void *user)
{
    if (bench.visits++ % (test_is_quick() ? 9 : 1) != 0)
        return;
    struct run run = *given;
    run.param = run.grad = formats[bench.visits % 3];
    threads_agree(&run, user);
    cuts_agree(&run, user);
}

static void test_threads_and_cuts(void **state)
{
    (void)state;
    run_each_variant(threads_and_cuts, NULL);
    assert_true(bench.visits >= 25);
}

static void test_levels(void **state)
{
    (void)state;
    run_each_variant(levels_agree, NULL);
}

/* Every length around the chunk and the vector width ends as the same elements of a longer one. */
static void test_lengths(void **state)
{
    (void)state;
    const size_t lengths[] = {1, 2, 3, 15, 16, 17, 31, 33, 8191, 8192, 8193};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int rule = 0; rule < hone_rule_count(); rule++) {
            struct run run = run_of_rule(hone_rule_at(rule));
            if (hone_rule_is_matrix(run.rule))
                continue;
            struct run_data part = bench.large;
            part.n = lengths[i];
            part.steps = 1;
            double *const whole_end =
                run_end(&run, &(struct run_data){20000, 1, part.start, part.grads});
            double *const part_end = run_end(&run, &part);
            for (int k = 0; k <= hone_rule_slot_count(run.rule); k++)
                assert_int_equal(numbers_differ(part_end + (size_t)k * part.n,
                                                whole_end + (size_t)k * 20000, part.n),
                                 part.n);
            free(whole_end);
            free(part_end);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_cuts),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
