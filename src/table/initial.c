/* SPDX-License-Identifier: Apache-2.0 */
/* First values of rows: functions of the table's stream (seed and name), the key and the element,
 * so that a key's row does not depend on when, where or by which thread it is made. */
#include <math.h>
#include <string.h>

#include "table/table_internal.h"

/* The normal distribution's share below minus two deviations. */
#define BELOW_TWO 0.022750131948179207

hone_status hone_initial_check(const hone_table_options *options, hone_error *error)
{
    const double a = options->initial_a, b = options->initial_b;
    if ((int)options->initial < 0 || options->initial >= HONE_INITIAL_COUNT)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "options->initial is %d; it must be 0 to %d",
                         (int)options->initial, HONE_INITIAL_COUNT - 1);
    if (!isfinite(a) || !isfinite(b))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "initial_a and initial_b are %g and %g; they must be finite", a, b);
    const bool spread = options->initial == HONE_INITIAL_NORMAL ||
                        options->initial == HONE_INITIAL_TRUNCATED_NORMAL;
    if (spread && b < 0)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "initial_b, a deviation, is %g; it must be at least 0", b);
    if (options->initial == HONE_INITIAL_UNIFORM && b < a)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the range [initial_a, initial_b) is [%g, %g); it must not be reversed", a,
                         b);
    return HONE_OK;
}

static void draw(const struct hone_table *table, uint64_t stream, float *to)
{
    const struct hone_row_kernels *const rows = table->context->cpu->rows;
    const hone_table_options *const o = &table->options;
    const size_t n = (size_t)o->width;
    const double bound = o->initial_a * sqrt(3.0 / (double)n);
    switch (o->initial) {
    case HONE_INITIAL_UNIFORM:
        rows->uniform(to, n, stream, o->initial_a, o->initial_b);
        break;
    case HONE_INITIAL_NORMAL:
        rows->normal(to, n, stream, o->initial_a, o->initial_b, 0);
        break;
    case HONE_INITIAL_TRUNCATED_NORMAL:
        rows->normal(to, n, stream, o->initial_a, o->initial_b, BELOW_TWO);
        break;
    case HONE_INITIAL_XAVIER_UNIFORM:
    case HONE_INITIAL_KAIMING_UNIFORM:
        rows->uniform(to, n, stream, -bound, bound);
        break;
    case HONE_INITIAL_XAVIER_NORMAL:
    case HONE_INITIAL_KAIMING_NORMAL:
        rows->normal(to, n, stream, 0, o->initial_a / sqrt((double)n), 0);
        break;
    default:
        for (size_t i = 0; i < n; i++)
            to[i] = (float)o->initial_a;
    }
}

static void narrow(const struct hone_table *table, const struct hone_column *column,
                   struct hone_row *row, const float *values)
{
    void *const to = hone_row_column(row, column);
    if (column->format == HONE_FORMAT_F64) {
        for (size_t i = 0; i < column->count; i++)
            ((double *)to)[i] = (double)values[i];
        return;
    }
    table->context->cpu->support->narrow_f32[column->format](to, values, column->count);
}

void hone_row_fill(const struct hone_table *table, struct hone_row *row, int64_t key,
                   float *scratch)
{
    memset(row, 0, table->stride);
    row->key = key;
    row->born = table->births;
    row->flags = HONE_ROW_LIVE;
    row->seen = (uint32_t)table->tick;
    row->time = (uint32_t)table->clock;
    row->updated = (uint32_t)table->step;
    for (int c = 0; c < table->column_count; c++) {
        const struct hone_column *const column = &table->columns[c];
        if (column->slot == HONE_COLUMN_VALUES) {
            draw(table, hone_mix(table->stream ^ hone_mix((uint64_t)key + 0x9e3779b97f4a7c15u)),
                 scratch);
            if (column->format == HONE_FORMAT_F64 &&
                table->options.initial == HONE_INITIAL_CONSTANT) {
                for (size_t i = 0; i < column->count; i++)
                    ((double *)hone_row_column(row, column))[i] = table->options.initial_a;
                continue;
            }
        } else if (column->initial != 0) {
            for (size_t i = 0; i < column->count; i++)
                scratch[i] = (float)column->initial;
        } else {
            continue; /* all formats' zero is zero bytes */
        }
        narrow(table, column, row, scratch);
    }
}
