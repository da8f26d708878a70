#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/gpu_test.sh: everything that needs a GPU, on a machine that has one: builds libhone_cuda for it,
# runs the tests labelled "gpu" and, where they are installed, compute-sanitizer's checkers over them.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >/dev/null 2>&1; then
    echo "SKIPPED: nvidia-smi finds no GPU here"
    exit 0
fi
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
export CUDACXX=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=native
cmake --build --preset cuda --parallel "$jobs"
ctest --preset cuda --label-regex '^gpu$' --output-on-failure

# The Python classes, where a python3 with PyTorch sees the GPU and the package has been installed.
if python3 -c 'import hone, torch; assert torch.cuda.is_available()' 2>/dev/null; then
    HONE_CUDA=$PWD/build/cuda/src/cuda/libhone_cuda.so.0 python3 tests/python/test_cuda.py
else
    echo "SKIPPED: python3 has no hone package, or its PyTorch sees no GPU"
fi

sanitizer=$(command -v compute-sanitizer || echo "$(dirname "$CUDACXX")/compute-sanitizer")
if ! command -v "$sanitizer" >/dev/null; then
    echo "SKIPPED: no compute-sanitizer"
    exit 0
fi
# A checker makes kernels up to a thousand times slower: of the programs that make many comparisons it sees
# each n-th.
export HONE_TEST_QUICK=1 HONE_CUDA=$PWD/build/cuda/src/cuda/libhone_cuda.so.0
for tool in memcheck racecheck initcheck; do
    for run in test_device:1 test_device_several:1 test_device_bits:17 test_device_muon:6; do
        program=${run%%:*}
        echo "== $tool $program"
        result=0
        HONE_TEST_EVERY=${run##*:} "$sanitizer" --tool "$tool" --error-exitcode 9 \
            "build/cuda/tests/device/$program" || result=$?
        test $result = 0 || test $result = 77 # skipped
    done
done
