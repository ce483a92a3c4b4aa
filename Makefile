# Everything a checkout can do. Needs python3 (3.11 or newer) and make; the rest goes into .venv.

PYTHON ?= python3
TESTS ?= tests
JOBS ?= $(shell nproc)

VENV := .venv
BIN := $(VENV)/bin
CAN_RUN := $(VENV)/.can-run
CAN_EMULATE := $(VENV)/.can-emulate
CAN_TEST := $(VENV)/.can-test
STATE := var
BENCH := build/bench

CHECKS := check-lint check-format check-language check-dead check-architecture check-types
CONSOLE := .ci/console
CONSOLE_BIN := $(CONSOLE)/node_modules/.bin
CONSOLE_FILES := 'cmmd/web/static/**/*.js' 'cmmd/web/static/**/*.css'
CAN_CHECK_CONSOLE := $(CONSOLE)/node_modules/.can-check

.DEFAULT_GOAL := help
.PHONY: help run demo gateway-demo test test-slow test-system test-all test-long coverage check list-checks $(CHECKS) \
	check-console format-console console-is-unchecked dist update-constraints fuzz bench bench-peers bench-compare bench-programs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(CAN_RUN) ## the daemon in the foreground, devices on port 21318, state in var/ (CONFIG=FILE.toml)
	exec $(BIN)/twistd -n cmmd --sign-in-link --state $(STATE) $(if $(CONFIG),--config $(CONFIG))

demo: $(CAN_RUN) ## the daemon and ten simulated devices in this terminal, state in var/demo; Ctrl-C ends all
	exec etc/demo.sh $(BIN) $(STATE)/demo

gateway-demo: $(CAN_EMULATE) ## the daemon, a gateway and an emulated controller in this terminal, state in var/gateway-demo; Ctrl-C ends all
	exec etc/demo.sh $(BIN) $(STATE)/gateway-demo gateway

# One worker a core. What the lanes are: CONTRIBUTING.md.
TRIAL = $(BIN)/python -m twisted.trial -j $(JOBS)

test: $(CAN_TEST) ## the fast lane, in parallel, without coverage (TESTS=tests.test_tap for less)
	$(TRIAL) $(TESTS)

test-slow: $(CAN_TEST) ## the slow lane: whole days, storms, floods, packaging, other versions of libraries
	$(TRIAL) --temp-directory _trial_temp_slow tests_slow

coverage: $(CAN_TEST) ## the fast lane with coverage: cmmd/wire 100 % of lines and branches, everything 95 % or more
	$(BIN)/coverage erase
	$(BIN)/coverage run -m twisted.trial -j $(JOBS) $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='cmmd/wire/*' --fail-under=100
	$(BIN)/coverage report --fail-under=95

test-all: coverage test-slow test-system ## all of these: the fast lane with coverage, the slow lane, test-system

# As root Chromium raises its own priority, to that of nice -8, and starves what runs beside it.
FAIRLY = $(shell fairly="setpriv --bounding-set=-sys_nice --"; $$fairly true 2>/dev/null && echo $$fairly)

# Bounds in seconds are measured by one process, while nothing else runs.
LONG := $(subst /,.,$(basename $(wildcard tests_long/test_*.py)))
TIMES := $(filter %times,$(LONG))

test-long: $(CAN_TEST) ## for an idle machine, not in CI: bounds in seconds, then campaigns, among them seeded faults
	@.ci/system-packages test-system
	$(BIN)/python -m twisted.trial --temp-directory _trial_temp_long $(TIMES)
	$(TRIAL) --temp-directory _trial_temp_long $(filter-out $(TIMES),$(LONG))

test-system: $(CAN_TEST) ## with Debian's Prometheus, Chromium, mbpoll and PgBouncer; as root installs what is missing
	@.ci/system-packages test-system
	$(FAIRLY) $(TRIAL) --temp-directory _trial_temp_system tests_system

# Only the console's check needs node: where npm is missing, "make check" does the rest and says so. CI always has it.
check: $(CHECKS) $(if $(shell command -v npm),check-console,console-is-unchecked) ## lint, format, types, and who imports whom

console-is-unchecked:
	@echo 'check-console was NOT run: npm is missing. CI runs it.'

list-checks:
	@echo $(CHECKS)

check-lint: $(CAN_TEST)
	$(BIN)/ruff check

check-format: $(CAN_TEST)
	$(BIN)/ruff format --check

check-dead: $(CAN_TEST)
	$(BIN)/vulture

check-language: $(CAN_TEST)
	$(BIN)/python -m tests.language

check-types: $(CAN_TEST)
	$(BIN)/mypy

check-architecture: $(CAN_TEST)
	$(BIN)/trial --temp-directory _trial_temp_check tests.test_architecture tests.test_seeded_faults tests.test_fleet_service_table

check-console: $(CAN_CHECK_CONSOLE) ## the console's sources: types, lint, form; needs npm
	$(CONSOLE_BIN)/tsc --project $(CONSOLE)
	$(CONSOLE_BIN)/eslint --config $(CONSOLE)/eslint.config.js cmmd/web/static
	$(CONSOLE_BIN)/prettier --config $(CONSOLE)/prettier.json --log-level warn --check $(CONSOLE_FILES)

format-console: $(CAN_CHECK_CONSOLE) ## put the console's sources into the form that check-console wants
	$(CONSOLE_BIN)/prettier --config $(CONSOLE)/prettier.json --log-level warn --write $(CONSOLE_FILES)

fuzz: $(CAN_TEST) ## fuzz what reads the bytes of peers: 60 s for each of five targets (TARGET=session SECONDS=600)
	$(BIN)/python -m fuzz $(TARGET) --seconds $(or $(SECONDS),60) --bound-ms 10

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

dist: $(CAN_TEST) ## the wheel and the source archive, in dist/; a release: CONTRIBUTING.md
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

clean: ## removes what was made here; never var/, where the state is
	rm -rf $(VENV) $(CONSOLE)/node_modules build dist *.egg-info .coverage .coverage.* _trial_temp* .hypothesis .mypy_cache .ruff_cache
	rm -f twisted/plugins/dropin.cache
	find bench cmmd fuzz tests* twisted -name __pycache__ -type d -prune -exec rm -rf {} +

# The checkout itself is installed, not a copy: what is edited is what runs.
$(CAN_RUN): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cmmd needs Python 3.11 or newer, not %s; choose one: make PYTHON=python3.x" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(CAN_EMULATE): $(CAN_RUN)
	$(BIN)/python -m pip install --quiet --editable '.[emulator]'
	@touch $@

$(CAN_TEST): $(CAN_RUN) constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(CAN_CHECK_CONSOLE): $(CONSOLE)/package.json $(CONSOLE)/package-lock.json
	npm ci --prefix $(CONSOLE) --no-audit --no-fund --silent
	@touch $@

update-constraints: ## pin the newest development tools, and the libraries that they run with, in constraints.txt
	$(PYTHON) -m venv --clear $(VENV)/newest
	$(VENV)/newest/bin/python -m pip install --quiet '.[dev]'
	{ grep '^#' constraints.txt; $(VENV)/newest/bin/python -m pip freeze --exclude cmmd; } >$(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt
	rm -r $(VENV)/newest
