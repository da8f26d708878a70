/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters on CUDA devices. A tensor whose device is HONE_CUDA may be registered like any other
 * (hone_optimizer_add), and its gradients are tensors of the same device; parameters on the CPU and on
 * several devices can share an optimizer. The step then launches, once for all tensors that one kernel
 * serves, and returns without waiting; element rules, clip norms and random rounding give the CPU's
 * bits. What needs libhone_cuda.so beside libhone.so, or where the environment's HONE_CUDA says, is
 * UNSUPPORTED without it.
 *
 * The step waits for a device only where it must answer what came of it: with a report and a norm, with a
 * report of a step that the device prepares, with HONE_NONFINITE_ERROR, and for a norm or a loss scale over
 * several devices; and where it makes masters and may turn out not to count. So do calls that read counters,
 * states or the scaler's scale. */
#ifndef HONE_CUDA_H
#define HONE_CUDA_H

#include <hone/optimizer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The stream (a cudaStream_t of that device, as a pointer) that all work on a device is queued on;
 * default NULL, the legacy default stream. Work that was queued before on another stream is not waited
 * for: that is the caller's, as everywhere in CUDA. Errors: UNSUPPORTED without such a device,
 * ARGUMENT for another device's stream. */
HONE_API hone_status hone_optimizer_set_stream(hone_optimizer *optimizer, int device, void *stream,
                                               hone_error *error);

/* Keeps counters, learning rates and what is made of them on the devices, so that a step can be
 * captured into a graph and replayed: each replay is one more step. Default off. Capture needs a plan that is
 * ready (hone_optimizer_prepare, or a step before; one that counts where there are new masters), no report, no
 * accumulation, and all parameters on devices. Between replays hone_optimizer_set and hone_optimizer_prepare
 * bring changed hyperparameters to the device. The graph's own are clipping, the loss scale's numbers, the
 * addresses of gradients (steps beside the graph may have others), and of matrix rules what makes the polar
 * factor (ns_steps, coefficients, eps) and maximize.
 *
 * It uses the optimizer's memory. Once the optimizer is gone, or the caller has changed parameters, which of
 * them have gradients, groups, states, masks, formats, multipliers, step counts, a number that states come or
 * go with (amsgrad, momentum from or to 0), or a choice or ns_steps of a matrix rule, it must not be replayed
 * any more; capture another one. */
HONE_API hone_status hone_optimizer_set_capturable(hone_optimizer *optimizer, bool capturable,
                                                   hone_error *error);

/* The learning rate of a group, read by each step from one element (F32 or F64) in memory of the device
 * on which the group's parameters are. The memory is borrowed; NULL: the group's number again. */
HONE_API hone_status hone_optimizer_bind_lr(hone_optimizer *optimizer, int group,
                                            const hone_tensor *lr, hone_error *error);

/* What torch.amp.GradScaler keeps on a device: the scale of the loss, and a flag that is not 0 when a
 * gradient was not finite, and then the step changes nothing. Each one F32 element on the one device
 * that all stepped parameters are on, borrowed; either may be NULL. Not together with a scaler. */
HONE_API hone_status hone_optimizer_bind_loss_scale(hone_optimizer *optimizer,
                                                    const hone_tensor *scale,
                                                    const hone_tensor *found_nonfinite,
                                                    hone_error *error);

/* Bytes that the optimizer holds on a device beside states and masks: its plan and Muon's workspace. */
HONE_API uint64_t hone_optimizer_device_bytes(const hone_optimizer *optimizer, int device);

#ifdef __cplusplus
}
#endif

#endif
