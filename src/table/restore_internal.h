/* SPDX-License-Identifier: Apache-2.0 */
/* An open snapshot file, and how one table takes its part of it. */
#ifndef HONE_TABLE_RESTORE_INTERNAL_H
#define HONE_TABLE_RESTORE_INTERNAL_H

#include "table/snapshot_internal.h"

struct hone_loaded {
    char path[HONE_SNAPSHOT_PATH_SIZE];
    hone_file *file;
    json_t *notes;
    uint64_t sequence, chain, before, checksum;
    bool increment;
};

/* Whether the file has the table's parts in the right types and sizes, with rows in range. */
hone_status hone_table_check_loaded(struct hone_table *table, const struct hone_loaded *loaded,
                                    hone_error *error);
/* Takes them over; on failure the table is half changed and must be cleared. */
hone_status hone_table_apply_loaded(struct hone_table *table, const struct hone_loaded *loaded,
                                    hone_error *error);
/* Ends a restore that failed: the table is empty, its settings are those from
 * before. Cannot fail. */
void hone_table_clear(struct hone_table *table);
/* Ends one that succeeded. */
void hone_table_forget_settings(struct hone_table *table);

#endif
