/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a table: where its rows are, what stands in them, and what its parts share. */
#ifndef HONE_TABLE_TABLE_INTERNAL_H
#define HONE_TABLE_TABLE_INTERNAL_H

#include <hone/table.h>

#include "core/optimizer_internal.h"
#include "table/index.h"

#define HONE_TABLE_MOST_WIDTH 4096
#define HONE_TABLE_MOST_NAME 255 /* bytes */

/* A row's record starts with this; the columns follow. `frequency` and `updates` stop at their
 * largest value; `seen`, `time` and `updated` are the last 32 bits of larger counts, and ages are
 * differences modulo 2^32. Training always changes a row, because `seen` moves even where the
 * other counters stand. */
struct hone_row {
    int64_t key;
    uint64_t born;      /* number of the insertion that made it: tells it from predecessors */
    uint32_t seen;      /* the table's tick when it was last looked up in training */
    uint32_t time;      /* the caller's clock then */
    uint32_t frequency; /* sights in training */
    uint32_t updates;   /* its own steps */
    uint32_t updated;   /* the table's step after its last one */
    uint32_t mark;      /* where it was met last in a lookup's batch; checked, never cleared */
    uint32_t pending;   /* its entry among gradients that wait; checked, never cleared */
    uint32_t flags;
};

#define HONE_ROW_LIVE 1u
#define HONE_ROW_DIRTY 2u  /* in the list of rows changed since the last snapshot */
#define HONE_ROW_NEEDED 4u /* by the batch that eviction makes room for */

/* An array of a row: its values, a state of its rule, or a state of one number. */
struct hone_column {
    const char *name;
    size_t offset; /* in the record */
    size_t count;
    size_t size; /* bytes */
    enum hone_format format;
    double initial;
    int slot; /* of the kernel's rule; -1: the values; -2: one number a row */
};

#define HONE_COLUMN_VALUES (-1)
#define HONE_COLUMN_ROW_STATE (-2)
#define HONE_MAX_COLUMNS (HONE_MAX_SLOTS + 2)

/* How a rule is used on rows. */
enum hone_row_kind {
    HONE_ROW_KIND_PLAIN,   /* as it is */
    HONE_ROW_KIND_RUNNING, /* bias correction by running products: RecIS's Adams */
    HONE_ROW_KIND_ADAGRAD, /* sgd at a rate that each row computes: lr / (sqrt(s) + eps) */
    HONE_ROW_KIND_ADAM     /* the same over a first moment */
};

struct hone_preset {
    const char *name;
    const char *hypers; /* the rule whose hyperparameters it takes */
    const char *kernel; /* the rule whose kernel steps it */
    const char *prefix; /* of its states' names in files */
    enum hone_row_kind kind;
    hone_decay decay;
    hone_bias bias;
};

/* A gradient that waits for its step; its sum stands at the same index of the sums. */
struct hone_pending {
    uint64_t row, born;
};

/* Scalars of rows that are at the same count. */
struct hone_row_scalars {
    uint64_t version, step; /* version 0: empty */
    uint32_t gap;
    bool fresh;
    struct hone_scalars scalars;
};

#define HONE_SCALARS_CACHE 512 /* entries for each thread */
#define HONE_ROWS_IN_WORK 16   /* of each thread, while they are stepped */

/* What a table's owner has set, as far as a snapshot takes its place. */
struct hone_table_settings {
    hone_spec *spec;
    uint64_t clock, global_step;
    int64_t accumulate;
    bool accumulate_mean;
    double loss_scale;
};

struct hone_table {
    const hone_context *context;
    char *name;
    uint64_t stream; /* of the seed and the name: where the table's noise starts */
    hone_table_options options;

    hone_spec *spec;                  /* one group: the hyperparameters */
    const struct hone_preset *preset; /* NULL: a plain rule */
    enum hone_row_kind kind;
    hone_decay decay;
    hone_bias bias;
    const hone_rule *kernel_rule;
    hone_kernel_fn *kernel; /* NULL: staged */
    struct hone_stage stage;
    struct hone_column columns[HONE_MAX_COLUMNS];
    int column_count;

    size_t stride;  /* of records */
    int block_bits; /* a block holds 2^this records */
    char **blocks;
    size_t block_count, block_capacity;
    uint64_t next;      /* rows from here on have never been used */
    uint64_t *recycled; /* used before and free again; taken from the end */
    size_t recycled_count, recycled_capacity;
    size_t recycled_kept; /* of them, as they were at the snapshot before */
    struct hone_index index;
    uint64_t births; /* insertions so far */
    uint64_t tick;   /* training lookups so far */
    uint64_t clock;  /* the caller's */

    uint64_t step; /* applied steps */
    uint64_t global_step;
    double power1, power2;
    uint64_t calls; /* of step, since accumulation was set */
    int64_t accumulate;
    bool accumulate_mean;
    double loss_scale;
    bool registered; /* gradients were added since the last applied step, if only of no row */
    struct hone_pending *pending;
    char *sums;
    size_t sum_stride;
    size_t pending_count, pending_capacity;
    bool failed; /* the gradients that wait were refused: they may be forgotten at any time */
    struct hone_row_scalars *cache; /* HONE_SCALARS_CACHE a thread */
    char *scratch;                  /* HONE_ROWS_IN_WORK rows of the compute type for each thread */
    size_t scratch_stride;
    uint64_t version; /* of everything scalars depend on but the count */
    hone_lookup *own; /* of apply_gradients */

    uint64_t row_limit;    /* the byte budget in rows; UINT64_MAX: none */
    uint64_t hand;         /* eviction's samples go on from here */
    uint64_t removals;     /* rows erased or evicted so far */
    size_t leaving;        /* last of `recycled`: evicted, for keys that are not in yet */
    uint64_t leaving_hand; /* and where the hand was before */
    uint8_t *counters;     /* admission's, in lines */
    uint64_t *counted;     /* a bit for each line that has moved since the snapshot before */
    bool tracking;         /* there is a snapshot to make increments to */
    uint64_t *dirty;       /* rows changed since, */
    size_t dirty_count, dirty_capacity;
    int64_t *gone; /* and keys removed */
    size_t gone_count, gone_capacity;
    uint64_t chain, sequence, last_checksum; /* of the last snapshot that was written */
    bool copied, was_tracking;               /* a snapshot is at work */
    struct hone_table_settings kept; /* those from before, while restoring; spec NULL: none */
};

struct hone_lookup {
    const hone_table *table;
    hone_lookup_mode mode;
    size_t n, capacity;
    int64_t *keys, *rows;
    uint32_t *first; /* the first position of the same row */
    uint32_t *times; /* of a row's first position: how often the row occurs; else 0. While rows are
                        listed: where its next gradient is noted */
    uint32_t *heads; /* first positions, in order */
    size_t head_count;
    uint32_t *begin;  /* of each head: where its gradients are listed, up to the next head's */
    uint32_t *source; /* gradients by head, in the batch's order: their numbers */
    double *weight;   /* and, with bags, what they are multiplied by */
    size_t bag_count; /* 0 without bags: */
    bool bags;
    uint32_t *bag;             /* the gradient's row of each position */
    double *factor;            /* and what it is multiplied by: a float unless rows are F64 */
    uint64_t births, removals; /* of the table when it was filled */
    int64_t missing, inserted;
};

/* ---- table.c --------------------------------------------------------------------------------- */

static inline struct hone_row *hone_table_row(const struct hone_table *table, uint64_t row)
{
    const uint64_t inside = ((uint64_t)1 << table->block_bits) - 1;
    return (struct hone_row *)(void *)(table->blocks[row >> table->block_bits] +
                                       (row & inside) * table->stride);
}

static inline void *hone_row_column(const struct hone_row *row, const struct hone_column *column)
{
    return (char *)(uintptr_t)row + column->offset;
}

/* Whether what is rounded to 16 bits is rounded at random. */
static inline bool hone_table_is_random(const struct hone_table *table)
{
    return table->stage.extra == HONE_EXTRA_STOCHASTIC || table->stage.random_slots;
}

/* Where the random bits of a row's step start: `count` its steps so far. */
static inline uint32_t hone_row_noise(const struct hone_table *table, const struct hone_row *row,
                                      uint64_t count)
{
    return (uint32_t)hone_mix(table->stream ^ hone_mix((uint64_t)row->key) ^ count);
}

/* Which of `threads` writes a row's record where positions of a batch may share it. */
static inline uint32_t hone_row_owner(uint64_t number, uint32_t threads)
{
    const uint32_t spread = (uint32_t)number * 0x9e3779b1u;
    return (uint32_t)((uint64_t)spread * threads >> 32);
}

const struct hone_column *hone_table_column(const struct hone_table *table, const char *slot);

/* Threads worth using for `n` rows of work. */
int hone_table_threads(const struct hone_table *table, size_t n);

/* Room for `needed` elements in a growing array whose contents stay. */
hone_status hone_table_grow(const hone_context *context, void **array, size_t *capacity,
                            size_t needed, size_t size, const char *what, hone_error *error);

/* Blocks for all rows below `end`. */
hone_status hone_table_reserve_blocks(struct hone_table *table, uint64_t end, hone_error *error);
void hone_table_free_blocks(struct hone_table *table);

/* Checks the size and address of a batch. */
hone_status hone_table_check_batch(const int64_t *keys, int64_t n, hone_error *error);

/* Finds or inserts, and fills new rows. Asks neither admission nor the budget. */
hone_status hone_table_make_rows(struct hone_table *table, const int64_t *keys, size_t n,
                                 int64_t *rows, size_t *inserted, hone_error *error);

/* Frees a row whose key has been taken out of the index. */
void hone_table_release_row(struct hone_table *table, uint64_t row);
/* Room for `more` removals, so that they cannot fail. */
hone_status hone_table_reserve_removals(struct hone_table *table, size_t more, hone_error *error);

/* Notes that rows (-1 skipped) have changed, if increments are wanted. Room is made before. */
hone_status hone_table_reserve_dirty(struct hone_table *table, size_t more, hone_error *error);
void hone_table_mark_dirty(struct hone_table *table, const int64_t *rows, size_t n);
void hone_table_mark_row(struct hone_table *table, uint64_t row);

/* ---- initial.c --------------------------------------------------------------------------------
 */

hone_status hone_initial_check(const hone_table_options *options, hone_error *error);
/* Writes key, first values and empty states. `scratch` holds a row of floats. */
void hone_row_fill(const struct hone_table *table, struct hone_row *row, int64_t key,
                   float *scratch);

/* ---- row_rule.c -------------------------------------------------------------------------------
 */

hone_status hone_table_set_rule(struct hone_table *table, hone_error *error);
/* The kernel's variant: which states the present values need. */
int hone_table_variant(const struct hone_table *table);
/* The numbers of the present step for a row, from the thread's cache. */
struct hone_row_scalars *hone_table_scalars(const struct hone_table *table,
                                            const struct hone_row *row, int thread);
double hone_table_hyper(const struct hone_table *table, const char *name);
/* What the values are multiplied by for so many steps' decay at the present learning rate. */
double hone_table_missed_decay(const struct hone_table *table, uint32_t steps);
/* The rate of row-wise Adam over its first moment, from its second one. */
double hone_row_adam_rate(const struct hone_table *table, double second, double lr, double eps,
                          uint64_t step);

/* ---- learn.c --------------------------------------------------------------------------------- */

/* Room for gradients of `needed` rows that wait. */
hone_status hone_table_reserve_pending(struct hone_table *table, size_t needed, hone_error *error);

/* ---- lookup.c ---------------------------------------------------------------------------------
 */

hone_status hone_lookup_reserve(struct hone_lookup *lookup, size_t n, hone_error *error);
/* The decay of the steps that the row took no part in, once (HONE_DECAY_CATCH_UP). */
void hone_row_catch_up(const struct hone_table *table, struct hone_row *row);
/* Rows of the keys as they are now, and which repeat. */
hone_status hone_lookup_find(struct hone_table *table, struct hone_lookup *lookup,
                             const int64_t *keys, size_t n, hone_error *error);

/* ---- admit.c, evict.c -------------------------------------------------------------------------
 */

/* Sets rows of absent keys that are not admitted to -2, after counting the sight. `counted`,
 * with room for n, is what hone_table_forget_sights takes the counting back by, for a call
 * that fails later. */
#define HONE_ROW_REFUSED (-2)
void hone_table_admit(struct hone_table *table, const int64_t *keys, size_t n, int64_t *rows,
                      uint32_t *counted);
void hone_table_forget_sights(struct hone_table *table, const int64_t *keys, size_t n,
                              const uint32_t *counted);
/* Counters lie in lines, which increments hold where they have moved. */
#define HONE_SIGHT_LINE 64
size_t hone_sight_lines(const struct hone_table *table);
size_t hone_counted_lines(const struct hone_table *table);
/* The lines that have moved: their numbers, and their counters one line after the other. */
void hone_list_counted(const struct hone_table *table, uint64_t *lines, uint8_t *counters);
void hone_mark_counted(struct hone_table *table, const uint64_t *lines, size_t n);
void hone_clear_counted(struct hone_table *table);
/* The memory of counters and bits, all of them 0; and back. */
hone_status hone_table_make_sights(struct hone_table *table, hone_error *error);
void hone_table_free_sights(struct hone_table *table);

/* Evicts until those keys of the batch fit the budget whose row is -1; the rows that others have
 * stay. The evicted ones are as they were until hone_table_make_rows, which ends the eviction and
 * tells of it, has all that it needs; a call that fails before undoes it. */
hone_status hone_table_make_room(struct hone_table *table, const int64_t *keys, size_t n,
                                 const int64_t *rows, hone_error *error);
/* The same for all absent keys; `rows` is written over. */
hone_status hone_table_make_budget(struct hone_table *table, const int64_t *keys, size_t n,
                                   int64_t *rows, hone_error *error);
void hone_table_end_eviction(struct hone_table *table);
void hone_table_undo_eviction(struct hone_table *table);

/* Where rows' values go: position i's to the i-th row of a dense array, zeros where there
 * is no row. */
struct hone_row_copy {
    const struct hone_column *column;
    void *to;
    enum hone_format format; /* there */
};

/* What stands `lead` bytes after from[i] goes to positions[i]; NULL: no row. Asks for those bytes
 * and the ones before them ahead of their use. */
void hone_row_copy_out(const struct hone_row_copy *copy, const struct hone_table *table,
                       void *const *from, size_t lead, const uint32_t *positions, size_t count);
void hone_row_copy_all(const struct hone_row_copy *copy, const struct hone_table *table,
                       const int64_t *rows, size_t n);

/* Checks a [n, width] tensor of reals. */
hone_status hone_table_check_values(const hone_tensor *tensor, int64_t n, size_t width,
                                    const char *what, enum hone_format *format, hone_error *error);

#endif
