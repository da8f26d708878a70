# SPDX-License-Identifier: Apache-2.0
# hone rules: the table, one rule, JSON, and names that are none.

succeeds rules
for rule in adam adamw adamw_tf adopt rmsprop sgd; do
    grep -q "^$rule " .out || fail "$rule is not listed"
done
expect_out "exp_avg exp_avg_sq [max_exp_avg_sq]"

succeeds rules adamw
expect_out "weight_decay"
grep -q '^beta1 *0.9 *0 to below 1' .out || fail "beta1's default and range"
grep -q '^amsgrad *false *true or false' .out || fail "amsgrad"
grep -q '^lr *0.001 *>= 0' .out || fail "lr"
grep -q '^max_exp_avg_sq *0 *with amsgrad' .out || fail "max_exp_avg_sq"
succeeds rules adopt
expect_out "s^0.25"
succeeds rules sgd
grep -q '^dampening *0 *any number' .out || fail "dampening"

succeeds rules adopt --json
expect_out '{"name": "clip_lambda", "kind": "curve", "default": {"power": 0.25, "scale": 1}'
expect_out '{"name": "beta2", "kind": "number", "default": 0.9999, "low": 0, "high": 1, "high_open": true'
succeeds rules --json
[ "$(head -c 1 .out)" = "[" ] || fail "not a list"
expect_out '"name": "max_exp_avg_sq", "initial": 0, "with": "amsgrad"'
succeeds rules --json sgd
expect_out '"name": "sgd"'

fails 'there is no rule "adamv_tf"; nearest: adamw_tf' rules adamv_tf
fails 'there is no rule "xylophone"; "hone rules" lists them' rules xylophone
expect_no_out
misused 'does not know what to do with "b"' rules a b
misused "has no option --jsn; nearest: --json" rules --jsn
misused "--json takes no value" rules --json=1
