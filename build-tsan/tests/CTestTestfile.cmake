# CMake generated Testfile for 
# Source directory: /work/wt-table/tests
# Build directory: /work/wt-table/build-tsan/tests
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
subdirs("abi")
subdirs("alloc")
subdirs("cli")
subdirs("fuzz")
subdirs("golden")
subdirs("install")
subdirs("kernel")
subdirs("levels")
subdirs("oracle")
subdirs("property")
subdirs("readme")
subdirs("support")
subdirs("targets")
subdirs("threads")
subdirs("unit")
