# `make help` lists the targets. Each sets up what it needs.
PYTHON ?= python3
CORES ?= $(shell $(PYTHON) iadsr/machine/cpus.py)
BIN := .venv/bin
RUN ?= laptop
LLM2VEC := .venv-llm2vec
PEERS := .venv-peers
# `make evidence` needs no torch: without .venv, it has an environment of the few packages that it reads.
EVIDENCE := $(if $(wildcard $(BIN)/.ready),.venv,.venv-evidence)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export OMP_NUM_THREADS := 1
# What a shell may have set for other programs does not count here: packages, plots of a notebook, pip's default target.
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS PYTHONINSPECT
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_DRY_RUN PIP_NO_DEPS
export PYTHONNOUSERSITE := 1
export PIP_USER := 0
export MPLBACKEND := Agg
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export XDG_CACHE_HOME := $(CURDIR)/.snakemake/cache
endif

.PHONY: reproduce evidence smoke test lint benchmark setup setup-llm2vec setup-peers clean help

reproduce: setup ## run the default grid on MovieLens-100K; writes results/report/index.html
	snakemake --cores $(CORES)
	@echo "Done. Open $(CURDIR)/results/report/index.html"

evidence: $(EVIDENCE)/bin/.ready ## make statistics, tables and page of RUN (laptop) from the archived runs, without training
	$(EVIDENCE)/bin/iadsr recompute --config workflow/config/$(RUN).yaml

smoke: setup ## run every stage on a small generated dataset, in minutes
	snakemake --cores $(CORES) --configfile workflow/config/smoke.yaml
	@echo "Done. Open $(CURDIR)/results/smoke/report/index.html"

test: setup setup-llm2vec ## run the test suite
	$(BIN)/python -m pytest -n $(CORES) --maxprocesses 8 --dist loadfile --no-loadscope-reorder
	$(LLM2VEC)/bin/python -m pytest tests/unit/embeddings/test_llm2vec.py

benchmark: setup setup-peers ## measure speed and memory, also beside other libraries
	mkdir -p results
	$(BIN)/python -m pytest benchmarks --quiet --benchmark-quiet --benchmark-json=results/benchmarks.json
	$(BIN)/python -m benchmarks.table results/benchmarks.json
	$(BIN)/python -m benchmarks.scaling

lint: setup ## run the linters and the type checker
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

setup: $(BIN)/.ready ## make the environment .venv
setup-llm2vec: $(LLM2VEC)/.ready ## make LLM2Vec's environment, .venv-llm2vec
setup-peers: $(PEERS)/.ready ## make the environment of the compared libraries, .venv-peers

# $(call venv,folder)
define venv
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.version_info < (3, 11) and sys.exit("Python 3.11 or newer is needed; $(PYTHON) is " + v + ". Name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --upgrade pip
endef

# $(call environment,folder,lock): torch goes first and alone, since a resolver that sees it among others may choose a
# larger build.
define environment
	$(call venv,$(1))
	$(1)/bin/python -m pip install --quiet $$(grep '^torch==' $(2))
endef

$(BIN)/.ready: envs/core.lock pyproject.toml
	$(call environment,.venv,$<)
	$(BIN)/python -m pip install --quiet -r $<
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

.venv-evidence/bin/.ready: envs/evidence.lock pyproject.toml
	$(call venv,.venv-evidence)
	.venv-evidence/bin/python -m pip install --quiet -r $<
	.venv-evidence/bin/python -m pip install --quiet --no-deps -e .
	touch $@

$(LLM2VEC)/.ready: envs/llm2vec.lock
	$(call environment,$(LLM2VEC),$<)
	$(LLM2VEC)/bin/python -m pip install --quiet -r $<
	touch $@

# A frozen list needs no resolver, and RecBole's own requirements are older than this Python.
$(PEERS)/.ready: envs/peers.lock
	$(call environment,$(PEERS),$<)
	$(PEERS)/bin/python -m pip install --quiet --no-deps -r $<
	touch $@

clean: ## delete the environments and the smoke run's results
	rm -rf .venv .venv-evidence .venv-llm2vec .venv-peers results/smoke

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-16s%s\n", $$1, $$2}' Makefile
