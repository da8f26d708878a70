# SPDX-License-Identifier: Apache-2.0
# Where outputs go: over inputs, through links, and nowhere at all when one of them fails.

echo '{"optimizer_type": "adamw"}' >s.json
tensors write p.st w F32 2 1,2
tensors write g.st w F32 2 1,1
succeeds step --spec s.json --params p.st --grads g.st --params-out wanted.st --state-out state.st
expect_folder g.st p.st s.json state.st wanted.st

# Any input may be an output.
cp p.st a.st
succeeds step --spec s.json --params a.st --grads g.st --params-out a.st --state-out b.st
expect_same a.st wanted.st
expect_same b.st state.st
cp g.st a.st
succeeds step --spec s.json --params p.st --grads a.st --params-out a.st --state-out b.st
expect_same a.st wanted.st
cp g.st a.st
cp p.st b.st
succeeds step --spec s.json --params b.st --grads a.st --params-out a.st --state-out b.st
expect_same a.st wanted.st
expect_same b.st state.st
cp s.json c.json
succeeds step --spec c.json --params p.st --grads g.st --params-out c.json --state-out b.st
expect_same c.json wanted.st
cp state.st c.st
succeeds step --spec s.json --params p.st --grads g.st --state c.st --params-out c.st --state-out b.st
rm a.st b.st c.st c.json

# A link is followed, and a replaced file keeps its mode.
mkdir far
cp p.st far/real.st
chmod 640 far/real.st
ln -s far/real.st link.st
succeeds step --spec s.json --params link.st --grads g.st --params-out link.st --state-out far/o.st
[ -L link.st ] || fail "the link is gone"
expect_same far/real.st wanted.st
expect_same far/o.st state.st
[ "$(ls -l far/real.st | cut -c1-10)" = "-rw-r-----" ] || fail "the mode changed"
rm -r far link.st

# Both outputs in one file: misuse, also under two names.
misused "name the same file" step --spec s.json --params p.st --grads g.st --params-out q.st \
    --state-out q.st
misused "name the same file" step --spec s.json --params p.st --grads g.st --params-out q.st \
    --state-out ./q.st
cp p.st q.st
ln -s q.st link.st
misused "name the same file" step --spec s.json --params p.st --grads g.st --params-out q.st \
    --state-out link.st
expect_same q.st p.st
rm q.st link.st

# Places that cannot be written: the other output stays as it was.
cp p.st q.st
cp p.st o.st
outputs_fail() {
    wanted_text=$1
    fails "$wanted_text" step --spec s.json --params p.st --grads g.st --params-out "$2" \
        --state-out "$3"
    expect_same q.st p.st
    expect_same o.st p.st
    expect_folder g.st o.st p.st q.st s.json state.st wanted.st
}
outputs_fail 'cannot write "no/q.st": No such file or directory' no/q.st o.st
outputs_fail 'cannot write "no/o.st": No such file or directory' q.st no/o.st
outputs_fail 'cannot write "s.json/o.st": Not a directory' q.st s.json/o.st
outputs_fail "not a regular file" /dev/full o.st
outputs_fail "not a regular file" q.st /dev/full
outputs_fail "not a regular file" . o.st
outputs_fail "does not name a file" q.st o.st/
ln -s nowhere/o.st dangling
fails 'cannot write "dangling"' step --spec s.json --params p.st --grads g.st --params-out q.st \
    --state-out dangling
expect_same q.st p.st
rm dangling
# /proc takes no new files from anybody, not even from the superuser.
outputs_fail "cannot create a file beside '/proc/hone.st': " q.st /proc/hone.st
outputs_fail "cannot create a file beside '/proc/hone.st': " /proc/hone.st o.st
if [ "$(id -u)" -ne 0 ]; then
    mkdir locked
    chmod 555 locked
    fails locked/q.st step --spec s.json --params p.st --grads g.st --params-out q.st \
        --state-out locked/q.st
    expect_same q.st p.st
    rmdir locked
fi

# A disk that is full at some point of either file, played by a limit on file sizes in blocks of
# 512. ThreadSanitizer's own files do not survive such a limit.
tensors write big.st w F32 30000 all:1
tensors write big-g.st w F32 30000 all:1
case ${HONE_SANITIZE:-} in *thread*) exit 0 ;; esac
for blocks in 100 200 300; do
    # The limit must not reach the test's own files, so standard error leaves through a pipe.
    (
        ulimit -f "$blocks"
        exec "$hone_program" step --spec s.json --params big.st --grads big-g.st --params-out q.st \
            --state-out o.st
    ) 2>&1 >/dev/null | cat >.err
    last="hone step under ulimit -f $blocks"
    grep -q "hone: error: .*File too large" .err || fail "no error about the size"
    expect_same q.st p.st
    expect_same o.st p.st
done
rm big.st big-g.st
expect_folder g.st o.st p.st q.st s.json state.st wanted.st
