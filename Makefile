# Everything happens in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECIPE ?= recipes/demo.toml
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint train convert bench report clean constraints

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv and install everything into it

# The constraints pin every version; PIP_CONSTRAINT makes them hold for build requirements too.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP) ## train, convert, verify and measure four recurrent nets on real data
	$(BIN)/edgestep run recipes/demo.toml

test: lint ## lint, check the import rules, run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4

test-slow: $(STAMP) ## tests that take minutes: long streams, long paced runs
	$(BIN)/python -m pytest -m slow

lint: $(STAMP) ## ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

train: $(STAMP) ## train the networks of RECIPE (default recipes/demo.toml)
	$(BIN)/edgestep run $(RECIPE) --until train

convert: $(STAMP) ## ... and convert and verify them
	$(BIN)/edgestep run $(RECIPE) --until verify

bench: $(STAMP) ## ... and measure them again
	$(BIN)/edgestep run $(RECIPE) --until bench --again bench

report: $(STAMP) ## ... and write the report anew
	$(BIN)/edgestep run $(RECIPE) --again report

constraints: $(STAMP) ## resolve the newest versions of everything into constraints.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --extra dev \
	  --no-emit-index-url --no-header --no-annotate \
	  -o constraints.txt pyproject.toml

clean: ## remove everything that was made: .venv, runs, caches
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
