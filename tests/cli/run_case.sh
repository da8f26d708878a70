# SPDX-License-Identifier: Apache-2.0
# Runs one case: sh run_case.sh CASE.sh HONE TENSOR_FILE. The case runs in an empty folder of its own
# with the words below; its first broken expectation ends it.
set -u
case_file=$1
hone_program=$2
tensor_program=$3
# Spinning threads would only wait for each other on a machine that runs many tests at once.
OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
OMP_WAIT_POLICY=passive
export OMP_NUM_THREADS OMP_WAIT_POLICY

folder=$(mktemp -d "${TMPDIR:-/tmp}/hone-cli.XXXXXX") || exit 1
trap 'cd /; rm -rf "$folder"' EXIT
cd "$folder" || exit 1

# What went wrong, with what the last command said.
fail() {
    echo "FAILED: $*" >&2
    echo "last command: ${last:-none} (exit ${code:-?})" >&2
    [ -f .out ] && { echo "--- standard output"; cat .out; } >&2
    [ -f .err ] && { echo "--- standard error"; cat .err; } >&2
    exit 1
}

# Runs hone and keeps its exit code and both streams.
hone() {
    last="hone $*"
    "$hone_program" "$@" >.out 2>.err
    code=$?
}

# expect_exit CODE: and nothing of a sanitizer.
expect_exit() {
    [ "$code" -eq "$1" ] || fail "exit code is $code, wanted $1"
}

expect_out() { grep -qF -- "$1" .out || fail "standard output lacks: $1"; }
expect_err() { grep -qF -- "$1" .err || fail "standard error lacks: $1"; }
expect_no_err() { [ ! -s .err ] || fail "standard error is not empty"; }
expect_no_out() { [ ! -s .out ] || fail "standard output is not empty"; }
expect_same() { cmp -s "$1" "$2" || fail "$1 and $2 differ"; }
expect_different() { ! cmp -s "$1" "$2" || fail "$1 and $2 are the same"; }
expect_no_file() { [ ! -e "$1" ] || fail "$1 exists"; }

# succeeds ARGUMENTS: exit 0 and quiet on standard error.
succeeds() {
    hone "$@"
    expect_exit 0
    expect_no_err
}

# fails TEXT ARGUMENTS: exit 1 and an error that holds TEXT.
fails() {
    wanted=$1
    shift
    hone "$@"
    expect_exit 1
    expect_err "hone: error: "
    expect_err "$wanted"
}

# misused TEXT ARGUMENTS: exit 2 and an error that holds TEXT.
misused() {
    wanted=$1
    shift
    hone "$@"
    expect_exit 2
    expect_err "$wanted"
    expect_no_out
}

tensors() {
    last="tensor_file $*"
    code=0
    "$tensor_program" "$@" >.out 2>.err || fail "tensor_file failed"
}

# expect_near FILE NAME TOLERANCE VALUES
expect_near() { tensors near "$@"; }

# expect_values FILE NAME VALUES, as tensor_file prints them
expect_values() {
    tensors print "$1" "$2"
    [ "$(cat .out)" = "$3" ] || fail "$1 $2 is $(cat .out), wanted $3"
}

# No temporary file may be left: the folder holds exactly these names, in order.
expect_folder() { [ "$(ls -A | grep -v '^\.out$\|^\.err$' | tr '\n' ' ')" = "$* " ] ||
    fail "the folder holds: $(ls -A | tr '\n' ' ')"; }

. "$case_file"
