/* SPDX-License-Identifier: Apache-2.0 */
/* The picture: losses on both texts while a model is fine-tuned, and how far its weights moved. */
#ifndef FINETUNE_PICTURE_H
#define FINETUNE_PICTURE_H

#include "movement.h"
#include "tuning.h"

/* Writes losses.tsv, movement.tsv and finetune.gnuplot under out, and from them finetune.svg.
 * Without gnuplot there is no picture, which is a warning. ways[i] are those of runs[i]. */
int picture_draw(const tuning_run *runs, const movement *ways, int count, const char *out);

#endif
