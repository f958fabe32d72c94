# Everything happens in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECIPE ?= recipes/demo.toml
STAMP := $(VENV)/.installed
# Vulkan driver of test-gpu: "swiftshader" computes on the CPU, "system" is the machine's own.
DRIVER ?= swiftshader
SWIFTSHADER := $(CURDIR)/.cache/swiftshader
SWIFTSHADER_DRIVER := $(SWIFTSHADER)/vk_swiftshader_icd.json

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-gpu test-arm64 lint train convert bench report clean constraints

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

test-arm64: $(STAMP) ## the on-device program on emulated 64-bit Arm boards (built into .cache/arm64)
	$(BIN)/python -m tests.arm64.emulated_arm
	$(BIN)/python -m pytest -m arm64 tests/arm64

ifeq ($(DRIVER),swiftshader)
test-gpu: $(SWIFTSHADER_DRIVER)
test-gpu: export VK_DRIVER_FILES := $(SWIFTSHADER_DRIVER)
test-gpu: export LD_LIBRARY_PATH := $(SWIFTSHADER):$(LD_LIBRARY_PATH)
else ifneq ($(DRIVER),system)
$(error DRIVER is '$(DRIVER)'; it must be swiftshader or system)
endif
test-gpu: $(STAMP) ## run the GPU tests (DRIVER=system: on this machine's own GPU)
	$(BIN)/python -m pytest -m gpu

$(SWIFTSHADER_DRIVER):
	tests/device_runner/install_swiftshader.sh $(SWIFTSHADER)

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
	rm -rf $(VENV) .cache runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
