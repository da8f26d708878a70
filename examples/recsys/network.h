/* SPDX-License-Identifier: Apache-2.0 */
/* The dense part of the model: looked-up rows and the product of user and category go through one
 * hidden layer to the chance of a click. */
#ifndef RECSYS_NETWORK_H
#define RECSYS_NETWORK_H

#include "click_log.h"

enum {
    WIDTH = 16,                          /* of each table */
    INPUTS = WIDTH * LOG_FIELDS + WIDTH, /* and the products */
    HIDDEN = 32,
    BATCH = 2048
};

/* Each array is one parameter of the optimizer. */
typedef struct network {
    float w1[HIDDEN][INPUTS], b1[HIDDEN], w2[HIDDEN], b2[1];
} network;

typedef struct batch {
    int64_t id[LOG_FIELDS][BATCH];
    float clicked[BATCH];
    float row[LOG_FIELDS][BATCH][WIDTH];
    float row_grad[LOG_FIELDS][BATCH][WIDTH];
    float chance[BATCH];
} batch;

void network_start(network *net);

/* Fills chance from the rows. */
void network_predict(const network *net, batch *b);

/* Gradients of the mean log loss by the network and by the rows. Returns the loss. */
double network_learn(const network *net, batch *b, network *grad);

#endif
