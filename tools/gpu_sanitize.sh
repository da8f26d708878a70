#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/gpu_sanitize.sh [TOOL[:PROGRAM]...]: compute-sanitizer's checkers (memcheck, racecheck, initcheck; all
# of them by default) over the GPU's test programs, the long ones in parts that share their cases out, several
# processes side by side. Ends with what was covered, and with 0 if all that can run here did and is clean.
#   JOBS=n             processes side by side (the number of processors)
#   PARTS=n            parts of the longest program (twice JOBS)
#   LIMIT=n            seconds after which nothing goes on; the next run takes up what is left
#   HONE_TEST_QUICK=1  the quick suite
#   RESULTS=folder     for logs and results (build/cuda/sanitize), where results from before the programs or
#                      libhone_cuda were built do not count
#   PROGRAMS=folder    of the programs (build/cuda/tests/device)
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
begin=$SECONDS
jobs_most=${JOBS:-$(nproc)}
most_parts=${PARTS:-$((2 * jobs_most))}
limit=${LIMIT:-0}
programs=${PROGRAMS:-$PWD/build/cuda/tests/device}
results=${RESULTS:-build/cuda/sanitize}
[ "${HONE_TEST_QUICK:-}" != 1 ] || results=$results-quick
export HONE_CUDA=${HONE_CUDA:-$PWD/build/cuda/src/cuda/libhone_cuda.so.0}
export HONE_TEST_NEEDS_DEVICE=1
sanitizer=$(command -v compute-sanitizer || echo "$(dirname "${CUDACXX:-/usr/local/cuda/bin/nvcc}")/compute-sanitizer")
if ! command -v "$sanitizer" >/dev/null; then
    echo "SKIPPED: no compute-sanitizer"
    exit 77
fi

# The longest first, so that none is left for the end.
all_programs="test_device_large test_device_random test_device test_device_cost test_device_several test_device_narrow test_device_muon test_device_bits"

parts_of() { # PROGRAM
    case $1 in
    test_device_bits) echo "$most_parts" ;;
    test_device_muon | test_device_random) echo $((most_parts < 16 ? most_parts : 16)) ;;
    *) echo 1 ;;
    esac
}

# Why a tool is not run over a program; nothing where it is.
reason_against() { # TOOL PROGRAM
    case $1:$2 in
    initcheck:test_device_narrow)
        echo "it does not see what Hopper's copy engine stores, and reports each kernel that reads it"
        ;;
    racecheck:test_device_large)
        echo "it watches the memory that a block shares, and more blocks of test_device_bits' kernels are no more to see"
        ;;
    esac
}

# ---- one part -----------------------------------------------------------------------------------

result_of() { # TOOL PROGRAM PART PARTS
    echo "$results/$1.$2.$3-of-$4.result"
}

is_done() { # RESULT PROGRAM: a result that counts
    [ -s "$1" ] && [ "$1" -nt "$programs/$2" ] && [ "$1" -nt "$HONE_CUDA" ] &&
        grep -qE '^(clean|skipped) ' "$1"
}

# One line: "clean CASES ALL", "skipped REASON", "unfinished SECONDS", "ended" by somebody else (racecheck takes
# more than 40 GB for some cases, and a system out of memory kills), or "reports".
judge() { # STATUS LOG SECONDS
    local cases
    cases=$(sed -nE 's/^shard [0-9]+ of [0-9]+: ([0-9]+) of ([0-9]+) cases$/\1 \2/p
                     s/^\[==========\] ([0-9]+) test\(s\) run\.$/\1 \1/p' "$2" | tail -n 1)
    if [ "$1" = 77 ]; then
        echo "skipped $(sed -n 's/^SKIPPED: //p' "$2" | head -n 1)"
    elif [ "$1" = 124 ] || [ "$1" = 137 ]; then
        echo "unfinished $3"
    elif [ "$1" = 0 ] && [ -n "$cases" ] && grep -qE '^=+ [A-Z ]*SUMMARY: 0 ' "$2" &&
        ! grep -E '^=+ [A-Z ]*SUMMARY: ' "$2" | grep -qvE 'SUMMARY: 0 '; then
        echo "clean $cases"
    elif grep -q "process didn't terminate successfully" "$2" && ! grep -qE '^\[  FAILED  \]' "$2"; then
        echo "ended $1"
    else
        echo "reports $1"
    fi
}

run_part() { # TOOL PROGRAM PART PARTS SECONDS
    local result log folder status=0 start=$SECONDS limited=() said
    result=$(result_of "$1" "$2" "$3" "$4")
    log=${result%.result}.log
    folder=$(mktemp -d)
    [ "$5" = 0 ] || limited=(timeout --kill-after=10 "$5")
    rm -f "$result"
    (cd "$folder" && HONE_TEST_SHARD=$3/$4 exec "${limited[@]}" "$sanitizer" --tool "$1" \
        --error-exitcode 9 "$programs/$2") >"$log" 2>&1 </dev/null || status=$?
    rm -rf "$folder"
    said=$(judge "$status" "$log" $((SECONDS - start)))
    echo "$said" >"$result"
    printf '[%4d s] %-10s %-20s %3d of %-3d %4d s  %s\n' $((SECONDS - begin)) "$1" "$2" "$3" "$4" \
        $((SECONDS - start)) "$said"
}

# ---- all of them --------------------------------------------------------------------------------

checks() { # what was asked for, as lines "TOOL PROGRAM"
    local word tool program
    for word in "${@:-memcheck racecheck initcheck}"; do
        for tool in ${word%%:*}; do
            for program in $all_programs; do
                [[ $word != *:* || ${word#*:} = "$program" ]] && echo "$tool $program"
            done
        done
    done
}

left_seconds() { # 0: no limit
    [ "$limit" = 0 ] && echo 0 && return
    echo $((limit > SECONDS - begin ? limit - (SECONDS - begin) : -1))
}

# Everything that is not done; or, given a word, the results that say so.
run_all() { # CHECKS [WORD]
    local tool program part parts left result
    trap 'kill $(jobs -p) 2>/dev/null; exit 1' INT TERM
    while read -r tool program; do
        [ -z "$(reason_against "$tool" "$program")" ] || continue
        parts=$(parts_of "$program")
        for ((part = 1; part <= parts; part++)); do
            result=$(result_of "$tool" "$program" "$part" "$parts")
            is_done "$result" "$program" && continue
            [ $# = 1 ] || grep -q "^$2 " "$result" 2>/dev/null || continue
            while [ "$(jobs -rp | wc -l)" -ge "$jobs_most" ]; do wait -n; done
            left=$(left_seconds)
            [ "$left" != -1 ] || break 2
            run_part "$tool" "$program" "$part" "$parts" "$left" &
        done
    done <<<"$1"
    wait
}

summarise() { # TOOL PROGRAM: a line; 0 if all of it is clean, 2 if it was left out, else 1
    local parts part file word rest clean=0 cases=0 total='?' other=''
    parts=$(parts_of "$2")
    printf '%-10s %-20s ' "$1" "$2"
    rest=$(reason_against "$1" "$2")
    [ -z "$rest" ] || { echo "not run: $rest" && return 2; }
    for ((part = 1; part <= parts; part++)); do
        file=$(result_of "$1" "$2" "$part" "$parts")
        word=missing rest=''
        [ ! -s "$file" ] || read -r word rest <"$file"
        if [ "$word" = clean ] && is_done "$file" "$2"; then
            clean=$((clean + 1))
            cases=$((cases + ${rest% *}))
            total=${rest#* }
        elif [ "$word" = skipped ]; then
            echo "skipped: $rest"
            return 2
        elif [ "$word" = reports ] || [ "$word" = ended ]; then
            other="$other; ${word^^} in ${file%.result}.log"
        fi
    done
    echo "$clean of $parts parts clean, $cases of $total cases$other"
    [ "$clean" = "$parts" ] && [ "$cases" = "$total" ]
}

mkdir -p "$results"
asked=$(checks "$@")
[ -n "$asked" ] || { echo "tools/gpu_sanitize.sh: no such program; there are $all_programs" >&2 && exit 2; }
run_all "$asked"
jobs_most=1
run_all "$asked" ended
echo "== covered, with HONE_TEST_QUICK=${HONE_TEST_QUICK:-0}, in $((SECONDS - begin)) s:"
status=0 but=''
while read -r tool program; do
    summarise "$tool" "$program"
    case $? in
    0) ;;
    2) but=', but for what was skipped or not run' ;;
    *) status=1 ;;
    esac
done <<<"$asked"
[ "$status" = 0 ] && echo "all of it is clean$but" || echo "not all of it is clean"
exit "$status"
