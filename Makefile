# The comment on the line of a target describes it; `make` without a target prints these comments.
# `make bench` and `make test` install what they need, so each works as the first command on a fresh clone.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev,docs,ray,slurm,postgres

EXPERIMENT ?= scans
LAUNCHER ?= joblib
DEVICE ?=
TRACKING ?=
WHEELS ?= gpu-wheels
HOST := 127.0.0.1
PORT ?= 5000
ARGS ?=

RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
STORE := $(or $(TRACKING),sqlite:///mlflow.db)
# Hydra's quotes allow "=" and "?" in a URI.
CHOICES := experiment=$(EXPERIMENT) hydra/launcher=$(LAUNCHER) \
	$(if $(DEVICE),device=$(DEVICE)) $(if $(TRACKING),'tracking.uri="$(TRACKING)"')

.DEFAULT_GOAL := help
.PHONY: help setup bench study test lint perf gpu-check gpu-wheels docs ui system-deps clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make bench takes EXPERIMENT=$(EXPERIMENT) LAUNCHER=$(LAUNCHER) DEVICE=cpu|cuda TRACKING=URI; any target ARGS='...';"
	@echo "  make ui takes EXPERIMENT TRACKING=URI PORT=$(PORT); make setup takes PYTHON=$(PYTHON);"
	@echo "  make gpu-check and make gpu-wheels take PYTHON WHEELS=$(WHEELS)"

setup: $(STAMP) ## Create .venv with the pinned versions; repeated only after pyproject.toml or constraints.txt changes

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "PYTHON must be Python 3.11 or newer, got \"$(PYTHON)\" ($$($(PYTHON) --version 2>&1 | tail -n 1)): try make $(or $(MAKECMDGOALS),setup) PYTHON=python3.11" >&2; \
		exit 1; }
	@echo "Installing the pinned packages into $(VENV): about 2 GB, a few minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --disable-pip-version-check $(if $(MAKE_TERMOUT),,--quiet) -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

bench: $(STAMP) ## Run the whole study on the embedded suite; print the table and the location of the plots
	@$(RUN) -m benchmark.bench $(CHOICES) $(ARGS)

study: $(STAMP) ## Run what `make bench` omits: sensitivity, ablations, metrics with extra passes, simulations of the statistics
	@$(RUN) -m benchmark.sensitivity $(CHOICES) $(ARGS)
	@$(RUN) -m analysis.coverage

test: export OMP_NUM_THREADS = 1
test: $(STAMP) ## Run all tests that this machine supports, including doctests
	@$(RUN) -m pytest --numprocesses logical --maxprocesses 4 --dist loadgroup --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## Check style, format and types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

perf: $(STAMP) ## Measure speed and memory against plain references; fail if a number misses its bound
	@$(RUN) -m benchmark.perf $(if $(DEVICE),device=$(DEVICE)) $(if $(TRACKING),'tracking.uri="$(TRACKING)"') $(ARGS)

# Neither needs .venv: the first runs on a machine with a GPU and what its Python has, the second where there is a network.
gpu-check: ## Show in 8 minutes what only a GPU can show, with PYTHON's own torch and Triton, without installing
	@.ci/gpu-check $(PYTHON) $(WHEELS) device=$(or $(DEVICE),cuda) $(ARGS)

gpu-wheels: ## Download the small packages that `make gpu-check` needs, for PYTHON=3.12 or an interpreter
	@.ci/gpu-wheels $(PYTHON) $(WHEELS)

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(STAMP) ## Build the documentation into site/
	@$(RUN) -m mkdocs build $(ARGS)

# MLflow's job runners start seven processes for features that are not used here.
ui: export MLFLOW_SERVER_ENABLE_JOB_EXECUTION = false
ui: $(STAMP) ## Serve the results in MLflow on the loopback address
	@$(RUN) -m analysis.dashboard experiment=$(EXPERIMENT) 'tracking.uri="$(STORE)"' ui=http://$(HOST):$(PORT)
	@echo "MLflow shows $(STORE) at http://$(HOST):$(PORT) (stop it with Ctrl-C)"
	@$(RUN) -m mlflow server --backend-store-uri '$(STORE)' --artifacts-destination mlartifacts \
		--host $(HOST) --port $(PORT) --workers 1 $(ARGS)

system-deps: ## Install programs that some tests need: Chromium, PostgreSQL, Slurm (Debian, as root)
	@.ci/system-deps chromium chromium-driver postgresql slurm-wlm munge

clean: ## Remove the environment and the caches; keep results (data, outputs, mlflow.db, mlartifacts)
	@rm -rf $(VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find $(wildcard benchmark baselines analysis conf tests) -name __pycache__ -type d -prune -exec rm -rf {} +
