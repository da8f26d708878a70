# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/alloc
# Build directory: /work/wt-table/build-tsan/tests/alloc
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[test_alloc]=] "/work/wt-table/build-tsan/tests/alloc/test_alloc")
set_tests_properties([=[test_alloc]=] PROPERTIES  LABELS "alloc" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/alloc/CMakeLists.txt;3;hone_add_test;/work/wt-table/tests/alloc/CMakeLists.txt;0;")
