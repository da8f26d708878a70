/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots with extras: "<parameter>", "<parameter>.<state>" and "step". */
#include "saving.h"

#include <stdio.h>
#include <string.h>

const char *const parameter_names[PARAMETERS] = {"w1", "b1", "w2", "b2"};
static const char *const state_names[STATES] = {"exp_avg", "exp_avg_sq"};

float *parameter_data(network *net, int index, int64_t *count)
{
    float *const data[] = {&net->w1[0][0], net->b1, net->w2, net->b2};
    const int64_t counts[] = {HIDDEN * INPUTS, HIDDEN, HIDDEN, 1};
    *count = counts[index];
    return data[index];
}

static bool copy_states(saving *s, const run *r, hone_error *error)
{
    for (int p = 0; p < PARAMETERS; p++)
        for (int k = 0; k < STATES; k++) {
            hone_tensor view;
            int64_t count;
            float *const to = parameter_data(&s->states[k], p, &count);
            if (hone_optimizer_state(r->optimizer, p, state_names[k], &view, error) != HONE_OK)
                return false;
            if (view.data != NULL) /* there before the first step? no: zeros */
                memcpy(to, view.data, (size_t)count * sizeof *to);
            else
                memset(to, 0, (size_t)count * sizeof *to);
        }
    return true;
}

static void *write_snapshot(void *argument)
{
    saving *const s = argument;
    hone_file_entry extras[1 + PARAMETERS * (1 + STATES)];
    char names[PARAMETERS * STATES][32];
    int64_t shapes[PARAMETERS], n = 0;
    for (int p = 0; p < PARAMETERS; p++) {
        float *const values = parameter_data(&s->net, p, &shapes[p]);
        extras[n++] = (hone_file_entry){parameter_names[p],
                                        hone_tensor_view(values, HONE_F32, 1, &shapes[p])};
        for (int k = 0; k < STATES; k++) {
            char *const name = names[p * STATES + k];
            snprintf(name, sizeof names[0], "%s.%s", parameter_names[p], state_names[k]);
            float *const state = parameter_data(&s->states[k], p, &shapes[p]);
            extras[n++] = (hone_file_entry){name, hone_tensor_view(state, HONE_F32, 1, &shapes[p])};
        }
    }
    extras[n++] = (hone_file_entry){"step", hone_tensor_view(&s->step, HONE_I64, 0, NULL)};
    s->status = hone_snapshot_write(s->snapshot, s->directory, extras, n, &s->error);
    return NULL;
}

bool saving_wait(saving *s, hone_error *error)
{
    if (!s->busy)
        return true;
    pthread_join(s->thread, NULL);
    hone_snapshot_free(s->snapshot);
    s->busy = false;
    if (s->status != HONE_OK)
        *error = s->error;
    return s->status == HONE_OK;
}

bool saving_start(saving *s, run *r, hone_snapshot_kind kind, hone_error *error)
{
    if (!saving_wait(s, error) || !copy_states(s, r, error))
        return false;
    if (hone_snapshot_take(&s->snapshot, r->tables, LOG_FIELDS, kind, error) != HONE_OK)
        return false;
    s->net = r->net;
    s->step = r->step;
    s->busy = true;
    if (pthread_create(&s->thread, NULL, write_snapshot, s) == 0)
        return true;
    s->busy = false; /* no thread to be had: write here */
    write_snapshot(s);
    hone_snapshot_free(s->snapshot);
    if (s->status != HONE_OK)
        *error = s->error;
    return s->status == HONE_OK;
}

/* ---- resuming --------------------------------------------------------------------------------- */

static bool read_extra(const hone_file *file, const char *name, hone_tensor *tensor,
                       hone_error *error)
{
    const int64_t index = hone_file_find(file, name);
    if (index >= 0)
        return hone_file_tensor(file, index, tensor, error) == HONE_OK;
    snprintf(error->message, sizeof error->message, "the snapshot has no \"%s\"", name);
    error->status = HONE_ERROR_MISMATCH;
    return false;
}

static bool read_parameter(run *r, const hone_file *file, int p, hone_error *error)
{
    hone_tensor tensor;
    int64_t count;
    float *const values = parameter_data(&r->net, p, &count);
    if (!read_extra(file, parameter_names[p], &tensor, error))
        return false;
    memcpy(values, tensor.data, (size_t)count * sizeof *values);
    for (int k = 0; k < STATES; k++) {
        char name[32];
        snprintf(name, sizeof name, "%s.%s", parameter_names[p], state_names[k]);
        if (!read_extra(file, name, &tensor, error) ||
            hone_optimizer_set_state(r->optimizer, p, state_names[k], &tensor, error) != HONE_OK)
            return false;
    }
    return hone_optimizer_set_step_count(r->optimizer, p, (uint64_t)r->step, error) == HONE_OK;
}

bool saving_resume(run *r, const char *directory, hone_restore_report *report, hone_error *error)
{
    if (hone_snapshot_restore(r->tables, LOG_FIELDS, directory, report, error) != HONE_OK)
        return false;
    hone_file *file = NULL;
    hone_tensor tensor;
    bool good = hone_file_open(&file, r->context, report->last, error) == HONE_OK &&
                read_extra(file, "step", &tensor, error);
    if (good)
        memcpy(&r->step, tensor.data, sizeof r->step);
    for (int p = 0; good && p < PARAMETERS; p++)
        good = read_parameter(r, file, p, error);
    hone_file_close(file);
    return good;
}
