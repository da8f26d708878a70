/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a long test program, for several processes side by side. Its cases are numbered from 0 in
 * the order in which it comes to them, and HONE_TEST_SHARD=3/16 in the environment asks for the third of
 * 16 shards: each case is in exactly one. Without it a program runs all cases. HONE_TEST_LIST=1 asks
 * for the numbers and names of the shard's cases instead of running them. */
#ifndef SUPPORT_SHARD_H
#define SUPPORT_SHARD_H

#include <stdbool.h>
#include <stddef.h>

struct shard {
    size_t index, count; /* from 0; count at least 1 */
};

/* "3/16"; NULL is the only shard. False, and `*shard` as it was, for any other text. */
bool shard_parse(const char *text, struct shard *shard);

/* Whether the shard has this case. */
bool shard_has(struct shard shard, size_t number);

/* The next case, called by a law and what it is tried on: whether this process is to run it. Ends the
 * program with 2 where HONE_TEST_SHARD is not understood. */
bool shard_takes(const char *law, const char *subject);

/* Says how many of its cases the program has run. Returns `result`, which main returns. */
int shard_end(int result);

#endif
