# SPDX-License-Identifier: Apache-2.0
# The second of two outputs cannot be put in place after the first one was: the first gets its old
# content back. A recipe that comes through a named pipe holds the program up between looking at its
# outputs and writing them, and meanwhile a directory takes the second one's place.

echo '{"optimizer_type": "adamw"}' >s.json
tensors write p.st w F32 2 1,2
tensors write g.st w F32 2 1,1
mkfifo recipe

step_with_obstacle() {
    last="hone step with a directory put in the way"
    "$hone_program" step --spec recipe --params p.st --grads g.st --params-out q.st \
        --state-out o.st >.out 2>.err &
    exec 4>recipe # returns when the program has opened its end
    mkdir o.st
    cat s.json >&4
    exec 4>&-
    wait $!
    code=$?
    rmdir o.st
    expect_exit 1
    expect_err 'hone: error: cannot write "o.st": Is a directory'
}

cp p.st q.st
step_with_obstacle
expect_same q.st p.st
expect_folder g.st p.st q.st recipe s.json

rm q.st
step_with_obstacle
expect_folder g.st p.st recipe s.json

# Without the obstacle the same way works.
"$hone_program" step --spec recipe --params p.st --grads g.st --params-out q.st --state-out o.st &
cat s.json >recipe
wait $! || fail "hone step with a recipe from a pipe"
expect_different q.st p.st
expect_folder g.st o.st p.st q.st recipe s.json
