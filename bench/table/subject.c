/* SPDX-License-Identifier: Apache-2.0 */
/* The index alone, without rows: what the other maps are compared with. */
#include "subject.h"

#include <stdlib.h>

#include "support.h"
#include "table/index.h"

struct subject {
    hone_context *context;
    struct hone_index index;
    uint32_t *fresh;
    size_t room;
};

struct subject *subject_create(int threads)
{
    struct subject *const subject = bench_demand(calloc(1, sizeof *subject));
    hone_error error;
    subject->context = bench_context(threads);
    bench_require(hone_index_create(&subject->index, subject->context, 1, &error), &error);
    return subject;
}

void subject_free(struct subject *subject)
{
    hone_index_free(&subject->index);
    hone_context_free(subject->context);
    free(subject->fresh);
    free(subject);
}

void subject_insert(struct subject *subject, const int64_t *keys, size_t n, int64_t *rows)
{
    if (n > subject->room) {
        subject->fresh = bench_demand(realloc(subject->fresh, n * sizeof *subject->fresh));
        subject->room = n;
    }
    struct hone_insertion to = {.next = subject->index.count, .fresh = subject->fresh};
    hone_error error;
    bench_require(hone_index_insert(&subject->index, keys, n, rows, &to, &error), &error);
}

void subject_find(struct subject *subject, const int64_t *keys, size_t n, int64_t *rows)
{
    hone_index_find(&subject->index, keys, n, rows);
}

void subject_erase(struct subject *subject, const int64_t *keys, size_t n, int64_t *rows)
{
    hone_index_erase(&subject->index, keys, n, rows);
}

size_t subject_bytes(const struct subject *subject)
{
    return hone_index_bytes(&subject->index);
}
