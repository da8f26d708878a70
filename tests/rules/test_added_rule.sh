#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_added_rule.sh SOURCE BUILD COMPILER GENERATOR: proves that adding a file among the rules and
# building again is all it takes. Configures a build of its own with a copy of two rules (to compile
# less), then adds one, builds, steps with it and runs the generic kernel tests, which find it in the
# registry.
set -eu
source=$1
build=$2
compiler=$3
generator=$4

rm -rf "$build/rules"
mkdir -p "$build/rules"
cp "$source/src/rules/sgd.c" "$source/src/rules/adamw.c" "$build/rules"
cmake -S "$source" -B "$build/tree" -G "$generator" -DCMAKE_C_COMPILER="$compiler" \
    -DCMAKE_BUILD_TYPE=Release -DHONE_RULES_DIR="$build/rules" \
    -DHONE_TESTS=ON -DHONE_CLI=ON -DHONE_EXAMPLES=OFF -DHONE_BENCH=OFF
if grep -q sign_momentum "$build/tree/generated/rules.inc"; then
    echo "FAILED: the rule is there before it was added"
    exit 1
fi

cp "$source/tests/rules/added/sign_momentum.c" "$build/rules"
cmake --build "$build/tree" -j 2 --target test_added_rule test_kernel hone_cli

"$build/tree/tests/rules/test_added_rule"
"$build/tree/hone" rules | grep -q sign_momentum
"$build/tree/hone" rules sign_momentum | grep -q dead_zone
"$build/tree/tests/kernel/test_kernel" --list | grep -q sign_momentum_masked_BF16
HONE_TEST_QUICK=1 "$build/tree/tests/kernel/test_kernel"
"$source/tools/check_vectorised.sh" objdump "$build/tree/libhone.a"
echo "sign_momentum was added, listed, specified, stepped, tested and vectorised"
