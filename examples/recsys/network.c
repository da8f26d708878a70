/* SPDX-License-Identifier: Apache-2.0 */
/* Forward and backward, written out. Sums over the batch run in a fixed order, so that a resumed run
 * gives the bits of one that was not stopped. */
#include "network.h"

#include <math.h>
#include <string.h>

void network_start(network *net)
{
    memset(net, 0, sizeof *net);
    const float bound = sqrtf(6.0f / INPUTS);
    for (uint64_t h = 0; h < HIDDEN; h++) {
        for (uint64_t i = 0; i < INPUTS; i++) {
            const uint64_t noise = click_log_mix(h * INPUTS + i);
            net->w1[h][i] = bound * (float)((double)(noise >> 11) * 0x1p-52 - 1);
        }
        net->w2[h] = 0.2f * (float)((double)(click_log_mix(~h) >> 11) * 0x1p-52 - 1);
    }
}

static void gather_inputs(const batch *b, int i, float *input)
{
    for (int f = 0; f < LOG_FIELDS; f++)
        memcpy(input + f * WIDTH, b->row[f][i], sizeof b->row[f][i]);
    for (int d = 0; d < WIDTH; d++)
        input[LOG_FIELDS * WIDTH + d] = b->row[LOG_USER][i][d] * b->row[LOG_CATEGORY][i][d];
}

static float forward(const network *net, const float *input, float *hidden)
{
    float score = net->b2[0];
    for (int h = 0; h < HIDDEN; h++) {
        float sum = net->b1[h];
        for (int i = 0; i < INPUTS; i++)
            sum += net->w1[h][i] * input[i];
        hidden[h] = sum > 0 ? sum : 0;
        score += net->w2[h] * hidden[h];
    }
    return 1 / (1 + expf(-score));
}

void network_predict(const network *net, batch *b)
{
    for (int i = 0; i < BATCH; i++) {
        float input[INPUTS], hidden[HIDDEN];
        gather_inputs(b, i, input);
        b->chance[i] = forward(net, input, hidden);
    }
}

static void backward(const network *net, const float *input, const float *hidden, float slope,
                     network *grad, float *input_grad)
{
    memset(input_grad, 0, INPUTS * sizeof *input_grad);
    grad->b2[0] += slope;
    for (int h = 0; h < HIDDEN; h++) {
        grad->w2[h] += slope * hidden[h];
        if (hidden[h] <= 0)
            continue;
        const float through = slope * net->w2[h];
        grad->b1[h] += through;
        for (int i = 0; i < INPUTS; i++) {
            grad->w1[h][i] += through * input[i];
            input_grad[i] += through * net->w1[h][i];
        }
    }
}

static void scatter_gradient(batch *b, int i, const float *input_grad)
{
    const float *const product = input_grad + LOG_FIELDS * WIDTH;
    for (int f = 0; f < LOG_FIELDS; f++)
        memcpy(b->row_grad[f][i], input_grad + f * WIDTH, sizeof b->row_grad[f][i]);
    for (int d = 0; d < WIDTH; d++) {
        b->row_grad[LOG_USER][i][d] += product[d] * b->row[LOG_CATEGORY][i][d];
        b->row_grad[LOG_CATEGORY][i][d] += product[d] * b->row[LOG_USER][i][d];
    }
}

double network_learn(const network *net, batch *b, network *grad)
{
    double loss = 0;
    memset(grad, 0, sizeof *grad);
    for (int i = 0; i < BATCH; i++) {
        float input[INPUTS], hidden[HIDDEN], input_grad[INPUTS];
        gather_inputs(b, i, input);
        const float chance = forward(net, input, hidden);
        b->chance[i] = chance;
        const float likely = b->clicked[i] > 0 ? chance : 1 - chance;
        loss -= log((double)(likely > 1e-7f ? likely : 1e-7f)) / BATCH;
        backward(net, input, hidden, (chance - b->clicked[i]) / BATCH, grad, input_grad);
        scatter_gradient(b, i, input_grad);
    }
    return loss;
}
