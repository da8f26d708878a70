#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/setup.sh PURPOSE [STAMP]: makes sure that what PURPOSE (build, demo, test, gpu, python, format, docs)
# needs is there. Probes for the commands and headers themselves; installs what is missing with apt-get on
# Debian and Ubuntu, and says what and why; elsewhere names the packages and stops.
set -u
purpose=${1:-build}
stamp=${2:-}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
missing=

have() { command -v "$1" >/dev/null 2>&1; }

# compiles COMPILER CODE [FLAGS...]: does this program compile and link?
compiles() {
    with=$1 code=$2
    shift 2
    printf '%b\n' "$code" >"$folder/probe.c"
    have "$with" && "$with" "$folder/probe.c" -o "$folder/probe" "$@" >/dev/null 2>&1
}

# need PACKAGES REASON PROBE...: notes the packages if the probe fails.
need() {
    packages=$1 reason=$2
    shift 2
    "$@" && return
    missing="$missing $packages"
    printf '  %-44s %s\n' "$packages" "$reason"
}

# want PACKAGE ...: the same, for what can be done without where the system has no such package.
want() {
    ! apt-cache show "$1" >/dev/null 2>&1 || need "$@"
}

main='int main(void) { return 0; }'

probe_build() {
    need build-essential "the compiler and make" compiles cc "$main"
    need libgomp1 "threads (OpenMP)" compiles cc "#include <omp.h>\n$main" -fopenmp
    need cmake "describes the build" have cmake
    need ninja-build "runs the build" have ninja
    need pkg-config "finds libraries" have pkg-config
    need libjansson-dev "reads and writes JSON" compiles cc "#include <jansson.h>\n$main" -ljansson
    need libzip-dev "reads PyTorch's files" compiles cc "#include <zip.h>\n$main" -lzip
    need libopenblas-dev "Muon's matrix products" compiles cc "#include <cblas.h>\n$main" -lopenblas
}

probe_demo() {
    probe_build
    need gnuplot-nox "the demo's picture" have gnuplot
}

probe_cmocka() {
    need libcmocka-dev "the unit tests" compiles cc \
        "#include <setjmp.h>\n#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>
#include <cmocka.h>\n$main" -lcmocka
}

probe_gpu() {
    probe_build
    probe_cmocka
}

probe_test() {
    probe_demo
    probe_format
    probe_cmocka
    need clang "the second compiler, and the fuzzers" have clang
    need libomp-dev "clang's OpenMP" compiles clang "#include <omp.h>\n$main" -fopenmp
    need libclang-rt-dev "clang's sanitizers" compiles clang "$main" -fsanitize=thread
    need valgrind "finds uses of uninitialised memory" have valgrind
    need "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" "the kernels on another processor" \
        compiles aarch64-linux-gnu-gcc "#include <stdio.h>\n$main" -fopenmp
    need qemu-user "runs them" have qemu-aarch64
    need libdlpack-dev "the test of hone/dlpack.h" compiles cc "#include <dlpack/dlpack.h>\n$main"
}

makes_environments() { python3 -c 'import ensurepip, venv' 2>/dev/null; }
has_python_header() {
    python3 -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' 2>/dev/null
}

probe_python() {
    probe_build
    need python3 "the Python package" have python3
    need python3-venv "an environment of its own" makes_environments
    need python3-dev "the extension module" has_python_header
}

probe_format() { have clang-format-14 || need clang-format "formats C" have clang-format; }
probe_docs() { need doxygen "makes pages from the headers" have doxygen; }

# Before LLVM 15 the sanitizers' runtime came with the compiler's own headers on some releases.
replace_unknown() {
    for package in $missing; do
        if [ "$package" = libclang-rt-dev ] && ! apt-cache show libclang-rt-dev >/dev/null 2>&1; then
            version=$(clang -dumpversion 2>/dev/null || apt-cache show clang | sed -n \
                's/^Version: *[0-9]*:*\([0-9]*\)\..*/\1/p' | head -n 1)
            package=libclang-common-${version%%.*}-dev
        fi
        printf ' %s' "$package"
    done
}

stop() {
    printf '%s\n' "hone: $1" "hone: packages by their Debian names:$missing" >&2
    exit 1
}

install_missing() {
    have apt-get || stop "this system has no apt-get; please install by its own means what is missing"
    if [ "$(id -u)" = 0 ]; then
        root=
    elif have sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        root=sudo
    else
        stop "no rights to install packages (neither root nor sudo); please have them installed"
    fi
    echo "hone: installing with ${root:+$root }apt-get"
    $root apt-get update -qq || echo "hone: the list of packages could not be refreshed" >&2
    missing=$(replace_unknown)
    # shellcheck disable=SC2086 # a list of words, and a command that may be absent
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        $missing || stop "apt-get could not install what is missing"
}

case $purpose in
build | demo | test | gpu | python | format | docs) ;;
*) echo "tools/setup.sh: '$purpose' is none of build, demo, test, gpu, python, format, docs" >&2 && exit 2 ;;
esac

"probe_$purpose" >"$folder/list" # in this shell, so that $missing stays
if [ -n "$missing" ]; then
    echo "hone: missing for 'make' ($purpose):"
    cat "$folder/list"
    install_missing
    missing=
    "probe_$purpose" >"$folder/list"
    if [ -n "$missing" ]; then
        cat "$folder/list"
        stop "still missing after the installation"
    fi
fi
if [ -n "$stamp" ]; then
    mkdir -p "$(dirname "$stamp")" && touch "$stamp"
fi
