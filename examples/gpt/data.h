/* SPDX-License-Identifier: Apache-2.0 */
/* The text that the model learns: files and directories read into memory as bytes, cut into a
 * training part and a held-out part, and batches drawn from either without any hidden state. */
#ifndef GPT_DATA_H
#define GPT_DATA_H

#include <stddef.h>
#include <stdint.h>

typedef struct corpus {
    uint8_t *train;    /* the first nine tenths of every file, one after the other */
    uint8_t *held_out; /* the last tenth of every file */
    size_t train_size;
    size_t held_out_size;
    int n_files;
} corpus;

/* Reads every path: a file whatever its name, a directory with all below it that is source or
 * text (.c .h .md .txt .py .cmake), in the order of the paths' bytes. Left out are names that
 * start with a dot, directories whose names start with "build", and symbolic links below it.
 * 0, or -1 with a sentence in problem when a path cannot be read, or when a part is too short for
 * one sequence of context bytes; then *text is empty. Release with corpus_free. */
int corpus_load(corpus *text, const char *const *paths, int n_paths, int context, char *problem,
                size_t problem_size);
void corpus_free(corpus *text);

/* Copies the files that corpus_load would read to the directory, which must exist, as 000000.txt
 * and so on: loading the directory gives the same corpus whatever happens to the files later.
 * Removes the rest of an earlier copy there. 0, or -1 with a sentence in problem. */
int corpus_copy(const char *const *paths, int n_paths, const char *directory, char *problem,
                size_t problem_size);

/* inputs and targets get batch * context bytes each; targets are the inputs one byte later.
 * The positions are a pure function of (seed, step). */
void corpus_batch(const corpus *text, uint64_t seed, int64_t step, int batch, int context,
                  uint8_t *inputs, uint8_t *targets);

/* Batch index (0 to count - 1) of count batches spread evenly over the held-out part. */
void corpus_held_out_batch(const corpus *text, int index, int count, int batch, int context,
                           uint8_t *inputs, uint8_t *targets);

#endif
