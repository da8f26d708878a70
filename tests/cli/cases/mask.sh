# SPDX-License-Identifier: Apache-2.0
# hone mask: PyTorch's files shown and converted, masks made of gradients, and what is refused.

golden=${case_file%/tests/cli/*}/tests/golden/masks

succeeds mask info "$golden/dense_bool.pt"
expect_out "dense_bool.pt: 7 masks, 27 of 89 elements true, under masks"
expect_out "kl_divergence: 0.03125"
grep -q '^embed.weight *\[6, 5\] *3 *10.00 % *dense *agrees$' .out || fail "the embedding's line"
grep -q '^scale *\[\] *1 *100.00 % *dense *agrees$' .out || fail "the scalar's line"
grep -q '^dense *89 B *0.0 %$' .out || fail "the memory of dense masks"
grep -q '^bitmap *14 B *84.3 %$' .out || fail "the memory of bitmaps"
succeeds mask info "$golden/intersection.pt" --json
expect_out '"key": "intersection_masks"'
expect_out '{"name": "embed.weight", "shape": [6, 5], "true": 3, "elements": 30, "density": 0.1,'
expect_out '"held_as": "compact_sparse", "summary_agrees": true}'
expect_out '"memory_savings_ratio": '
cp .out first.json

# Every layout holds the same masks, and they survive conversion.
for layout in coo_float32 coo_bool coo_uncoalesced coo_explicit_zeros; do
    succeeds mask convert "$golden/$layout.pt" $layout.st
    expect_no_out
    expect_same coo_float32.st $layout.st
done
for layout in compact_int32 compact_int64 intersection bare; do
    succeeds mask convert "$golden/$layout.pt" $layout.st
    expect_same compact_int32.st $layout.st
done
succeeds mask convert compact_int32.st compact_int32.st
succeeds mask info compact_int32.st --json
for hash in $(grep -o '"hash": "[0-9a-f]*"' first.json | cut -d'"' -f4); do
    expect_out "$hash"
done

# The largest gradients: of one file, common to two, and of their sum.
tensors write a.st w F32 2x3 1,-9,2,8,0,3 b F64 4 1,1,1,1 s F32 scalar 5 e F32 0 -
tensors write b.st w F32 2x3 7,1,2,-8,0,3 b F64 4 0,0,0,1 s F32 scalar 5 e F32 0 -
succeeds mask make --top 0.34 --from a.st a.masks
expect_out "4 masks, 6 of 11 elements true"
expect_values a.masks w 42
expect_values a.masks b 3
succeeds mask make --top 0.34 --from a.st b.st --intersect common.masks
expect_values common.masks w 40
expect_values common.masks b 1
succeeds mask make --top=0.34 --sum --from a.st b.st sum.masks
expect_out "4 masks, 6 of 11 elements true"
expect_values sum.masks w 11
expect_values sum.masks b 9
succeeds mask make --top 0.34 --from a.st a.masks.again
expect_same a.masks a.masks.again

# Sums are of absolute values, in every format: 1 + 1.5 is less than 3, -2 + 2 is not nothing.
tensors write bf.st w BF16 4 3f80,c000,4040,0001
tensors write f16.st w F16 4 3e00,4000,0000,0001
succeeds mask make --top 0.5 --from bf.st f16.st --sum sum.masks
expect_values sum.masks w 6

# What is refused leaves the output as it was.
cp a.masks kept.masks
tensors write other.st w F32 2x3 all:1
fails "'other.st' has no tensor 'b', which 'a.st' has" \
    mask make --top 0.1 --from a.st other.st --sum kept.masks
fails "'other.st' has no tensor 'b', which 'a.st' has" mask make --top 0.1 --from other.st a.st --sum kept.masks
tensors write other.st w F32 3x2 all:1 b F64 4 all:1 s F32 scalar 5 e F32 0 -
fails "tensor 'w' has another shape in 'other.st' than in 'a.st'" \
    mask make --top 0.1 --from a.st other.st --intersect kept.masks
tensors write nan.st w F32 2 1,nan
fails "tensor 'w': values: element 1 is NaN" mask make --top 0.1 --from nan.st kept.masks
fails "tensor 'w': values: element 1 is NaN" mask make --top 0.1 --from nan.st nan.st --sum kept.masks
tensors write whole.st w I64 2 1,2
fails "tensor 'w': values: a mask by size is made from F32, F64, BF16 or F16; this tensor is I64" \
    mask make --top 0.1 --from whole.st --sum kept.masks
fails "fractions.Fraction" mask convert "$golden/unknown_global.pt" kept.masks
fails "stream format of torch before 1.6" mask info "$golden/legacy_stream.pt"
fails "is JSON" mask info "$golden/summary_only.json"
fails "No such file" mask info none.pt
fails "No such file" mask make --top 0.1 --from none.st kept.masks
expect_same a.masks kept.masks

misused "hone mask needs to be told what to do; it can: info, convert, make" mask
misused "hone mask needs to be told what to do" mask inf
misused "hone mask needs --top" mask make --from a.st out
misused "hone mask needs --from" mask make --top 0.1 out
misused "hone mask needs an argument" mask make --top 0.1 --from a.st
misused '--top is "5%"; it must be a number from 0 to 1' mask make --top 5% --from a.st out
misused '--top is "1.5"' mask make --top 1.5 --from a.st out
misused '--top is "nan"' mask make --top nan --from a.st out
misused "--intersect and --sum exclude each other" \
    mask make --top 0.1 --from a.st --sum --intersect out
misused "2 gradient files need --intersect or --sum" mask make --top 0.1 --from a.st b.st out
misused "hone mask needs an argument" mask convert a.masks
expect_no_file out
