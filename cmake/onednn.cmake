# SPDX-License-Identifier: Apache-2.0
# oneDNN, if it is there and does what src/core/gemm.c wants: HONE_ONEDNN_LIBRARY is then "dnnl", else
# empty. Left out of builds with sanitizers, which cannot see into its threads and its generated code.
include(CheckCSourceCompiles)
set(HONE_ONEDNN_LIBRARY "")
if(HONE_ONEDNN AND NOT HONE_SANITIZE)
  set(CMAKE_REQUIRED_LIBRARIES dnnl)
  check_c_source_compiles(
    "#include <oneapi/dnnl/dnnl.h>
     char dnnl_gemm_bf16bf16f32(void);
     int main(void)
     {
         return dnnl_sgemm('N', 'N', 1, 1, 1, 1, NULL, 1, NULL, 1, 0, NULL, 1) +
                (int)dnnl_get_effective_cpu_isa() + dnnl_gemm_bf16bf16f32();
     }" HONE_ONEDNN_WORKS)
  unset(CMAKE_REQUIRED_LIBRARIES)
  if(HONE_ONEDNN_WORKS)
    set(HONE_ONEDNN_LIBRARY dnnl)
  endif()
endif()
