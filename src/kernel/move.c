/* SPDX-License-Identifier: Apache-2.0 */
/* Not a rule of its own, but the frame around one that is finished: the gradient is a matrix rule's
 * direction, and goes to the parameter by learning rate, decay, mask and rounding as any other. */
#define RULE move
#define RULE_DOC "The frame alone"
#define RULE_HYPERS(NUMBER, FLAG, CURVE) NUMBER(lr, 1e-3, AT_LEAST(0), "learning rate")
#define RULE_SLOTS(SLOT, OPTIONAL)
#define RULE_COEFS(COEF)
#include "kernel/rule_begin.h"

RULE_PREPARE
{
}

RULE_NO_CHECK

RULE_DIRECTION
{
    return g;
}

#include "kernel/rule_end.h"
