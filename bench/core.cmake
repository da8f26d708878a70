# SPDX-License-Identifier: Apache-2.0
# The benchmarks' code, for hone-bench and for "hone bench". The bare loops that the library is held
# against are compiled once per CPU level, with the flags of the rules' kernels.
include_guard(GLOBAL)
include("${PROJECT_SOURCE_DIR}/cli/terminal.cmake")

add_library(
  hone_bench_core STATIC
  "${PROJECT_SOURCE_DIR}/bench/bench_cases.c" "${PROJECT_SOURCE_DIR}/bench/bench_machine.c"
  "${PROJECT_SOURCE_DIR}/bench/bench_measure.c" "${PROJECT_SOURCE_DIR}/bench/bench_report.c"
  "${PROJECT_SOURCE_DIR}/bench/bench_shapes.c" "${PROJECT_SOURCE_DIR}/bench/bench_subject.c"
  "${PROJECT_SOURCE_DIR}/bench/bench_bare.c")
target_compile_definitions(
  hone_bench_core
  PRIVATE _GNU_SOURCE "HONE_LEVELS=${HONE_LEVELS}"
          HONE_BENCH_COMPILER="${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}"
          HONE_BENCH_BUILD="${CMAKE_BUILD_TYPE}")
target_include_directories(hone_bench_core PUBLIC "${PROJECT_SOURCE_DIR}/bench")
target_link_libraries(hone_bench_core PUBLIC hone::hone OpenMP::OpenMP_C
                      PRIVATE $<BUILD_INTERFACE:hone_terminal>)

foreach(level IN LISTS HONE_LEVEL_NAMES)
  add_library(hone_bench_loops_${level} OBJECT "${PROJECT_SOURCE_DIR}/bench/bench_loops.c")
  target_compile_definitions(hone_bench_loops_${level} PRIVATE HONE_TARGET=${level})
  target_compile_options(hone_bench_loops_${level} PRIVATE ${HONE_KERNEL_FLAGS}
                                                           ${HONE_FLAGS_${level}})
  target_sources(hone_bench_core PRIVATE $<TARGET_OBJECTS:hone_bench_loops_${level}>)
endforeach()
