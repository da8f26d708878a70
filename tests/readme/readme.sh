#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# readme.sh SOURCE RULES_TABLE [--update]: compares README.md's program with
# examples/quickstart/quickstart.c (from its first #include on) and README.md's table of rules with
# what RULES_TABLE prints; --update writes both into README.md instead.
set -eu
source=$1 rules_table=$2
readme=$source/README.md
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

sed -n '/^#include/,$p' "$source/examples/quickstart/quickstart.c" >"$folder/program"
"$rules_table" >"$folder/rules"

# Copies README.md with the two blocks replaced by files, so that an update and a check are one.
awk -v program="$folder/program" -v rules="$folder/rules" '
    function insert(file,    line) { while ((getline line < file) > 0) print line; close(file) }
    /^<!-- rules: / { print; insert(rules); skipping = 1; tables++; next }
    /^<!-- end of rules -->$/ { skipping = 0 }
    /^```c$/ && !programs { print; insert(program); skipping = 1; programs++; next }
    /^```$/ && skipping { skipping = 0 }
    !skipping { print }
    END { if (tables != 1 || programs != 1) exit 1 }
' "$readme" >"$folder/README.md" || {
    echo "README.md lacks the block of C or the table of rules"
    exit 1
}
if [ "${3:-}" = --update ]; then
    cp "$folder/README.md" "$readme"
else
    diff -u "$readme" "$folder/README.md" || {
        echo "README.md is out of date: 'make readme' mends it"
        exit 1
    }
fi
