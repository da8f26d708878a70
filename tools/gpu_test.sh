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
    local status=0
    ctest --preset cuda --label-regex '^gpu$' --output-on-failure || status=$?
    tools/why_skipped.sh build/cuda/Testing/Temporary/LastTest.log
    return "$status"
}

# The first that has PyTorch with a GPU and the package; else the system's.
find_python() {
    local python
    for python in .venv/bin/python python3; do # .venv: tools/python.sh's
        "$python" -c 'import torch, hone; assert torch.cuda.is_available()' 2>/dev/null && break
    done
    echo "$python"
}

# Where a Python with PyTorch sees the GPU: graphs through the C interface; and the classes, where the
# package has been installed.
stage_python() {
    local python
    python=$(find_python)
    export HONE_CUDA=$PWD/build/cuda/src/cuda/libhone_cuda.so.0
    if ! "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
        echo "SKIPPED: neither .venv nor python3 has a PyTorch that sees a GPU"
        return
    fi
    HONE_LIBRARY=$PWD/build/cuda/libhone.so.0 "$python" bench/cuda/check_graph.py
    if "$python" -c 'import hone' 2>/dev/null; then
        "$python" tests/python/test_cuda.py
    else
        echo "SKIPPED: $python has no hone package (tools/python.sh install makes .venv, which has it)"
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
