/* SPDX-License-Identifier: Apache-2.0 */
/* A table: rows of numbers under int64 keys, made when a key is first met, each with the optimizer
 * state of its rule beside it. Look up, then learn:
 *
 *   hone_table_create(&table, ctx, "items", &options, &err);
 *   hone_lookup_create(&lookup, table, &err);
 *   for each batch:
 *       hone_table_lookup(table, lookup, keys, n, HONE_LOOKUP_TRAIN, rows_out, &err);
 *       ... gradients of the rows, one for each key of the batch ...
 *       hone_table_apply(table, lookup, &gradients, NULL, &err);
 *
 * Every int64 is a legal key; keys may repeat in any call. All calls work on whole batches and on
 * all of the context's threads, with the same result at any number of them. Rows never move. A call
 * that fails leaves the table as it was. One table, one calling thread at a time; calls that take a
 * const table may run side by side. docs/tables.md tells the rest. */
#ifndef HONE_TABLE_H
#define HONE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hone/context.h>
#include <hone/placement.h>
#include <hone/schedule.h>
#include <hone/spec.h>
#include <hone/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_table hone_table;

/* ---- what a table is made of ----------------------------------------------------------------- */

/* First values of a row: a function of the context's seed, the table's name, the key and the
 * element alone. The fan of a row is its width. */
typedef enum hone_initial {
    HONE_INITIAL_CONSTANT,         /* a */
    HONE_INITIAL_UNIFORM,          /* in [a, b) */
    HONE_INITIAL_NORMAL,           /* mean a, deviation b */
    HONE_INITIAL_TRUNCATED_NORMAL, /* the same, within two deviations of the mean */
    HONE_INITIAL_XAVIER_UNIFORM,   /* gain a: within a sqrt(3 / width) of 0 */
    HONE_INITIAL_XAVIER_NORMAL,    /* gain a: deviation a / sqrt(width) */
    HONE_INITIAL_KAIMING_UNIFORM,  /* gain a: within a sqrt(3 / width); sqrt(2) for ReLU */
    HONE_INITIAL_KAIMING_NORMAL,   /* gain a: deviation a / sqrt(width) */
    HONE_INITIAL_COUNT
} hone_initial;

/* Whose steps a rule's bias correction counts. */
typedef enum hone_bias {
    HONE_BIAS_DEFAULT, /* table for the presets, row for every other rule */
    HONE_BIAS_TABLE,   /* the table's: every applied step */
    HONE_BIAS_GLOBAL,  /* the caller's: hone_table_set_step */
    HONE_BIAS_ROW      /* the row's own updates, so that a row is as a parameter of its own */
} hone_bias;

/* What weight_decay does to a row when it is stepped. */
typedef enum hone_decay {
    HONE_DECAY_DEFAULT, /* what the rule or preset says */
    HONE_DECAY_NONE,
    HONE_DECAY_L2,      /* gradient += weight_decay * row */
    HONE_DECAY_RATE,    /* row *= 1 - lr * weight_decay */
    HONE_DECAY_RAW,     /* row *= 1 - weight_decay */
    HONE_DECAY_CATCH_UP /* row *= (1 - lr * weight_decay)^g, g the table's steps since the row's
                           last one: the decay of a dense parameter, made up for when the row is
                           met, at the learning rate of then */
} hone_decay;

/* What a gradient does that is not finite. */
typedef enum hone_row_policy {
    HONE_ROW_PROPAGATE, /* enters the row by IEEE arithmetic */
    HONE_ROW_ERROR,     /* HONE_ERROR_NONFINITE and nothing is stepped */
    HONE_ROW_QUARANTINE /* its row stays as it is and is counted */
} hone_row_policy;

/* Called for each row that eviction removes, before it goes. `row` holds the row's values in the
 * table's dtype; both are valid during the call only. */
typedef void hone_evicted_fn(int64_t key, const void *row, void *user);

typedef struct hone_table_options {
    size_t struct_size;     /* set by hone_table_options_init */
    int64_t width;          /* elements of a row, 1 to 4096; no default */
    hone_dtype dtype;       /* F32 (default), F64, BF16 or F16 */
    hone_dtype state_dtype; /* default F32; F64 tables: F64 */
    bool stochastic;        /* 16-bit rows and states are rounded at random when they move */
    /* A rule's name, or a preset: "sparse_adam", "sparse_adamw", "sparse_adamw_tf" (as RecIS
     * defines them), "rowwise_adagrad", "rowwise_adam" (one second moment per row). Default
     * "sparse_adamw". */
    const char *rule;
    /* Default NULL. Else rule, values and schedule are those of the group that takes the table's
     * name; with `rule` a preset, the values that both know. Copied. */
    const hone_spec *spec;
    hone_initial initial; /* default NORMAL with a = 0, b = 0.01 */
    double initial_a, initial_b;
    hone_bias bias;
    hone_decay decay;
    hone_row_policy nonfinite; /* default PROPAGATE */
    /* A key gets a row from its admit_count-th sight on (default 1: at once), counted in
     * admit_counters 8-bit counters (default 2^20) shared by all keys through two hashes, so a key
     * may come early, never late; at most 255. And then with admit_probability (default 1) at each
     * sight. */
    uint32_t admit_count;
    uint64_t admit_counters;
    double admit_probability;
    /* Default 0: no limit. Else rows and index together never take more, and when a batch needs
     * room the rows seen longest ago go (or those seen least often: evict_rare), found among
     * samples; never rows that the batch itself needs. A batch with more different keys than fit is
     * refused (RANGE). */
    uint64_t max_bytes;
    bool evict_rare;
    hone_evicted_fn *evicted; /* default NULL; must not call the table */
    void *evicted_user;
} hone_table_options;

HONE_API void hone_table_options_init(hone_table_options *options);

/* Makes an empty table. `name` (1 to 255 bytes of UTF-8 without '@') tells tables of a
 * checkpoint apart and enters their first values. Errors: ARGUMENT, RANGE, DTYPE, NAME
 * (with the nearest rule), UNSUPPORTED (a rule over matrices), MEMORY. The context is
 * borrowed until hone_table_free. */
HONE_API hone_status hone_table_create(hone_table **table, const hone_context *context,
                                       const char *name, const hone_table_options *options,
                                       hone_error *error);
HONE_API void hone_table_free(hone_table *table); /* NULL is accepted */

HONE_API const char *hone_table_name(const hone_table *table);
HONE_API int64_t hone_table_count(const hone_table *table); /* keys that have a row */
HONE_API int64_t hone_table_width(const hone_table *table);
HONE_API hone_dtype hone_table_dtype(const hone_table *table);
HONE_API uint64_t hone_table_bytes(const hone_table *table);       /* of rows and index */
HONE_API uint64_t hone_table_index_bytes(const hone_table *table); /* of the index alone */

/* Separates the tables of a model from its dense parameters, so that each get an optimizer of their
 * own. `tables` receives every table once, in the order of the model; `dense` the other parameters,
 * as they stand there, names included. Each array belongs to the caller, has room for model->count
 * entries and may be NULL where only its number is wanted. A table under several names of the model
 * is one table. Errors: ARGUMENT (a list or number is missing), NAME (an entry without a name; two
 * tables that have the same hone_table_name, which would have the same first rows and could not be
 * told apart in snapshots); nothing is written then. The name is that of RecIS'
 * filter_out_sparse_param. */
HONE_API hone_status hone_filter_out_sparse(const hone_model *model, hone_table **tables,
                                            int64_t *table_count, hone_model_parameter *dense,
                                            int64_t *dense_count, hone_error *error);

/* ---- batches of keys ------------------------------------------------------------------------- */

/* Rows are numbers below 3 * 2^32, valid until their key is erased or evicted. -1: the key has
 * none. At most 2^32 - 2 keys a call. */

/* rows[i]: the row of keys[i], or -1; *missing (may be NULL) counts those. */
HONE_API hone_status hone_table_find(const hone_table *table, const int64_t *keys, int64_t n,
                                     int64_t *rows, int64_t *missing, hone_error *error);

/* The same, giving every absent key a row; new rows are numbered in order of first occurrence.
 * *inserted may be NULL. Admission is not asked; the byte budget is. Errors: RANGE (the budget
 * holds fewer rows than the batch needs), ARGUMENT, MEMORY; UNSUPPORTED where thousands of keys
 * were chosen to have the same hash under the context's seed. */
HONE_API hone_status hone_table_insert(hone_table *table, const int64_t *keys, int64_t n,
                                       int64_t *rows, int64_t *inserted, hone_error *error);

/* Removes keys with their rows and states; keys that are absent or repeated are no error. */
HONE_API hone_status hone_table_erase(hone_table *table, const int64_t *keys, int64_t n,
                                      int64_t *erased, hone_error *error);

/* Copies rows to or from [n, width] F32, F64, BF16 or F16 values, converting. `slot` names a state
 * of the rule ("exp_avg"), NULL the row itself; per-row states have width 1. Gather gives zeros for
 * row -1, scatter skips it; of repeated rows the last one stays. Errors: RANGE for a row that does
 * not exist, SHAPE, DTYPE, NAME. */
HONE_API hone_status hone_table_gather(const hone_table *table, const int64_t *rows, int64_t n,
                                       const char *slot, const hone_tensor *out, hone_error *error);
HONE_API hone_status hone_table_scatter(hone_table *table, const int64_t *rows, int64_t n,
                                        const char *slot, const hone_tensor *values,
                                        hone_error *error);

/* All keys, in the order of their rows; `keys` holds hone_table_count. */
HONE_API hone_status hone_table_keys(const hone_table *table, int64_t *keys, hone_error *error);

/* ---- look up, then learn ----------------------------------------------------------------------
 */

/* The memory of one batch: its keys, their rows, which of them repeat, which bag each is in. Reused
 * from batch to batch; several may be in use at a time. */
typedef struct hone_lookup hone_lookup;

HONE_API hone_status hone_lookup_create(hone_lookup **lookup, const hone_table *table,
                                        hone_error *error);
HONE_API void hone_lookup_free(hone_lookup *lookup); /* NULL is accepted; before the table */

typedef enum hone_lookup_mode {
    HONE_LOOKUP_TRAIN,    /* absent keys get rows, if admitted; sights are counted */
    HONE_LOOKUP_READ_ONLY /* absent keys are zeros; the table is not written */
} hone_lookup_mode;

typedef enum hone_pooling { HONE_POOLING_SUM, HONE_POOLING_MEAN } hone_pooling;

/* Row i of `out` ([n, width], F32, F64, BF16 or F16) becomes the row of keys[i]; zeros where it has
 * none. `out` may be NULL. Errors: ARGUMENT, SHAPE, DTYPE, RANGE (too many keys, for a call or for
 * the byte budget), MEMORY; the lookup holds nothing then. */
HONE_API hone_status hone_table_lookup(hone_table *table, hone_lookup *lookup, const int64_t *keys,
                                       int64_t n, hone_lookup_mode mode, const hone_tensor *out,
                                       hone_error *error);

/* Row b of `out` ([bags, width]) becomes the sum or mean of the rows of keys[offsets[b]] up to but
 * not including keys[offsets[b + 1]], each times its weight if `weights` ([n], F32, F64, BF16 or
 * F16) is not NULL; rows of F64 are summed in double, others in float. A mean divides by the number
 * of keys, absent ones included. offsets holds bags + 1 entries from 0 to n that never fall. An
 * empty bag is zeros. Errors: those of hone_table_lookup; RANGE, SHAPE and DTYPE of offsets and
 * weights. */
HONE_API hone_status hone_table_lookup_bags(hone_table *table, hone_lookup *lookup,
                                            const int64_t *keys, int64_t n, const int64_t *offsets,
                                            int64_t bags, const hone_tensor *weights,
                                            hone_pooling pooling, hone_lookup_mode mode,
                                            const hone_tensor *out, hone_error *error);

HONE_API int64_t hone_lookup_missing(const hone_lookup *lookup);  /* keys without a row */
HONE_API int64_t hone_lookup_inserted(const hone_lookup *lookup); /* rows made */
HONE_API int64_t hone_lookup_unique(const hone_lookup *lookup);   /* rows met; train mode */
HONE_API const int64_t *hone_lookup_rows(const hone_lookup *lookup);

typedef struct hone_table_report {
    int64_t stepped;     /* rows that moved */
    int64_t stale;       /* gradients whose row had been erased or evicted: dropped */
    int64_t quarantined; /* rows with a gradient that is not finite, left as they are */
    bool applied;        /* false while gradients are being accumulated */
} hone_table_report;

/* Adds gradients to what waits for the next step: [n, width] (or [bags, width] after
 * hone_table_lookup_bags) in F32, F64, BF16 or F16, for the keys of a lookup in train mode.
 * Repeated keys are summed in the batch's order. They belong to the keys' present rows: if one is
 * erased before the step they are dropped. */
HONE_API hone_status hone_table_add_gradients(hone_table *table, const hone_lookup *lookup,
                                              const hone_tensor *gradients, hone_error *error);

/* Counts a step; at every accum-th one, steps the rows that have gradients and forgets those.
 * Without any call of add_gradients since then nothing advances. `report` may be NULL. */
HONE_API hone_status hone_table_step(hone_table *table, hone_table_report *report,
                                     hone_error *error);

/* Forgets gradients that wait, but only if the number of steps counted is a multiple of accum. */
HONE_API void hone_table_zero_grad(hone_table *table);

/* add_gradients and step in one, without a copy where none is needed. */
HONE_API hone_status hone_table_apply(hone_table *table, const hone_lookup *lookup,
                                      const hone_tensor *gradients, hone_table_report *report,
                                      hone_error *error);

/* The same for keys that were not looked up; absent ones are dropped as stale. */
HONE_API hone_status hone_table_apply_gradients(hone_table *table, const int64_t *keys, int64_t n,
                                                const hone_tensor *gradients,
                                                hone_table_report *report, hone_error *error);

/* ---- eviction ---------------------------------------------------------------------------------
 */

/* A row goes if any of these holds; 0 switches a condition off. */
typedef struct hone_eviction {
    uint32_t unseen_lookups;  /* not met in so many training lookups */
    uint32_t unseen_time;     /* nor in so much time of the caller's clock */
    uint32_t least_frequency; /* met less often than this in all */
    double least_norm;        /* Euclidean norm of the row below this */
} hone_eviction;

/* Looks at the next `most_rows` rows, going on where the last call stopped and from the start after
 * the end, and removes those that fall under the policy. */
HONE_API hone_status hone_table_evict(hone_table *table, const hone_eviction *policy,
                                      int64_t most_rows, int64_t *evicted, hone_error *error);

/* The caller's clock, in units of its choice: rows remember when they were last looked up. Their
 * ages are differences modulo 2^32, so the clock must not go back. */
HONE_API void hone_table_set_clock(hone_table *table, uint64_t now);

/* ---- the rule ----------------------------------------------------------------------------------
 */

/* Gives the table the rule, spec, bias and decay of `options` (its other fields are not read).
 * Keys, row numbers, values and sights stay, after decay that CATCH_UP still owes the rows; states
 * and counts of steps begin anew, and the next snapshot has to be a full one. During the call there
 * are rows of both forms, whatever the budget. Errors: as of hone_table_create; ARGUMENT while
 * gradients wait or a snapshot is at work; RANGE if the rows (those that are free count too) or the
 * index no longer fit the byte budget. The table is as it was then. */
HONE_API hone_status hone_table_change_rule(hone_table *table, const hone_table_options *options,
                                            hone_error *error);

/* Hyperparameters by name, as in hone_optimizer_set. */
HONE_API hone_status hone_table_get(const hone_table *table, const char *hyper, double *value,
                                    hone_error *error);
HONE_API hone_status hone_table_set(hone_table *table, const char *hyper, double value,
                                    hone_error *error);

/* The schedule of the table's learning rate, as <hone/schedule.h> says of a group of an optimizer:
 * attaching one (NULL: none) sets the rate to value(0), each call below moves on. Call it after the
 * step, or at the end of an epoch. Snapshots hold schedule, place and base. Errors: NAME,
 * RANGE past the end, UNSUPPORTED if momentum would move from or to 0, MEMORY; and then no
 * rate has changed. */
HONE_API hone_status hone_table_set_schedule(hone_table *table, const hone_schedule *schedule,
                                             hone_error *error);
HONE_API const hone_schedule *hone_table_schedule(const hone_table *table); /* or NULL */
HONE_API hone_status hone_table_schedule_step(hone_table *table, hone_error *error);
HONE_API hone_status hone_table_schedule_epoch(hone_table *table, hone_error *error);
HONE_API hone_status hone_table_schedule_metric(hone_table *table, double metric,
                                                hone_error *error);
HONE_API uint64_t hone_table_schedule_count(const hone_table *table); /* e; 0 without one */

/* Calls of step that make one update of their sum, or mean; 1 (default): each. ARGUMENT while
 * gradients wait. */
HONE_API hone_status hone_table_set_grad_accum_steps(hone_table *table, int64_t steps, bool mean,
                                                     hone_error *error);
/* As set, or as restored from a snapshot; the mean pointer may be NULL. */
HONE_API int64_t hone_table_grad_accum_steps(const hone_table *table, bool *mean);

/* What the loss was multiplied by; finite, above 0; default 1. */
HONE_API hone_status hone_table_set_loss_scale(hone_table *table, double scale, hone_error *error);

HONE_API uint64_t hone_table_step_count(const hone_table *table); /* applied steps */
/* The running products of beta1 and beta2 that the presets correct with. */
HONE_API void hone_table_powers(const hone_table *table, double *power1, double *power2);
/* The count of HONE_BIAS_GLOBAL for the next step, from 1. */
HONE_API hone_status hone_table_set_step(hone_table *table, uint64_t step, hone_error *error);

#ifdef __cplusplus
}
#endif

#endif
