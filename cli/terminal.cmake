# SPDX-License-Identifier: Apache-2.0
# What the command line and the benchmarks share: tables, JSON, numbers and a progress bar.
include_guard(GLOBAL)

file(GLOB terminal_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/terminal/*.c")
add_library(hone_terminal OBJECT ${terminal_sources})
target_include_directories(hone_terminal PUBLIC "${CMAKE_CURRENT_LIST_DIR}")
target_compile_definitions(hone_terminal PRIVATE _GNU_SOURCE)
target_link_libraries(hone_terminal PUBLIC m)
