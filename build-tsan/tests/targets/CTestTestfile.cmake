# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/targets
# Build directory: /work/wt-table/build-tsan/tests/targets
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
