#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/python.sh [environment | install | test [ARGUMENTS OF PYTEST...] | demo]: the Python package in an
# environment of its own, .venv in the tree. Each step does the ones before it where something changed.
# Where no package index is within reach it says that nothing was run and ends with status 77; in CI
# that is a failure.
set -eu
cd "$(dirname "$0")/.."
requirements=python/requirements-test.txt

not_run() {
    echo "python: not run: $1"
    [ -n "${CI:-}" ] && exit 1
    exit 77
}

environment() {
    local stamp=.venv/requirements.txt
    cmp -s "$requirements" "$stamp" && return
    tools/setup.sh python
    [ -x .venv/bin/python ] || python3 -m venv .venv || not_run "python3 cannot make an environment"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" ||
        not_run "pip could not install $requirements (is a package index within reach?)"
    cp "$requirements" "$stamp"
}

# What the installed package was made from: every file that git knows of these folders, by content.
sources() {
    tools/files.sh 'CMakeLists.txt' 'pyproject.toml' 'cmake/*' 'include/*' 'src/*' 'python/*' |
        sort | xargs sha256sum
}

install() {
    local stamp=.venv/hone.sha256
    environment
    sources >build/python.sha256.new
    cmp -s build/python.sha256.new "$stamp" && return
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
        --no-deps --force-reinstall .
    mv build/python.sha256.new "$stamp"
}

mkdir -p build
what=${1:-test}
[ $# = 0 ] || shift
case $what in
environment) environment ;;
install) install ;;
test)
    install
    .venv/bin/python -m pytest "$@"
    ;;
demo)
    install
    .venv/bin/python examples/python/quickstart.py
    .venv/bin/python examples/python/finetune.py
    .venv/bin/python examples/python/click_model.py
    ;;
*) echo "tools/python.sh: '$what' is none of environment, install, test, demo" >&2 && exit 2 ;;
esac
