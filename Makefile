# Everything makes what it needs; `make help` lists it.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install dev demo test live lint audit format docs bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml packaging/constraints.txt packaging/venv.sh
	@PYTHON="$(PYTHON)" sh packaging/venv.sh $(VENV)
	@touch $(INSTALLED)

$(READY): $(INSTALLED)
	@PYTHON="$(PYTHON)" sh packaging/venv.sh $(VENV) dev
	@touch $(READY)

install: $(INSTALLED) ## Install flexportd into .venv

demo: $(INSTALLED) ## Start a live dashboard with simulated shipments, no account needed
	@exec $(BIN)/flexportd demo

dev: $(READY) ## Install flexportd and the development tools into .venv

test: $(READY) ## Run all tests
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

live: $(READY) ## Read the real Flexport with FLEXPORT_API_KEY, and check our models against it
	@$(BIN)/python -m pytest -m live -ra tests/live

lint: $(READY) ## Check style, types, import rules, generated files
	@BIN=$(BIN) sh packaging/lint.sh

audit: ## Hold the pinned versions against published advisories, where these can be reached
	@$(PYTHON) packaging/audit.py .venv-audit

format: $(READY) ## Put the code into its standard form
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format --quiet .

docs: $(READY) ## Regenerate the generated files: example configuration, docs/
	@BIN=$(BIN) sh packaging/generate.sh

bench: $(READY) ## Measure webhooks and syncs on this machine
	@$(BIN)/python bench/webhooks.py
	@$(BIN)/python bench/sync.py
	@$(BIN)/python bench/lists.py
	@$(BIN)/python bench/search.py
	@$(BIN)/python bench/stream.py

clean: ## Remove what was made
	rm -rf $(VENV) .venv-audit dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
