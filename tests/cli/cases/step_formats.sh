# SPDX-License-Identifier: Apache-2.0
# What may be in the files: every format, mixed; complex, scalar and empty tensors; other dtypes
# and names that only pass through; metadata.

echo '{"optimizer_type": "sgd", "learning_rate": 0.5}' >s.json
tensors write p.st note:format=pt note:"who=a \"quoted\" name" \
    a F32 2 1,2 b F64 2 1,2 c BF16 2 3f80,4000 d F16 2 3c00,4000 e C64 1 1,2 \
    scalar F32 scalar 3 empty F32 0x3 - odd@name F32 1 9 whole I64 3 1,2,3
tensors write g.st a F16 2 3c00,3c00 b F32 2 1,1 c F64 2 1,1 d BF16 2 3f80,3f80 e C64 1 1,1 \
    scalar F64 scalar 1 empty BF16 0x3 -
succeeds step --spec s.json --params p.st --grads g.st --params-out q.st --state-out o.st
expect_values q.st a 0.5,1.5
expect_values q.st b 0.5,1.5
expect_values q.st c 3f00,3fc0
expect_values q.st d 3800,3e00
expect_values q.st e 0.5,1.5
expect_values q.st scalar 2.5
expect_values q.st odd@name 9
expect_values q.st whole 1,2,3
succeeds inspect q.st
expect_out "9 tensors"
expect_out "metadata format: pt"
expect_out 'metadata who: a "quoted" name'
expect_out "[0, 3]"

# The state of a 16-bit tensor is f32 unless the recipe says otherwise.
echo '{"optimizer_type": "adamw"}' >s.json
succeeds step --spec s.json --params p.st --grads g.st --params-out q.st --state-out o.st
succeeds inspect o.st
grep -q '^c@exp_avg *F32' .out || fail "c@exp_avg is not F32"
grep -q '^b@exp_avg *F64' .out || fail "b@exp_avg is not F64"
echo '{"optimizer_type": "adamw", "state_dtype": "bf16"}' >s.json
succeeds step --spec s.json --params p.st --grads g.st --params-out q.st --state-out o.st
succeeds inspect o.st
grep -q '^c@exp_avg *BF16' .out || fail "c@exp_avg is not BF16"

# A file without gradients is no error: nothing moves.
tensors write none.st
succeeds step --spec s.json --params p.st --grads none.st --params-out q.st --state-out o.st
expect_values q.st a 1,2

# The recipe may come through a pipe.
hone step --spec - --params p.st --grads g.st --params-out q.st --state-out o.st <s.json
expect_exit 0

# A pattern that matches nothing is told, and is no error.
echo '{"optimizer_type": "adamw", "groups": [{"match": ["a", "nope.*"], "weight_decay": 0}]}' >s.json
hone step --spec s.json --params p.st --grads g.st --params-out q.st --state-out o.st
expect_exit 0
expect_err 'hone: warning: the pattern "nope.*" of group 1 matches no parameter'

# A step that the recipe's policy leaves out is told.
echo '{"optimizer_type": "adamw", "clip_grad_norm": 1, "nonfinite": "skip"}' >s.json
tensors write g.st a F32 2 inf,0
hone step --spec s.json --params p.st --grads g.st --params-out q.st --state-out o.st --steps 3
expect_exit 0
expect_err "hone: warning: 3 of 3 steps were skipped"
expect_values q.st a 1,2
