# SPDX-License-Identifier: Apache-2.0
# hone bench: that it runs and reports; its numbers are not judged here.

succeeds bench --only overhead
expect_out "148 tensors of 16 (overhead)"
expect_out "one tensor of 2368"
succeeds bench --only "in cache sgd" --json
expect_out '"name": "in cache sgd'
expect_out '"ratio_quartiles": ['
expect_out '"level": "'
fails 'no case has "xylophone" in its name' bench --only xylophone
misused "has no option --jsn" bench --jsn
misused 'does not know what to do with "fast"' bench fast
