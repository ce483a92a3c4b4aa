# Everything a checkout can do. Needs python3 (3.11 or newer) and make; the rest goes into .venv.

PYTHON ?= python3
TESTS ?= tests

VENV := .venv
BIN := $(VENV)/bin
CAN_RUN := $(VENV)/.can-run
CAN_EMULATE := $(VENV)/.can-emulate
CAN_TEST := $(VENV)/.can-test
STATE := var
BENCH := build/bench

CHECKS := check-lint check-format check-types check-architecture

.DEFAULT_GOAL := help
.PHONY: help run demo gateway-demo test test-system check list-checks $(CHECKS) bench bench-peers bench-compare bench-programs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(CAN_RUN) ## the daemon in the foreground, devices on port 21318, state in var/ (CONFIG=FILE.toml)
	exec $(BIN)/twistd -n cmmd --state $(STATE) $(if $(CONFIG),--config $(CONFIG))

demo: $(CAN_RUN) ## the daemon and ten simulated devices in this terminal, state in var/demo; Ctrl-C ends all
	exec etc/demo.sh $(BIN) $(STATE)/demo

gateway-demo: $(CAN_EMULATE) ## the daemon, a gateway and an emulated controller in this terminal, state in var/gateway-demo; Ctrl-C ends all
	exec etc/demo.sh $(BIN) $(STATE)/gateway-demo gateway

test: $(CAN_TEST) ## all tests with coverage: cmmd/wire 100 % of lines and branches, the rest 90 % or more
	$(BIN)/coverage erase
	$(BIN)/coverage run -m twisted.trial $(TESTS)
	$(BIN)/coverage report --include='cmmd/wire/*' --fail-under=100
	$(BIN)/coverage report --omit='cmmd/wire/*' --fail-under=90

test-system: $(CAN_TEST) ## with Debian's Prometheus, Chromium and mbpoll; as root installs what is missing
	@.ci/system-packages
	$(BIN)/python -m twisted.trial --temp-directory _trial_temp_system tests_system

check: $(CHECKS) ## lint, format, types, and who imports whom

list-checks:
	@echo $(CHECKS)

check-lint: $(CAN_TEST)
	$(BIN)/ruff check

check-format: $(CAN_TEST)
	$(BIN)/ruff format --check

check-types: $(CAN_TEST)
	$(BIN)/mypy

check-architecture: $(CAN_TEST)
	$(BIN)/trial tests.test_architecture

bench: $(CAN_TEST) bench-programs ## CPU time of what is hot
	@for bench in bench/bench_*.py; do $(BIN)/python $$bench || exit; echo; done

bench-peers: $(CAN_TEST) bench-programs ## cmmd beside servers in C, Node and Twisted, up to 10,000 connections; build/bench/peers.json
	$(BIN)/python bench/bench_peers.py --all --runs 5 --json $(BENCH)/peers.json

bench-compare: $(CAN_TEST) bench-programs ## CPU time a message of this checkout beside that of another commit (REF=COMMIT)
	$(BIN)/python bench/compare.py $(or $(REF),$(error REF=COMMIT is missing))

bench-programs: $(BENCH)/generator $(BENCH)/logins $(BENCH)/reference

$(BENCH)/%: bench/peers/%.c bench/peers/common.h
	@mkdir -p $(@D)
	$(CC) -O2 -std=gnu17 -Wall -Wextra -o $@ $<

clean: ## removes what was made here; never var/, where the state is
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* _trial_temp* .hypothesis .mypy_cache .ruff_cache
	rm -f twisted/plugins/dropin.cache
	find bench cmmd tests twisted -name __pycache__ -type d -prune -exec rm -rf {} +

# The checkout itself is installed, not a copy: what is edited is what runs.
$(CAN_RUN): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cmmd needs Python 3.11 or newer, not %s; choose one: make PYTHON=python3.x" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(CAN_EMULATE): $(CAN_RUN)
	$(BIN)/python -m pip install --quiet --editable '.[emulator]'
	@touch $@

$(CAN_TEST): $(CAN_RUN)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
