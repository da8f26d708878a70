/* SPDX-License-Identifier: Apache-2.0 */
/* Shards of a long test program share its cases out: none is left over, none is in two, and no
 * shard has more than its part. */
#include "support/shard.h"

#include "support/cmocka_all.h"

#define CASES 1000

static void test_each_case_is_in_one_shard(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 70; count++) {
        size_t held[70] = {0};
        for (size_t number = 0; number < CASES; number++) {
            size_t holders = 0;
            for (size_t index = 0; index < count; index++)
                if (shard_has((struct shard){index, count}, number)) {
                    held[index]++;
                    holders++;
                }
            assert_int_equal(holders, 1);
        }
        for (size_t index = 0; index < count; index++)
            assert_in_range(held[index], CASES / count, (CASES + count - 1) / count);
    }
}

/* Cases that take turns, as many kinds as there are shards, are in all of them. */
static void test_kinds_are_shared_out(void **state)
{
    (void)state;
    const struct shard second = {1, 4};
    size_t kinds[4] = {0};
    for (size_t number = 0; number < 64; number++)
        kinds[number % 4] += shard_has(second, number);
    for (int kind = 0; kind < 4; kind++)
        assert_int_equal(kinds[kind], 4);
}

static void test_texts(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",      "3",   "3/",    "/16",    "0/16",  "17/16",           "3/16 ", " 3/16",
        "-3/16", "3/0", "03/16", "3/16/2", "3.5/4", "1000000/1000000", "x"};
    struct shard shard = {5, 7};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(shard_parse(wrong[i], &shard));
        assert_true(shard.index == 5 && shard.count == 7);
    }
    assert_true(shard_parse("3/16", &shard));
    assert_true(shard.index == 2 && shard.count == 16);
    assert_true(shard_parse("16/16", &shard));
    assert_true(shard.index == 15 && shard.count == 16);
    assert_true(shard_parse(NULL, &shard));
    assert_true(shard.index == 0 && shard.count == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_case_is_in_one_shard),
        cmocka_unit_test(test_kinds_are_shared_out),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
