# SPDX-License-Identifier: Apache-2.0
# HONE_KERNELS_ONLY: the kernel layer as a static library, with its tests, and nothing that needs
# more than a C compiler. For cross-compiling and emulators.
add_library(hone_kernels STATIC "${PROJECT_SOURCE_DIR}/src/kernel/stage.c"
                                "${PROJECT_SOURCE_DIR}/src/cpu/cpu.c" ${HONE_KERNEL_OBJECTS})
target_include_directories(
  hone_kernels PRIVATE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/include"
                       "${PROJECT_BINARY_DIR}/generated")
target_compile_definitions(hone_kernels PRIVATE "HONE_LEVELS=${HONE_LEVELS}" ${HONE_WITH_AVX512_BF16})
target_link_libraries(hone_kernels PRIVATE m)

enable_testing()
add_subdirectory(tests/kernel)
