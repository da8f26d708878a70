#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/gpu_test.sh [STAGE...]: everything that needs a GPU, on a machine that has one: build libhone_cuda for
# it; run the tests labelled "gpu"; the Python classes' tests; and, where it is installed, compute-sanitizer
# over all of the former (tools/gpu_sanitize.sh, which tells how to do it in several runs). Stages: build tests
# python sanitize; all by default, in this order.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >/dev/null 2>&1; then
    echo "SKIPPED: nvidia-smi finds no GPU here"
    exit 0
fi
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
export HONE_TEST_NEEDS_DEVICE=1 # a device that cannot be used is a failure here, not a reason to skip
export CUDACXX=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}

stage_build() {
    cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=native
    cmake --build --preset cuda --parallel "$(nproc)"
}

stage_tests() {
    ctest --preset cuda --label-regex '^gpu$' --output-on-failure
}

# Where a python3 with PyTorch sees the GPU: graphs through the C interface; and the classes, where the
# package has been installed.
stage_python() {
    export HONE_CUDA=$PWD/build/cuda/src/cuda/libhone_cuda.so.0
    if ! python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
        echo "SKIPPED: python3 has no PyTorch that sees a GPU"
        return
    fi
    HONE_LIBRARY=$PWD/build/cuda/libhone.so.0 python3 bench/cuda/check_graph.py
    if python3 -c 'import hone' 2>/dev/null; then
        python3 tests/python/test_cuda.py
    else
        echo "SKIPPED: python3 has no hone package"
    fi
}

# The quick suite, unless HONE_TEST_QUICK says otherwise: a quarter of an hour, not several.
stage_sanitize() {
    HONE_TEST_QUICK=${HONE_TEST_QUICK:-1} tools/gpu_sanitize.sh || test $? = 77 # skipped
}

[ $# != 0 ] || set -- build tests python sanitize
for stage; do
    case $stage in
    build | tests | python | sanitize) "stage_$stage" ;;
    *) echo "tools/gpu_test.sh: no stage '$stage'; there are build tests python sanitize" && exit 2 ;;
    esac
done
