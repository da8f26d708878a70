# CMake generated Testfile for 
# Source directory: /work/wt-table/tests/install
# Build directory: /work/wt-table/build-tsan/tests/install
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
