/* SPDX-License-Identifier: Apache-2.0 */
/* Two optimizers that get the same calls: the reference, all of it on the CPU, and the subject, whose
 * parameters are on devices. What they are told differently is known here: numbers that the subject reads
 * from device memory, and its graph, for which the reference is stepped by hand. */
#ifndef DEVICE_LOCKSTEP_H
#define DEVICE_LOCKSTEP_H

#include <hone/hone.h>

#include "device/host_target.h"
#include "support/random.h"

enum { REFERENCE, SUBJECT, SIDES };
enum { ON_CPU = -1, MOST_DEVICES = 2, MOST_PIECES = 40, MOST_GROUPS = 4, MOST_ARRAYS = 8192 };

struct piece {
    char name[8];
    int64_t shape[2]; /* its length, and the 2 of complex parameters' states */
    int device;       /* the subject's, or ON_CPU */
    hone_tensor param[SIDES], grad[SIDES];
    bool has_grad, pending; /* pending: in a sum that waits for its update */
    hone_mask *mask;
};

/* What a graph keeps as it was when it was captured. */
struct settings {
    double clip_norm, order, clip_value, loss_scale;
    hone_nonfinite policy;
};

/* A number in the memory of device 0. */
struct bound {
    void *memory; /* NULL: not bound */
    hone_dtype dtype;
    double value;
};

struct lockstep {
    uint64_t seed;
    unsigned places;  /* bit 0: has pieces on the CPU, bit 1: on device 1 */
    uint64_t reading; /* so often of 12 calls */
    bool strange;     /* has gradients that are not finite */
    uint64_t calls;   /* bit i: makes calls of kind i */
    struct random random;
    hone_context *context;
    hone_optimizer *optimizer[SIDES];
    struct piece pieces[MOST_PIECES];
    int count;
    const char *rules[MOST_GROUPS];
    hone_precision precision[MOST_GROUPS];
    int group_count;
    struct settings settings;
    int accumulate, micro_step;
    bool scaling, capturable;
    void *stream[MOST_DEVICES];
    struct bound lr[MOST_GROUPS], scale, flag;
    struct host_graph *graph; /* NULL: none */
    struct settings graph_settings;
    hone_tensor graph_grad[MOST_PIECES];
    void *arrays[MOST_ARRAYS]; /* on the host */
    size_t array_count;
    bool over; /* it came to its end without a failure */
    size_t written;
    char history[1 << 16];
};

/* Makes a call with `o` as the reference and then as the subject. Fails unless they answer alike; gives
 * the answer in `status`. */
#define BOTH(l, status, call)                                          \
    do {                                                               \
        hone_status answers_[SIDES];                                   \
        for (int side = 0; side < SIDES; side++) {                     \
            hone_optimizer *const o = (l)->optimizer[side];            \
            answers_[side] = (call);                                   \
        }                                                              \
        (status) = lockstep_same(answers_, #call, __FILE__, __LINE__); \
    } while (0)
hone_status lockstep_same(const hone_status answers[SIDES], const char *call, const char *file,
                          int line);

/* The same for a call that must succeed. */
#define BOTH_OK(l, call)                            \
    do {                                            \
        hone_status both_;                          \
        BOTH(l, both_, call);                       \
        check_ok(both_, #call, __FILE__, __LINE__); \
    } while (0)

/* A word of what is happening, for whoever reads of a failure. */
void lockstep_note(struct lockstep *l, const char *format, ...);

uint64_t lockstep_draw(struct lockstep *l, uint64_t count); /* from 0 to count - 1 */

void lockstep_start(struct lockstep *l, uint64_t seed);
void lockstep_end(struct lockstep *l);

/* Two new optimizers with the pieces that there are and what no checkpoint holds. */
void lockstep_renew(struct lockstep *l);
void lockstep_add(struct lockstep *l, int64_t length, hone_dtype dtype, int group, int device);

/* Values for a piece, in an array that the next call writes again. */
enum values { PLAIN, POSITIVE, SPECIAL, NOT_A_NUMBER };
const double *lockstep_values(struct lockstep *l, const struct piece *piece, enum values kind);

/* Views of new memory that holds the values, one for each side; or values to where views are. */
void lockstep_place(struct lockstep *l, const struct piece *piece, hone_dtype dtype,
                    const double *values, hone_tensor views[SIDES]);
void lockstep_write(struct lockstep *l, const struct piece *piece, const hone_tensor views[SIDES],
                    const double *values);

/* A number into device memory, new if it is not bound yet; and its view. */
void lockstep_bind(struct lockstep *l, struct bound *bound, hone_dtype dtype, double value);
hone_tensor lockstep_bound(const struct bound *bound);

void lockstep_apply(struct lockstep *l, int side, const struct settings *settings);

/* Both sides step; where the subject has to refuse, it alone is asked. */
void lockstep_step(struct lockstep *l, bool reported);

/* Takes a step of the subject into a graph where that is possible, and expects a refusal where not. */
void lockstep_capture(struct lockstep *l, bool prepared);
void lockstep_replay(struct lockstep *l);
void lockstep_drop_graph(struct lockstep *l);

/* Fails unless both sides hold the same parameters; and the same states, counters and scalers, which it
 * brings home from the devices. */
void lockstep_compare_params(struct lockstep *l);
void lockstep_compare_all(struct lockstep *l);

#endif
