#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/files.sh PATTERN...: the project's files that match a shell pattern ('*' crosses folders):
# those that git has or would add; in an unpacked archive all outside build/.
set -u
cd "$(dirname "$0")/.." || exit 1
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    exec git ls-files --cached --others --exclude-standard -- "$@"
fi
find . -name build -prune -o -type f -print | sed 's,^\./,,' | while read -r file; do
    for pattern in "$@"; do
        # shellcheck disable=SC2254 # a pattern is what is wanted
        case $file in $pattern) echo "$file" && break ;; esac
    done
done
