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
.PHONY: help setup demo test quick docs test-slow test-faults test-gpu test-arm64 test-micro test-synthesis test-explorer test-firmware \
  test-native test-native-long test-native-fuzz web wheels bench-peers test-pytorch \
  import-table figures lint train convert bench report bench-pi bench-coral debian-packages speech-data clean constraints

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

speech-data: $(STAMP) ## synthesize the speech of the task keywords-synthetic (flite, espeak-ng)
	$(BIN)/python -m models.tasks.synthetic_speech

# On a machine where they cannot be installed, the tests that need them are skipped with a reason.
DEBIAN_LIST = tests/debian-packages.txt
DEBIAN_PACKAGES = $(shell grep -v '^\#' $(DEBIAN_LIST))
debian-packages: ## install the Debian packages that some tests need, if that is allowed
	@command -v dpkg-query >/dev/null || exit 0; \
	missing=$$(for package in $(DEBIAN_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q ' installed$$' || echo $$package; done); \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing:" $$missing; \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install \
	    --no-install-recommends -y $$missing; } >/dev/null 2>&1 \
	  || echo "cannot install:" $$missing "(the tests that need them are skipped)"; \
	else echo "not here:" $$missing "(the tests that need them are skipped)"; fi

test: lint debian-packages ## lint, check the import rules, run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4

# What needs TensorFlow is skipped: see tests/without_tensorflow.py.
# Left out are those that start many processes.
MANY_PROCESSES := $(addprefix tests/device_runner/test_,$(addsuffix .py,cli containment doctor endurance \
  external_delegate isolation malformed_models micro sources))
QUICK_TESTS = $(filter-out $(MANY_PROCESSES),$(wildcard tests/device_runner/test_*.py)) \
  tests/calibration/test_data.py tests/pipeline/test_recipe.py tests/checks/test_pages.py \
  tests/test_documents.py tests/test_sizes.py
quick: $(STAMP) ## the tests that need no TensorFlow: contract, runner, operators, recipe
	$(BIN)/python -m pytest -p tests.without_tensorflow -n auto --maxprocesses 4 $(QUICK_TESTS)

# CASES files, as many workers as WORKERS; tests/faults/test_mutations.py says more.
CASES ?= 3000
WORKERS ?= 2
test-faults: $(STAMP) ## thousands of damaged files, kills and power loss, a stream of 10 million steps
	EDGESTEP_FAULT_CASES=$(CASES) $(BIN)/python -m pytest -m faults -n $(WORKERS) tests/faults

test-slow: $(STAMP) ## tests that take minutes: long streams, long paced runs
	$(BIN)/python -m pytest -m slow

# PyTorch is in no extra: on many machines it comes with gigabytes for GPUs.
test-pytorch: $(STAMP) ## imports of PyTorch networks, held against PyTorch (installs it)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch -e '.[pytorch-code]'
	$(BIN)/python -m pytest -m pytorch tests/convert/importers

test-firmware: DEBIAN_LIST = tests/firmware/debian-packages.txt
test-firmware: $(STAMP) debian-packages ## exported C on emulated Cortex-M and RISC-V boards (installs compilers if root)
	$(BIN)/python -m pytest -m 'firmware or not slow' tests/firmware

# Its package has pre-releases alone, which come and go.
test-micro: $(STAMP) ## step models in TFLite Micro (installs it)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[micro]'
	$(BIN)/python -m pytest -m 'slow or not slow' -k 'micro or c_export' tests/convert/test_c_export.py \
	  tests/device_runner/test_micro.py tests/device_runner/test_inputs_outputs.py \
	  tests/device_runner/test_malformed_models.py tests/device_runner/test_windows.py \
	  tests/convert/test_claims.py

test-synthesis: $(STAMP) ## speech synthesis (installs librosa)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[synthesis]'
	$(BIN)/python -m pytest tests/models/test_speech_synthesis.py tests/device_runner/test_synthesis.py \
	  tests/pipeline/test_spoken.py tests/test_examples.py

test-explorer: $(STAMP) ## Model Explorer reads step models (installs it: 500 MB)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[explorer]'
	$(BIN)/python -m pytest tests/device_runner/test_model_explorer.py

# Sanitizers need a compiler, and no Python. ThreadSanitizer wants addresses that are not random.
SANITIZED := $(CC) -std=gnu11 -g -O1 -Wall -Wextra -Werror -ffp-contract=off -fno-sanitize-recover=all
ADDRESSES := $(SANITIZED) -fsanitize=address,undefined
STEPS ?= 10000000
LONG_STREAMS := native/tests/long_streams.c native/src/*.c -lpthread -lm
test-native: ## libedgestep on damaged files, under sanitizers, by each instruction set (needs gcc or clang)
	mkdir -p .cache
	for without in "" "-DES_NO_AVX512" "-DES_NO_AVX512 -DES_NO_AVX_VNNI" \
	    "-DES_NO_AVX512 -DES_NO_AVX2 -DES_NO_NEON"; do \
	  $(ADDRESSES) $$without -o .cache/damaged_files native/tests/damaged_files.c native/src/*.c -lm && \
	  .cache/damaged_files 10000 tests/step_models/*.tflite || exit 1; \
	done
	$(ADDRESSES) -o .cache/long_streams $(LONG_STREAMS)
	.cache/long_streams 20000 tests/step_models/*.tflite

test-native-long: ## ... streams of STEPS (10 million) steps in four threads, and looks for races
	mkdir -p .cache
	$(ADDRESSES) -o .cache/long_streams $(LONG_STREAMS)
	.cache/long_streams $(STEPS) tests/step_models/gru-int8.tflite tests/step_models/lstm-float32.tflite
	$(SANITIZED) -fsanitize=thread -o .cache/raced_streams $(LONG_STREAMS)
	setarch -R .cache/raced_streams $$(($(STEPS) / 10)) tests/step_models/gru-int8.tflite

# FUZZ_SECONDS=3600 for an hour. What is found before is the start of the next run. The files of vectors
# are compiled for AddressSanitizer alone: with all, clang takes minutes for one.
FUZZ_SECONDS ?= 60
FUZZ := .cache/fuzz
SEEDS := $(FUZZ)/seeds
FUZZED := clang -std=gnu11 -g -O1 -Wall -Wextra -Werror -ffp-contract=off -fno-sanitize-recover=all
VECTORS := $(wildcard native/src/isa_avx*.c)
test-native-fuzz: $(STAMP) ## libFuzzer on libedgestep's loader and steps for FUZZ_SECONDS (needs clang)
	mkdir -p $(FUZZ)/found $(FUZZ)/failures
	$(BIN)/python -m tests.fuzz_seeds $(SEEDS) --operators
	for file in $(VECTORS); do \
	  $(FUZZED) -fsanitize=address -c -o $(FUZZ)/$$(basename $$file .c).o $$file || exit 1; done
	$(FUZZED) -fsanitize=fuzzer,address,undefined,float-cast-overflow -o $(FUZZ)/fuzz_loader \
	  native/tests/fuzz_loader.c $(filter-out $(VECTORS),$(wildcard native/src/*.c)) $(FUZZ)/isa_*.o -lm
	ASAN_OPTIONS=quarantine_size_mb=16:allocator_release_to_os_interval_ms=1000 $(FUZZ)/fuzz_loader \
	  -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -rss_limit_mb=6000 -malloc_limit_mb=1024 -timeout=60 \
	  -print_final_stats=1 -artifact_prefix=$(FUZZ)/failures/ $(FUZZ)/found $(SEEDS)

# In an environment of their own: they want another NumPy than TensorFlow does.
PEERS := .cache/peers
bench-peers: $(STAMP) ## what a step costs beside ONNX Runtime, PyTorch, OpenVINO, ExecuTorch (installs them)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c benchmarks/peers-constraints.txt torch -e '.[peers]'
	$(BIN)/python benchmarks/peers.py --python $(PEERS)/bin/python --picture docs/peers.svg

web: $(STAMP) ## libedgestep for browsers, which 'edgestep export-web' puts into a page (needs clang and lld)
	$(BIN)/python -m convert.exporters.web_library

# One compiler, Zig's, for every machine; browsers' is clang, and a wheel has that library if it is here.
wheels: $(STAMP) ## wheels for x86-64, aarch64 and armv7l Linux in dist/ (installs ziglang)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[wheels]'
	$(BIN)/python -m convert.exporters.web_library || echo "the wheels are without 'edgestep export-web'"
	$(BIN)/python native/wheels.py

test-arm64: $(STAMP) ## the on-device program on emulated Arm boards (built into .cache/arm64)
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

# WITH=NEED for what some of them need (benchmarks/figures.toml).
figures: $(STAMP) ## measure every table of the docs anew, into runs/figures (hours; goes on where it was stopped)
	$(BIN)/python benchmarks/figures.py $(foreach need,$(WITH),--with $(need))

import-table: $(STAMP) $(SWIFTSHADER_DRIVER) ## write the table of docs/import.md anew (needs PyTorch: make test-pytorch)
	VK_DRIVER_FILES=$(SWIFTSHADER_DRIVER) LD_LIBRARY_PATH=$(SWIFTSHADER):$(LD_LIBRARY_PATH) \
	  $(BIN)/python -m tests.convert.importers.import_table

$(SWIFTSHADER_DRIVER):
	tests/device_runner/install_swiftshader.sh $(SWIFTSHADER)

lint: $(STAMP) ## ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Links are checked; nothing is loaded from elsewhere, so that the site works without a network.
docs: $(STAMP) ## the docs as a site in site/ (installs mkdocs)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo site/index.html

train: $(STAMP) ## train the networks of RECIPE (default recipes/demo.toml)
	$(BIN)/edgestep run $(RECIPE) --until train

convert: $(STAMP) ## ... and convert and verify them
	$(BIN)/edgestep run $(RECIPE) --until verify

bench: $(STAMP) ## ... and measure them again
	$(BIN)/edgestep run $(RECIPE) --until bench --again bench

# HOST=user@device [MODELS="a.tflite b.tflite"] [OPTIONS="--python '~/edgestep/bin/python'"]
MODELS ?= $(wildcard runs/demo/*.tflite)
bench-pi: $(STAMP) ## measure MODELS (default: those of 'make demo') on HOST=pi@raspberrypi over ssh
	$(call need-host-and-models,bench-pi)
	$(BIN)/edgestep bench $(MODELS) --host '$(HOST)' --output runs/devices.jsonl $(OPTIONS)

bench-coral: MODELS := $(wildcard runs/demo/*_edgetpu.tflite)
bench-coral: $(STAMP) ## ... on a Coral Edge TPU there
	$(call need-host-and-models,bench-coral)
	$(BIN)/edgestep bench $(MODELS) --host '$(HOST)' --backend edgetpu --output runs/devices.jsonl $(OPTIONS)

define need-host-and-models
@[ -n '$(HOST)' ] || { echo 'name the device: make $(1) HOST=pi@raspberrypi' >&2; exit 2; }
@[ -n '$(MODELS)' ] || { echo "no models: run 'make demo' (for a Coral, compile them: docs/coral.md) or set MODELS=" >&2; exit 2; }
endef

report: $(STAMP) ## ... and write the report anew
	$(BIN)/edgestep run $(RECIPE) --again report

constraints: $(STAMP) ## resolve the newest versions of everything into constraints.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --extra dev --extra docs --extra synthesis --extra wheels \
	  --no-emit-index-url --no-header --no-annotate \
	  -o constraints.txt pyproject.toml

clean: ## remove everything that was made: .venv, runs, caches
	rm -rf $(VENV) .cache runs site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
