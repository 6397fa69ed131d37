# Each command sets up what it needs: make demo, make test, make docs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

.PHONY: demo test lint docs
demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py demo

# What depends on the last bits of arithmetic runs a second time, as on an old processor.
test: $(VENV)/.installed lint
	$(BIN)/python -m pytest -n 2 --dist loadfile
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(BIN)/python -m pytest -n 2 --dist loadfile -m numerics

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell .

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

# The pages of docs/ with the API reference; a broken link is an error. The result is in site/.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
