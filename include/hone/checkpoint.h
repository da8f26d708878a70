/* SPDX-License-Identifier: Apache-2.0 */
/* Saving and restoring an optimizer: one safetensors file whose tensors are named
 * "<parameter>@<slot>" and whose metadata holds the spec, the groups and the counters as JSON under
 * the key "hone". Parameters' own values are the caller's to save. docs/checkpoint.md has the
 * layout. Save, load, continue gives the bits of a run that never stopped. */
#ifndef HONE_CHECKPOINT_H
#define HONE_CHECKPOINT_H

#include <hone/optimizer.h>
#include <hone/safetensors.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes `path` atomically. Errors: UNSUPPORTED when a hyperparameter is a callback, NAME for a
 * parameter's name that is not UTF-8, RANGE for a step count of 2^63 or more, IO, MEMORY. */
HONE_API hone_status hone_optimizer_save(const hone_optimizer *optimizer, const char *path,
                                         hone_error *error);

/* Restores states, counters, multipliers and every group's values by NAME. Everything is checked
 * first: all missing, unexpected and misshapen tensors are listed in one message (MISMATCH) and
 * then nothing is changed. Parameters must be registered with the names they had, in any order and
 * in any groups of the same rules; afterwards the groups are the file's. A file of a group that
 * rounds at random needs a context of the same seed (MISMATCH too). Views of states stay valid
 * where the state's dtype stays. Other errors: IO and FORMAT (not a checkpoint, or a damaged one),
 * the spec's own (SPEC), MEMORY. */
HONE_API hone_status hone_optimizer_load(hone_optimizer *optimizer, const char *path,
                                         hone_error *error);

/* The same from an open file. */
HONE_API hone_status hone_optimizer_load_file(hone_optimizer *optimizer, const hone_file *file,
                                              hone_error *error);

#ifdef __cplusplus
}
#endif

#endif
