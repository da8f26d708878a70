# SPDX-License-Identifier: Apache-2.0
# The door: short names for what CMakePresets.json describes. Before its first work each target makes
# sure that what it needs is installed (tools/setup.sh); `make help` lists them.
PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc)
export CMAKE_C_COMPILER_LAUNCHER ?= $(shell command -v ccache)

preset = cmake --preset $(1) && cmake --build --preset $(1) --parallel $(JOBS)

.PHONY: all demo test test-asan test-tsan test-valgrind gpu-test fuzz bench install format readme docs clean help
all: build/setup/build ## the libraries and the hone command, in build/release (also plain `make`)
	$(call preset,release)

demo: build/setup/demo ## train a small GPT by every rule (TEXT=any.txt; else on these sources), a click model, and from Python
	$(call preset,demo)
	build/release/examples/gpt/gpt_demo --out build/demo $(if $(TEXT),--text $(TEXT)) $(DEMO)
	build/release/examples/recsys/recsys_train --out build/demo/recsys
	tools/python.sh demo || test $$? = 77

test: build/setup/test ## every check: style, all suites, sanitizers, valgrind, both compilers
	tools/test.sh

test-python: build/setup/build ## the Python package in .venv and its tests; ARGS for pytest
	tools/python.sh test $(ARGS)

test-asan: build/setup/test ## the suite under AddressSanitizer and UndefinedBehaviorSanitizer
	tools/test.sh asan

test-tsan: build/setup/test ## the suite under ThreadSanitizer
	tools/test.sh tsan

test-valgrind: build/setup/test ## the suite under valgrind
	tools/test.sh valgrind

gpu-test: build/setup/gpu ## the tests that need a GPU, and compute-sanitizer over them
	tools/gpu_test.sh

fuzz: build/setup/test ## fuzz each parser for SECONDS_EACH (60) seconds
	$(call preset,fuzz)
	tools/fuzz.sh build/fuzz $(or $(SECONDS_EACH),60)

bench: build/setup/build ## measure, and write the numbers to bench/results/
	$(call preset,bench)
	mkdir -p bench/results
	build/release/bench/hone-bench --out bench/results $(BENCH)

install: build/setup/build ## into PREFIX (/usr/local), below DESTDIR if given
	cmake --preset release -DCMAKE_INSTALL_PREFIX="$(PREFIX)"
	cmake --build --preset release --parallel $(JOBS)
	DESTDIR="$(DESTDIR)" cmake --install build/release
	test -n "$(DESTDIR)" || ldconfig 2>/dev/null || true # no root, no cache to renew

format: build/setup/format ## clang-format over all C files
	tools/format.sh

readme: build/setup/test ## write the quick start and the table of rules into README.md
	$(call preset,test)
	tests/readme/readme.sh . build/release/tests/readme/rules_table --update

docs: build/setup/docs ## pages of the interface, in build/docs/html
	mkdir -p build/docs && doxygen docs/Doxyfile

clean: ## remove build/ and .venv/
	rm -rf build .venv

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

build/setup/%: tools/setup.sh
	tools/setup.sh $* $@
