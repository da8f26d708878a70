#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install.sh BUILD TREE COMPILER PROGRAM.C: installs BUILD below TREE, moves the copy elsewhere (both
# package descriptions promise to survive that), and builds and runs PROGRAM.C against it: through
# pkg-config, shared and static, and through find_package(hone), in C and in C++.
set -eu
build=$1 tree=$2 compiler=$3 program=$4
consumer=$(dirname "$0")/consumer
rm -rf "$tree"
mkdir -p "$tree"
cmake --install "$build" --prefix "$tree/first" >"$tree/install.log"
mv "$tree/first" "$tree/prefix"
prefix=$tree/prefix

fail() {
    echo "install: $*"
    exit 1
}

expect() { # PROGRAM: it must reach the quick start's numbers
    output=$("$1") || fail "$1 failed: $output"
    [ "$output" = "ok: 1.00 -2.00 3.00" ] || fail "$1 printed '$output'"
    echo "$(basename "$1"): $output"
}

needs_library() { "${READELF:-readelf}" -d "$1" | grep -q 'NEEDED.*libhone\.so\.[0-9]'; }

pc=$(find "$prefix" -name hone.pc)
[ -n "$pc" ] || fail "no hone.pc among: $(cat "$tree/install.log")"
for file in include/hone/hone.h share/doc/hone/LICENSE; do
    [ -f "$prefix/$file" ] || fail "$file is missing"
done

# Every link of the installed documents leads to something that is installed.
documents=$prefix/share/doc/hone
find "$documents" -name '*.md' | while read -r page; do
    grep -o ']([^)#]*' "$page" | sed 's/^](//' | grep -v '^https\{0,1\}:' | while read -r link; do
        [ -z "$link" ] || [ -e "$(dirname "$page")/$link" ] ||
            echo "$(basename "$page") links to $link"
    done
done >"$tree/broken.txt"
[ ! -s "$tree/broken.txt" ] || fail "in the installed documents $(cat "$tree/broken.txt")"
[ -f "$documents/docs/spec.md" ] || fail "share/doc/hone/docs/spec.md is missing"

PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
library=$(pkg-config --variable=libdir hone)
case $(readlink -f "$library") in
"$(readlink -f "$prefix")"/*) ;;
*) fail "hone.pc names the library folder $library, outside $prefix" ;;
esac

# shellcheck disable=SC2046 # pkg-config prints a list of words
"$compiler" -std=c11 "$program" -o "$tree/pkgconfig_shared" $(pkg-config --cflags --libs hone) \
    "-Wl,-rpath,$library"
needs_library "$tree/pkgconfig_shared" || fail "pkgconfig_shared does not need libhone.so.N"
expect "$tree/pkgconfig_shared"

# Not -static: distributions have libzip as a shared library only.
# shellcheck disable=SC2046
"$compiler" -std=c11 "$program" -o "$tree/pkgconfig_static" \
    $(pkg-config --static --cflags --libs hone | sed 's/-lhone/-l:libhone.a/')
expect "$tree/pkgconfig_static"
if needs_library "$tree/pkgconfig_static"; then
    fail "hone.pc's static libraries do not suffice without the shared one"
fi

through_cmake() { # LANGUAGE that alone is enabled, and its options
    language=$1 out=$tree/consumer_$1
    shift
    cmake -S "$consumer" -B "$out" -DCMAKE_PREFIX_PATH="$prefix" -DLANGUAGE="$language" \
        -DPROGRAM="$program" "$@" >"$out.log" 2>&1 ||
        fail "find_package(hone) failed in $language: $(cat "$out.log")"
    cmake --build "$out" >>"$out.log" 2>&1 ||
        fail "the find_package program in $language does not build: $(cat "$out.log")"
    for kind in default shared static; do
        expect "$out/program_$kind"
    done
    needs_library "$out/program_default" || fail "hone::hone is not the shared library"
    needs_library "$out/program_shared" || fail "hone::shared is not the shared library"
    if needs_library "$out/program_static"; then
        fail "hone::static is not the static library"
    fi
}
through_cmake C -DCMAKE_C_COMPILER="$compiler"
through_cmake CXX

if [ -x "$prefix/bin/hone" ]; then
    "$prefix/bin/hone" rules >"$tree/rules.txt" || fail "the installed hone does not run"
    grep -q adamw "$tree/rules.txt" || fail "the installed hone lists no adamw"
fi
