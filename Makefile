# Every command installs what it needs into .venv; PYTHON chooses the interpreter (3.11, 3.12 or 3.13).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip, unless uv is at hand. Both obey constraints.txt; the last line hides pip's remarks on empty local indexes.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help install demo test check bench reliability format clean

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt setup.py
	@echo "installing into $(VENV): some minutes and 2.6 GB, without a word"
	$(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt -e '.[dev]' 2>&1 | grep -v "is ignored: it is neither a file nor a directory" || true
	$(BIN)/python -c "import engine.cli, kernels, torch, ray"
	touch $@

install: $(VENV)/.installed  ## create .venv with pinned versions

demo: install  ## a year of flights, from raw data to a report
	$(BIN)/python experiments/flights/prepare.py
	$(BIN)/tidegate loop experiment=flights

# Two processes on two cores: threads of the libraries would only wait for each other, a tenth of the time.
test: install  ## the test suite, a file at a time on two processes, long files first (tests/longest.txt)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu"

check: install  ## lint, format, strict types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install  ## every benchmark, both sides in one run
	$(BIN)/python -m pytest benchmarks --benchmark-only -p no:cacheprovider --benchmark-columns=median,ops,rounds

reliability: install  ## proofs at full size (long)
	$(BIN)/python -m pytest -m slow

format: install  ## let ruff format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and everything a loop wrote
	rm -rf $(VENV) runs data build dist *.egg-info
