# `make demo`, `make test`: each does all set-up on a fresh machine (Python 3.11, make).
# PIP_FLAGS='--extra-index-url https://download.pytorch.org/whl/cpu' gives a CPU torch where PyPI's default is CUDA.
PYTHON ?= python3.11
PIP_FLAGS ?=
BIN := .venv/bin
STAMP := .venv/.installed
PEERS := .venv/.peers
RUN ?= runs/demo

.PHONY: demo test test-slow lint types bench install peers
install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	touch $@

# nnsight and pyvene, which the runtime is held equal to and timed beside; without them those tests are skipped
peers: $(PEERS)

$(PEERS): $(STAMP)
	$(BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt -e '.[peers]'
	touch $@

demo: $(STAMP)
	$(BIN)/reasonmech demo --out $(RUN)

# one thread a worker: two workers on two cores beat two threads on models this small
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

bench: $(PEERS)
	rm -f benchmarks/results/*.json
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done
	$(BIN)/python benchmarks/_render.py
