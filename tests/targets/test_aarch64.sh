#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_aarch64.sh SOURCE BUILD: cross-compiles the kernel layer to 64-bit Arm and runs its tests,
# quick, under qemu-user. Exits 77 with the reason where a tool is missing.
set -eu
source=$1
build=$2

for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    if ! command -v "$tool" > /dev/null; then
        echo "SKIPPED: $tool is not installed (Debian: gcc-aarch64-linux-gnu qemu-user)"
        exit 77
    fi
done

cmake -S "$source" -B "$build" -DCMAKE_TOOLCHAIN_FILE="$source/cmake/aarch64.cmake" \
    -DHONE_KERNELS_ONLY=ON -DCMAKE_BUILD_TYPE=Release
cmake --build "$build" -j 2
cd "$build"
HONE_TEST_QUICK=1 ctest --output-on-failure
