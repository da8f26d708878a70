#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/test.sh [STAGE...]: everything that is checked before a change lands, one stage after the
# other, all of them even when one fails. Each stage ends in one line with its counts and its time;
# the last line sums them up. The whole output of a stage stays in build/test/STAGE.log.
set -u
cd "$(dirname "$0")/.." || exit 1
logs=build/test
mkdir -p "$logs"
jobs=$(nproc)
total_passed=0 total_failed=0

# ---- stages: each prints to its log and answers with its exit status ----------------------------

build() { # PRESET
    cmake --preset "$1" && cmake --build --preset "$1" --parallel "$jobs"
}

suite() { # PRESET [MORE OPTIONS OF CTEST...]
    local preset=$1 folder=build/$1 status=0
    shift
    case $preset in test | level) folder=build/release ;; esac
    ctest --preset "$preset" --parallel "$jobs" "$@" || status=$?
    tools/why_skipped.sh "$folder/Testing/Temporary/LastTest.log"
    return "$status"
}

# With tests that need 9 GB, where twice that is free.
large_where_it_fits() { # COMMAND [ARGUMENTS...]
    local large=0
    awk '/^MemAvailable:/ { exit !($2 > 18e6) }' /proc/meminfo && large=1
    HONE_TEST_LARGE=$large "$@"
}

stage_style() { tools/check_style.sh; }
stage_release() { build test && large_where_it_fits suite test; }
stage_asan() { build asan && suite asan; }
stage_valgrind() { build valgrind && suite valgrind; }
stage_clang() { build clang && suite clang; }
stage_fuzz() { build fuzz && suite fuzz; }
stage_python() { tools/python.sh test; }

# Address randomisation beyond what an older ThreadSanitizer can map makes it give up at start.
stage_tsan() {
    local fixed=()
    setarch --addr-no-randomize true 2>/dev/null && fixed=(setarch --addr-no-randomize)
    build tsan && "${fixed[@]}" ctest --preset tsan --parallel "$jobs"
}

# The release suite once more, at a CPU level below the best, which stage_release has run.
stage_level() { # LEVEL
    HONE_CPU=$1 suite level
}

# ---- running and counting -----------------------------------------------------------------------

# Adds up "N tests failed out of M" of ctest, where skipped ones count as passed until its list of
# them, and "N passed, N failed" of the style check and, with skipped ones, of the Python suite.
count() { # LOG
    awk '/^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+/ {
             failed += $4; passed += $NF - $4 }
         /^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
         /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ {
             passed += $1; failed += $3; skipped += $5 }
         /^\t *[0-9]+ - .* \(Skipped\)$/ { passed--; skipped++ }
         END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

show() { # LOG STATUS: what a reader wants to see of it
    if [ "$2" != 0 ]; then
        tail -n 200 "$1"
    elif [ -n "${CI:-}${VERBOSE:-}" ]; then
        grep -E '^ *[0-9]+/[0-9]+ Test|tests passed|^Total Test time|^  [a-z_]+ : |^skipped |^SKIPPED ' "$1"
    fi
}

run() { # NAME FUNCTION [ARGUMENTS...]
    local name=$1 begin=$SECONDS status=0 passed failed skipped word=ok
    shift
    printf '%-16s ...\n' "$name"
    "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
    [ "$status" = 77 ] || show "$logs/$name.log" "$status"
    read -r passed failed skipped < <(count "$logs/$name.log")
    # What a stage needs and could not get; it has said so.
    if [ "$status" = 77 ]; then
        printf '%-16s NOT RUN %s\n' "$name" "$(tail -n 1 "$logs/$name.log")"
        return
    fi
    # A stage that broke before or beside its tests is one failure more than they show.
    [ "$status" != 0 ] && [ "$failed" = 0 ] && failed=1
    [ "$failed" != 0 ] && word=FAILED
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    printf '%-16s %-6s %4d passed, %d failed, %d skipped %5d s\n' "$name" "$word" "$passed" \
        "$failed" "$skipped" $((SECONDS - begin))
}

run_levels() {
    local level levels
    levels=$(build/release/tests/levels/hone_levels | head -n -1)
    for level in $levels; do
        run "level-$level" stage_level "$level"
    done
}

begin=$SECONDS
[ $# = 0 ] && set -- style release levels clang asan tsan valgrind fuzz python
for stage in "$@"; do
    case $stage in
    levels) run_levels ;;
    style | release | clang | asan | tsan | valgrind | fuzz | python) run "$stage" "stage_$stage" ;;
    *)
        echo "tools/test.sh: no stage '$stage'; there are" \
            "style release levels clang asan tsan valgrind fuzz python"
        exit 2
        ;;
    esac
done
printf 'all stages took %d s; logs are in %s\n' $((SECONDS - begin)) "$logs"
printf '%d passed, %d failed\n' "$total_passed" "$total_failed"
[ "$total_failed" = 0 ] && [ "$total_passed" != 0 ]
