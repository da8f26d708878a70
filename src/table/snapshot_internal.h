/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a snapshot: the copy of each table's changes, and how the parts are called in
 * files. */
#ifndef HONE_TABLE_SNAPSHOT_INTERNAL_H
#define HONE_TABLE_SNAPSHOT_INTERNAL_H

#include <jansson.h>
#include <string.h>

#include <hone/snapshot.h>

#include "table/table_internal.h"

/* 2: the description has a checksum, and those of tensors take in dtype and shape. Files of format
 * 1, from before any release, are refused. */
#define HONE_SNAPSHOT_FORMAT 2
#define HONE_SNAPSHOT_KEY "hone_tables" /* of the metadata: the description */
#define HONE_SNAPSHOT_SUM_KEY "hone_tables_checksum"
#define HONE_SNAPSHOT_NAME_SIZE 512

/* Numbers of a row's header that are saved, in the order of "<table>@counts". */
#define HONE_ROW_COUNTS 5 /* seen, time, frequency, updates, updated */

static inline void hone_row_counts(const struct hone_row *row, uint32_t *counts)
{
    const uint32_t all[HONE_ROW_COUNTS] = {row->seen, row->time, row->frequency, row->updates,
                                           row->updated};
    memcpy(counts, all, sizeof all);
}

static inline void hone_row_set_counts(struct hone_row *row, const uint32_t *counts)
{
    row->seen = counts[0];
    row->time = counts[1];
    row->frequency = counts[2];
    row->updates = counts[3];
    row->updated = counts[4];
}

/* One tensor of a table's part. */
struct hone_part {
    char *name; /* "<table>@<what>" */
    void *data;
    size_t size; /* bytes allocated */
    hone_dtype dtype;
    int32_t ndim;
    int64_t shape[2];
};

/* id, row, born, counts, columns, gone, free, sights_line, sights, waiting_row, waiting_born,
 * waiting_sum */
#define HONE_MAX_PARTS (11 + HONE_MAX_COLUMNS)

struct hone_table_copy {
    struct hone_table *table;
    struct hone_part parts[HONE_MAX_PARTS];
    int part_count;
    size_t rows, gone;
    size_t kept;   /* free rows that an increment leaves out, as the snapshot before has them */
    json_t *facts; /* of the table: counters, hyperparameters */
};

struct hone_snapshot {
    const hone_context *context;
    hone_snapshot_kind kind;
    struct hone_table_copy *tables;
    int64_t count;
    uint64_t chain, sequence;
    uint64_t before; /* checksum of the snapshot this one follows */
    uint64_t checksum;
    bool written;
};

/* A file of a directory of snapshots, and all of them by number. */
struct hone_snapshot_file {
    uint64_t sequence;
    bool full;
};

struct hone_snapshot_list {
    const hone_context *context;
    struct hone_snapshot_file *files;
    size_t count, capacity;
};

/* To be freed whatever the status. */
hone_status hone_snapshot_list(struct hone_snapshot_list *list, const hone_context *context,
                               const char *directory, hone_error *error);
void hone_snapshot_list_free(struct hone_snapshot_list *list);
hone_status hone_snapshot_path(char path[HONE_SNAPSHOT_PATH_SIZE], const char *directory,
                               const struct hone_snapshot_file *file, hone_error *error);

/* Gives the snapshot the checksum of its parts, from theirs; a full one's chain follows from it. */
void hone_snapshot_seal(struct hone_snapshot *snapshot, const uint64_t *sums, int64_t count);

/* 64 bits that change with any byte. */
uint64_t hone_checksum(const void *bytes, size_t size);
/* The same of a tensor: with its dtype and shape too. */
uint64_t hone_tensor_checksum(const hone_tensor *tensor);

/* What a column is called in files: "embedding", "sparse_adam_exp_avg". */
void hone_column_file_name(const struct hone_table *table, const struct hone_column *column,
                           char *name, size_t size);

/* Writes and reads a table's counters and hyperparameters. Errors: UNSUPPORTED (a schedule that a
 * callback computes), MISMATCH and FORMAT if what is read does not fit the table, MEMORY. */
hone_status hone_table_facts(const struct hone_table *table, json_t **facts, hone_error *error);
hone_status hone_table_take_facts(struct hone_table *table, const json_t *facts, bool apply,
                                  hone_error *error);

uint64_t hone_json_bits(const json_t *object, const char *key);
json_t *hone_json_of_bits(uint64_t bits);

#endif
