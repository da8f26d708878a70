#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/fuzz.sh BUILD SECONDS: runs each fuzzer of a HONE_FUZZ build for that long. New inputs stay in
# BUILD/corpus, what breaks something in BUILD/found; both survive to the next run. What is worth
# keeping goes to tests/fuzz/corpus by hand.
set -eu
build=$1 seconds=$2
for fuzzer in "$build"/tests/fuzz/fuzz_*; do
    [ -f "$fuzzer" ] && [ -x "$fuzzer" ] || continue
    subject=$(basename "$fuzzer" | sed 's/^fuzz_//')
    mkdir -p "$build/corpus/$subject" "$build/found"
    echo "fuzzing $subject for $seconds s"
    "$fuzzer" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$build/found/$subject-" \
        "$build/corpus/$subject" "tests/fuzz/corpus/$subject"
done
