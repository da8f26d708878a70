# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/abi
# Build directory: /work/wt-table/build-tsan/tests/abi
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
