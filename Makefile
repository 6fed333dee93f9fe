# What a person does with this checkout. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
BIN := .venv/bin
STACK := $(BIN)/python tests/stack/servers.py
SOURCES := kappawatt collectors dataflows dash_app examples benchmarks tests
# Installs what the lock names, byte for byte, and builds nothing from source.
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := $(PIP) install --quiet --require-hashes --only-binary :all: -r
HERE_EDITABLE := $(PIP) install --quiet --no-deps --no-build-isolation --editable .

.PHONY: help demo demo-revision test chaos check-alerts unit images test-k8s stack stack-down lint format bench bench-quick measure measure-live compare-windows lock wheel sbom clean

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z0-9-]+:.*  ## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/demo  ## the whole product on this machine; ARGS="--seconds 30 --no-open" for scripts
	@$(BIN)/kappawatt demo $(ARGS)

demo-revision: .venv/dev  ## a price is revised while the flow runs, before and after in every table, 20 s
	@$(BIN)/python -m benchmarks.make_revision $(ARGS)

test: tools lint  ## every test, on real Kafka, registry, Cassandra and Chromium; ARGS="-k spool" for some
	@$(STACK) run -- $(BIN)/python -m pytest $(ARGS)

chaos: tools .venv/dev  ## half an hour of kills, outages and lost records on the real servers; a table at the end
	@$(STACK) run -- $(BIN)/python -m pytest tests/chaos $(ARGS)

check-alerts:  ## try every alert of k8s/components/monitoring on a fault that is made up: needs promtool
	@command -v promtool >/dev/null || { echo "promtool is not on this machine: apt-get install prometheus" >&2; exit 2; }
	@cd k8s/components/monitoring && promtool check rules alerts.yaml && promtool test rules alerts_test.yaml

unit: .venv/dev  ## the tests that need neither servers nor browser nor kubectl
	@$(BIN)/python -m pytest -m "not stack and not browser and not kubectl" $(ARGS)

stack: .venv/dev  ## start Kafka, registry and Cassandra; their addresses are in .stack/env
	@$(STACK) up

stack-down: .venv/dev  ## stop them and forget their data
	@$(STACK) down

# Without a registry at hand: BASE and JAVA name images that are there, BUILD and SAVE other tools.
BUILD ?= podman build
SAVE ?= podman save --quiet --format docker-archive --multi-image-archive --output
IMAGES = localhost/kappawatt:dev localhost/kafka:dev localhost/registry:dev localhost/cassandra:dev
images: .venv/dev  ## the images of k8s/overlays/local, in .stack/images.tar; BASE=… JAVA=… BUILD=… SAVE=…
	@$(STACK) jars
	@$(BUILD) $(if $(BASE),--build-arg BASE=$(BASE)) --tag localhost/kappawatt:dev --file Containerfile .
	@cp tests/stack/cassandra.options tests/stack/logback.xml .stack/lib/
	@for name in kafka registry cassandra; do \
	  $(BUILD) $(if $(JAVA),--build-arg BASE=$(JAVA)) --target $$name --tag localhost/$$name:dev --file tests/k8s/servers.Containerfile .stack/lib; done
	@rm -f .stack/images.tar && $(SAVE) .stack/images.tar $(IMAGES)

# IMPORT is a command that brings an archive of images to the cluster's nodes: kind load image-archive, k3s ctr images import …
test-k8s: .venv/dev  ## the manifests on the cluster of KUBECONFIG, from nothing to a training's total; IMPORT="kind load image-archive"
	@if [ -n "$(IMPORT)" ]; then $(MAKE) --no-print-directory images && $(IMPORT) .stack/images.tar; fi
	@$(BIN)/python -m pytest -x tests/k8s/cluster $(ARGS)

lint: .venv/dev  ## ruff, formatting and strict types
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/ruff format --quiet --check $(SOURCES) || { echo "not formatted: make format" >&2; exit 1; }
	@$(BIN)/mypy

format: .venv/dev  ## format the code and mend what ruff can
	@$(BIN)/ruff check --quiet --fix $(SOURCES) || true
	@$(BIN)/ruff format --quiet $(SOURCES)

bench: tools .venv/dev  ## every engine over the same bytes, tables and charts in benchmarks/results, 60 min
	@$(BIN)/python -m benchmarks.peers run $(ARGS)

bench-quick: tools .venv/dev  ## ours, Flink, Kafka Streams and stock Bytewax only, 10 min
	@$(BIN)/python -m benchmarks.peers run --quick $(ARGS)

measure: .venv/dev  ## single measurements of the product, a JSON line each
	@for script in $(filter-out benchmarks/make_% benchmarks/windows.py benchmarks/peers.py benchmarks/end_to_end.py,$(wildcard benchmarks/*.py)); do $(BIN)/python "$$script" $(ARGS); done

measure-live: tools .venv/dev  ## from a sample's end to its row in Cassandra, and kill -9, on the real servers, 3 min
	@$(STACK) run -- $(BIN)/python -m benchmarks.end_to_end $(ARGS)

compare-windows: .venv/dev  ## Bytewax's own windows and ours over the same input, in five cases, 30 s
	@$(BIN)/python -m benchmarks.windows $(ARGS)

# The runtime lock is a part of the developers', so both fit into one environment.
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--custom-compile-command "make lock" pyproject.toml --all-extras
lock: .venv/dev  ## write both lock files anew; ARGS=--upgrade for newer versions
	@$(COMPILE) $(ARGS) --group dev --output-file requirements-dev.lock
	@$(COMPILE) $(ARGS) --group build --constraints requirements-dev.lock --output-file requirements.lock

wheel: .venv/dev  ## wheel and source archive in dist/
	@$(BIN)/python -m build --no-isolation --outdir dist

sbom: .venv/dev  ## what the product is made of, from the lock: dist/kappawatt.cdx.json (CycloneDX)
	@mkdir -p dist
	@$(BIN)/python -W ignore::UserWarning -m cyclonedx_py requirements requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --output-file dist/kappawatt.cdx.json

clean:  ## stop the servers; remove the environment and everything built
	@if [ -x $(BIN)/python ]; then $(STACK) down; fi
	@rm -rf .venv .stack dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up -----------------------------------------------------------------------------------------------------------

# Tried by running them: a version manager's shims for versions that are not active exist, and fail.
$(BIN)/python:
	@for python in $(PYTHON) python3.12 python3.11 python3; do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then \
	    echo "making .venv with $$("$$python" --version)" >&2; exec "$$python" -m venv .venv; \
	  fi; \
	done; \
	echo "Python 3.11 or 3.12 with venv is not on this machine: apt-get install python3 python3-venv" >&2; exit 2

.venv/demo: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing what requirements.lock names" >&2
	@$(LOCKED) requirements.lock
	@$(HERE_EDITABLE)
	@touch $@

.venv/dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "installing what requirements-dev.lock names" >&2
	@$(LOCKED) requirements-dev.lock
	@$(HERE_EDITABLE)
	@touch $@

.PHONY: tools
tools:
	@missing=0; \
	need() { for command in $$3; do if command -v "$$command" >/dev/null; then return; fi; done; \
	  echo "$$1 is not on this machine: apt-get install $$2" >&2; missing=1; }; \
	need "Java 17" openjdk-17-jre-headless java; \
	need Maven maven mvn; \
	need Chromium chromium "chromium chromium-browser google-chrome"; \
	if ! kubectl kustomize --help >/dev/null 2>&1; then \
	  echo "kubectl 1.25 or newer is not on this machine: https://kubernetes.io/docs/tasks/tools/" >&2; missing=1; fi; \
	[ "$$missing" = 0 ] || exit 2
