# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/readme
# Build directory: /work/wt-table/build-tsan/tests/readme
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[readme]=] "/work/wt-table/tests/readme/readme.sh" "/work/wt-table" "/work/wt-table/build-tsan/tests/readme/rules_table")
set_tests_properties([=[readme]=] PROPERTIES  LABELS "door" _BACKTRACE_TRIPLES "/work/wt-table/tests/readme/CMakeLists.txt;5;add_test;/work/wt-table/tests/readme/CMakeLists.txt;0;")
