# SPDX-License-Identifier: Apache-2.0
# Standard output that cannot be written is a failure, a progress bar is for terminals alone.

tensors write p.st w F32 2 1,2
echo '{"optimizer_type": "adamw"}' >s.json
[ -c /dev/full ] || exit 0
for arguments in rules "rules adamw --json" "inspect p.st" "spec check s.json" --version help; do
    last="hone $arguments >/dev/full"
    # shellcheck disable=SC2086
    "$hone_program" $arguments >/dev/full 2>.err
    code=$?
    expect_exit 1
    expect_err "hone: error: cannot write to standard output: No space left on device"
done

# A bar on a terminal, drawn with carriage returns and wiped; none in a pipe.
tensors write big.st w F32 3000000 all:1
succeeds step --spec s.json --params big.st --grads big.st --params-out q.st --state-out o.st \
    --steps 150
expect_no_out
command -v script >/dev/null 2>&1 || exit 0
TERM=xterm
export TERM
last="hone step in a terminal"
script -qec "'$hone_program' step --spec s.json --params big.st --grads big.st \
    --params-out q2.st --state-out o2.st --steps 150" /dev/null >.out 2>.err </dev/null
code=$?
expect_exit 0
expect_out "] "
expect_out "stepped 1 of 1 tensors, 150 times"
expect_same q.st q2.st
