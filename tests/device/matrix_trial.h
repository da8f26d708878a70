/* SPDX-License-Identifier: Apache-2.0 */
/* One training of matrices by Muon, on the CPU and on the device under test. Products are not the same
 * bits, so what is compared is how far each parameter moved, in norms. */
#ifndef DEVICE_MATRIX_TRIAL_H
#define DEVICE_MATRIX_TRIAL_H

#include <hone/hone.h>

struct matrix_trial {
    hone_dtype param, grad;
    const char *recipe; /* keys of the spec's JSON, after a comma */
    hone_precision precision;
    double tolerance;
    bool masked, capturable, scaled;
};

/* A case of its program (support/shard.h): fails with the law and the matrix unless CPU and device end as
 * near each other as the trial's tolerance says. */
void matrix_trial_check(const char *law, const struct matrix_trial *trial);

#endif
