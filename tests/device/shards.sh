#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# shards.sh PROGRAM...: the shards of each program together have exactly its cases, each of them once, by the
# list that each process prints of its own; and a wrong HONE_TEST_SHARD is refused.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HONE_TEST_LIST=1

list() { # PROGRAM: its cases to $folder/own, everything it says to $folder/output
    "$1" >"$folder/output" 2>&1
    sed -n '/^case /p' "$folder/output" >"$folder/own"
}

for program; do
    list "$program"
    sort "$folder/own" >"$folder/all"
    count=$(wc -l <"$folder/all")
    grep -qx "shard 1 of 1: $count of $count cases" "$folder/output"
    test "$count" -gt 2
    test "$(sort -u "$folder/all" | wc -l)" = "$count"
    for shards in 3 16; do
        for ((k = 1; k <= shards; k++)); do
            HONE_TEST_SHARD=$k/$shards list "$program"
            own=$(wc -l <"$folder/own")
            grep -qx "shard $k of $shards: $own of $count cases" "$folder/output"
            test "$own" -ge $((count / shards))
            cat "$folder/own"
        done | sort >"$folder/union"
        cmp "$folder/all" "$folder/union"
        echo "$(basename "$program"): $count cases in $shards shards, each in one"
    done
    status=0
    HONE_TEST_SHARD=4/3 "$program" >/dev/null 2>"$folder/error" || status=$?
    test "$status" = 2
    grep -qx 'HONE_TEST_SHARD is "4/3"; it must be like 3/16' "$folder/error"
done
