# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/property
# Build directory: /work/wt-table/build-tsan/tests/property
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[test_against_oracle]=] "/work/wt-table/build-tsan/tests/property/test_against_oracle")
set_tests_properties([=[test_against_oracle]=] PROPERTIES  LABELS "property" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/property/CMakeLists.txt;8;hone_add_test;/work/wt-table/tests/property/CMakeLists.txt;0;")
add_test([=[test_descent]=] "/work/wt-table/build-tsan/tests/property/test_descent")
set_tests_properties([=[test_descent]=] PROPERTIES  LABELS "property" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/property/CMakeLists.txt;8;hone_add_test;/work/wt-table/tests/property/CMakeLists.txt;0;")
add_test([=[test_formats]=] "/work/wt-table/build-tsan/tests/property/test_formats")
set_tests_properties([=[test_formats]=] PROPERTIES  LABELS "property" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/property/CMakeLists.txt;8;hone_add_test;/work/wt-table/tests/property/CMakeLists.txt;0;")
add_test([=[test_laws]=] "/work/wt-table/build-tsan/tests/property/test_laws")
set_tests_properties([=[test_laws]=] PROPERTIES  LABELS "property" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/property/CMakeLists.txt;8;hone_add_test;/work/wt-table/tests/property/CMakeLists.txt;0;")
add_test([=[test_ranges]=] "/work/wt-table/build-tsan/tests/property/test_ranges")
set_tests_properties([=[test_ranges]=] PROPERTIES  LABELS "property" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/property/CMakeLists.txt;8;hone_add_test;/work/wt-table/tests/property/CMakeLists.txt;0;")
add_test([=[test_same_bits]=] "/work/wt-table/build-tsan/tests/property/test_same_bits")
set_tests_properties([=[test_same_bits]=] PROPERTIES  LABELS "property" _BACKTRACE_TRIPLES "/work/wt-table/tests/CMakeLists.txt;15;add_test;/work/wt-table/tests/property/CMakeLists.txt;8;hone_add_test;/work/wt-table/tests/property/CMakeLists.txt;0;")
