# SPDX-License-Identifier: Apache-2.0
# hone step under masks: two rates in one tensor, from the command line and from the recipe, and a
# state that knows its masks.

tensors write params.st w F64 4 1,1,1,1 v F64 2 1,1
tensors write grads.st w F64 4 1,1,1,1 v F64 2 1,1
tensors write ranked.st w F64 4 0,9,0,8
succeeds mask make --top 0.5 --from ranked.st masks.st
echo '{"optimizer_type": "sgd", "learning_rate": 0.25}' >spec.json

succeeds step --spec spec.json --params params.st --grads grads.st --params-out out.st \
    --state-out state.st --masks masks.st --masked-lr 0.5
tensors write wanted.st w F64 4 0.75,0.5,0.75,0.5 v F64 2 0.75,0.75
expect_same out.st wanted.st

# The same from the recipe; and a rate of 0 leaves everything else as it was.
echo '{"optimizer_type": "sgd", "learning_rate": 0.25, "masked_lr": 0.5, "masks": "masks.st"}' >masked.json
succeeds step --spec masked.json --params params.st --grads grads.st --params-out out2.st \
    --state-out state2.st
expect_same out2.st wanted.st
succeeds step --spec masked.json --params params.st --grads grads.st --params-out out3.st \
    --state-out state3.st --unmasked-lr 0
tensors write wanted3.st w F64 4 1,0.5,1,0.5 v F64 2 1,1
expect_same out3.st wanted3.st

# Another mask, or none, is refused when the state was made under one.
fails "was stepped under a mask, and has none now" step --spec spec.json --params params.st \
    --grads grads.st --params-out out4.st --state-out state4.st --state state.st
expect_no_file out4.st
tensors write other.st w F64 4 9,0,8,0
succeeds mask make --top 0.5 --from other.st other-masks.st
fails "was stepped under another mask" step --spec spec.json --params params.st --grads grads.st \
    --params-out out4.st --state-out state4.st --state state.st --masks other-masks.st
for rate in fast nan; do
    misused "--masked-lr \"$rate\" is no number" step --spec spec.json --params params.st \
        --grads grads.st --params-out out4.st --state-out state4.st --masked-lr "$rate"
done
misused '--masked-lr is the rate under masks; there are none without --masks or "masks" in the recipe' \
    step --spec spec.json --params params.st --grads grads.st --params-out out4.st \
    --state-out state4.st --masked-lr 0.5
expect_no_file out4.st
