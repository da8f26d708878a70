# SPDX-License-Identifier: Apache-2.0
# Wrong usage: exit 2 and a hint; help and version: exit 0.

hone
expect_exit 2
expect_err "usage: hone COMMAND"
expect_no_out
misused 'there is no command "stpe"; nearest: step' stpe
misused 'there is no command "xylophone"' xylophone
misused 'there is no command "-v"' -v
misused 'there is no command "rulse"; nearest: rules' help rulse

succeeds --version
grep -q '^hone [0-9]*\.[0-9]*\.[0-9]* (CPU levels here: base' .out || fail "the version's line"
succeeds --help
expect_out "usage: hone COMMAND"
succeeds help
for command in step rules inspect spec mask bench help; do
    expect_out "  $command "
done
for command in step rules inspect spec mask bench help; do
    succeeds help $command
    expect_out "usage: hone $command"
    cp .out one
    succeeds $command --help
    expect_same .out one
done
succeeds step --spec x -h

misused "hone step needs --spec" step
misused "hone step needs --grads" step --spec s --params p
misused "hone step needs --state-out" step --spec s --params p --grads g --params-out q
misused "has no option --parms; nearest: --params" step --parms p
misused "has no option -p" step -p
misused "--spec is given twice" step --spec a --spec b
misused "--spec needs a value" step --spec
misused "--spec is given an empty value" step --spec=
misused 'does not know what to do with "extra"' step extra
for steps in 0 -1 1.5 x 1x 99999999999999999999 ""; do
    hone step --spec s --params p --grads g --params-out q --state-out o --steps "$steps"
    expect_exit 2
    expect_err "--steps"
done
expect_no_file q

# What follows -- is not an option.
fails "cannot open \"--json\"" spec check -- --json
misused "hone inspect needs an argument" inspect --
