# The two commands a new user needs are `make quickstart` and `make test`.
PY ?= python3.11
V := .venv
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_PYTHON_DOWNLOADS := never

.PHONY: help install quickstart test lint bench clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(V)/.ok ## make .venv with everything the project needs

$(V)/.ok: pyproject.toml constraints.txt
	$(PY) -m venv $(V)
	$(V)/bin/pip install -q uv
	$(V)/bin/uv pip install -q -p $(V) -c constraints.txt -e '.[test]'
	@touch $@

quickstart: $(V)/.ok ## a real 2 x 2 sweep of the embedded model, compared: CPU, minutes, offline
	$(V)/bin/python train.py experiment=quickstart -m

# Files in the order of their names: files of few slow tests must not come last, one worker alone.
test: $(V)/.ok ## the test suite
	$(V)/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

lint: $(V)/.ok ## ruff and mypy
	$(V)/bin/ruff check .
	$(V)/bin/ruff format --check .
	$(V)/bin/mypy

bench: $(V)/.ok ## the measurements of benchmarks/README.md
	$(V)/bin/python -m benchmarks

clean: ## remove the virtual environment and caches, never outputs/
	rm -rf $(V) .mypy_cache .ruff_cache .pytest_cache
