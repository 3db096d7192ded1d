# The verbs of this project. `make` alone lists them.
# A fresh checkout needs Python >= 3.11 with venv, and make; nothing else is installed by hand.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Set up again exactly when what is installed would change.
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup lock up test check format bench bench-gateway bench-bus bench-registry chaos image clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with .venv/bin/blog, from the hash-pinned lock

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "blog needs Python >= 3.11; say which: make PYTHON=python3.13 setup" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

up: setup ## start the whole blog here; Ctrl-C drains and stops it
	@exec $(BIN)/blog up

check: setup ## what CI checks: ruff, mypy --strict, the arrows between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## make check, then every test
	$(BIN)/pytest $(PYTEST_ARGS)

format: setup ## let ruff format and fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-gateway bench-bus bench-registry ## measure all of it: a long run

bench-gateway: setup ## measure the gateway beside nginx, HAProxy, Caddy, Traefik and Envoy
	$(BIN)/python -m benchmarks.gateway $(BENCH_ARGS)

bench-bus: setup ## measure the bus, the views and a whole blog; beside NATS JetStream
	$(BIN)/python -m benchmarks.bus $(BENCH_ARGS)

bench-registry: setup ## measure a registry with a thousand and ten thousand simulated instances
	$(BIN)/python -m benchmarks.registry $(BENCH_ARGS)

chaos: setup ## kill, stop, drain and replace under traffic, for longer than the tests do
	BLOG_CHAOS_ROUNDS=$${BLOG_CHAOS_ROUNDS:-20} BLOG_CHURN_MINUTES=$${BLOG_CHURN_MINUTES:-30} $(BIN)/pytest -s tests/e2e/test_kill.py tests/e2e/test_failover.py tests/e2e/test_slowloris.py tests/e2e/test_crash.py tests/e2e/test_whole.py tests/e2e/test_full_disk.py tests/e2e/test_full_disk_whole.py tests/e2e/test_partition.py tests/e2e/test_two_gateways.py tests/e2e/test_churn.py tests/e2e/test_mixed_fleet.py tests/e2e/test_every_role.py tests/e2e/test_rotation.py --timeout 900 $(PYTEST_ARGS)

image: ## build the image that runs any service (docker build -t blog .)
	docker build -t blog .

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml

lock: ## pin the dependencies again (needs uv in .venv)
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra dev --no-emit-package blog --constraint requirements.lock --output-file requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements-build.in --constraint requirements-dev.lock --output-file requirements-build.lock

clean: ## remove .venv, caches and the data of `make up`
	rm -rf $(VENV) data build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
