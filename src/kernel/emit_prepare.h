/* SPDX-License-Identifier: Apache-2.0 */
/* A rule's preparation behind one signature: reads the hyperparameters by their names, calls
 * RULE_PREPARE and lists what it left. For the metadata pass and for the device. */
#ifndef HONE_KERNEL_EMIT_PREPARE_H
#define HONE_KERNEL_EMIT_PREPARE_H

#define RULE_READ_NUMBER(name, ...) h.name = values[HYPER_##name].number;
#define RULE_READ_FLAG(name, ...) h.name = values[HYPER_##name].number != 0;
#define RULE_READ_CURVE(name, ...) h.name = values[HYPER_##name];
#define RULE_READ_CHOICE(name, ...) h.name = (int)values[HYPER_##name].number;

RULE_ON_HOST_AND_DEVICE struct rule_hypers rule_read(const struct hone_value *values)
{
    struct rule_hypers h;
    RULE_HYPERS(RULE_READ_NUMBER, RULE_READ_FLAG, RULE_READ_CURVE)
    RULE_CHOICES(RULE_READ_CHOICE)
    return h;
}

RULE_ON_HOST_AND_DEVICE void rule_prepare_all(const struct hone_step_input *in,
                                              struct hone_step_output *out)
{
    const struct rule_hypers hypers = rule_read(in->values);
    struct rule_coefs coefs;
    struct rule_moves moves;
    coefs.unused = 0;
    moves.rate = in->lr;
    moves.keep = 1;
    moves.l2 = 0;
    rule_prepare(&hypers, in->step, in->lr, in->fresh, &coefs, &moves);
    RULE_OFFERED int i = 0;
#define RULE_WRITE_COEF(name) out->coef[i++] = coefs.name;
    RULE_COEFS(RULE_WRITE_COEF)
    out->rate = moves.rate;
    out->keep = moves.keep;
    out->l2 = moves.l2;
}

#endif
