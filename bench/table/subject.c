/* SPDX-License-Identifier: Apache-2.0 */
/* The index alone, without rows: what the other maps are compared with. */
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>

#include "table/index.h"

struct subject {
    hone_context *context;
    struct hone_index index;
    uint32_t *fresh;
    size_t room;
};

static void require(hone_status status, const hone_error *error)
{
    if (status == HONE_OK)
        return;
    fprintf(stderr, "bench: %s\n", error->message);
    exit(1);
}

struct subject *subject_create(int threads)
{
    struct subject *const subject = calloc(1, sizeof *subject);
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = threads;
    hone_error error;
    require(hone_context_create(&subject->context, &options, &error), &error);
    require(hone_index_create(&subject->index, subject->context, 1, &error), &error);
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
        subject->fresh = realloc(subject->fresh, n * sizeof *subject->fresh);
        subject->room = n;
    }
    struct hone_insertion to = {.next = subject->index.count, .fresh = subject->fresh};
    hone_error error;
    require(hone_index_insert(&subject->index, keys, n, rows, &to, &error), &error);
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
