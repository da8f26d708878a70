/* SPDX-License-Identifier: Apache-2.0 */
/* Saving and resuming a run: the tables' snapshots with the network, its optimizer's states and the
 * step as extras, so that all are of one moment. A thread writes while training goes on. */
#ifndef RECSYS_SAVING_H
#define RECSYS_SAVING_H

#include <pthread.h>
#include <stdbool.h>

#include <hone/hone.h>

#include "network.h"

enum { PARAMETERS = 4, STATES = 2 };

typedef struct run {
    hone_context *context;
    hone_table *tables[LOG_FIELDS];
    hone_optimizer *optimizer;
    network net;
    int64_t step; /* steps done */
} run;

/* What the writing thread works on. */
typedef struct saving {
    const char *directory;
    hone_snapshot *snapshot;
    network net, states[STATES];
    int64_t step;
    hone_status status;
    hone_error error;
    pthread_t thread;
    bool busy;
} saving;

/* Copies everything and starts to write it; waits for the writing before. False: see error. */
bool saving_start(saving *s, run *r, hone_snapshot_kind kind, hone_error *error);
bool saving_wait(saving *s, hone_error *error);

/* Restores the newest state in the directory; false with IO when there is none. */
bool saving_resume(run *r, const char *directory, hone_restore_report *report, hone_error *error);

/* The four arrays of a network, by the name of their parameter. */
extern const char *const parameter_names[PARAMETERS];
float *parameter_data(network *net, int index, int64_t *count);

#endif
