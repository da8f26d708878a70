# SPDX-License-Identifier: Apache-2.0
# Four steps in one run give the bits of two runs of two through a state file, for every rule and
# storage format, and at every CPU level and thread count.

make_files() {
    tensors write p.st w F32 2x3 .1,-.2,.3,1e-3,5,-6 b F64 2 .5,-.25 \
        h BF16 3 3f80,bf80,3e99 f F16 3 3c00,bc00,3555 still F32 2 7,8 count I64 2 3,4
    tensors write g.st w F32 2x3 .3,.1,-.2,1e-4,-1,2 b F32 2 .01,-.02 \
        h F32 3 .1,.2,-.3 f BF16 3 3dcc,be4c,3d00
}

check_rule() {
    echo "$1" >s.json
    make_files
    succeeds step --spec s.json --params p.st --grads g.st --params-out p4.st --state-out s4.st \
        --steps 4
    succeeds step --spec s.json --params p.st --grads g.st --params-out p2.st --state-out s2.st \
        --steps 2
    succeeds step --spec s.json --params p2.st --grads g.st --state s2.st --params-out p22.st \
        --state-out s22.st --steps=2
    expect_same p4.st p22.st
    expect_same s4.st s22.st
    expect_different p4.st p2.st
    expect_values p4.st still 7,8
    expect_values p4.st count 3,4
}

check_rule '{"optimizer_type": "sgd"}'
check_rule '{"optimizer_type": "sgd", "momentum": 0.9, "dampening": 0.5}'
check_rule '{"optimizer_type": "adam", "weight_decay": 0.1, "amsgrad": true}'
check_rule '{"optimizer_type": "rmsprop", "momentum": 0.5, "centered": true}'
check_rule '{"optimizer_type": "adopt", "weight_decay": 0.1, "decouple": true}'
check_rule '{"optimizer_type": "adamw_tf"}'
check_rule '{"optimizer_type": "adamw", "precision": "kahan", "schedule": {"type": "cosine_annealing",
 "T_max": 9, "warmup_steps": 2}}'
check_rule '{"optimizer_type": "adam", "precision": "master", "schedule": {"type": "one_cycle",
 "max_lr": 0.1, "total_steps": 5}, "grad_accum_steps": 3}'
check_rule '{"optimizer_type": "adamw", "state_dtype": "bf16", "clip_grad_norm": 0.1,
 "groups": [{"match": ["b", "h"], "lr_multiplier": 10, "optimizer_type": "adopt"}]}'

# The last recipe again, on one thread and at each level this machine has.
mv p4.st p-wanted.st
mv s4.st s-wanted.st
given_level=${HONE_CPU:-}
hone --version
levels=$(sed 's/.*here: //; s/)//' .out)
for level in $levels; do
    for threads in 1 3; do
        HONE_CPU=$level
        OMP_NUM_THREADS=$threads
        export HONE_CPU OMP_NUM_THREADS
        succeeds step --spec s.json --params p.st --grads g.st --params-out p4.st \
            --state-out s4.st --steps 4
        expect_same p4.st p-wanted.st
        expect_same s4.st s-wanted.st
    done
done
HONE_CPU=$given_level # empty is as good as none

# A tensor that rests in one run keeps the state it had.
echo '{"optimizer_type": "sgd", "learning_rate": 1, "momentum": 0.5}' >s.json
tensors write p.st a F64 1 0 b F64 1 0
tensors write both.st a F64 1 1 b F64 1 1
tensors write only-a.st a F64 1 1
succeeds step --spec s.json --params p.st --grads both.st --params-out p.st --state-out o.st
succeeds step --spec s.json --params p.st --grads only-a.st --state o.st --params-out p.st \
    --state-out o.st
expect_values p.st a -2.5
expect_values p.st b -1
expect_values o.st b@momentum_buffer 1
succeeds step --spec s.json --params p.st --grads both.st --state o.st --params-out p.st \
    --state-out o.st
expect_values p.st b -2.5

# A tensor that never had a gradient has no state.
succeeds step --spec s.json --params p.st --grads only-a.st --params-out p2.st --state-out o2.st
succeeds inspect o2.st
expect_out a@momentum_buffer
! grep -q b@momentum_buffer .out || fail "b has a state"

# The recipe that is given wins over the one in the state, and what the state holds goes on.
echo '{"optimizer_type": "sgd", "learning_rate": 10, "momentum": 0.5, "nesterov": true,
 "clip_grad_value": 4, "groups": [{"match": "b", "lr_multiplier": 2}]}' >s.json
tensors write p.st a F64 1 0 b F64 1 0
tensors write both.st a F64 1 8 b F64 1 8
succeeds step --spec s.json --params p.st --grads both.st --state o.st --params-out p.st \
    --state-out o.st
expect_values o.st a@momentum_buffer 4.875
expect_values p.st a -64.375
expect_values o.st b@momentum_buffer 4.75
expect_values p.st b -127.5
succeeds inspect o.st --json
expect_out '"lr_multiplier":2'

# A schedule goes on from where it stood, also under a changed learning rate, and ends.
tensors write p.st a F64 1 0
tensors write g.st a F64 1 1
echo '{"optimizer_type": "sgd", "learning_rate": 1,
 "schedule": {"type": "linear", "start_factor": 1, "end_factor": 0.2, "total_iters": 4}}' >s.json
succeeds step --spec s.json --params p.st --grads g.st --params-out p.st --state-out o.st --steps 2
expect_near p.st a 1e-15 -1.8
succeeds inspect o.st
expect_out "schedule of group 0: moved on 2 times"
sed -i 's/"learning_rate": 1/"learning_rate": 10/' s.json
succeeds step --spec s.json --params p.st --grads g.st --state o.st --params-out p.st --state-out o.st
expect_near p.st a 1e-15 -7.8
echo '{"optimizer_type": "sgd", "schedule": {"type": "one_cycle", "max_lr": 1, "total_steps": 4,
 "cycle_momentum": false}}' >s.json
hone step --spec s.json --params p.st --grads g.st --params-out q.st --state-out o.st --steps 4
expect_exit 0
expect_err "hone: warning: the learning rate's schedule has ended"
rm q.st
fails "ended after 4 of this run" step --spec s.json --params p.st --grads g.st --params-out q.st \
    --state-out o.st --steps 5
expect_no_file q.st
