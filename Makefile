PYTHON ?= python3
BIN := .venv/bin
BY_FILE := --numprocesses 2 --dist loadfile --no-loadscope-reorder
export BENTOML_DO_NOT_TRACK := True
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo up drill replay test test-fast test-charts test-cluster test-images check benchmark benchmark-monitor benchmark-serving lock cluster-up cluster-down cluster-status clean

help:  ## Show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed  ## Create .venv with the locked dependencies

.venv/.installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	  || { echo "Python 3.11 or 3.12 is needed, $(PYTHON) is $$($(PYTHON) --version): make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## Play the whole loop on real history (about three minutes)
	$(BIN)/bikeshare demo

up: setup  ## Play the demo, then keep everything running for exploration (Ctrl-C ends it)
	$(BIN)/bikeshare demo --keep

drill: setup  ## Break things on purpose and check every reaction
	$(BIN)/bikeshare drill all

replay: setup  ## Replay all of 2012 and write benchmarks/replay.md
	$(BIN)/bikeshare replay --write benchmarks/replay.md

test: setup  ## Everything CI runs: static checks beside unit tests with coverage of the core, then all others
	hack/chromium.sh
	hack/prometheus.sh >/dev/null
	$(MAKE) --no-print-directory --jobs=2 check test-fast
	$(BIN)/python -m pytest $(BY_FILE) --ignore=tests/unit --ignore=tests/charts --ignore=tests/manifests

test-fast: setup  ## Unit tests with coverage of the core (a minute)
	$(BIN)/python -m pytest $(BY_FILE) tests/unit --cov --cov-report=term --cov-report=xml
	$(BIN)/coverage report --include='bikeshare/core/*' --fail-under=95

test-charts: setup  ## Charts, manifests and scripts without a cluster; CRD_SCHEMAS names schemas of CRDs
	hack/tools.sh
	$(BIN)/python -m pytest $(BY_FILE) tests/charts tests/manifests

test-cluster: setup  ## Roll-outs and charts on a real API server (builds one from Go modules, once)
	hack/tools.sh helm
	hack/envtest.sh
	$(BIN)/python -m pytest tests/cluster -m cluster

test-images: export BASE_IMAGE ?= bikeshare/base:bookworm
test-images: setup  ## Build the images and play the loop in them (Docker; BASE_IMAGE=... to build on another base)
	hack/chromium.sh
	hack/docker.sh start
	test "$$BASE_IMAGE" != bikeshare/base:bookworm || hack/base-image.sh
	hack/build-images.sh
	$(BIN)/python -m pytest -m images tests/images

check: setup  ## Lint, format, types and import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmark: setup  ## Rolling-origin backtest over 2012; writes benchmarks/accuracy.md
	$(BIN)/python -m benchmarks.accuracy

benchmark-monitor: setup  ## Cost of the monitor over a million and ten million rows; writes benchmarks/monitor.md
	$(BIN)/python -m benchmarks.monitor

benchmark-serving: setup  ## What an answer costs, as ratios; writes benchmarks/serving.md (needs two cores)
	hack/wrk.sh
	$(BIN)/python -m benchmarks.serving

lock: setup  ## Re-resolve all dependencies into requirements/*.txt
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/lock.sh

cluster-up: setup  ## Check this machine, make a kind cluster, install everything (PROFILE=lite for small laptops)
	kind get clusters | grep -qx bikeshare || { $(BIN)/bikeshare doctor --cluster $(if $(filter lite,$(PROFILE)),--lite) \
	  && kind create cluster --config kind-config.yaml; }
	skaffold run --kube-context kind-bikeshare $(if $(PROFILE),--profile $(PROFILE))

cluster-down:  ## Delete the kind cluster with all its data
	kind delete cluster --name bikeshare

cluster-status:  ## What runs on the cluster; for what does not, why
	SKAFFOLD_KUBE_CONTEXT=kind-bikeshare python3 hack/cluster_status.py

clean:  ## Remove everything that can be made again
	rm -rf .venv var build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage coverage.xml .cache
