# The commands of the README. Each makes .venv if need be, installs what it needs there, and can be run again.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test docs
demo: $(VENV)/installed-demo
	$(BIN)/shallowdeep demo --out demo

test: $(VENV)/installed-dev
	scripts/ensure-chromium
	scripts/check

docs: $(VENV)/installed-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(BIN)/python:
	@echo 'Making a virtual environment in $(VENV)' >&2
	@scripts/make-venv $(PYTHON) $(VENV)

$(VENV)/installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	@scripts/install $(VENV) zoo,report
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@scripts/install $(VENV) dev
	touch $@ $(VENV)/installed-demo
