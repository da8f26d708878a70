/* SPDX-License-Identifier: Apache-2.0 */
/* The loops that a step is held against: they move the bytes that a step moves and do one addition
 * per store. One table of them per CPU level, bench_loops_<level>. */
#ifndef HONE_BENCH_LOOPS_H
#define HONE_BENCH_LOOPS_H

#include <stddef.h>
#include <stdint.h>

typedef struct bench_loops {
    /* Reads p, g, m, v, writes p, m, v: 28 bytes an element. */
    void (*stream28)(float *p, const float *g, float *m, float *v, size_t n);
    /* Reads p, g, m, writes p, m: 20 bytes an element. */
    void (*stream20)(float *p, const float *g, float *m, size_t n);
    /* stream28 over 16-bit values, 14 bytes an element. The values are not ours to change, so what
     * is added is g & mask, and the caller hands in the mask 0. */
    void (*stream14)(uint16_t *p, const uint16_t *g, uint16_t *m, uint16_t *v, uint16_t mask,
                     size_t n);
    /* Reads g, master, m, v, writes all but g and p too: 26 bytes an element. `mask` as above. */
    void (*stream26)(uint16_t *p, const uint16_t *g, float *master, float *m, float *v,
                     uint16_t mask, size_t n);
    /* Reads g: 4 bytes an element. */
    float (*read4)(const float *g, size_t n);
} bench_loops;

const bench_loops *bench_loops_find(const char *level); /* NULL if there is none of the name */

#endif
