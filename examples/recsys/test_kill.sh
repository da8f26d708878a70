#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_kill.sh PROGRAM FOLDER: a run that is killed again and again, wherever it happens to be, ends
# with the bits of one that was left alone; started once more, that one has nothing left to do.
set -u
program=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder"
"$program" --steps 152 --every 5 --out "$folder/whole" >"$folder/whole.txt" 2>/dev/null || exit 1
kills=0
while [ "$kills" -lt 12 ]; do
    "$program" --steps 152 --every 5 --out "$folder/killed" >"$folder/killed.txt" 2>/dev/null &
    sleep "0.$((kills * 37 % 50 + 15))"
    kill -9 $! 2>/dev/null || break
    wait $! 2>/dev/null
    kills=$((kills + 1))
done
"$program" --steps 152 --every 5 --out "$folder/killed" >"$folder/killed.txt" 2>/dev/null || exit 1
again=$("$program" --steps 152 --every 5 --out "$folder/whole" 2>/dev/null) || exit 1
whole=$(grep '^model' "$folder/whole.txt") killed=$(grep '^model' "$folder/killed.txt")
echo "$kills kills; left alone: $whole; killed: $killed"
rm -rf "$folder"
[ -n "$whole" ] && [ "$whole" = "$killed" ] && [ "$whole" = "$again" ]
