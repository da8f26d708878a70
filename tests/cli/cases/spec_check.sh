# SPDX-License-Identifier: Apache-2.0
# hone spec check: canonical form, places of errors, groups of parameters.

echo '{"weight_decay": 0.01, "optimizer_type": "adamw", "learning_rate": 1e-3, "eps": 1e-6}' >s.json
succeeds spec check s.json
[ "$(cat .out)" = '{"eps":1e-06,"learning_rate":0.001,"optimizer_type":"adamw"}' ] ||
    [ "$(cat .out)" = '{"eps":1e-6,"learning_rate":0.001,"optimizer_type":"adamw"}' ] ||
    fail "the canonical form"
cp .out canonical.json
succeeds spec check canonical.json
expect_same .out canonical.json
hone spec check - <s.json
expect_exit 0
expect_same .out canonical.json

# The place: line and column count from 1, characters and not bytes; the mark stands under it.
cat >bad.json <<'END'
{
	"optimizer_type": "adamw",
	"groups": [{"match": "ä*", "lerning_rate": 3}]
}
END
fails "bad.json:3:29: " spec check bad.json
grep -q '^                              ^$' .err || fail "the mark is elsewhere"
expect_err 'groups": [{"match": "ä*", "lerning_rate": 3}]'
expect_err learning_rate
printf '{"optimizer_type": "adamw", "learning_rate": -1}' >bad.json
fails "bad.json:1:46: " spec check bad.json
printf '{"optimizer_type": "adamw", "betas": [0.9, 1]' >bad.json
fails "bad.json:1:" spec check bad.json
# A long line is shown around the place.
{
    printf '{"optimizer_type": "adamw", "groups": ['
    i=0
    while [ $i -lt 40 ]; do
        printf '{"match": "layer.%d.*"}, ' $i
        i=$((i + 1))
    done
    printf '{"match": 7}, {"match": "a"}, {"match": "b"}, {"match": "c"}]}'
} >bad.json
fails "bad.json:1:" spec check bad.json
expect_err "  ..."
[ "$(wc -L <.err)" -lt 200 ] || fail "a line is too long"
grep '"match": 7}' .err >line
[ "$(expr "$(cat line)" : '.*"match": 7')" -eq "$(grep -n '' .err | sed -n 's/^3://p' | wc -L)" ] ||
    fail "the mark is not under the 7"
fails "No such file" spec check no.json

# Groups.
cat >s.json <<'END'
{"optimizer_type": "adamw", "learning_rate": 0.5,
 "groups": [{"match": ["*.bias", "nope.*"], "weight_decay": 0},
            {"match": "head.*", "optimizer_type": "sgd", "learning_rate": 1, "lr_multiplier": 5}]}
END
tensors write p.st a.bias F32 1 1 a.weight F32 1 1 head.weight F32 1 1 head.bias F32 1 1
hone spec check s.json --params p.st
expect_exit 0
grep -q '^a.weight *0 *adamw *0.5 *(all others)$' .out || fail "a.weight"
grep -q '^a.bias *1 *adamw *0.5 *\*.bias, nope.\*$' .out || fail "a.bias"
grep -q '^head.bias *2 *sgd *5 *head.\*$' .out || fail "head.bias: the last match wins"
expect_err 'hone: warning: the pattern "nope.*" of group 1 matches no parameter'
succeeds spec check s.json --params p.st --json
expect_out '"head.bias": {"group": 2, "rule": "sgd", "learning_rate": 5, "module": null}'
expect_out '"nope.*"'
expect_out '"spec": {"groups":'
succeeds spec check s.json --json
fails "no.st" spec check s.json --params no.st

# Muon beside AdamW, and modules: a file as its Python class wrote it, then one with everything.
cat >muon.json <<'END'
{"optimizer_type":"muon","learning_rate":0.02,"lr_decay_gamma":null,"momentum":0.95,"nesterov":true,
 "adamw_lr":0.0003,"weight_decay":0.01,"betas":[0.9,0.999]}
END
tensors write m.st transformer.h.weight F32 2x2 all:1 transformer.h.bias F32 2 all:1 \
    transformer.wte.weight F32 2x2 all:1 head.weight F32 2x2 all:1 ids I64 1 7
hone spec check muon.json --params m.st
expect_exit 0
grep -q '^transformer.h.weight *1 *muon *0.02 *\*transformer\*, 2 dimensions or more$' .out ||
    fail "a matrix"
grep -q '^transformer.wte.weight *1 *muon *0.02 ' .out || fail "the embedding"
grep -q '^transformer.h.bias *0 *adamw *0.0003 *(all others)$' .out || fail "a vector"
grep -q '^head.weight *0 *adamw *0.0003 *(all others)$' .out || fail "the head"
grep -q '^ids *- *- *- *(cannot be stepped)$' .out || fail "integers"
[ ! -s .err ] || fail "a warning"
cat >muon.json <<'END'
{"optimizer_type": "muon", "adamw_lr": 0.001, "split":
 {"match": ["*transformer*", "nope*"], "except": "embeddings_and_heads"},
 "lr_multipliers": {"head": 5, "transformer": 2, "absent": 3}}
END
hone spec check muon.json --params m.st
expect_exit 0
grep -q '^transformer.wte.weight *0 *adamw *0.002 *(all others), module transformer$' .out ||
    fail "the embedding goes to AdamW"
grep -q '^transformer.h.weight *1 *muon *0.02 .*, module transformer does not count$' .out ||
    fail "Muon's rate is its own"
grep -q '^head.weight *0 *adamw *0.005 *(all others), module head$' .out || fail "the head's rate"
expect_err 'warning: the pattern "nope*" of group 1 matches no parameter'
expect_err 'warning: the multiplier of "absent" reaches no parameter'
expect_err 'warning: the multiplier of "transformer" does not count for 1 of its parameters'
[ "$(wc -l <.err)" -eq 3 ] || fail "other warnings"
succeeds spec check muon.json --params m.st --json
expect_out '"unreached_modules": ['
expect_out '"ids": null'
expect_out '"modules_with_matrices": ['
tensors write conv.st transformer.conv F32 2x2x2 all:1
fails "3 dimensions" spec check muon.json --params conv.st

misused "it can: check" spec
misused "it can: check" spec chek s.json
misused "hone spec check needs a file" spec check
misused 'does not know what to do with "b"' spec check a b
misused "--params needs a value" spec check s.json --params
