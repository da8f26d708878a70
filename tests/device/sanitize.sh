#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sanitize.sh SOURCE PROGRAMS: what tools/gpu_sanitize.sh says of its work, with a stand-in for
# compute-sanitizer that runs the program and reports what $folder/bad asks for.
set -euo pipefail
source=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
cat >"$folder/bin/compute-sanitizer" <<'END'
#!/usr/bin/env bash
test "$1 $3 $4" = "--tool --error-exitcode 9" || exit 3
echo "$2 $(basename "$5") ${HONE_TEST_SHARD}" >>"$FOLDER/started"
echo "========= COMPUTE-SANITIZER"
if grep -qx "$2 $(basename "$5") ${HONE_TEST_SHARD}" "$FOLDER/killed" 2>/dev/null; then
    rm "$FOLDER/killed"
    echo "========= Error: process didn't terminate successfully"
    echo "========= ERROR SUMMARY: 0 errors"
    exit 9
fi
"$5"
status=$?
if grep -qx "$2 $(basename "$5") ${HONE_TEST_SHARD}" "$FOLDER/bad" 2>/dev/null; then
    echo "========= ERROR SUMMARY: 1 error"
    exit 9
fi
echo "========= ERROR SUMMARY: 0 errors"
exit $status
END
chmod +x "$folder/bin/compute-sanitizer"
export PATH=$folder/bin:$PATH FOLDER=$folder RESULTS=$folder/results PROGRAMS=$2 JOBS=2 PARTS=3
export HONE_TEST_QUICK=1

sanitize() { # STATUS CHECK...: the summary's lines to $folder/summary
    local wanted=$1 status=0
    shift
    : >"$folder/started"
    "$source/tools/gpu_sanitize.sh" "$@" >"$folder/output" 2>&1 || status=$?
    sed '0,/^== covered/d' "$folder/output" >"$folder/summary"
    test "$status" = "$wanted" || { cat "$folder/output" && exit 1; }
}

says() { # LINE: as extended regular expression
    grep -qxE "$1" "$folder/summary" || { echo "no line '$1' in" && cat "$folder/output" && exit 1; }
}

echo "memcheck test_device_muon 2/3" >"$folder/bad"
sanitize 1 memcheck:test_device_muon initcheck:test_device_narrow memcheck:test_device_large
says 'memcheck +test_device_muon +2 of 3 parts clean, [0-9]+ of 19 cases; REPORTS in .*muon\.2-of-3\.log'
says 'initcheck +test_device_narrow +not run: it does not see .*'
says 'memcheck +test_device_large +skipped: the host.s stand-in .*'
says 'not all of it is clean'
test "$(wc -l <"$folder/started")" = 4

rm "$folder/bad" # what was clean is not run again
sanitize 0 memcheck:test_device_muon
says 'memcheck +test_device_muon +3 of 3 parts clean, 19 of 19 cases'
says 'all of it is clean'
test "$(cat "$folder/started")" = "memcheck test_device_muon 2/3"

echo "racecheck test_device_muon 3/3" >"$folder/killed" # by somebody else: once more, alone
sanitize 0 racecheck:test_device_muon
says 'all of it is clean'
test "$(grep -c 3/3 "$folder/started")" = 2

sanitize 0 memcheck:test_device_muon memcheck:test_device_large initcheck:test_device_narrow
says 'all of it is clean, but for what was skipped or not run'

LIMIT=1 sanitize 1 racecheck:test_device_bits # which takes longer
says 'racecheck +test_device_bits +0 of 3 parts clean, 0 of . cases'

# Every program is in its list, but those that need the stand-in.
sanitize 2 memcheck:test_nothing
{
    sed -n 's/.*no such program; there are //p' "$folder/output" | tr ' ' '\n'
    printf '%s\n' test_device_failures test_device_graph
} | sort >"$folder/listed"
(cd "$source/tests/device" && printf '%s\n' test_*.c) | sed 's/\.c$//' | sort | diff "$folder/listed" -

# A library that is there and does not load: a reason to skip, and a failure where there has to be a device.
echo "no library" >"$folder/broken.so"
export HONE_CUDA=$folder/broken.so
status=0
env -u HONE_TEST_NEEDS_DEVICE "$PROGRAMS/test_device_narrow" >"$folder/output" 2>&1 || status=$?
test "$status" = 77
grep -q '^SKIPPED: .*broken\.so: ' "$folder/output"
status=0
HONE_TEST_NEEDS_DEVICE=1 "$PROGRAMS/test_device_narrow" >"$folder/output" 2>&1 || status=$?
test "$status" = 1
grep -q '^FAILED: HONE_TEST_NEEDS_DEVICE=1, and .*broken\.so: ' "$folder/output"
sanitize 1 memcheck:test_device_narrow
says 'memcheck +test_device_narrow +0 of 1 parts clean, 0 of . cases; REPORTS in .*'
