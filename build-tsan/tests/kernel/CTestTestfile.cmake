# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/kernel
# Build directory: /work/wt-table/build-tsan/tests/kernel
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[kernel_levels]=] "/work/wt-table/build-tsan/tests/kernel/test_kernel" "levels")
set_tests_properties([=[kernel_levels]=] PROPERTIES  LABELS "kernel" _BACKTRACE_TRIPLES "/work/wt-table/tests/kernel/CMakeLists.txt;21;add_test;/work/wt-table/tests/kernel/CMakeLists.txt;0;")
add_test([=[kernel_laws]=] "/work/wt-table/build-tsan/tests/kernel/test_kernel" "laws")
set_tests_properties([=[kernel_laws]=] PROPERTIES  LABELS "kernel" _BACKTRACE_TRIPLES "/work/wt-table/tests/kernel/CMakeLists.txt;21;add_test;/work/wt-table/tests/kernel/CMakeLists.txt;0;")
add_test([=[kernel_stage]=] "/work/wt-table/build-tsan/tests/kernel/test_kernel" "stage")
set_tests_properties([=[kernel_stage]=] PROPERTIES  LABELS "kernel" _BACKTRACE_TRIPLES "/work/wt-table/tests/kernel/CMakeLists.txt;21;add_test;/work/wt-table/tests/kernel/CMakeLists.txt;0;")
add_test([=[kernel_guard]=] "/work/wt-table/build-tsan/tests/kernel/test_kernel" "guard")
set_tests_properties([=[kernel_guard]=] PROPERTIES  LABELS "kernel" _BACKTRACE_TRIPLES "/work/wt-table/tests/kernel/CMakeLists.txt;21;add_test;/work/wt-table/tests/kernel/CMakeLists.txt;0;")
add_test([=[kernel_formats]=] "/work/wt-table/build-tsan/tests/kernel/test_kernel" "formats")
set_tests_properties([=[kernel_formats]=] PROPERTIES  LABELS "kernel" _BACKTRACE_TRIPLES "/work/wt-table/tests/kernel/CMakeLists.txt;21;add_test;/work/wt-table/tests/kernel/CMakeLists.txt;0;")
add_test([=[kernel_sums]=] "/work/wt-table/build-tsan/tests/kernel/test_kernel" "sums")
set_tests_properties([=[kernel_sums]=] PROPERTIES  LABELS "kernel" _BACKTRACE_TRIPLES "/work/wt-table/tests/kernel/CMakeLists.txt;21;add_test;/work/wt-table/tests/kernel/CMakeLists.txt;0;")
add_test([=[kernel_rounding]=] "/work/wt-table/build-tsan/tests/kernel/test_kernel" "rounding")
set_tests_properties([=[kernel_rounding]=] PROPERTIES  LABELS "kernel" _BACKTRACE_TRIPLES "/work/wt-table/tests/kernel/CMakeLists.txt;21;add_test;/work/wt-table/tests/kernel/CMakeLists.txt;0;")
add_test([=[kernel_digests]=] "/work/wt-table/build-tsan/tests/kernel/test_kernel" "digests")
set_tests_properties([=[kernel_digests]=] PROPERTIES  LABELS "kernel" _BACKTRACE_TRIPLES "/work/wt-table/tests/kernel/CMakeLists.txt;21;add_test;/work/wt-table/tests/kernel/CMakeLists.txt;0;")
