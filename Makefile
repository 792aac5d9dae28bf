# Commands of developers and CI. Each target installs what it needs into .venv first.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(notdir $(CONSTRAINTS))

.PHONY: demo test lint unit docs format constraints clean

demo: $(READY)  ## the whole path on a synthetic cohort, on the CPU, without downloads
	$(BIN)/braindino demo --out demo

test: lint unit  ## all checks of a change

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(READY)  ## the suite, file by file in two processes
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

docs: $(READY)  ## the documentation, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml $(CONSTRAINTS)
	.ci/venv $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[dev,docs]'
	@touch $@

constraints: $(READY)  ## record the installed versions, as names and versions
	{ echo '# The versions that CI tests with, names and versions only. Written by `make constraints`.'; \
	  $(BIN)/python -m pip freeze --exclude-editable | grep '^[A-Za-z0-9_.-]*=='; } > constraints.txt

clean:
	rm -rf $(VENV) demo site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
