# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/fuzz
# Build directory: /work/wt-table/build-tsan/tests/fuzz
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[replay_mask_file]=] "/work/wt-table/build-tsan/tests/fuzz/replay_mask_file" "/work/wt-table/tests/fuzz/corpus/mask_file")
set_tests_properties([=[replay_mask_file]=] PROPERTIES  LABELS "fuzz" _BACKTRACE_TRIPLES "/work/wt-table/tests/fuzz/CMakeLists.txt;14;add_test;/work/wt-table/tests/fuzz/CMakeLists.txt;0;")
add_test([=[replay_pickle]=] "/work/wt-table/build-tsan/tests/fuzz/replay_pickle" "/work/wt-table/tests/fuzz/corpus/pickle")
set_tests_properties([=[replay_pickle]=] PROPERTIES  LABELS "fuzz" _BACKTRACE_TRIPLES "/work/wt-table/tests/fuzz/CMakeLists.txt;14;add_test;/work/wt-table/tests/fuzz/CMakeLists.txt;0;")
add_test([=[replay_safetensors]=] "/work/wt-table/build-tsan/tests/fuzz/replay_safetensors" "/work/wt-table/tests/fuzz/corpus/safetensors")
set_tests_properties([=[replay_safetensors]=] PROPERTIES  LABELS "fuzz" _BACKTRACE_TRIPLES "/work/wt-table/tests/fuzz/CMakeLists.txt;14;add_test;/work/wt-table/tests/fuzz/CMakeLists.txt;0;")
add_test([=[replay_spec]=] "/work/wt-table/build-tsan/tests/fuzz/replay_spec" "/work/wt-table/tests/fuzz/corpus/spec")
set_tests_properties([=[replay_spec]=] PROPERTIES  LABELS "fuzz" _BACKTRACE_TRIPLES "/work/wt-table/tests/fuzz/CMakeLists.txt;14;add_test;/work/wt-table/tests/fuzz/CMakeLists.txt;0;")
