/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping and loss scaling of the float64 model: total norms of any order, the clip coefficient,
 * the clip by value and the update of a loss scale. */
#include "oracle.h"

#include <math.h>

double oracle_total_norm(double p, size_t count, const double *const *arrays, const size_t *sizes)
{
    double largest = 0;
    double sum = 0;
    for (size_t k = 0; k < count; k++) {
        for (size_t i = 0; i < sizes[k]; i++) {
            double magnitude = fabs(arrays[k][i]);
            if (isnan(magnitude))
                return NAN;
            if (magnitude > largest)
                largest = magnitude;
            sum += pow(magnitude, p);
        }
    }
    return isinf(p) ? largest : pow(sum, 1 / p);
}

double oracle_clip_coefficient(double total_norm, double max_norm)
{
    double coefficient = max_norm / (total_norm + 1e-6);
    return coefficient > 1 ? 1 : coefficient;
}

void oracle_clip_value(size_t n, double *grad, double limit)
{
    for (size_t i = 0; i < n; i++) {
        if (grad[i] > limit)
            grad[i] = limit;
        else if (grad[i] < -limit)
            grad[i] = -limit;
    }
}

oracle_scaler oracle_scaler_create(void)
{
    return (oracle_scaler){
        .scale = 65536, .growth_factor = 2, .backoff_factor = 0.5, .growth_interval = 2000};
}

void oracle_scaler_update(oracle_scaler *scaler, bool found_inf)
{
    if (found_inf) {
        scaler->scale *= scaler->backoff_factor;
        scaler->growth_tracker = 0;
        return;
    }
    scaler->growth_tracker++;
    if (scaler->growth_tracker < scaler->growth_interval)
        return;
    /* The scale is a float32 tensor in PyTorch: it stops growing where float32 ends. */
    double grown = scaler->scale * scaler->growth_factor;
    if (isfinite((float)grown))
        scaler->scale = grown;
    scaler->growth_tracker = 0;
}

double oracle_scaler_inverse(const oracle_scaler *scaler)
{
    return (double)(float)(1 / scaler->scale);
}
