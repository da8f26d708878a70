/* SPDX-License-Identifier: Apache-2.0 */
/* Closes a rule file: emits what this pass is for. Compiled with nothing defined (an editor, a
 * syntax check) a rule stands by itself as a float kernel for the target "lint". */
#if defined(HONE_PASS_TABLE)
#include "kernel/emit_table.h"
#elif defined(__CUDACC__)
#include "kernel/emit_cuda.h"
#else
#include "kernel/emit_cpu.h"
#endif
