/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of a rule's RULE_PREPARE: once per step, in double, on the host or on the device. Powers of betas
 * do not come from the C library, whose last bit differs between versions and from CUDA's. */
#ifndef HONE_KERNEL_PREPARE_H
#define HONE_KERNEL_PREPARE_H

#include <math.h>

#include "kernel/kernel.h"

/* A double as an unevaluated sum high + low, for powers that stay exact to the last bit. */
struct hone_pair {
    double high, low;
};

/* Product of two pairs. The exact low part of high * high is Dekker's (1971), which needs neither a
 * fused multiply-add nor excess precision. Operands here are at most 1 in magnitude. */
RULE_ON_HOST_AND_DEVICE struct hone_pair hone_pair_multiply(struct hone_pair a, struct hone_pair b)
{
    const double split = 134217729.0; /* 2^27 + 1 */
    const double a_scaled = split * a.high, b_scaled = split * b.high;
    const double a1 = a_scaled - (a_scaled - a.high), a2 = a.high - a1;
    const double b1 = b_scaled - (b_scaled - b.high), b2 = b.high - b1;
    const double product = a.high * b.high;
    const double exact_rest = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2;
    const double rest = exact_rest + (a.high * b.low + a.low * b.high);
    const double high = product + rest;
    const struct hone_pair pair = {high, rest - (high - product)};
    return pair;
}

/* base^exponent for |base| <= 1 by repeated squaring, rounded once. */
RULE_ON_HOST_AND_DEVICE double power(double base, uint64_t exponent)
{
    struct hone_pair result = {1, 0}, square = {base, 0};
    for (uint64_t left = exponent; left != 0; left >>= 1) {
        if (left & 1)
            result = hone_pair_multiply(result, square);
        square = hone_pair_multiply(square, square);
    }
    return result.high + result.low;
}

/* A curve's bound after `completed` calls: the callback's, or number * completed^power. Quarter
 * powers, ADOPT's default, are two square roots: the same on every host. */
RULE_ON_HOST_AND_DEVICE double curve_at(const struct hone_value *curve, uint64_t completed)
{
#if !defined(__CUDA_ARCH__)
    if (curve->callback != NULL)
        return curve->callback(completed, curve->user);
#endif
    if (curve->power == 0 || isinf(curve->number))
        return curve->number;
    const double s = (double)completed;
    if (curve->power == 0.25)
        return curve->number * sqrt(sqrt(s));
    return curve->number * pow(s, curve->power);
}

/* The scalars of tensors that share group, count and rates, by their rule's preparation. A masked
 * tensor has two rates, and a rate of 0 freezes its elements whatever their decay; a plain tensor is
 * frozen where the arithmetic would leave it as it is anyway, NaN directions included. */
RULE_ON_HOST_AND_DEVICE void hone_prepare_scalars(void (*prepare)(const struct hone_step_input *in,
                                                                  struct hone_step_output *out),
                                                  const struct hone_step_input *call,
                                                  double masked_lr, bool masked, bool maximize,
                                                  struct hone_scalars *scalars)
{
    struct hone_step_input in = *call;
    struct hone_step_output out;
    for (int k = 1; k >= 0; k--) {
        in.lr = k == 1 ? masked_lr : call->lr;
        out.coef = scalars->coef;
        prepare(&in, &out);
        scalars->rate[k] = out.rate;
        scalars->keep[k] = out.keep;
        scalars->frozen[k] = masked ? in.lr == 0 : out.rate == 0 && out.keep == 1;
        scalars->l2 = out.l2;
    }
    scalars->maximize = maximize;
    scalars->step = call->step;
}

#endif
