# Each command sets up what it needs: make demo, make test, make docs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

.PHONY: demo test lint docs wheel
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

# Wheel and sdist, built and tried outside of the clone: the wheel takes its dependencies from the environment above; and as
# the light install, without PyTorch.
wheel: $(VENV)/.installed
	rm -rf dist
	$(BIN)/pip install --quiet build
	$(BIN)/python -m build --outdir dist . >/dev/null
	$(PYTHON) -m venv dist/venv
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > $$(dist/venv/bin/python -c \
		"import sysconfig; print(sysconfig.get_path('purelib'))")/dependencies.pth
	dist/venv/bin/pip install --quiet --no-deps dist/anyfuse-*.whl
	cd dist && venv/bin/anyfuse doctor && venv/bin/anyfuse fuse --quiet \
		../examples/infrared/visible.jpg ../examples/infrared/thermal.png -o fused.png
	$(PYTHON) -m venv dist/light && dist/light/bin/pip install --quiet dist/anyfuse-*.whl
	cd dist && light/bin/anyfuse doctor && light/bin/anyfuse fuse --quiet \
		../examples/infrared/visible.jpg ../examples/infrared/thermal.png -o light.png
	! dist/light/bin/python -c "import torch" 2>/dev/null
	rm -rf dist/source && mkdir dist/source && tar -xzf dist/anyfuse-*.tar.gz -C dist/source --strip-components 1
	test -f dist/source/tests/conftest.py -a -f dist/source/anyfuse/native/kernels.c
