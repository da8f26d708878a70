# SPDX-License-Identifier: Apache-2.0
# Standard output that cannot be written is a failure, a progress bar is for terminals alone.

tensors write p.st w F32 2 1,2
echo '{"optimizer_type": "adamw"}' >s.json
[ -c /dev/full ] || exit 0
succeeds mask make --top 0.5 --from p.st m.st
for arguments in rules "rules adamw --json" "inspect p.st" "spec check s.json" --version help \
    "mask info m.st" "mask info m.st --json" "mask make --top 0.5 --from p.st m.st"; do
    last="hone $arguments >/dev/full"
    # shellcheck disable=SC2086
    "$hone_program" $arguments >/dev/full 2>.err
    code=$?
    expect_exit 1
    expect_err "hone: error: cannot write to standard output: No space left on device"
    [ "$(wc -l <.err)" -eq 1 ] || fail "more than one line on standard error"
done

# A bar on a terminal, drawn over one line and wiped; none in a pipe. It appears when the work has
# taken a moment, for which a recipe that comes late through a named pipe provides.
mkfifo recipe
send_recipe_late() {
    sleep 1.5
    cat s.json >recipe
}
send_recipe_late &
succeeds step --spec recipe --params p.st --grads p.st --params-out q.st --state-out o.st --steps 4
expect_no_out
wait
command -v script >/dev/null 2>&1 || exit 0
TERM=xterm
export TERM
last="hone step in a terminal"
send_recipe_late &
script -qec "'$hone_program' step --spec recipe --params p.st --grads p.st --params-out q2.st \
    --state-out o2.st --steps 4" /dev/null >.out 2>.err </dev/null
code=$?
wait
expect_exit 0
expect_out "0%  steps (0 of 4)"
expect_out "stepped 1 of 1 tensors, 4 times"
expect_same q.st q2.st
