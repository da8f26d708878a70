/* SPDX-License-Identifier: Apache-2.0 */
/* An optimizer with one parameter and its gradient on device 0. */
#ifndef DEVICE_SUBJECT_H
#define DEVICE_SUBJECT_H

#include <hone/hone.h>

#define SUBJECT_N 10000 /* elements of the parameter */

struct subject {
    hone_context *context;
    hone_optimizer *optimizer;
    hone_tensor param, grad;
    float before[SUBJECT_N]; /* the parameter's values at the start */
};

extern const int64_t subject_shape[1];

/* The parameter's element i at the start; the gradient's is half of it. */
float subject_value(int i);

/* Memory of the device with SUBJECT_N of these values times `scale`. */
void *subject_values(float scale);

void subject_start(struct subject *s, const char *rule);
void subject_stop(struct subject *s);

/* The parameter now; that it is as it was; the steps that it has counted. */
void subject_read(const struct subject *s, float values[SUBJECT_N]);
void subject_assert_unmoved(const struct subject *s);
uint64_t subject_count(const struct subject *s);

/* One value in memory of device 0. */
hone_tensor subject_scalar(hone_dtype dtype, double value);

/* How often a stand-in has been waited for; 0 on a real device, which does not tell. */
size_t subject_waits(void);

#endif
