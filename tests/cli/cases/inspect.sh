# SPDX-License-Identifier: Apache-2.0
# hone inspect: plain files, checkpoints, strange names and broken files.

tensors write p.st note:format=pt "a
b" F32 2x3 all:1 scalar F64 scalar 1 empty BF16 0 -
succeeds inspect p.st
expect_out "p.st: 3 tensors, 32 B"
expect_out "metadata format: pt"
expect_out 'a\x0ab'
grep -q '^scalar *F64 *\[\] *8$' .out || fail "the scalar's line"
grep -q '^empty *BF16 *\[0\] *0$' .out || fail "the empty tensor's line"
succeeds inspect p.st --json
expect_out '{"name": "a\u000ab", "dtype": "F32", "shape": [2, 3], "bytes": 24}'
expect_out '"format": "pt"'
expect_out '"checkpoint": null'

tensors write none.st
succeeds inspect none.st
expect_out "none.st: 0 tensors, 0 B"

echo '{"optimizer_type": "adamw", "learning_rate": 0.1, "groups": [{"match": "b*",
 "optimizer_type": "sgd", "momentum": 0.9}]}' >s.json
tensors write p.st a F32 2 1,2 bias F32 1 3 still F32 1 1
tensors write g.st a F32 2 1,2 bias F32 1 3
succeeds step --spec s.json --params p.st --grads g.st --params-out p.st --state-out o.st --steps 7
succeeds inspect o.st
expect_out 'recipe: {"groups":[{"match":'
expect_out '"learning_rate":0.1'
grep -q '^a *7 *0 *adamw$' .out || fail "a's counter"
grep -q '^bias *7 *1 *sgd$' .out || fail "the counter of bias"
grep -q '^still *0 *0 *adamw$' .out || fail "the counter of still"
grep -q '^bias@momentum_buffer *F32 *\[1\] *4$' .out || fail "the state's line"
succeeds inspect o.st --json
expect_out '"checkpoint": {"format":1'
expect_out '"step":7'

# Where schedules stand, also that of masked_lr alone.
echo '{"optimizer_type": "adamw", "masked_lr": 0.5, "masked_schedule": {"type": "linear"},
 "groups": [{"match": "b*", "schedule": {"type": "linear"}}]}' >s.json
succeeds step --spec s.json --params p.st --grads g.st --params-out p.st --state-out o.st --steps 3
succeeds inspect o.st
expect_out "masked_schedule of group 0: moved on 3 times"
expect_out "masked_schedule of group 1: moved on 3 times"
grep -q "^schedule of group 1: moved on 3 times" .out || fail "the schedule of group 1"
! grep -q "^schedule of group 0" .out || fail "group 0 has no schedule"

# Metadata that only looks like ours is shown as it is.
tensors write fake.st note:hone='{"spec": 1}' a F32 1 1
succeeds inspect fake.st
expect_out 'metadata hone: {"spec": 1}'
tensors write fake.st note:hone='{"spec": {"optimizer_type": 3}, "params": {"x": 5}}' a F32 1 1
succeeds inspect fake.st
succeeds inspect fake.st --json

fails "No such file" inspect no.st
head -c 20 o.st >cut.st
fails cut.st inspect cut.st
head -c 4000 /dev/urandom >noise.st
fails noise.st inspect noise.st
fails "is a directory" inspect .
misused "hone inspect needs an argument" inspect
misused 'does not know what to do with "b"' inspect a b
