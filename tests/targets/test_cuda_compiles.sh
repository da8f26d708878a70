#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_cuda_compiles.sh SOURCE RULES BUILD: every rule file compiles with nvcc, in float and double,
# without a warning, and leaves its table of kernels in the object; and what launches them compiles.
# All of it for the oldest architecture, one rule for every one that a build with HONE_CUDA has, and what is
# Hopper's for Hopper. Exits 77 with the reason where there is no nvcc.
set -eu
source=$1
rules=$2
build=$3

nvcc=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if ! command -v "$nvcc" > /dev/null; then
    echo "SKIPPED: no nvcc (CUDA 13's compiler) on the path, in CUDACXX or in /usr/local/cuda"
    exit 77
fi

mkdir -p "$build"
for rule in "$rules"/*.c "$source/src/kernel/move.c"; do
    name=$(basename "$rule" .c)
    for bits in 32 64; do
        object=$build/$name.f$bits.o
        "$nvcc" -x cu -std=c++20 -O3 -fmad=false -Werror all-warnings -arch=sm_80 \
            -I "$source/src" -I "$source/include" -DHONE_REAL_BITS=$bits -c "$rule" -o "$object"
        nm "$object" | grep -q " [DRdr] hone_kernels_${name}_f${bits}_cuda$" || {
            echo "FAILED $name f$bits: the object has no table of kernels"
            exit 1
        }
    done
    echo "$name compiles"
done

# "80-real 90-real 100": machine code of each, and PTX of the last.
list=$(sed -n 's/^set(CMAKE_CUDA_ARCHITECTURES \(.*\) CACHE .*/\1/p' "$source/cmake/cuda.cmake")
set --
for architecture in $list; do
    number=${architecture%-real}
    set -- "$@" -gencode "arch=compute_$number,code=sm_$number"
    [ "$number" != "$architecture" ] ||
        set -- "$@" -gencode "arch=compute_$number,code=compute_$number"
done
test $# -ge 8
"$nvcc" -x cu -std=c++20 -O3 -fmad=false -Werror all-warnings "$@" -I "$source/src" \
    -I "$source/include" -DHONE_REAL_BITS=32 -c "$rules/adamw.c" -o "$build/all.o"
echo "adamw compiles for $list"

ls "$rules" | sed -n 's/^\([a-z0-9_]*\)\.c$/RULE(\1)/p' > "$build/rules.inc"
for file in "$source"/src/cuda/*.cu; do
    architecture=sm_80
    [ "$(basename "$file")" != symmetric.cu ] || architecture=sm_90a
    "$nvcc" -std=c++20 -O3 -fmad=false -Werror all-warnings -arch=$architecture -I "$build" \
        -I "$source/src" -I "$source/include" -c "$file" -o "$build/$(basename "$file").o"
    echo "$(basename "$file") compiles"
done
