/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel tests' own small harness: arrays between canaries, fills, scenarios and a report. It
 * needs nothing but the kernel layer and the C library, so that it runs wherever kernels do (under
 * an emulator, in a build without the library's other dependencies). */
#ifndef HONE_TESTS_KERNEL_TEST_H
#define HONE_TESTS_KERNEL_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "kernel/kernel.h"
#include "kernel/stage.h"

/* ---- report.c: what went wrong, and how much of it ------------------------------------------ */

/* Prints the sentence and counts a failure unless `ok`. Returns `ok`. */
bool check(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
int check_failures(void);
bool quick(void); /* HONE_TEST_QUICK is set: under valgrind, sanitizers and emulators */

/* ---- values.c: formats as bit patterns, by slow and independent means ------------------------ */

const char *format_name(enum hone_format format);
uint64_t read_bits(enum hone_format format, const void *values, size_t i);
void write_bits(enum hone_format format, void *values, size_t i, uint64_t bits);
bool is_nan_bits(enum hone_format format, uint64_t bits);
uint64_t infinity_bits(enum hone_format format);

/* The value of a pattern; the pattern nearest to a value, ties to even. */
double reference_widen(enum hone_format format, uint64_t bits);
uint64_t reference_narrow(enum hone_format format, double value);
uint64_t reference_cut(enum hone_format format, double value); /* towards zero */

uint64_t next_random(uint64_t *state);
double next_uniform(uint64_t *state); /* in [0, 1) */

/* ---- arrays.c: the arrays of one kernel call ------------------------------------------------- */

enum fill {
    FILL_RANDOM,
    FILL_TINY,
    FILL_HUGE,
    FILL_DENORMAL,
    FILL_ZERO,
    FILL_INFINITE,
    FILL_MIXED,
    FILL_COUNT
};

const char *fill_name(enum fill fill);
uint64_t fill_bits(enum hone_format format, enum fill fill, uint64_t *state);

struct formats {
    enum hone_format param, grad, slot[HONE_MAX_SLOTS];
    int slot_count;
    unsigned present; /* bit k: slot k exists */
    enum hone_extra extra;
    enum hone_format extra_format;
    bool has_extra;
};

/* `size` bytes of data inside a block whose other bytes are canaries. */
struct array {
    unsigned char *block, *data;
    size_t block_size, size;
};

struct arrays {
    struct formats formats;
    size_t n;
    struct array param, grad, slot[HONE_MAX_SLOTS], extra, mask;
};

struct arrays *arrays_new(void); /* room for HONE_CHUNK elements of any format */
void arrays_free(struct arrays *arrays);

/* Lays out arrays of n elements, each some elements (from `offset`) past an aligned address. */
void arrays_place(struct arrays *arrays, const struct formats *formats, size_t n, size_t offset);
void arrays_fill(struct arrays *arrays, enum fill fill, uint64_t seed);
void arrays_fill_mask(struct arrays *arrays, uint32_t word); /* every word the same */

/* The same layout and values, with fresh canaries. */
void arrays_copy(struct arrays *to, const struct arrays *from);
struct hone_chunk arrays_chunk(const struct arrays *arrays, enum hone_form form);
struct hone_chunk chunk_part(const struct arrays *arrays, const struct hone_chunk *whole,
                             size_t first, size_t n);

/* Checks, with `label` at the head of the report. NaNs count as one value. */
bool check_canaries(const struct arrays *arrays, const char *label);
bool check_equal(const struct arrays *actual, const struct arrays *expected, const char *label);
bool check_gradient(const struct arrays *actual, const struct arrays *before, const char *label);
bool check_values(enum hone_format format, const void *actual, const void *expected, size_t n,
                  const char *label, const char *what);
uint64_t arrays_digest(const struct arrays *arrays, uint64_t digest);

/* ---- combination.c: every kernel there is ---------------------------------------------------- */

/* A matrix rule has one kernel per compute type, its direction, which writes `extra`; the rule "move"
 * is the frame alone and stands after the registry's rules. */
struct combination {
    const struct hone_rule *rule;
    int rule_index;
    int real_bits; /* 32 or 64 */
    int direct;    /* index among the direct format combinations */
    int variant;
    enum hone_form form;
    struct formats formats;
};

int combination_count(void);
struct combination combination_at(int index);
hone_kernel_fn *combination_kernel(const struct combination *combination,
                                   const struct hone_cpu_level *level);

/* The loops that exist twice, as (dense, masked) neighbours: all but directions. */
bool has_forms(const struct combination *combination);

/* The loop that runs on a staged tile for this rule, variant and form. */
hone_kernel_fn *tile_kernel(const struct combination *combination,
                            const struct hone_cpu_level *level);

/* "adamw_dense_F32_F32_F32_v0"; the buffer is the caller's. */
#define LABEL_SIZE 160
void combination_label(char label[LABEL_SIZE], const struct combination *combination);

struct scenario {
    struct hone_scalars scalars;
    struct hone_frame frame;
};

/* Scalars as the rule's own preparation makes them, with options, step and frame drawn by seed. */
struct scenario scenario_make(const struct combination *combination, uint64_t seed);

/* ---- the suites ------------------------------------------------------------------------------ */

void suite_levels(void);
void suite_laws(void);
void suite_stage(void);
void suite_tiles(void);
void suite_guard(void);
void suite_formats(void);
void suite_sums(void);
void suite_rounding(void);
void suite_digests(void);
void print_digests(void);
void bench(const char *filter);

#endif
