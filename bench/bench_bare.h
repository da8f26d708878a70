/* SPDX-License-Identifier: Apache-2.0 */
/* A bare pass over the very memory of a subject: the same bytes, the same threads, the same share
 * for each, one parallel region. */
#ifndef HONE_BENCH_BARE_H
#define HONE_BENCH_BARE_H

#include "bench_loops.h"
#include "bench_subject.h"

typedef struct bench_bare {
    const bench_loops *loops;
    int threads;
    bool reads_first; /* a pass that only reads the gradients goes before */
    hone_dtype dtype;
    size_t n;
    void *p, *m, *v; /* v NULL: one state */
    void *master;    /* NULL: none */
    const void *g;
    float sum; /* of the pass that only reads; kept so that it cannot be left out */
} bench_bare;

/* The subject's first tensor must be its only one. False if it has no state of the name. */
bool bench_bare_begin(bench_bare *bare, const bench_subject *subject, const bench_recipe *recipe,
                      const char *first_slot, const char *second_slot);

/* One pass; `bare` is a bench_bare. */
void bench_bare_pass(void *bare);

/* Bytes of one pass. */
double bench_bare_bytes(const bench_bare *bare);

#endif
