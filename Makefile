# `make reproduce` runs the main job, `make test` passes the tests. Both set up what they need.
PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count())')
BIN := .venv/bin
LLM2VEC := .venv-llm2vec
PEERS := .venv-peers
export PATH := $(CURDIR)/$(BIN):$(PATH)
export OMP_NUM_THREADS := 1

.PHONY: reproduce smoke test lint benchmark setup setup-llm2vec setup-peers clean

reproduce: setup
	snakemake --cores $(CORES)
	@echo "Done. Open $(CURDIR)/results/report/index.html"

smoke: setup
	snakemake --cores $(CORES) --configfile workflow/config/smoke.yaml
	@echo "Done. Open $(CURDIR)/results/smoke/report/index.html"

test: setup setup-llm2vec
	$(BIN)/python -m pytest
	$(LLM2VEC)/bin/python -m pytest tests/unit/embeddings/test_llm2vec.py

benchmark: setup setup-peers
	mkdir -p results
	$(BIN)/python -m pytest benchmarks --quiet --benchmark-quiet --benchmark-json=results/benchmarks.json
	$(BIN)/python -m benchmarks.table results/benchmarks.json
	$(BIN)/python -m benchmarks.scaling

lint: setup
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

setup: $(BIN)/.ready
setup-llm2vec: $(LLM2VEC)/.ready
setup-peers: $(PEERS)/.ready

# torch goes first and alone: a resolver that sees it among others may choose a larger build.
$(BIN)/.ready: envs/core.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $$(grep '^torch==' envs/core.lock)
	$(BIN)/python -m pip install --quiet -r envs/core.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

$(LLM2VEC)/.ready: envs/llm2vec.lock
	$(PYTHON) -m venv $(LLM2VEC)
	$(LLM2VEC)/bin/python -m pip install --quiet --upgrade pip
	$(LLM2VEC)/bin/python -m pip install --quiet $$(grep '^torch==' envs/llm2vec.lock)
	$(LLM2VEC)/bin/python -m pip install --quiet -r envs/llm2vec.lock
	touch $@

# A frozen list needs no resolver, and RecBole's own requirements are older than this Python.
$(PEERS)/.ready: envs/peers.lock
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet $$(grep '^torch==' envs/peers.lock)
	$(PEERS)/bin/python -m pip install --quiet --no-deps -r envs/peers.lock
	touch $@

clean:
	rm -rf .venv .venv-llm2vec .venv-peers results/smoke
