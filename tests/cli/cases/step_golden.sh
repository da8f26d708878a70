# SPDX-License-Identifier: Apache-2.0
# Known trajectories, one call at a time through files, each continuing from the last one's state.

# trajectory RECIPE PARAMETERS "GRADIENT..." "WANTED...": one gradient and one wanted result a call.
trajectory() {
    echo "$1" >s.json
    tensors write p.st w F64 "$5" "$2"
    set -- "$3" "$4" "$5"
    rm -f state.st
    wanted_list=$2
    for gradient in $1; do
        tensors write g.st w F64 "$3" "$gradient"
        if [ -e state.st ]; then
            succeeds step --spec s.json --params p.st --grads g.st --state state.st \
                --params-out p.st --state-out state.st
        else
            succeeds step --spec s.json --params p.st --grads g.st --params-out p.st \
                --state-out state.st
        fi
        expect_near p.st w 5e-12 "${wanted_list%% *}"
        wanted_list=${wanted_list#* }
    done
}

gradients=".1,-.2,0 .3,-.1,.01 -.2,.4,.02 .1,.1,-.5"

trajectory '{"optimizer_type": "adopt", "learning_rate": 0.01, "betas": [0.9, 0.9999], "eps": 1e-6}' \
    1,-2,.5 "$gradients" "1,-2,0.5 0.999,-1.9995,0.499 0.999289207115,-2.00023920712,0.496910792885 \
0.998550043025,-2.00140443728,0.496346580494" 3
expect_near state.st w@exp_avg 5e-12 0.0739164089766,0.116523016112,0.056421239055

trajectory '{"optimizer_type": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}' \
    1,-2,.5 "$gradients" "0.989000001,-1.9880000005,0.4995 0.97883319022,-1.9766902047,0.491559142285 \
0.975275319098,-1.97677708469,0.482781863272 0.970757490417,-1.97769155625,0.487801522708" 3
expect_near state.st w@exp_avg_sq 5e-12 0.00014975011999,0.00021970012996,0.0002504994001

trajectory '{"optimizer_type": "rmsprop", "learning_rate": 0.01, "alpha": 0.99, "weight_decay": 0.1,
 "centered": true, "momentum": 0.1}' 1,-2,.5 "$gradients" "0.899496268979,-1.89949624373,0.399496420494 \
0.79955946394,-1.82998270221,0.31787790759 0.816273906825,-1.86367944799,0.249418276077 \
0.780156965636,-1.850976778,0.341170780564" 3

trajectory '{"optimizer_type": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01,
 "nesterov": true}' 1,-1 ".5,.2 .1,-.4 .3,.3" "0.9031,-1.0361 0.84107411,-0.97352141 \
0.736465558191,-1.00928347832" 2
expect_near state.st w@momentum_buffer 5e-12 0.8196386411,0.0748398859

trajectory '{"optimizer_type": "adamw_tf", "learning_rate": 0.01, "weight_decay": 0.01}' \
    1,-2,.5 "$gradients" "0.980000031623,-1.97000001581,0.495 0.961022229295,-1.94097823245,0.482608867074 \
0.948832971132,-1.92363201898,0.469497169304 0.93580209077,-1.90728694561,0.470304635654" 3

# Clipping by norm over two tensors, then plain descent by the clipped gradients.
echo '{"optimizer_type": "sgd", "learning_rate": 1, "clip_grad_norm": 1.0}' >s.json
tensors write p.st a F64 2 0,0 b F64 1 0
tensors write g.st a F64 2 3,4 b F64 1 12
succeeds step --spec s.json --params p.st --grads g.st --params-out p.st --state-out state.st
expect_near p.st a 5e-12 -0.230769213018,-0.307692284024
expect_near p.st b 5e-12 -0.923076852071
