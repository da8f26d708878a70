#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_vectorised.sh OBJDUMP ARCHIVE: disassembles the static library and fails, naming each, if a
# rule's kernel at some CPU level is not vectorised with that level's registers. A kernel passes if
#   - it has a packed multiplication and, unless it is a matrix rule's direction, a packed subtraction
#     (the frame around every step needs both), and
#   - every kind of arithmetic it does on single values (remainders do) it also does packed.
# Registers: base xmm, avx2 ymm, avx512 zmm, neon v.2d/v.4s. A kernel that the compiler folded into
# an identical one is a single jump and stands for its target.
#
# Exceptions: level base on aarch64 is compiled without vectorisation (NEON is part of the
# architecture, so "base" is the plain loop that "neon" is compared with) and is not checked.
set -eu
objdump=$1
archive=$2

dump=$(mktemp)
trap 'rm -f "$dump"' EXIT
"$objdump" -d --no-show-raw-insn --no-addresses "$archive" > "$dump"

LC_ALL=C awk '
function finish(   op, fault) {
    if (kernel == "")
        return
    if (alias != "" && instructions == 1) {
        aliases[kernel] = alias
    } else {
        fault = ""
        if (!("mul" in packed)) fault = fault " no packed mul;"
        if (!direction && !("sub" in packed)) fault = fault " no packed sub;"
        for (op in single)
            if (!(op in packed)) fault = fault " " op " on single values only;"
        verdict[kernel] = fault
    }
    count[level]++
    kernel = ""
}
function note(op, is_packed) {
    if (is_packed) packed[op] = 1; else single[op] = 1
}
/file format elf64-.*aarch64/ { arm = 1 }
/^[0-9a-f]* *<[^>]*>:$/ {
    finish()
    name = $NF
    gsub(/[<>:]/, "", name)
    direction = name ~ /^hone_.*_direction_f(32|64)_[a-z0-9]+$/
    if (direction || name ~ /^hone_.*_(dense|masked)_.*_v[0-3]_[a-z0-9]+$/) {
        level = name
        sub(/.*_/, "", level)
        if (arm && level == "base") next
        kernel = name
        alias = ""
        instructions = 0
        delete packed
        delete single
        wide = level == "base" ? "%xmm" : level == "avx2" ? "%ymm" : "%zmm"
    }
    next
}
kernel == "" || NF == 0 { next }
$1 ~ /nop|data16|xchg/ && instructions == 1 { next }
{ instructions++ }
$1 ~ /^(jmp|b)$/ && $2 ~ /^<hone_.*>$/ && instructions == 1 {
    alias = $2
    gsub(/[<>]/, "", alias)
}
arm && $1 ~ /^f(add|sub|mul|div|sqrt)$/ {
    note(substr($1, 2), $0 ~ /v[0-9]+\.(4s|2d)/)
}
!arm && $1 ~ /^v?(add|sub|mul|div|sqrt)[ps][sd]$/ {
    op = $1
    sub(/^v/, "", op)
    is_packed = op ~ /p[sd]$/
    sub(/[ps][sd]$/, "", op)
    if (!is_packed || index($0, wide)) note(op, is_packed)
}
END {
    finish()
    for (kernel in aliases)
        if (!(aliases[kernel] in verdict))
            verdict[kernel] = " a jump to " aliases[kernel] ", which is no kernel;"
        else
            verdict[kernel] = verdict[aliases[kernel]]
    for (kernel in verdict)
        if (verdict[kernel] != "") {
            print "not vectorised: " kernel ":" verdict[kernel]
            failed++
        }
    for (level in count) {
        printf "%s: %d kernels\n", level, count[level]
        total += count[level]
    }
    if (total == 0) {
        print "no kernels in the archive"
        exit 1
    }
    exit failed > 0
}' "$dump"
