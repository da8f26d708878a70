#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# symbols.sh INCLUDE_DIR COMPILER NM LIBRARY: compares the functions that the headers mark HONE_API
# with the symbols that the library exports.
set -eu
include=$1 compiler=$2 nm=$3 library=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# After preprocessing a marked declaration starts with the visibility attribute; one declaration a
# line, the name is the word before the first parenthesis that is left.
for header in "$include"/hone/*.h; do
    grep -q HONE_API "$header" || continue
    "$compiler" -std=c11 -E -P -I"$include" "$header" | tr '\n' ' ' | sed 's/[;{}]/&\n/g' |
        sed -n 's/.*__attribute__((visibility("default")))//p' |
        sed -n 's/^\([^(]*[ *]\)\{0,1\}\([A-Za-z_0-9]*\) *(.*/\2/p'
done | sort -u >"$folder/declared"
"$nm" -D --defined-only "$library" | awk '{print $3}' | sort -u >"$folder/exported"

comm -23 "$folder/declared" "$folder/exported" | sed 's/^/declared in a header, not exported: /'
comm -13 "$folder/declared" "$folder/exported" | sed 's/^/exported, marked in no header: /'
echo "$(wc -l <"$folder/declared") functions declared, $(wc -l <"$folder/exported") symbols exported"
[ -s "$folder/declared" ] && cmp -s "$folder/declared" "$folder/exported"
