# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/oracle
# Build directory: /work/wt-table/build-tsan/tests/oracle
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[test_oracle]=] "/work/wt-table/build-tsan/tests/oracle/test_oracle")
set_tests_properties([=[test_oracle]=] PROPERTIES  LABELS "oracle" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/oracle/CMakeLists.txt;9;hone_add_test;/work/wt-table/tests/oracle/CMakeLists.txt;0;")
add_test([=[test_oracle_laws]=] "/work/wt-table/build-tsan/tests/oracle/test_oracle_laws")
set_tests_properties([=[test_oracle_laws]=] PROPERTIES  LABELS "oracle" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/oracle/CMakeLists.txt;9;hone_add_test;/work/wt-table/tests/oracle/CMakeLists.txt;0;")
