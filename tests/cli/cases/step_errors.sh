# SPDX-License-Identifier: Apache-2.0
# Bad input to hone step: exit 1, a sentence, and neither output exists afterwards.

echo '{"optimizer_type": "adamw"}' >s.json
tensors write p.st layer.weight F32 2 1,2 layer.bias F32 1 3 whole I64 1 4
tensors write g.st layer.weight F32 2 1,1

step_fails() {
    wanted_text=$1
    shift
    fails "$wanted_text" step --params-out q.st --state-out o.st "$@"
    expect_no_file q.st
    expect_no_file o.st
    expect_no_out
}

# Files that are not there, not files, cut or not safetensors.
step_fails "cannot open \"no.json\": No such file" --spec no.json --params p.st --grads g.st
step_fails "no.st" --spec s.json --params no.st --grads g.st
step_fails "no.st" --spec s.json --params p.st --grads no.st
step_fails "no.st" --spec s.json --params p.st --grads g.st --state no.st
step_fails "is a directory" --spec s.json --params . --grads g.st
step_fails "cannot read \".\": Is a directory" --spec . --params p.st --grads g.st
step_fails "regular file" --spec s.json --params /dev/null --grads g.st
: >empty.st
step_fails "the file is empty" --spec s.json --params empty.st --grads g.st
size=$(wc -c <p.st)
for cut in 4 8 20 $((size / 2)) $((size - 1)); do
    head -c "$cut" p.st >cut.st
    step_fails "cut.st" --spec s.json --params cut.st --grads g.st
    step_fails "cut.st" --spec s.json --params p.st --grads cut.st
done
step_fails "s.json" --spec s.json --params p.st --grads s.json

# Recipes.
echo '{"optimizer_type": "adamw", "learning_rat": 1}' >bad.json
step_fails "bad.json:1:" --spec bad.json --params p.st --grads g.st
expect_err learning_rate
: >bad.json
step_fails "bad.json" --spec bad.json --params p.st --grads g.st
step_fails "is longer than" --spec /dev/zero --params p.st --grads g.st

# Gradients that do not fit.
tensors write bad.st layer.wieght F32 2 1,1
step_fails 'the gradient "layer.wieght" has no parameter of that name; nearest: "layer.weight"' \
    --spec s.json --params p.st --grads bad.st
tensors write bad.st entirely-different F32 2 1,1
step_fails 'the gradient "entirely-different" has no parameter of that name' \
    --spec s.json --params p.st --grads bad.st
tensors write bad.st layer.weight F32 3 1,1,1
step_fails layer.weight --spec s.json --params p.st --grads bad.st
tensors write bad.st layer.weight F32 1x2 1,1
step_fails layer.weight --spec s.json --params p.st --grads bad.st
tensors write bad.st layer.weight I64 2 1,1
step_fails layer.weight --spec s.json --params p.st --grads bad.st
tensors write bad.st whole F32 1 1
step_fails "can be stepped" --spec s.json --params p.st --grads bad.st
tensors write odd.st a@b F32 1 1
step_fails "'@'" --spec s.json --params odd.st --grads odd.st

# A gradient's norm that the recipe does not accept.
echo '{"optimizer_type": "adamw", "clip_grad_norm": 1, "nonfinite": "error"}' >strict.json
tensors write bad.st layer.weight F32 2 nan,1
step_fails "norm" --spec strict.json --params p.st --grads bad.st

# States that do not fit.
succeeds step --spec s.json --params p.st --grads g.st --params-out q.st --state-out state
rm q.st
step_fails "p.st: the file is not a checkpoint" --spec s.json --params p.st --grads g.st \
    --state p.st
tensors write other.st layer.weight F32 3 1,2,3 layer.bias F32 1 3 new F32 1 1
tensors write g3.st layer.weight F32 3 1,1,1
step_fails "layer.weight" --spec s.json --params other.st --grads g3.st --state state
expect_err new
echo '{"optimizer_type": "sgd"}' >sgd.json
step_fails "was stepped by adamw" --spec sgd.json --params p.st --grads g.st --state state
size=$(wc -c <state)
head -c $((size - 4)) state >cut.st
step_fails "cut.st" --spec s.json --params p.st --grads g.st --state cut.st

# An environment that asks for what there is not.
HONE_CPU=sse9
export HONE_CPU
step_fails "HONE_CPU" --spec s.json --params p.st --grads g.st
