/* SPDX-License-Identifier: Apache-2.0 */
/* A table's learning rate over time: the schedule of its one group, run as an optimizer runs its
 * groups'. */
#include "core/schedule_internal.h"
#include "table/table_internal.h"

static struct hone_group *group_of(const hone_table *table)
{
    return &table->spec->groups[0];
}

static hone_status check_table(const hone_table *table, hone_error *error)
{
    return table != NULL ? HONE_OK : hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
}

/* Makes `moved` the table's group, if the states that its momentum needs are in the records. */
static hone_status become(hone_table *table, const struct hone_group *moved, hone_error *error)
{
    struct hone_group *const group = group_of(table);
    const struct hone_group before = *group;
    const int variant = hone_table_variant(table);
    *group = *moved;
    if (hone_table_variant(table) == variant) {
        table->version++; /* of the numbers of a step */
        return HONE_OK;
    }
    *group = before;
    return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                     "table \"%s\": its schedule would move momentum from 0 or to 0: the rows' "
                     "records were made for the states the rule had at the start",
                     table->name);
}

hone_status hone_table_set_schedule(hone_table *table, const hone_schedule *schedule,
                                    hone_error *error)
{
    hone_status status = check_table(table, error);
    hone_schedule *copy = NULL;
    if (status == HONE_OK && schedule != NULL)
        status = hone_schedule_copy(&copy, table->context, schedule, error);
    if (status != HONE_OK)
        return status;
    struct hone_group moved = *group_of(table);
    hone_schedule *const old = moved.schedule;
    moved.schedule = copy;
    if (copy != NULL)
        status = hone_group_attach(&moved, error);
    if (status == HONE_OK)
        status = become(table, &moved, error);
    hone_schedule_free(status == HONE_OK ? old : copy);
    return status;
}

const hone_schedule *hone_table_schedule(const hone_table *table)
{
    return table == NULL ? NULL : group_of(table)->schedule;
}

uint64_t hone_table_schedule_count(const hone_table *table)
{
    return hone_table_schedule(table) == NULL ? 0 : group_of(table)->schedule_state.e;
}

static hone_status advance(hone_table *table, bool epoch, hone_error *error)
{
    hone_status status = check_table(table, error);
    if (status != HONE_OK || !hone_group_advances(group_of(table), epoch))
        return status;
    struct hone_group moved = *group_of(table);
    status = hone_group_check_next(&moved, epoch, error);
    if (status != HONE_OK)
        return status;
    hone_group_advance(&moved, epoch);
    return become(table, &moved, error);
}

hone_status hone_table_schedule_step(hone_table *table, hone_error *error)
{
    return advance(table, false, error);
}

hone_status hone_table_schedule_epoch(hone_table *table, hone_error *error)
{
    return advance(table, true, error);
}

hone_status hone_table_schedule_metric(hone_table *table, double metric, hone_error *error)
{
    const hone_status status = check_table(table, error);
    if (status != HONE_OK)
        return status;
    hone_group_observe(group_of(table), metric);
    table->version++;
    return HONE_OK;
}
