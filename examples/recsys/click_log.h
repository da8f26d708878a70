/* SPDX-License-Identifier: Apache-2.0 */
/* A click log without end: event i is a function of i alone. Users and items are drawn from a Zipf
 * law; items are born all the time and the young ones are popular, so a table must grow and may
 * forget. Whether a user clicks follows hidden tastes that a model can learn. */
#ifndef RECSYS_CLICK_LOG_H
#define RECSYS_CLICK_LOG_H

#include <stdint.h>

enum { LOG_FIELDS = 3, LOG_USER = 0, LOG_ITEM = 1, LOG_CATEGORY = 2 };

typedef struct click {
    int64_t id[LOG_FIELDS];
    int clicked;
} click;

click click_log_event(uint64_t i);

/* 64 bits that depend on every bit of x. */
uint64_t click_log_mix(uint64_t x);

#endif
