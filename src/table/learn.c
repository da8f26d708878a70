/* SPDX-License-Identifier: Apache-2.0 */
/* Learning: gradients of a batch are summed per row in the batch's order, and each row that has one
 * is stepped by its rule's kernel as a chunk of its own. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "table/table_internal.h"

#define AHEAD 24           /* records requested before they are stepped */
#define ROWS_AT_A_TIME 512 /* a thread's share, so that rows with many duplicates even out */
#define FIRST_GRADIENTS 8  /* of a row, requested with its record */

/* One call: where gradients come from and what it found. */
struct learning {
    struct hone_table *table;
    const struct hone_lookup *lookup; /* NULL: the gradients that wait */
    const char *grads;
    enum hone_format format;
    size_t width;
    bool wide;  /* sums are in double */
    bool joins; /* gradients are looked at with those that wait for the same row added */
    struct hone_frame frame;
    double lr, eps, beta2; /* of row-wise rules */
    int64_t stepped, stale, quarantined, spoilt;
};

static struct learning begin(struct hone_table *table, const struct hone_lookup *lookup,
                             const hone_tensor *grads, enum hone_format format)
{
    struct learning l = {.table = table, .lookup = lookup, .format = format};
    l.grads = grads == NULL ? NULL : grads->data;
    l.width = (size_t)table->options.width;
    l.lr = hone_table_hyper(table, "lr");
    l.eps = hone_table_hyper(table, "eps");
    l.beta2 = hone_table_hyper(table, "beta2");
    l.wide = table->options.dtype == HONE_F64;
    double scale = (double)(float)(1 / table->loss_scale);
    if (table->accumulate_mean)
        scale /= (double)table->accumulate;
    l.frame =
        (struct hone_frame){.grad_scale = scale, .value_limit = (double)INFINITY, .clip_coef = 1};
    return l;
}

/* ---- gradients of one row ---------------------------------------------------------------------
 */

/* Whether the row at position `i` is still the one that was looked up. */
static bool is_current(const struct learning *l, size_t i)
{
    const struct hone_lookup *const lookup = l->lookup;
    if (lookup->removals == l->table->removals)
        return true;
    const struct hone_row *const row = hone_table_row(l->table, (uint64_t)lookup->rows[i]);
    return (row->flags & HONE_ROW_LIVE) != 0 && row->key == lookup->keys[i] &&
           row->born <= lookup->births;
}

static const char *gradient_at(const struct learning *l, size_t at)
{
    return l->grads + l->lookup->source[at] * l->width * hone_format_size(l->format);
}

/* Adds the gradients of piece `at` of the work. */
static void add_gradients(const struct learning *l, size_t at, void *sum)
{
    const struct hone_lookup *const lookup = l->lookup;
    const struct hone_row_kernels *const rows = l->table->context->cpu->rows;
    const uint32_t begin = lookup->begin[at];
    const struct hone_row_list list = {.from = l->grads,
                                       .width = l->width,
                                       .at = lookup->source + begin,
                                       .factor = lookup->bags ? lookup->weight + begin : NULL,
                                       .count = lookup->begin[at + 1] - begin};
    if (l->wide)
        rows->add_f64[l->format](sum, &list);
    else
        rows->add_f32[l->format](sum, &list);
}

/* Their sum: the gradient itself where there is only one in the right format. */
static const void *sum_gradients(const struct learning *l, size_t at, void *scratch)
{
    const struct hone_lookup *const lookup = l->lookup;
    const enum hone_format compute = l->wide ? HONE_FORMAT_F64 : HONE_FORMAT_F32;
    if (lookup->begin[at + 1] - lookup->begin[at] == 1 && !lookup->bags && l->format == compute)
        return gradient_at(l, lookup->begin[at]);
    memset(scratch, 0, l->width * hone_format_size(compute));
    add_gradients(l, at, scratch);
    return scratch;
}

/* Where the gradients that wait for a row are summed; NULL: none wait. */
static char *waiting_sum(const struct hone_table *table, uint64_t number)
{
    const struct hone_row *const row = hone_table_row(table, number);
    const uint32_t at = row->pending;
    const bool waits = at < table->pending_count && table->pending[at].row == number &&
                       table->pending[at].born == row->born;
    return waits ? table->sums + at * table->sum_stride : NULL;
}

/* What waits for row `number` with the gradients of piece `at` added. */
static const void *join_gradients(const struct learning *l, size_t at, uint64_t number,
                                  void *scratch)
{
    const void *const waits = waiting_sum(l->table, number);
    if (waits == NULL)
        memset(scratch, 0, l->table->sum_stride);
    else
        memcpy(scratch, waits, l->table->sum_stride);
    add_gradients(l, at, scratch);
    return scratch;
}

static double mean_square(const struct learning *l, const void *grad)
{
    const struct hone_row_kernels *const rows = l->table->context->cpu->rows;
    return l->wide ? rows->mean_square_f64(grad, l->width, l->frame.grad_scale)
                   : rows->mean_square_f32(grad, l->width, l->frame.grad_scale);
}

static bool is_finite(const struct learning *l, const void *grad)
{
    if (!l->wide)
        return isfinite(mean_square(l, grad)); /* squares of floats fit a double */
    for (size_t i = 0; i < l->width; i++)
        if (!isfinite(((const double *)grad)[i]))
            return false;
    return true;
}

/* ---- one row's step ---------------------------------------------------------------------------
 */

/* The mean square of the gradient as the rule sees it, with the share of the row that
 * L2 decay adds. */
static double decayed_square(const struct learning *l, const struct hone_row *row, const void *grad,
                             const struct hone_scalars *scalars)
{
    if (scalars->l2 == 0)
        return mean_square(l, grad);
    const struct hone_column *const values = hone_table_column(l->table, NULL);
    const double scale = scalars->maximize ? -l->frame.grad_scale : l->frame.grad_scale;
    double value[HONE_TABLE_MOST_WIDTH], sum = 0;
    l->table->context->cpu->support->widen_f64[values->format](value, hone_row_column(row, values),
                                                               l->width);
    for (size_t i = 0; i < l->width; i++) {
        const double g = l->wide ? ((const double *)grad)[i] : (double)((const float *)grad)[i];
        const double seen = scale * g + scalars->l2 * value[i];
        sum += seen * seen;
    }
    return sum / (double)l->width;
}

/* The rate of a row-wise rule: its one second moment moves first. */
static double row_rate(const struct learning *l, struct hone_row *row, const void *grad,
                       const struct hone_row_scalars *entry)
{
    const struct hone_table *const table = l->table;
    const struct hone_column *const column = &table->columns[table->column_count - 1];
    void *const state = hone_row_column(row, column);
    const bool wide = column->format == HONE_FORMAT_F64;
    const double before = wide ? *(double *)state : (double)*(float *)state;
    const double square = decayed_square(l, row, grad, &entry->scalars);
    double after = before + square, rate;
    if (table->kind == HONE_ROW_KIND_ADAM) {
        after = l->beta2 * before + (1 - l->beta2) * square;
        rate = hone_row_adam_rate(table, after, l->lr, l->eps, entry->step);
    } else {
        rate = l->lr / (sqrt(after) + l->eps);
    }
    if (wide)
        *(double *)state = after;
    else
        *(float *)state = (float)after;
    return rate;
}

static bool has_row_state(const struct hone_table *table)
{
    return table->kind == HONE_ROW_KIND_ADAGRAD || table->kind == HONE_ROW_KIND_ADAM;
}

/* Tells the row's steps apart: by the table's where its own count stands at its end, or each of
 * them would round in the same direction. */
static uint64_t noise_count(const struct hone_table *table, const struct hone_row *row)
{
    return row->updates < UINT32_MAX ? row->updates : UINT32_MAX + table->step;
}

/* `rate` is a row-wise rule's. */
static void step_row(const struct learning *l, struct hone_row *row, const void *grad, double rate,
                     int thread)
{
    const struct hone_table *const table = l->table;
    const struct hone_scalars *scalars = &hone_table_scalars(table, row, thread)->scalars;
    struct hone_scalars own;
    if (has_row_state(table)) {
        own = *scalars;
        own.rate[0] = own.rate[1] = rate;
        scalars = &own;
    }
    struct hone_chunk chunk = {.grad = grad, .n = l->width};
    for (int c = 0; c < table->column_count; c++) {
        const struct hone_column *const column = &table->columns[c];
        if (column->slot == HONE_COLUMN_VALUES)
            chunk.param = hone_row_column(row, column);
        else if (column->slot >= 0)
            chunk.slot[column->slot] = hone_row_column(row, column);
    }
    if (hone_table_is_random(table))
        chunk.noise = hone_row_noise(table, row, noise_count(table, row));
    if (table->kernel != NULL)
        table->kernel(&chunk, scalars, &l->frame);
    else
        hone_stage_step(&table->stage, &chunk, scalars, &l->frame);
    row->updates += row->updates != UINT32_MAX;
    row->updated = (uint32_t)(table->step + 1);
}

/* ---- all rows ---------------------------------------------------------------------------------
 */

static size_t work_count(const struct learning *l)
{
    return l->lookup != NULL ? l->lookup->head_count : l->table->pending_count;
}

static uint64_t work_row(const struct learning *l, size_t at)
{
    return l->lookup != NULL ? (uint64_t)l->lookup->rows[l->lookup->heads[at]]
                             : l->table->pending[at].row;
}

/* The row and gradient of piece `at` of the work; NULL if the row is gone, or (in a forged
 * snapshot) waits twice: then threads would step it at the same time. */
static struct hone_row *work_on(const struct learning *l, size_t at, void *scratch,
                                const void **grad)
{
    struct hone_table *const table = l->table;
    struct hone_row *const row = hone_table_row(table, work_row(l, at));
    if (l->lookup != NULL) {
        if (!is_current(l, l->lookup->heads[at]))
            return NULL;
        *grad = l->joins ? join_gradients(l, at, work_row(l, at), scratch)
                         : sum_gradients(l, at, scratch);
        return row;
    }
    if ((row->flags & HONE_ROW_LIVE) == 0 || row->born != table->pending[at].born ||
        row->pending != at)
        return NULL;
    *grad = table->sums + at * table->sum_stride;
    return row;
}

/* Asks for a piece of the work that comes soon: the record and what it will learn from. */
HONE_INLINED void request(const struct learning *l, size_t at)
{
    const struct hone_table *const table = l->table;
    hone_request(hone_table_row(table, work_row(l, at)), table->stride);
    if (l->lookup == NULL) {
        hone_request(table->sums + at * table->sum_stride, table->sum_stride);
        return;
    }
    const uint32_t begin = l->lookup->begin[at], end = l->lookup->begin[at + 1];
    for (uint32_t i = begin; i < end && i < begin + FIRST_GRADIENTS; i++)
        hone_request(gradient_at(l, i), l->width * hone_format_size(l->format));
}

struct tally {
    int64_t stepped, stale, quarantined, spoilt;
};

/* Rows that are worked on together: each thing that is to be done is done to all of them before the
 * next, because the steps of one row wait for one another and those of several do not. */
struct bundle {
    size_t first, count;
    struct hone_row *row[HONE_ROWS_IN_WORK]; /* NULL: nothing (more) to do */
    const void *grad[HONE_ROWS_IN_WORK];
    double rate[HONE_ROWS_IN_WORK];
};

/* Sums the rows' gradients. A row that is gone leaves the bundle. `end`: of the thread's work. */
static void gather_bundle(const struct learning *l, struct bundle *bundle, size_t end,
                          char *scratch, struct tally *tally)
{
    const size_t size = l->table->scratch_stride / HONE_ROWS_IN_WORK;
    for (size_t k = 0; k < bundle->count; k++) {
        const size_t at = bundle->first + k;
        if (at + AHEAD < end)
            request(l, at + AHEAD);
        bundle->row[k] = work_on(l, at, scratch + k * size, &bundle->grad[k]);
        tally->stale += bundle->row[k] == NULL;
    }
}

/* Rows whose gradient is not finite leave the bundle. */
static int64_t dismiss_spoilt(const struct learning *l, struct bundle *bundle)
{
    int64_t spoilt = 0;
    for (size_t k = 0; k < bundle->count; k++)
        if (bundle->row[k] != NULL && !is_finite(l, bundle->grad[k])) {
            bundle->row[k] = NULL;
            spoilt++;
        }
    return spoilt;
}

static void step_bundle(const struct learning *l, struct bundle *bundle, int thread,
                        struct tally *tally)
{
    const struct hone_table *const table = l->table;
    for (size_t k = 0; has_row_state(table) && k < bundle->count; k++)
        if (bundle->row[k] != NULL)
            bundle->rate[k] = row_rate(l, bundle->row[k], bundle->grad[k],
                                       hone_table_scalars(table, bundle->row[k], thread));
    for (size_t k = 0; k < bundle->count; k++) {
        if (bundle->row[k] == NULL)
            continue;
        step_row(l, bundle->row[k], bundle->grad[k], bundle->rate[k], thread);
        tally->stepped++;
    }
}

/* Pieces `first` to `end` of the work. With `step` false only counts gradients that
 * are not finite. */
static struct tally work(const struct learning *l, size_t first, size_t end, bool step, int thread)
{
    const struct hone_table *const table = l->table;
    char *const scratch = table->scratch + (size_t)thread * table->scratch_stride;
    struct tally tally = {0};
    for (size_t at = first; at < end && at < first + AHEAD; at++)
        request(l, at);
    struct bundle bundle = {.first = first};
    for (; bundle.first < end; bundle.first += bundle.count) {
        bundle.count =
            end - bundle.first < HONE_ROWS_IN_WORK ? end - bundle.first : HONE_ROWS_IN_WORK;
        gather_bundle(l, &bundle, end, scratch, &tally);
        if (!step)
            tally.spoilt += dismiss_spoilt(l, &bundle);
        else if (table->options.nonfinite == HONE_ROW_QUARANTINE)
            tally.quarantined += dismiss_spoilt(l, &bundle);
        if (step)
            step_bundle(l, &bundle, thread, &tally);
    }
    return tally;
}

static void sweep(struct learning *l, bool step)
{
    const size_t count = work_count(l);
    int64_t stepped = 0, stale = 0, quarantined = 0, spoilt = 0;
    const int threads = hone_table_threads(l->table, count);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) \
    reduction(+ : stepped, stale, quarantined, spoilt)
    for (size_t first = 0; first < count; first += ROWS_AT_A_TIME) {
        const size_t end = count - first < ROWS_AT_A_TIME ? count : first + ROWS_AT_A_TIME;
        const struct tally tally = work(l, first, end, step, omp_get_thread_num());
        stepped += tally.stepped;
        stale += tally.stale;
        quarantined += tally.quarantined;
        spoilt += tally.spoilt;
    }
    l->stepped = stepped;
    l->stale = stale;
    l->quarantined = quarantined;
    l->spoilt = spoilt;
}

static hone_status check_finite(struct learning *l, hone_error *error)
{
    sweep(l, false);
    if (l->spoilt == 0)
        return HONE_OK;
    l->table->failed |= l->lookup == NULL;
    return hone_fail(
        error, HONE_ERROR_NONFINITE,
        "table \"%s\": %lld rows have gradients that are not finite; nothing was stepped",
        l->table->name, (long long)l->spoilt);
}

static hone_status update(struct learning *l, hone_error *error)
{
    struct hone_table *const table = l->table;
    const size_t count = work_count(l);
    hone_status status = hone_table_reserve_dirty(table, count, error);
    if (status == HONE_OK && table->options.nonfinite == HONE_ROW_ERROR)
        status = check_finite(l, error);
    if (status != HONE_OK)
        return status;
    table->version++; /* scalars of the last step are of no use */
    sweep(l, true);
    for (size_t at = 0; table->tracking && at < count; at++)
        hone_table_mark_row(table, work_row(l, at));
    table->power1 *= hone_table_hyper(table, "beta1");
    table->power2 *= hone_table_hyper(table, "beta2");
    table->step++;
    table->global_step++;
    return HONE_OK;
}

static void report_on(const struct learning *l, bool applied, hone_table_report *report)
{
    if (report != NULL)
        *report = (hone_table_report){.stepped = l->stepped,
                                      .stale = l->stale,
                                      .quarantined = l->quarantined,
                                      .applied = applied};
}

/* ---- gradients that wait ----------------------------------------------------------------------
 */

hone_status hone_table_reserve_pending(struct hone_table *table, size_t needed, hone_error *error)
{
    if (needed <= table->pending_capacity)
        return HONE_OK;
    const hone_context *const context = table->context;
    const size_t old = table->pending_capacity;
    const size_t capacity = needed < 2 * old ? 2 * old : needed;
    const size_t size = capacity * sizeof *table->pending;
    struct hone_pending *const pending = hone_allocate(context, size);
    char *const sums = hone_allocate(context, capacity * table->sum_stride);
    if (pending == NULL || sums == NULL) {
        hone_release(context, pending, size);
        hone_release(context, sums, capacity * table->sum_stride);
        return hone_fail_memory(error, capacity * table->sum_stride, "gradients that wait");
    }
    if (table->pending_count > 0) {
        memcpy(pending, table->pending, table->pending_count * sizeof *pending);
        memcpy(sums, table->sums, table->pending_count * table->sum_stride);
    }
    hone_release(context, table->pending, old * sizeof *table->pending);
    hone_release(context, table->sums, old * table->sum_stride);
    table->pending = pending;
    table->sums = sums;
    table->pending_capacity = capacity;
    return HONE_OK;
}

/* The row's place among the gradients that wait, made if it has none. */
static void find_pending(struct hone_table *table, uint64_t number)
{
    struct hone_row *const row = hone_table_row(table, number);
    if (waiting_sum(table, number) != NULL)
        return;
    row->pending = (uint32_t)table->pending_count++;
    table->pending[row->pending] = (struct hone_pending){number, row->born};
    memset(table->sums + row->pending * table->sum_stride, 0, table->sum_stride);
}

static hone_status add(struct learning *l, hone_error *error)
{
    struct hone_table *const table = l->table;
    const struct hone_lookup *const lookup = l->lookup;
    const size_t count = lookup->head_count;
    if (table->pending_count + count >= UINT32_MAX)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "table \"%s\": gradients of %zu rows wait; there may be 2^32 - 2",
                         table->name, table->pending_count + count);
    const hone_status status =
        hone_table_reserve_pending(table, table->pending_count + count, error);
    if (status != HONE_OK)
        return status;
    for (size_t at = 0; at < count; at++)
        if (is_current(l, lookup->heads[at]))
            find_pending(table, work_row(l, at));
        else
            l->stale++;
    const int threads = hone_table_threads(table, count);
#pragma omp parallel for num_threads(threads) schedule(dynamic, ROWS_AT_A_TIME)
    for (size_t at = 0; at < count; at++)
        if (is_current(l, lookup->heads[at]))
            add_gradients(l, at,
                          table->sums +
                              hone_table_row(table, work_row(l, at))->pending * table->sum_stride);
    table->registered = true;
    return HONE_OK;
}

/* ---- the calls --------------------------------------------------------------------------------
 */

static hone_status check_gradients(const hone_table *table, const hone_lookup *lookup,
                                   const hone_tensor *gradients, enum hone_format *format,
                                   hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    if (lookup == NULL || lookup->table != table)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "the lookup is NULL or was made for another table than \"%s\"",
                         table->name);
    if (lookup->n > 0 && lookup->mode != HONE_LOOKUP_TRAIN)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "table \"%s\": the lookup was read-only; gradients need one in train mode",
                         table->name);
    return hone_table_check_values(gradients,
                                   (int64_t)(lookup->bags ? lookup->bag_count : lookup->n),
                                   (size_t)table->options.width, "the gradients", format, error);
}

hone_status hone_table_add_gradients(hone_table *table, const hone_lookup *lookup,
                                     const hone_tensor *gradients, hone_error *error)
{
    enum hone_format format;
    const hone_status status = check_gradients(table, lookup, gradients, &format, error);
    if (status != HONE_OK)
        return status;
    struct learning l = begin(table, lookup, gradients, format);
    return add(&l, error);
}

/* Whether the next call of step makes an update of what waits. */
static bool is_due(const struct hone_table *table)
{
    return (table->calls + 1) % (uint64_t)table->accumulate == 0;
}

hone_status hone_table_step(hone_table *table, hone_table_report *report, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    struct learning l = begin(table, NULL, NULL, HONE_FORMAT_F32);
    const bool applied = is_due(table) && table->registered;
    const hone_status status = applied ? update(&l, error) : HONE_OK;
    if (status != HONE_OK)
        return status;
    table->calls++;
    if (applied) {
        table->pending_count = 0;
        table->registered = table->failed = false;
    }
    report_on(&l, applied, report);
    return HONE_OK;
}

void hone_table_zero_grad(hone_table *table)
{
    if (table->calls % (uint64_t)table->accumulate != 0 && !table->failed)
        return;
    table->pending_count = 0;
    table->registered = false;
    table->failed = false;
}

/* Whether the step would refuse what waits, or what it becomes with these gradients. */
static hone_status check_joined(const struct learning *l, hone_error *error)
{
    struct learning waiting = begin(l->table, NULL, NULL, HONE_FORMAT_F32), joined = *l;
    joined.joins = true;
    const hone_status status = check_finite(&waiting, error);
    return status == HONE_OK ? check_finite(&joined, error) : status;
}

hone_status hone_table_apply(hone_table *table, const hone_lookup *lookup,
                             const hone_tensor *gradients, hone_table_report *report,
                             hone_error *error)
{
    enum hone_format format;
    hone_status status = check_gradients(table, lookup, gradients, &format, error);
    if (status != HONE_OK)
        return status;
    struct learning l = begin(table, lookup, gradients, format);
    if (table->accumulate == 1 && !table->registered) {
        status = update(&l, error);
        table->calls += status == HONE_OK;
        if (status == HONE_OK)
            report_on(&l, true, report);
        return status;
    }
    /* before anything is added: the call may fail, and be repeated */
    status = hone_table_reserve_dirty(table, table->pending_count + lookup->head_count, error);
    if (status == HONE_OK && table->options.nonfinite == HONE_ROW_ERROR && is_due(table))
        status = check_joined(&l, error);
    if (status == HONE_OK)
        status = add(&l, error);
    if (status == HONE_OK)
        status = hone_table_step(table, report, error);
    if (status == HONE_OK && report != NULL)
        report->stale += l.stale;
    return status;
}

hone_status hone_table_apply_gradients(hone_table *table, const int64_t *keys, int64_t n,
                                       const hone_tensor *gradients, hone_table_report *report,
                                       hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    hone_status status = hone_table_check_batch(keys, n, error);
    if (status == HONE_OK)
        status = hone_lookup_find(table, table->own, keys, (size_t)n, error);
    if (status == HONE_OK)
        status = hone_table_apply(table, table->own, gradients, report, error);
    if (status == HONE_OK && report != NULL)
        report->stale += table->own->missing;
    return status;
}

/* ---- settings ---------------------------------------------------------------------------------
 */

hone_status hone_table_set_grad_accum_steps(hone_table *table, int64_t steps, bool mean,
                                            hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    if (steps < 1)
        return hone_fail(error, HONE_ERROR_RANGE, "accumulation over %lld steps; at least 1",
                         (long long)steps);
    if (table->registered)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "table \"%s\": gradients wait for their step; accumulation cannot change "
                         "before it",
                         table->name);
    table->accumulate = steps;
    table->accumulate_mean = mean;
    table->calls = 0;
    return HONE_OK;
}

int64_t hone_table_grad_accum_steps(const hone_table *table, bool *mean)
{
    if (mean != NULL)
        *mean = table->accumulate_mean;
    return table->accumulate;
}

hone_status hone_table_set_loss_scale(hone_table *table, double scale, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    if (!(scale > 0 && isfinite(scale)))
        return hone_fail(error, HONE_ERROR_RANGE, "the loss scale is %g; it must be above 0",
                         scale);
    table->loss_scale = scale;
    return HONE_OK;
}

hone_status hone_table_set_step(hone_table *table, uint64_t step, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    if (step < 1)
        return hone_fail(error, HONE_ERROR_RANGE, "step 0; steps are counted from 1");
    table->global_step = step;
    return HONE_OK;
}
