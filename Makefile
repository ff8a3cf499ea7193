# Two commands do all the set-up: `make demo` and `make test`; each creates .venv when needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs-installed
export OMP_WAIT_POLICY := PASSIVE
unexport PYTHONDONTWRITEBYTECODE  # tests start hundreds of processes

.PHONY: install demo picture test test-jit check docs examples models package package-test scale chaos
.PHONY: bench-%
install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --only-binary :all: -c constraints.txt "setuptools>=77" wheel
	$(BIN)/pip install --quiet --prefer-binary --no-build-isolation -c constraints.txt -e ".[test]"
	sh deploy/install-chromium.sh
	touch $(STAMP)

demo: install
	$(BIN)/fibdask demo

picture: demo
	$(BIN)/python docs/picture.py fibdask-demo docs/demo.png

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

# Compiled loops as plain Python, where indices out of bounds are errors; they do not warn either.
test-jit: install
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -n 2 -m interpreted -W ignore::RuntimeWarning

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(DOCS_STAMP): $(STAMP)
	$(BIN)/pip install --quiet --prefer-binary --no-build-isolation -c constraints.txt -e ".[docs]"
	touch $(DOCS_STAMP)

# The site, whose source is the root: links between pages are those that hold there.
docs: $(DOCS_STAMP)
	$(BIN)/python -m fibdask.run.recipe.reference > docs/recipes.md
	$(BIN)/python -m fibdask.run.recipe.reference training > docs/training.md
	$(BIN)/python -m fibdask.run.recipe.reference profiles > docs/profiles.md
	$(BIN)/python -m fibdask.run.cli.reference > docs/commands.md
	$(BIN)/python docs/pages.py
	rm -rf docs/api  # pages of functions that are gone
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs . docs/_build/html

examples: install
	$(BIN)/python -m pytest tests/test_examples.py -v

# All models that ship, from nothing; MINUTES= of all that together, instead of as recipes say.
models: install
	$(BIN)/python models/make.py $(if $(MINUTES),--minutes $(MINUTES))

# Wheel and source, checked; in clean environments of each Python by package-test: some ten minutes.
TOOLS := .package/tools
package:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet -c constraints.txt build py-rattler-build twine uv
	rm -rf dist build
	$(TOOLS)/bin/python -m build --outdir dist
	$(TOOLS)/bin/twine check --strict dist/*

package-test: package
	$(TOOLS)/bin/python -m tests.packages dist .package

scale: install
	$(BIN)/python -m tests.benchmarks.scale

chaos: install
	$(BIN)/python -m tests.benchmarks.chaos
	$(BIN)/python -m tests.benchmarks.crash_points

bench-%: install
	$(BIN)/python -m tests.benchmarks.$*
