#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What can be checked by reading: clang-format, the licence line, white space, file lengths, and the
# layers of ARCHITECTURE.md (which folder may include what). Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0
files() { tools/files.sh "$@" 2>/dev/null; }

verdict() { # NAME FINDINGS: none is a pass
    if [ -z "$2" ]; then
        passed=$((passed + 1))
        echo "ok      $1"
    else
        failed=$((failed + 1))
        echo "FAILED  $1"
        printf '%s\n' "$2" | sed 's/^/        /'
    fi
}

sources() { files '*.c' '*.h' '*.cu' '*.cuh'; }
texts() { sources && files '*.sh' '*.py' '*.cmake' '*CMakeLists.txt' Makefile; }

# ---- text ---------------------------------------------------------------------------------------

format_findings=$(tools/format.sh --check 2>&1)
if [ $? = 3 ]; then
    echo "left out clang-format: $format_findings"
else
    verdict "clang-format" "$format_findings"
fi
verdict "SPDX line" "$(texts | xargs awk 'FNR <= 2 && /SPDX-License-Identifier: Apache-2.0/ {
    has[FILENAME] } FNR == 1 { seen[FILENAME] } END { for (f in seen) if (!(f in has)) print f }')"
verdict "no trailing spaces" "$(texts | xargs grep -nE '[[:space:]]+$' | cut -c1-100)"
verdict "no tabs" "$(sources | xargs grep -nP '\t' | cut -c1-100)"
verdict "at most 700 lines" "$(sources | xargs wc -l | awk '$2 != "total" && $1 > 700')"
verdict "nothing left undone" "$(sources | xargs grep -nE '\b(TODO|FIXME|XXX|HACK)\b')"

# ---- layers -------------------------------------------------------------------------------------

# includes FOLDER ALLOWED: the includes of the folder's files that ALLOWED (a regular expression
# over the text between the quotes or brackets) does not match.
includes() {
    local file
    files "$1/*.c" "$1/*.h" "$1/*.cu" "$1/*.cuh" | while read -r file; do
        sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]*)[>"].*/\1/p' "$file" |
            grep -vE "^($2)\$" | sed "s,^,$file includes ,"
    done
}

libc='assert|ctype|errno|fcntl|fenv|float|fnmatch|inttypes|limits|locale|math|setjmp|signal|stdarg|stdbool'
libc="$libc|stddef|stdint|stdio|stdlib|string|strings|time|unistd|dirent|sys/[a-z]+"
libc="($libc)\\.h"
inside='(kernel|cpu|core|mask|table|schedule|checkpoint|cuda|rules)/.*'

verdict "layer rules: only the kernel's vocabulary" \
    "$(includes src/rules 'kernel/rule_(begin|end)\.h')"
verdict "layer kernel: itself, <hone/rule.h>, the C library, intrinsics" \
    "$(includes src/kernel "kernel/.*|hone/rule\\.h|immintrin\\.h|cuda_(bf|fp)16\\.h|$libc")"
verdict "layer cpu: kernel" "$(includes src/cpu "(cpu|kernel)/.*|rules\\.inc|hone/.*|$libc|cpuid\\.h")"
verdict "layer core: cpu, kernel" \
    "$(includes src/core "(core|cpu|kernel)/.*|hone/.*|$libc|omp\\.h|dlfcn\\.h|jansson\\.h|cblas\\.h")"
verdict "layer cuda: kernel" \
    "$(includes src/cuda "(cuda|kernel)/.*|rules\\.inc|cuda[a-zA-Z_0-9]*\\.h|cublas_v2\\.h|atomic|$libc")"
for folder in checkpoint mask table; do
    [ -d "src/$folder" ] || continue
    verdict "layer $folder: core, cpu, kernel" "$(includes src/$folder \
        "($folder|core|cpu|kernel)/.*|hone/.*|$libc|omp\\.h|jansson\\.h|zip\\.h")"
done
for folder in cli examples; do
    found=$(files "$folder/*.c" "$folder/*.h" | xargs -r grep -nE "#[[:space:]]*include[[:space:]]*[<\"]($inside|.*\\.\\./)")
    verdict "layer $folder: <hone/...> and its own files" "$found"
done
verdict "layer python: <hone/...>, Python, its own files" \
    "$(includes python/src "hone/.*|Python\\.h|binding\\.h|dlpack_exchange\\.h|optimizer_object\\.h|table_type\\.h|$libc")"
verdict "public headers: <hone/...>, the C library, DLPack" \
    "$(includes include/hone "hone/.*|$libc|dlpack/dlpack\\.h")"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
