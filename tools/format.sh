#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/format.sh: formats every C file in place; with --check only names those that differ. Versions
# of clang-format differ in what they write, and .clang-format is for 14: status 3 without that one.
set -u
cd "$(dirname "$0")/.." || exit 1
formatter=
for candidate in clang-format-14 clang-format; do
    if "$candidate" --version 2>/dev/null | grep -q 'version 14\.'; then
        formatter=$candidate
        break
    fi
done
if [ -z "$formatter" ]; then
    echo "clang-format 14 is not installed (Debian and Ubuntu: clang-format-14)" >&2
    exit 3
fi

if [ "${1:-}" = --check ]; then
    found=$(tools/files.sh '*.c' '*.h' | xargs "$formatter" --dry-run -Werror 2>&1 | grep 'error:')
    printf '%s' "$found" | sed 's/: error:.*//'
    [ -z "$found" ]
else
    tools/files.sh '*.c' '*.h' | xargs "$formatter" -i
fi
