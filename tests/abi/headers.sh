#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# headers.sh INCLUDE_DIR COMPILER STANDARD: compiles every public header alone, with every warning
# an error. A header that needs another project's is left out where that one is not installed.
set -u
include=$1 compiler=$2 standard=$3
case $standard in c++*) language=c++ ;; *) language=c ;; esac
failed=0 count=0

compile() {
    printf '#include <%s>\nextern int not_empty;\n' "$1" |
        "$compiler" -std="$standard" -x "$language" -fsyntax-only -Wall -Wextra -Werror -pedantic \
            -I"$include" -
}

for header in "$include"/hone/*.h; do
    name=hone/$(basename "$header")
    foreign=$(sed -n 's,^#include <\(dlpack/[^>]*\|cuda[^>]*\)>.*,\1,p' "$header")
    missing=
    for other in $foreign; do
        compile "$other" 2>/dev/null || missing=$other
    done
    if [ -n "$missing" ]; then
        echo "$name: left out, because <$missing> is not installed"
    elif compile "$name"; then
        count=$((count + 1))
    else
        echo "$name does not compile alone with $compiler -std=$standard"
        failed=1
    fi
done
echo "$count headers compile with $compiler -std=$standard"
[ "$failed" = 0 ] && [ "$count" -gt 0 ]
