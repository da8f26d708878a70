#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/why_skipped.sh LOG: "skipped NAME: REASON" of each test that said so in ctest's LastTest.log: ctest
# itself keeps reasons to its log.
set -eu
awk '/^[0-9]+\/[0-9]+ Testing: / { name = $3 }
     sub(/^SKIPPED: /, "") { print "skipped " name ": " $0 }' "$1"
