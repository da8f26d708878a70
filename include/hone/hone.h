/* SPDX-License-Identifier: Apache-2.0 */
/* hone: optimizer steps in C. Include this, or the parts one by one. */
#ifndef HONE_H
#define HONE_H

#include <hone/checkpoint.h>
#include <hone/clip.h>
#include <hone/context.h>
#include <hone/cuda.h>
#include <hone/mask.h>
#include <hone/optimizer.h>
#include <hone/placement.h>
#include <hone/rule.h>
#include <hone/safetensors.h>
#include <hone/scaler.h>
#include <hone/schedule.h>
#include <hone/snapshot.h>
#include <hone/spec.h>
#include <hone/status.h>
#include <hone/table.h>
#include <hone/tensor.h>

#endif
