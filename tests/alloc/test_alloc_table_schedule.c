/* SPDX-License-Identifier: Apache-2.0 */
/* A table under a schedule of schedules, with every allocation of its making failing in turn; and a
 * schedule that finds no memory leaves the one before. */
#include <string.h>

#include "support/checks.h"
#include "support/cmocka_all.h"
#include "support/counting_allocator.h"

static const char recipe[] =
    "{\"optimizer_type\":\"adamw\",\"learning_rate\":0.5,\"schedule\":{\"type\":\"sequential\","
    "\"milestones\":[2],\"schedulers\":[{\"type\":\"multi_step\",\"milestones\":[1]},"
    "{\"type\":\"exponential\",\"gamma\":0.5}]}}";

struct subject {
    struct counting counting;
    hone_context *context;
    hone_spec *spec;
    hone_table_options options;
};

static void set_up(struct subject *s)
{
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = 1;
    options.allocator = counting_allocator(&s->counting);
    OK(hone_context_create(&s->context, &options, &problem));
    OK(hone_spec_parse(&s->spec, s->context, recipe, strlen(recipe), &problem));
    hone_table_options_init(&s->options);
    s->options.width = 4;
    s->options.rule = NULL;
    s->options.spec = s->spec;
}

static void tear_down(struct subject *s)
{
    hone_spec_free(s->spec);
    hone_context_free(s->context);
    assert_int_equal(s->counting.blocks, 0);
    assert_int_equal(s->counting.wrong, 0);
}

static void test_creation(void **state)
{
    (void)state;
    struct subject s = {.spec = NULL};
    hone_table *table = NULL;
    hone_status status;
    size_t k = 0;
    set_up(&s);
    const size_t before = s.counting.blocks;
    do {
        s.counting.fail_at = s.counting.calls + ++k;
        status = hone_table_create(&table, s.context, "t", &s.options, &problem);
        assert_true(status == HONE_OK || status == HONE_ERROR_MEMORY);
        assert_true(status == HONE_OK || s.counting.blocks == before);
    } while (status != HONE_OK);
    assert_true(k > 8); /* the schedule alone has six */
    s.counting.fail_at = 0;
    hone_table_free(table);
    tear_down(&s);
}

static void test_attaching(void **state)
{
    (void)state;
    struct subject s = {.spec = NULL};
    hone_table *table = NULL;
    hone_optimizer *optimizer = NULL;
    set_up(&s);
    OK(hone_table_create(&table, s.context, "t", &s.options, &problem));
    OK(hone_table_schedule_step(table, &problem));
    OK(hone_optimizer_create(&optimizer, s.context, s.spec, &problem));
    const hone_schedule *const own = hone_table_schedule(table);
    hone_status status;
    for (size_t k = 1;; k++) {
        s.counting.fail_at = s.counting.calls + k;
        status = hone_table_set_schedule(table, hone_optimizer_schedule(optimizer, 0), &problem);
        if (status == HONE_OK)
            break;
        assert_int_equal(status, HONE_ERROR_MEMORY);
        assert_ptr_equal(hone_table_schedule(table), own);
        assert_int_equal(hone_table_schedule_count(table), 1);
    }
    s.counting.fail_at = 0;
    assert_int_equal(hone_table_schedule_count(table), 0);
    hone_optimizer_free(optimizer);
    hone_table_free(table);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_creation),
        cmocka_unit_test(test_attaching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
