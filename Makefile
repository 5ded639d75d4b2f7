# Two commands on a fresh machine: `make demo` and `make test`. Each sets itself up.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
JAX_TESTS := tests/jax_backend_test.py tests/experiments/jax_run_test.py \
	tests/users_states_test.py tests/models/auxiliary_prior_test.py
JAX_USERS := tests/users_models_test.py
TF219_TESTS := tests/models tests/training tests/layers tests/sampling \
	tests/distributions tests/evaluation tests/conformance_test.py tests/export_test.py
export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export KERAS_BACKEND := tensorflow

PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-xla test-slow test-jax test-tf219 docs notebooks lint clean

$(BIN)/.product: requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "This needs $(PYTHON) (set PYTHON=... to name another 3.11+ interpreter)."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing requirements.txt into $(VENV) (a few minutes, once) ..."
	$(BIN)/pip install -q -r requirements.txt
	@touch $@

$(BIN)/.dev: requirements-dev.txt $(BIN)/.product
	$(BIN)/pip install -q -r requirements-dev.txt
	@touch $@

.venv-tf219/bin/.tf219: requirements-tf219.txt
	$(PYTHON) -m venv .venv-tf219
	.venv-tf219/bin/pip install -q -r requirements-tf219.txt
	@touch $@

.venv-jax/bin/.jax: requirements-jax.txt
	$(PYTHON) -m venv .venv-jax
	.venv-jax/bin/pip install -q -r requirements-jax.txt
	@touch $@

.venv-docs/bin/.docs: requirements-docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install -q -r requirements-docs.txt
	@touch $@

demo: $(BIN)/.product ## Trains three small models on Fashion-MNIST; prints a table, writes a picture.
	$(BIN)/python -m experiments.demo --output_dir=demo

test: $(BIN)/.dev lint ## The test suite.
	$(BIN)/python $(PYTEST)

test-xla: $(BIN)/.dev ## What a TPU asks for: every set's step and sampler as static HLO.
	$(BIN)/python -m pytest -n 2 -m "slow or not slow" tests/experiments/xla_test.py

test-slow: $(BIN)/.dev .venv-jax/bin/.jax ## What takes minutes: kills, workers, XLA at every size, other environments.
	$(BIN)/python $(PYTEST) -m slow
	KERAS_BACKEND=jax .venv-jax/bin/python -m pytest -m slow $(JAX_TESTS)
	KERAS_BACKEND=jax .venv-jax/bin/python -m pytest -m "slow or not slow" $(JAX_USERS)

lint: $(BIN)/.dev ## Ruff, and mypy on the library.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-jax: .venv-jax/bin/.jax ## The model, and whole runs, on JAX in an environment of its own.
	KERAS_BACKEND=jax .venv-jax/bin/python $(PYTEST) $(JAX_TESTS)

test-tf219: .venv-tf219/bin/.tf219 ## The library's tests on TensorFlow 2.19.1, in an environment of its own.
	.venv-tf219/bin/python $(PYTEST) $(TF219_TESTS)

docs: .venv-docs/bin/.docs ## The documentation site, into site/; a warning is an error.
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict # --quiet hides warnings from it.
	@echo "Open site/index.html"

notebooks: $(BIN)/.dev ## Runs the notebooks whose code has changed, and keeps what they draw.
	$(BIN)/python notebooks/run.py

clean: ## Forgets the environments and the demo's output.
	rm -rf $(VENV) .venv-jax .venv-tf219 .venv-docs demo site
