# SPDX-License-Identifier: Apache-2.0
# Compiles src/rules: one metadata pass, and one pass per compute type and CPU level. Adding a file
# there and rebuilding is all it takes; the glob is checked again at every build.

file(GLOB HONE_RULE_FILES CONFIGURE_DEPENDS "${HONE_RULES_DIR}/*.c")
list(SORT HONE_RULE_FILES)
set(rules_inc "")
foreach(file IN LISTS HONE_RULE_FILES)
  cmake_path(GET file STEM name)
  string(APPEND rules_inc "RULE(${name})\n")
endforeach()
file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/generated/rules.inc" CONTENT "${rules_inc}" @ONLY)

# Levels of this processor family, lowest first, with their machine flags.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(HONE_LEVEL_NAMES base avx2 avx512)
  set(HONE_FLAGS_base "")
  set(HONE_FLAGS_avx2 -mavx2 -mno-fma)
  set(HONE_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
  if(HONE_SANITIZE MATCHES "address" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # Its stacks for finding use after return do not align variables to 64 bytes (GCC bug 110027).
    list(APPEND HONE_FLAGS_avx512 --param=asan-use-after-return=0)
  endif()
  set(HONE_NEEDS_avx2 2)
  set(HONE_NEEDS_avx512 3)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  # NEON is part of the architecture: base is the same code without vectorisation.
  set(HONE_LEVEL_NAMES base neon)
  set(HONE_FLAGS_base -fno-tree-vectorize -fno-openmp-simd)
  set(HONE_FLAGS_neon "")
else()
  set(HONE_LEVEL_NAMES base)
endif()

# A build whose subject is not the arithmetic takes less time with fewer of them.
set(HONE_ONLY_LEVELS "" CACHE STRING "CPU levels to build, as a list; empty: all there are")
if(HONE_ONLY_LEVELS)
  string(REPLACE ";" "|" only "${HONE_ONLY_LEVELS}")
  list(FILTER HONE_LEVEL_NAMES INCLUDE REGEX "^(${only})$")
endif()

# -fno-math-errno lets square roots vectorise, -fno-trapping-math lets selects.
set(HONE_KERNEL_FLAGS -O3 -fno-math-errno -fno-trapping-math -fopenmp-simd -Wdouble-promotion)

set(HONE_KERNEL_OBJECTS "")
set(HONE_LEVELS "")

function(hone_add_kernels name)
  add_library(${name} OBJECT ${ARGN})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/src"
                                             "${PROJECT_SOURCE_DIR}/include")
  target_compile_options(${name} PRIVATE ${HONE_KERNEL_FLAGS})
  list(APPEND HONE_KERNEL_OBJECTS $<TARGET_OBJECTS:${name}>)
  set(HONE_KERNEL_OBJECTS "${HONE_KERNEL_OBJECTS}" PARENT_SCOPE)
endfunction()

# The frame alone, for matrix rules: compiled like a rule, but not listed as one.
set(HONE_MOVE_FILE "${PROJECT_SOURCE_DIR}/src/kernel/move.c")

hone_add_kernels(hone_rule_tables ${HONE_RULE_FILES})
target_compile_definitions(hone_rule_tables PRIVATE HONE_PASS_TABLE HONE_REAL_BITS=64)

foreach(level IN LISTS HONE_LEVEL_NAMES)
  foreach(bits 32 64)
    hone_add_kernels(hone_rules_f${bits}_${level} ${HONE_RULE_FILES} ${HONE_MOVE_FILE})
    target_compile_definitions(hone_rules_f${bits}_${level} PRIVATE HONE_TARGET=${level}
                                                                    HONE_REAL_BITS=${bits})
    target_compile_options(hone_rules_f${bits}_${level} PRIVATE ${HONE_FLAGS_${level}})
  endforeach()
  hone_add_kernels(hone_support_${level} "${PROJECT_SOURCE_DIR}/src/kernel/support.c"
                   "${PROJECT_SOURCE_DIR}/src/kernel/index.c"
                   "${PROJECT_SOURCE_DIR}/src/kernel/rows.c"
                   "${PROJECT_SOURCE_DIR}/src/kernel/tile.c")
  target_compile_definitions(hone_support_${level} PRIVATE HONE_TARGET=${level} HONE_REAL_BITS=32)
  target_compile_options(hone_support_${level} PRIVATE ${HONE_FLAGS_${level}})

  add_library(hone_level_${level} OBJECT "${PROJECT_SOURCE_DIR}/src/cpu/level.c")
  target_include_directories(hone_level_${level} PRIVATE "${PROJECT_SOURCE_DIR}/src"
                                                         "${PROJECT_SOURCE_DIR}/include"
                                                         "${PROJECT_BINARY_DIR}/generated")
  target_compile_definitions(hone_level_${level} PRIVATE HONE_TARGET=${level})
  if(HONE_NEEDS_${level})
    target_compile_definitions(hone_level_${level} PRIVATE HONE_LEVEL_NEEDS=${HONE_NEEDS_${level}})
  endif()
  list(APPEND HONE_KERNEL_OBJECTS $<TARGET_OBJECTS:hone_level_${level}>)
  string(APPEND HONE_LEVELS "LEVEL(${level})")
endforeach()

# Not a level of its own: only the tiles of matrix products are compiled for it.
set(HONE_WITH_AVX512_BF16 "")
if(avx512 IN_LIST HONE_LEVEL_NAMES)
  set(HONE_WITH_AVX512_BF16 HONE_WITH_AVX512_BF16)
  hone_add_kernels(hone_tiles_avx512_bf16 "${PROJECT_SOURCE_DIR}/src/kernel/tile.c")
  target_compile_definitions(hone_tiles_avx512_bf16 PRIVATE HONE_TARGET=avx512_bf16 HONE_REAL_BITS=32)
  target_compile_options(hone_tiles_avx512_bf16 PRIVATE ${HONE_FLAGS_avx512} -mavx512bf16)
endif()
