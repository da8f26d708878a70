# SPDX-License-Identifier: Apache-2.0
# hone schedule: the values, the chart in a pipe and on a terminal, the picture, and what is refused.

# Values, as PyTorch has them (CosineAnnealingLR, StepLR) and by hand.
cat >s.json <<'END'
{"optimizer_type": "adamw", "learning_rate": 1e-3,
 "schedule": {"type": "cosine_annealing", "T_max": 4, "eta_min": 1e-4},
 "groups": [{"match": "*.bias", "weight_decay": 0},
            {"match": ["a<&>*", "head.*"], "optimizer_type": "sgd", "learning_rate": 0.5,
             "schedule": {"type": "step", "step_size": 3, "gamma": 0.5}, "lr_multiplier": 4},
            {"match": "slow.*", "schedule": null}]}
END
succeeds schedule s.json --steps 5 --json
expect_out '"lr": [0.001, 0.000868198'
expect_out ', 0.00055, 0.000231801'
[ "$(grep -c '"lr": .*, 0.00010*\(01*\)*\]' .out)" -eq 2 ] || fail "the cosine ends at eta_min in two groups"
expect_out '"lr": [2, 2, 2, 1, 1]'
expect_out '"lr": [0.001, 0.001, 0.001, 0.001, 0.001]'
expect_out '"match": ["a<&>*", "head.*"]'
expect_out '"schedule": null'
expect_out '"unit": "step"'
hone schedule - --steps 5 --json <s.json
expect_exit 0
cp .out stdin.json
succeeds schedule s.json --steps 5 --json
expect_same .out stdin.json

# The chart: equal curves once, plain text of at most 80 columns, the summary's numbers.
succeeds schedule s.json --steps 5
expect_out "groups 0, 1: learning rate, cosine_annealing"
expect_out "group 2 (sgd: a<&>*, head.*): learning rate, step"
expect_out "group 3 (adamw: slow.*): learning rate, no schedule"
expect_out "first 2, highest 2 at step 0, lowest 1, last 1"
[ "$(grep -c 'highest' .out)" -eq 3 ] || fail "three curves"
[ "$(LC_ALL=C tr -d '\n -~' <.out | wc -c)" -eq 0 ] || fail "not plain ASCII"
[ "$(wc -L <.out)" -le 80 ] || fail "wider than 80 columns"

# A chart as it should look, to the character: a rise of three values, then constant.
echo '{"type": "warmup_stable_decay", "stable_steps": 40, "decay_steps": 27, "warmup_steps": 1}' >w.json
succeeds schedule w.json --steps 69 --lr 0.5
cat >wanted <<'END'
learning rate, warmup_stable_decay

0.5 + ******************************************
    | *                                        ****
0.4 + *                                           ****
    | *                                              ***
0.3 + *                                                ****
    |**                                                   ****
0.2 +*                                                       ****
    |*                                                          ***
0.1 +*                                                            ****
    |*                                                               ****
  0 +*                                                                  **
     +---------+---------+---------+---------+---------+---------+--------
     0        10        20        30        40        50        60 step

  first 0, highest 0.5 at step 1, lowest 0, last 0
END
expect_same .out wanted
succeeds schedule w.json --steps 1
expect_out "first 0, highest 0 at step 0, lowest 0, last 0"

# A narrow spike is not lost among many values; a moved momentum has a curve, near its values.
echo '{"type": "cyclic", "base_lr": 0, "max_lr": 1, "step_size_up": 1, "step_size_down": 9999}' >c.json
succeeds schedule c.json --steps 10000
expect_out "highest 1 at step 1"
expect_out "momentum, cyclic"
grep -q '^  1 +\*' .out || fail "the spike"
grep -q '^ *0.88 +' .out || fail "the scale of momentum is near its values"

# Second rates, and schedules that count epochs.
cat >m.json <<'END'
{"optimizer_type": "adamw", "learning_rate": 1, "masked_lr": 0.5, "lr_decay_gamma": 0.5}
END
succeeds schedule m.json --steps 4 --json
expect_out '"unit": "epoch"'
expect_out '"lr": [1, 0.5, 0.25, 0.125]'
expect_out '"masked_lr": [0.5, 0.25, 0.125, 0.0625]'
succeeds schedule m.json --steps 4 --epoch-steps 2 --json
expect_out '"unit": "step"'
expect_out '"lr": [1, 1, 0.5, 0.5]'
succeeds schedule m.json --steps 4
expect_out "learning rate under masks, exponential"
expect_out "highest 1 at epoch 0"
cat >m.json <<'END'
{"optimizer_type": "adamw", "learning_rate": 1, "masked_lr": 0.5, "lr_decay_gamma": 0.5,
 "masked_schedule": {"type": "linear", "start_factor": 0.5, "total_iters": 2},
 "groups": [{"match": "a", "schedule": {"type": "reduce_lr_on_plateau"}}]}
END
hone schedule m.json --steps 3 --json
expect_exit 0
expect_out '"masked_lr": [0.25, 0.375, 0.5]'
expect_out '"masked_schedule": "linear"'
expect_err "warning: group 0 counts epochs, others count steps; shown are epochs of one step"
expect_err "warning: group 1: reduce_lr_on_plateau depends on metrics"

# The picture: a panel for each curve, names escaped, the old file replaced whole.
echo old >out.svg
succeeds schedule s.json --steps 5 --plot out.svg
expect_out "groups 0, 1: learning rate"
head -1 out.svg | grep -q '^<svg xmlns="http://www.w3.org/2000/svg" width="760" height="772" ' ||
    fail "the picture's head"
[ "$(tail -1 out.svg)" = "</svg>" ] || fail "the picture's end"
[ "$(grep -c '<polyline class="curve" stroke="#0072b2"' out.svg)" -eq 3 ] || fail "three curves"
[ "$(grep -c '<circle' out.svg)" -eq 15 ] || fail "each value is marked"
grep -q 'points="76.00,300.00 240.00,300.00 404.00,300.00 568.00,384.00 732.00,384.00"' out.svg ||
    fail "the steps of the second panel: from the top of the plot to its middle"
grep -q 'a&lt;&amp;&gt;\*, head' out.svg || fail "names are escaped"
[ "$(grep -c '<' out.svg)" -eq "$(grep -c '>$' out.svg)" ] || fail "an element is cut"
if command -v xmllint >/dev/null 2>&1; then
    xmllint --noout out.svg || fail "not well-formed"
fi
succeeds schedule c.json --steps 100000 --plot out.svg
[ "$(wc -c <out.svg)" -lt 120000 ] || fail "many steps make a large picture"
! grep -q '<circle' out.svg || fail "many values are not marked"
expect_folder $(ls)

# What is refused: the place in the file, the end of a schedule, files that cannot be.
cp out.svg kept.svg
printf '{"type": "step", "step_sise": 3}' >bad.json
fails "bad.json:1:18: step_sise: unknown key" schedule bad.json --steps 3 --plot out.svg
expect_err nearest
printf '{"optimizer_type": "adamw", "schedule": {"type": "stepp"}}' >bad.json
fails "bad.json:1:50: " schedule bad.json --steps 3 --plot out.svg
printf '{"type": "step"' >bad.json
fails "bad.json:1:" schedule bad.json --steps 3
echo '{"type": "one_cycle", "max_lr": 1, "total_steps": 20}' >one.json
succeeds schedule one.json --steps 20
fails "the schedule one_cycle ends at step 19; there is no value for step 20" \
    schedule one.json --steps 21 --plot out.svg
expect_no_out
fails "No such file" schedule none.json --steps 3
fails 'cannot write "no/out.svg"' schedule s.json --steps 3 --plot no/out.svg
expect_no_out
expect_same out.svg kept.svg
if [ -c /dev/full ]; then
    last="hone schedule s.json >/dev/full"
    "$hone_program" schedule s.json --steps 9 >/dev/full 2>.err
    code=$?
    expect_exit 1
fi

misused "hone schedule needs --steps" schedule s.json
misused "hone schedule needs an argument" schedule --steps 3
misused '--steps is "0"; it must be a whole number from 1 on' schedule s.json --steps 0
misused "--steps is 10000001; at most 10000000 can be shown" schedule s.json --steps 10000001
misused '--epoch-steps is "x"' schedule s.json --steps 3 --epoch-steps x
misused '--lr is "-1"; it must be a number of at least 0' schedule w.json --steps 3 --lr=-1
misused '--lr is for a schedule alone; "s.json" is a recipe' schedule s.json --steps 3 --lr 1
misused "nearest: --plot" schedule s.json --steps 3 --plott out.svg

# On a terminal that speaks UTF-8 the curve is made of dots and as wide as the terminal.
command -v script >/dev/null 2>&1 || exit 0
last="hone schedule in a terminal"
TERM=xterm LC_ALL=C.UTF-8 script -qec "stty cols 60; '$hone_program' schedule w.json --steps 69" \
    /dev/null >.out 2>.err </dev/null
code=$?
expect_exit 0
LC_ALL=C grep -q "$(printf '\342\240')\|$(printf '\342\241')\|$(printf '\342\242')\|$(printf '\342\243')" .out ||
    fail "no dots"
[ "$(tr -d '\r' <.out | LC_ALL=C.UTF-8 wc -L)" -le 60 ] || fail "wider than the terminal"
