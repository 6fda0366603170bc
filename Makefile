# Everything a day needs. `make` alone lists the targets.
# ARGS goes to the command of a target: make test ARGS="-k consent", make demo ARGS="--help".

PYTHON ?=
ARGS ?=
# Test processes, one more than there are cores up to eight: each has its own PostgreSQL, and most of them wait for
# theirs. JOBS=0 for one that can be stopped in.
JOBS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$cores -lt 7 ] && expr $$cores + 1 || echo 8)
UPGRADE ?=
NAME ?=
SEEDS ?= 20
SEED_START ?= 1
# Runs of fault cells at once; as a rule one for each core.
LANES ?= 1

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
# In build/, which git ignores: pip-tools must not mix with what it locks.
LOCK_VENV := build/lock-venv
# Libraries that we are measured against and never depend on.
PEERS := build/peers-venv

INSTALL := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check --require-hashes
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(LOCK_VENV)/bin/pip-compile --quiet $(UPGRADE) \
	--generate-hashes --no-emit-options --strip-extras

step = @printf '\n== %s\n' '$(1)'

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help demo serve test test-fast robustness check faults bench bench-peers openapi migration lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(RUNTIME) ## run the main job on this machine, with its own PostgreSQL
	@$(BIN)/python -m creditshare demo $(ARGS)

serve: $(RUNTIME) ## run the service on ./demo-data
	@CREDITSHARE_DATA=demo-data $(BIN)/python -m creditshare serve $(ARGS)

test: $(DEV) ## run all tests
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(DEV) ## run the tests that take less than a few seconds each
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

robustness: $(DEV) ## send ten thousand malformed requests, and generated ones for every operation (minutes)
	@$(BIN)/python -m pytest -m long tests/robustness $(ARGS)

check: $(DEV) ## run all that CI runs: locks, format, lint, types, imports, tests, OpenAPI drift
	$(call step,locks name no index and no local place)
	@! grep -nE -e 'find-links|--index|--extra-index|://' requirements.txt requirements-dev.txt
	$(call step,format)
	@$(BIN)/ruff format --check .
	$(call step,lint)
	@$(BIN)/ruff check .
	$(call step,types)
	@$(BIN)/mypy --explicit-package-bases src tests
	$(call step,import contracts)
	@$(BIN)/lint-imports
	$(call step,tests)
	@$(MAKE) --no-print-directory test
	$(call step,OpenAPI equals what the service generates)
	@$(BIN)/python -m creditshare openapi export --check
	@printf '\nAll checks passed.\n'

faults: $(DEV) ## kill, cut and fill what can be, with real processes: make faults SEEDS=20 LANES=2 ARGS="--cells F1,F4"
	@$(BIN)/python -m tests.faults --seeds $(SEEDS) --seed-start $(SEED_START) --lanes $(LANES) $(ARGS)

bench: $(DEV) ## measure the hot path
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(PEERS)/.installed ## measure our own parts beside well-kept libraries, installed for this alone
	@PYTHONPATH=src $(PEERS)/bin/python -W ignore -m benchmarks.peers $(ARGS)

openapi: $(RUNTIME) ## write openapi/ anew from the code
	@$(BIN)/python -m creditshare openapi export

migration: $(DEV) ## begin a migration: make migration NAME="what it does"
	@test -n "$(NAME)" || { echo 'name it: make migration NAME="what it does"' >&2; exit 2; }
	@last=$$(ls migrations/versions | sed -n 's/^\([0-9]\{4\}\)_.*\.py$$/\1/p' | sort | tail -n 1); \
	$(BIN)/alembic revision -m "$(NAME)" --rev-id "$$(printf '%04d' "$$(expr "$${last:-0}" + 1)")"

lock: $(LOCK_VENV)/bin/pip-compile ## renew the locks after a change in pyproject.toml; UPGRADE=--upgrade for newer versions
	@$(COMPILE) --extra embedded --extra reports --output-file requirements.txt pyproject.toml
	@$(LOCK_VENV)/bin/python -c 'import tomllib; \
	group = tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"]; \
	print(*(line for line in group if not line.startswith("creditshare")), sep="\n")' \
	| $(COMPILE) --extra embedded --extra parquet --extra otel --extra anchors --extra reports --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml -
	@$(COMPILE) --constraint requirements-dev.txt --output-file benchmarks/peers.txt benchmarks/peers.in

clean: ## remove what can be made again; keeps demo-data
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find src tests migrations -name __pycache__ -type d -prune -exec rm -rf {} +

# Trying each candidate, because a name on the path may be a shim without a Python behind it.
$(BIN)/python:
	@for candidate in "$(PYTHON)" python3.11 python3.12 python3.13 python3; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "creditshare needs Python 3.11 or newer, and none was found: install it, or name it with make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	if ! "$$found" -m venv $(VENV); then \
		rm -rf $(VENV); \
		echo "$$found could not make a virtual environment (on Debian and Ubuntu it needs the package python3-venv)" >&2; \
		exit 1; \
	fi

# The path file makes `python -m creditshare` work from the checkout, from any folder, without a build.
$(RUNTIME): requirements.txt | $(BIN)/python
	@echo "installing what creditshare needs into $(VENV), only when requirements.txt changed ..."
	@$(INSTALL) -r requirements.txt
	@$(BIN)/python -c 'import pathlib, sysconfig; \
	pathlib.Path(sysconfig.get_path("purelib"), "creditshare-checkout.pth").write_text(str(pathlib.Path("src").resolve()) + "\n")'
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@echo "installing the development tools into $(VENV), only when requirements-dev.txt changed ..."
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

$(PEERS)/.installed: benchmarks/peers.txt requirements-dev.txt | $(BIN)/python
	@$(BIN)/python -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --no-input --disable-pip-version-check --require-hashes \
		-r requirements-dev.txt -r benchmarks/peers.txt
	@touch $@

$(LOCK_VENV)/bin/pip-compile: | $(BIN)/python
	@$(BIN)/python -m venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip install --quiet --no-input --disable-pip-version-check 'pip-tools>=7.5,<8'
