# SPDX-License-Identifier: Apache-2.0
# With HONE_CUDA the rules are compiled by nvcc too. The architectures: 8.0, 9.0 and 10.0 as machine
# code, and 10.0 as PTX for what comes after.
if(NOT HONE_CUDA)
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100 CACHE STRING "CUDA architectures")
enable_language(CUDA)
add_subdirectory(src/cuda)
