# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/threads
# Build directory: /work/wt-table/build-tsan/tests/threads
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[planted_race]=] "/work/wt-table/build-tsan/tests/threads/planted_race")
set_tests_properties([=[planted_race]=] PROPERTIES  LABELS "threads" PASS_REGULAR_EXPRESSION "ThreadSanitizer: data race" _BACKTRACE_TRIPLES "/work/wt-table/tests/threads/CMakeLists.txt;9;add_test;/work/wt-table/tests/threads/CMakeLists.txt;0;")
