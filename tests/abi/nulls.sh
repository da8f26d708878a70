#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# nulls.sh INCLUDE_DIR TEST: every function that takes a pointer is called with NULL in TEST
# (tests/unit/test_null.c). Tables and snapshots have tests of their own; a view only keeps its pointers.
set -eu
include=$1 test=$2
known=0
missing=0
for header in "$include"/hone/*.h; do
    case $header in
    */table.h | */snapshot.h | */dlpack.h) continue ;;
    esac
    for name in $(tr '\n' ' ' <"$header" | sed 's/[;{}]/&\n/g' |
        sed -n 's/.*HONE_API [^(]*[ *]\([a-z_0-9]*\)([^)]*\*.*/\1/p'); do
        known=$((known + 1))
        [ "$name" = hone_tensor_view ] || grep -q "NULLS($name(\|[ (]$name(" "$test" || {
            missing=$((missing + 1))
            echo "never called with NULL: $name"
        }
    done
done
echo "$known functions take a pointer, $missing are not called with NULL"
[ "$known" -gt 150 ] && [ "$missing" -eq 0 ]
