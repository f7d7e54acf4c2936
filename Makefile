# Glasshive. Two commands: `make lab` (everything, then JupyterLab) and `make test` (everything, then every test this machine can run).
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin
ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E env "PATH=$(PATH)")
CLUSTER ?= lab
NODES ?= 3
HEADLESS ?=
ifneq ($(wildcard .venv/bin/bpftool),)
export BPFTOOL := $(abspath .venv/bin/bpftool)
endif

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## system packages, .venv, BPF objects (skips what is there)
	@.setup/setup.sh

lab: setup ## set up, bring a three-node cluster up, open JupyterLab (HEADLESS=1: run the tour instead)
	@$(ROOT) $(PY)/glasshive lab start --cluster $(CLUSTER) --nodes $(NODES) $(if $(HEADLESS),--headless)

setup-test: ## the same with what only the tests need
	@.setup/setup.sh test

test: setup-test ## every test this machine can run; says what was skipped and why
	@$(ROOT) .setup/test.sh $(PY)/python $(PYTEST_ARGS)

check: setup ## ruff, mypy strict, import contracts, clang-format, notebook rules
	@$(PY)/ruff check lib tests labs/src
	@$(PY)/ruff format --check -q lib tests
	@$(PY)/mypy
	@$(PY)/lint-imports --no-logo 2>&1 | tail -n 12; test $${PIPESTATUS[0]} -eq 0
	@find bpf tests -name build -prune -o \( -name '*.c' -o -name '*.h' \) -print0 | xargs -0 clang-format --dry-run -Werror
	@$(PY)/glasshive lab check

fmt: setup ## rewrite Python and C in the house style
	@$(PY)/ruff check --fix -q lib tests labs/src; $(PY)/ruff format -q lib tests
	@find bpf tests -name build -prune -o \( -name '*.c' -o -name '*.h' \) -print0 | xargs -0 clang-format -i

bpf: ## compile the BPF objects
	@$(MAKE) --no-print-directory -C bpf

labs: setup ## regenerate and execute the notebooks from labs/src
	@$(ROOT) $(PY)/glasshive lab build

goldens: setup ## rewrite golden texts from what runs now (read the diff before you commit)
	@$(ROOT) env GLASSHIVE_GOLDENS=write $(PY)/python -m pytest -q -k golden $(PYTEST_ARGS)

bench: setup ## measure beside the peers (ARGS="--quick", "pods", "rr" ...)
	@$(ROOT) $(PY)/glasshive bench $(ARGS)

lock: ## resolve dependencies again into .setup/requirements.lock
	@$(PY)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --upgrade -q -o .setup/requirements.lock

clean: ## take clusters down and remove everything that was built
	@if [ -x $(PY)/glasshive ]; then $(ROOT) $(PY)/glasshive down --all; fi
	@$(ROOT) rm -rf bpf/build .setup/stamps .setup/vm .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache results build
	@$(ROOT) rm -rf .venv lib/glasshive.egg-info
	@$(ROOT) find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup setup-test lab test check fmt bpf labs goldens bench lock clean
