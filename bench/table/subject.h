/* SPDX-License-Identifier: Apache-2.0 */
/* hone's index behind a plain C interface: its own header is C11, the benchmark is C++. */
#ifndef BENCH_TABLE_SUBJECT_H
#define BENCH_TABLE_SUBJECT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct subject;
struct subject *subject_create(int threads);
void subject_free(struct subject *subject);
void subject_insert(struct subject *subject, const int64_t *keys, size_t n, int64_t *rows);
void subject_find(struct subject *subject, const int64_t *keys, size_t n, int64_t *rows);
void subject_erase(struct subject *subject, const int64_t *keys, size_t n, int64_t *rows);
size_t subject_bytes(const struct subject *subject);

#ifdef __cplusplus
}
#endif

#endif
