/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured: an optimizer over tensors of given lengths, ready to step. */
#ifndef HONE_BENCH_SUBJECT_H
#define HONE_BENCH_SUBJECT_H

#include <hone/hone.h>

typedef struct bench_recipe {
    const char *rule;
    double momentum;  /* 0: the rule's default */
    hone_dtype dtype; /* HONE_F32 or HONE_BF16, of parameters, gradients and states */
    bool master;      /* beside BF16 parameters an f32 copy, and states in f32 */
    bool scaler;      /* gradients are those of a scaled loss, checked and unscaled by the step */
    double clip_norm; /* 0: no clipping */
    double masked;    /* 0: no masks; else the share of elements that move at 10 times the rate */
} bench_recipe;

typedef struct bench_subject {
    hone_optimizer *optimizer;
    int64_t elements; /* of all tensors */
    size_t bytes;     /* of params, and of grads */
    void *params, *grads;
    hone_error error; /* of the step that failed */
    bool failed;
} bench_subject;

/* Parameters and gradients lie one behind the other in two blocks on huge pages, allocated as the
 * library allocates its states; gradients are small and positive. The context is borrowed. On
 * failure nothing is left to free. */
hone_status bench_subject_create(bench_subject *subject, const hone_context *context,
                                 const bench_recipe *recipe, const int64_t *lengths, int64_t count,
                                 hone_error *error);
void bench_subject_free(bench_subject *subject);

/* One step; `subject` is a bench_subject. */
void bench_subject_step(void *subject);

/* The data of a state of the first tensor; NULL if there is none of the name. */
void *bench_subject_state(const bench_subject *subject, const char *slot);

#endif
