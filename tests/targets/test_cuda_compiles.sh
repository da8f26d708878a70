#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_cuda_compiles.sh SOURCE RULES BUILD: src/cuda builds with nvcc, without a warning, for the oldest
# architecture (and what is Hopper's for Hopper); the library lacks no symbol and exports the one that
# src/kernel/device.h names; every rule is compiled in float and double, without contraction. One rule compiles
# for all that a build with HONE_CUDA has. Exits 77 with the reason where there is no nvcc.
set -eu
source=$1
rules=$2
build=$3

nvcc=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if ! command -v "$nvcc" > /dev/null; then
    echo "SKIPPED: no nvcc (CUDA 13's compiler) on the path, in CUDACXX or in /usr/local/cuda"
    exit 77
fi

fail() {
    echo "FAILED $1"
    exit 1
}

cmake -S "$source" -B "$build/library" -G Ninja -DCMAKE_BUILD_TYPE=Release -DHONE_CUDA=ON \
    -DCMAKE_CUDA_COMPILER="$nvcc" -DCMAKE_CUDA_ARCHITECTURES=80-real \
    -DCMAKE_SHARED_LINKER_FLAGS=-Wl,-z,defs -DHONE_RULES_DIR="$rules" -DHONE_TESTS=OFF -DHONE_CLI=OFF \
    -DHONE_EXAMPLES=OFF -DHONE_BENCH=OFF
cmake --build "$build/library" --target hone_cuda --parallel 2

symbol=$(sed -n 's/^#define HONE_DEVICE_SYMBOL //p' "$source/src/kernel/device.h")
exported=$(nm -D --defined-only "$build/library/src/cuda/libhone_cuda.so" | sed -n 's/.* \(.*hone.*\)/\1/p')
[ -n "$symbol" ] || fail "src/kernel/device.h names no HONE_DEVICE_SYMBOL"
[ "$exported" = "$symbol" ] || fail "the library exports '$exported', not '$symbol'"

for rule in "$rules"/*.c "$source/src/kernel/move.c"; do
    for bits in 32 64; do
        grep '"command"' "$build/library/compile_commands.json" | grep -F -e "-DHONE_REAL_BITS=$bits " |
            grep -F -e "-x cu -c $rule " | grep -q -e ' -fmad=false ' ||
            fail "$(basename "$rule"), f$bits: not compiled with -fmad=false"
    done
done
echo "the library builds for 80-real and exports $symbol"

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
