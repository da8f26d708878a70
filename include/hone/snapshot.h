/* SPDX-License-Identifier: Apache-2.0 */
/* Saving tables: a full snapshot, then increments that hold only the rows that changed and the keys
 * that went. Training stops for the copy alone; the file may be written by another thread
 * meanwhile.
 *
 *   hone_snapshot_take(&snapshot, tables, count, HONE_SNAPSHOT_INCREMENT, &err); // a copy
 *   hone_snapshot_write(snapshot, directory, extras, n, &err);                   // any thread
 *   hone_snapshot_free(snapshot);                                                // training thread
 *
 * Files are safetensors with checksums, appear whole or not at all, and are named by a sequence
 * number that never falls: a full snapshot's is above all that its directory has. Full and
 * increments restored, a run goes on with the bits of one that never stopped. Beside them, tables
 * can be exported and imported by key, in any number of shards. */
#ifndef HONE_SNAPSHOT_H
#define HONE_SNAPSHOT_H

#include <hone/safetensors.h>
#include <hone/table.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_snapshot hone_snapshot;

typedef enum hone_snapshot_kind {
    HONE_SNAPSHOT_FULL,      /* every row */
    HONE_SNAPSHOT_INCREMENT, /* what changed since the snapshot before */
    HONE_SNAPSHOT_COPY       /* every row, for memory alone: no snapshot follows it or ends by it */
} hone_snapshot_kind;

/* Copies tables (of different names) as they stand. An increment needs a full snapshot before it,
 * of the same tables, taken or restored; else ARGUMENT. One snapshot of a table at a time: ARGUMENT
 * until the one before is freed; a copy may be taken at any time and changes nothing. */
HONE_API hone_status hone_snapshot_take(hone_snapshot **snapshot, hone_table *const *tables,
                                        int64_t count, hone_snapshot_kind kind, hone_error *error);

/* Writes the snapshot into `directory`, which exists, with `extra_count` tensors of the caller's
 * (any names that are not "<table>@..."), so that they are saved at one moment. May be called again
 * after a failure. Touches no table. Errors: IO, NAME, RANGE (the number 999999999999 is taken),
 * MEMORY; ARGUMENT for a copy; those of hone_file_write for the extras. */
HONE_API hone_status hone_snapshot_write(hone_snapshot *snapshot, const char *directory,
                                         const hone_file_entry *extras, int64_t extra_count,
                                         hone_error *error);

HONE_API int64_t hone_snapshot_rows(const hone_snapshot *snapshot); /* copied rows */
HONE_API uint64_t
hone_snapshot_bytes(const hone_snapshot *snapshot); /* of memory, for all copies */

/* Frees the copy. Of a snapshot that was never written the changes go back to the tables' lists, so
 * that the next one has them. To be freed before the tables; NULL is accepted. */
HONE_API void hone_snapshot_free(hone_snapshot *snapshot);

#define HONE_SNAPSHOT_PATH_SIZE 1024

typedef struct hone_restore_report {
    int64_t files;                         /* applied */
    uint64_t sequence;                     /* of the last of them */
    char last[HONE_SNAPSHOT_PATH_SIZE];    /* its path: the caller's extras are in it */
    char problem[HONE_ERROR_MESSAGE_SIZE]; /* the file that could not be used, and why; or "" */
} hone_restore_report;

/* Brings empty tables, made with the same names, widths, dtypes, rules, bias, decay, rounding
 * (stochastic or not) and seed, to the newest state that the directory's files give without a gap:
 * the last full snapshot that is sound and the increments after it up to the first that is missing
 * or damaged, which is named in report->problem. Hyperparameters and schedules are the file's.
 * Errors: IO (no snapshot there, or the directory cannot be read), MISMATCH (another width, dtype,
 * rule, bias, decay, rounding, seed, or set of tables), RANGE (more rows than a table's byte budget
 * holds), FORMAT (nothing sound), ARGUMENT (tables not empty, or a snapshot of them at work),
 * MEMORY. ARGUMENT, and IO or MEMORY before a full snapshot was found, change nothing; after
 * any other error the tables are empty, their settings as before, and their next snapshot is
 * a full one. */
HONE_API hone_status hone_snapshot_restore(hone_table *const *tables, int64_t count,
                                           const char *directory, hone_restore_report *report,
                                           hone_error *error);

/* ---- in memory ------------------------------------------------------------------------------- */

/* A copy as the bytes of a full snapshot's file, for programs that keep state in files of their
 * own: *size becomes the length, and `bytes` receives them if `capacity` is at least that (NULL and
 * 0 ask for the length). Errors: ARGUMENT (another kind than a copy), MEMORY. */
HONE_API hone_status hone_snapshot_pack(const hone_snapshot *snapshot, void *bytes, size_t capacity,
                                        size_t *size, hone_error *error);

/* Brings empty tables, as for hone_snapshot_restore, to where they stood when the bytes of a copy
 * or the file of a full snapshot were made. The next snapshot has to be a full one. Errors: FORMAT,
 * MISMATCH, RANGE, ARGUMENT (as there; nothing has changed), MEMORY; after the others the tables
 * are empty and their settings as before. */
HONE_API hone_status hone_snapshot_unpack(hone_table *const *tables, int64_t count,
                                          const void *bytes, size_t size, hone_error *error);

/* ---- by key ---------------------------------------------------------------------------------- */

/* The shard of a key among `shards`: a mixed hash, the same for every table and seed. */
HONE_API int64_t hone_shard_of(int64_t key, int64_t shards);

/* Writes the rows of shard `shard` to the file `path`: keys as "<table>@id" (I64 [n]), values as
 * "<table>@embedding" ([n, width], in the table's dtype), states as "<table>@<slot>" or, of a
 * preset, "<table>@<preset>_<slot>", counts of each row as "<table>@counts" (U32 [n, 5]: seen,
 * time, frequency, updates, updated), and the table's counters ("step", "beta1" and "beta2",
 * the running products, with the preset's prefix; "global_step", "tick", "clock"; [1] each).
 * Gradients that wait and admission's counters are not exported. Errors: RANGE (no such
 * shard), IO, MEMORY. */
HONE_API hone_status hone_table_export(const hone_table *table, const char *path, int64_t shard,
                                       int64_t shards, hone_error *error);

/* Takes over the rows of shard `shard` from such a file, whatever shards it was written in: call it
 * for each file. Values are converted to the table's dtypes; a column that the file lacks starts
 * fresh in new rows and stays in others. A table without rows and steps takes over the counters
 * too, so that it goes on as the exported one would have, to the bit; a table that has counters of
 * its own keeps them, and rows count as seen and stepped last when they were imported. Errors:
 * RANGE (no such shard; more rows than the byte budget), MISMATCH (no such table, another width),
 * the file's own, MEMORY; the table is unchanged then. */
HONE_API hone_status hone_table_import(hone_table *table, const char *path, int64_t shard,
                                       int64_t shards, hone_error *error);

#ifdef __cplusplus
}
#endif

#endif
