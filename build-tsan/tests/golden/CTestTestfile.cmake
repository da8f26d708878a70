# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/golden
# Build directory: /work/wt-table/build-tsan/tests/golden
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[test_golden]=] "/work/wt-table/build-tsan/tests/golden/test_golden")
set_tests_properties([=[test_golden]=] PROPERTIES  LABELS "golden" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/golden/CMakeLists.txt;3;hone_add_test;/work/wt-table/tests/golden/CMakeLists.txt;0;")
add_test([=[test_torch]=] "/work/wt-table/build-tsan/tests/golden/test_torch")
set_tests_properties([=[test_torch]=] PROPERTIES  LABELS "golden" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/golden/CMakeLists.txt;5;hone_add_test;/work/wt-table/tests/golden/CMakeLists.txt;0;")
