/* SPDX-License-Identifier: Apache-2.0 */
/* What the compiled rules look like from outside: storage formats, the chunk a kernel works on, the
 * scalars it gets, and the tables that name the kernels. Depends on nothing of hone but the public
 * description of a rule. */
#ifndef HONE_KERNEL_KERNEL_H
#define HONE_KERNEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hone/rule.h>

/* Elements of one chunk: the unit of work of a thread or a CUDA block, and of every fixed-order
 * sum. Part of the arithmetic of norms: changing it changes their last bits. */
#define HONE_CHUNK 8192

#define HONE_MAX_SLOTS 4
#define HONE_MAX_COEFS 12
#define HONE_MAX_HYPERS 16
#define HONE_MAX_OPTIONAL 2 /* slots that exist only under a condition */
#define HONE_MAX_VARIANTS (1 << HONE_MAX_OPTIONAL)

/* How a value is stored. Arithmetic is in float, in double for HONE_FORMAT_F64 parameters. */
enum hone_format {
    HONE_FORMAT_F32,
    HONE_FORMAT_F64,
    HONE_FORMAT_BF16,
    HONE_FORMAT_F16,
    HONE_FORMAT_COUNT
};

#if defined(__CUDACC__)
#define RULE_ON_HOST_AND_DEVICE static inline __host__ __device__ __attribute__((unused))
#else
#define RULE_ON_HOST_AND_DEVICE static inline __attribute__((unused))
#endif

RULE_ON_HOST_AND_DEVICE size_t hone_format_size(enum hone_format format)
{
    return format == HONE_FORMAT_F32 ? 4 : format == HONE_FORMAT_F64 ? 8 : 2;
}

/* How the parameter is kept beside its stored value. */
enum hone_extra {
    HONE_EXTRA_NONE,
    HONE_EXTRA_MASTER,    /* the parameter of the chunk is an f32 copy; `extra` is the caller's own
                             16-bit tensor, written from it */
    HONE_EXTRA_KAHAN,     /* `extra` holds what rounding took from the parameter, in its format */
    HONE_EXTRA_STOCHASTIC /* no memory: the parameter is rounded up or down at random */
};

/* Combinations of (parameter, gradient, all slots, extra, a master's cast) with a loop of their
 * own. Everything else goes through a tile converted to the compute type (stage.c), with the same
 * bits. */
#define HONE_DIRECT_F32(X)                  \
    X(0, F32, F32, F32, NONE, F32)          \
    X(1, BF16, BF16, F32, NONE, F32)        \
    X(2, BF16, BF16, BF16, NONE, F32)       \
    X(3, F16, F16, F32, NONE, F32)          \
    X(4, BF16, F32, F32, NONE, F32)         \
    X(5, F32, BF16, F32, NONE, F32)         \
    X(6, F32, BF16, F32, MASTER, BF16)      \
    X(7, BF16, BF16, F32, KAHAN, BF16)      \
    X(8, BF16, BF16, F32, STOCHASTIC, BF16) \
    X(9, F32, F16, F32, NONE, F32)
#define HONE_DIRECT_F64(X) X(0, F64, F64, F64, NONE, F64)
#define HONE_MAX_DIRECT 10

enum hone_form { HONE_FORM_DENSE, HONE_FORM_MASKED, HONE_FORM_COUNT };

/* At most HONE_CHUNK consecutive elements of one tensor. Pointers may be NULL when n is 0. */
struct hone_chunk {
    void *param;
    const void *grad;
    void *slot[HONE_MAX_SLOTS]; /* in the rule's order; NULL where the variant has none */
    const uint32_t *mask;       /* masked form: bit i % 32 of word i / 32 belongs to element i */
    void *extra;                /* see enum hone_extra */
    uint32_t noise;             /* key of this chunk's random bits */
    size_t n;
};

/* Per-step numbers of a set of tensors that share group, step count and learning rates, in double;
 * a kernel rounds each once to its compute type. Index 0 of rate, keep and frozen serves plain
 * tensors and unmasked elements, index 1 masked ones. */
struct hone_scalars {
    double coef[HONE_MAX_COEFS]; /* the rule's own, in the order of its RULE_COEFS */
    double rate[2];              /* parameter -= rate * direction */
    double keep[2];              /* parameter *= keep before that: decoupled decay */
    bool frozen[2];              /* the parameter keeps its bits; slots run on */
    double l2;                   /* gradient += l2 * parameter, skipped when 0 */
    uint64_t step;               /* the number of this call, from 1: for random rounding */
    bool maximize;
};

/* Per-step numbers of the whole step. */
struct hone_frame {
    double grad_scale;  /* every gradient is multiplied by this first: 1 / loss scale */
    double value_limit; /* then clamped to [-limit, limit]; infinity: not at all */
    double clip_coef;   /* then multiplied by this: the global-norm clip */
};

typedef void hone_kernel_fn(const struct hone_chunk *chunk, const struct hone_scalars *scalars,
                            const struct hone_frame *frame);

/* The kernels of one rule for one compute type and CPU level. An element rule has step, a matrix rule
 * direction: it updates the slots and writes each element's direction, in the compute type, to the
 * chunk's `extra`; what the matrix makes of it reaches the parameter through the rule "move". */
struct hone_rule_kernels {
    hone_kernel_fn *step[HONE_MAX_DIRECT][HONE_MAX_VARIANTS][HONE_FORM_COUNT];
    hone_kernel_fn *direction[HONE_MAX_VARIANTS]; /* all arrays in the compute type */
};

/* What else is compiled per level: conversions and sums. Every count is at most HONE_CHUNK, except
 * in combine. `scale` and `limit` are grad_scale and value_limit of the frame. */
struct hone_support_kernels {
    /* widen: any format to the compute type's; narrow: back, rounding to nearest even. */
    void (*widen_f32[HONE_FORMAT_COUNT])(float *to, const void *from, size_t n);
    void (*narrow_f32[HONE_FORMAT_COUNT])(void *to, const float *from, size_t n);
    void (*widen_f64[HONE_FORMAT_COUNT])(double *to, const void *from, size_t n);
    void (*narrow_f64[HONE_FORMAT_COUNT])(void *to, const double *from, size_t n);
    /* Kahan's pair: join sets values[i] to high + low, split stores both parts of values[i]. */
    void (*join_f32[HONE_FORMAT_COUNT])(float *values, const void *low, size_t n);
    void (*split_f32[HONE_FORMAT_COUNT])(void *high, void *low, const float *values, size_t n);
    /* Rounds at random, by the noise of elements first, first + 1, ... under `key`. */
    void (*narrow_random_f32[HONE_FORMAT_COUNT])(void *to, const float *from, size_t n,
                                                 uint32_t key, size_t first);
    /* to += scale * from, in the compute type of `to`: gradient accumulation. */
    void (*accumulate_f32[HONE_FORMAT_COUNT])(float *to, const void *from, size_t n, double scale);
    void (*accumulate_f64[HONE_FORMAT_COUNT])(double *to, const void *from, size_t n, double scale);
    /* The chunk's share of a norm: sum of |g|^order, or max |g| for order = infinity. */
    double (*norm[HONE_FORMAT_COUNT])(const void *grad, size_t n, double order, double scale,
                                      double limit);
    /* The fixed tree over the chunks' shares: their sum, or their maximum. */
    double (*combine)(const double *shares, size_t n, bool maximum);
    /* In place: multiply, and clamp. */
    void (*scale[HONE_FORMAT_COUNT])(void *values, size_t n, double factor);
    void (*clamp[HONE_FORMAT_COUNT])(void *values, size_t n, double limit);
};

/* ---- the rule's table: what the metadata pass leaves ---------------------------------------- */

/* A hyperparameter's value. A number or flag uses `number`; a curve is number * s^power, or the
 * callback's result. */
struct hone_value {
    double number;
    double power;
    double (*callback)(uint64_t completed_calls, void *user);
    void *user;
};

/* One call of a rule's preparation. */
struct hone_step_input {
    const struct hone_value *values; /* in the table's order */
    uint64_t step;                   /* t: the number of this call, counted from 1 */
    double lr;                       /* the learning rate with its multiplier */
    uint32_t fresh;                  /* bit i: slot i was created for this very call */
};

struct hone_step_output {
    double *coef;
    double rate, keep, l2;
};

struct hone_rule {
    const char *name;
    const char *doc;
    bool matrix; /* its direction is made from a whole matrix, not element by element */
    int hyper_count, slot_count, optional_count, coef_count;
    const hone_hyper *hypers;
    const hone_slot *slots;
    void (*prepare)(const struct hone_step_input *in, struct hone_step_output *out);
    const char *(*check)(const struct hone_value *values); /* a sentence, or NULL if all is well */
};

#endif
