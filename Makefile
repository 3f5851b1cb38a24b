# Everything that people and CI do with this repository. `make` prints the list.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
BIN := .venv/bin
# Parallel test processes: they wait for servers half of their time. The servers are started once per process.
WORKERS ?= 4
# Size and length of make bench.
ROWS ?= 1000000
ROUNDS ?= 3

.PHONY: verify-cloud help setup demo matrix test lint type unit bench bench-engines image pin-images template soak demo-large model infra local-up local-down clean run-function format lock schema deploy destroy generate demo-events bench-events

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## List what this machine lacks, then install it into .venv and .local
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' || \
		{ echo "setup: python3, 3.9 or newer, is missing (the project itself needs 3.11 to 3.13)" >&2; exit 1; }
	@python3 tools/setup.py $(SETUP_ARGS)

demo: SETUP_ARGS := --without-tests
demo: setup  ## Real flights from PostgreSQL to BigQuery through the workflow, on this machine (DEMO_ARGS=--tamper)
	@$(PY) -m local.demo $(DEMO_ARGS)

matrix: setup  ## Every source, format and strategy on this machine, both ends compared (MATRIX_ARGS="--only s3")
	@$(PY) -m local.matrix $(MATRIX_ARGS)

demo-large: SETUP_ARGS := --without-tests
demo-large: setup  ## Six million rows (TPC-H lineitem) through the distributed engine, compared (DEMO_ARGS=--json)
	@$(PY) -m local.demo_large $(DEMO_ARGS)

demo-events: setup  ## Files into local buckets of three clouds; their events load them, live
	@$(PY) -m local.demo_events $(DEMO_ARGS)

bench-events: setup  ## Latency and files/s of object events, beside one job per event
	@$(PY) -m benchmarks.events $(BENCH_ARGS)

test: setup lint type  ## Lint, types and every test
	ETL_LOCAL_BIGQUERY_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadscope -q $(PYTEST_ARGS)

unit: setup  ## Only the tests that need no server
	$(PY) -m pytest -q -m "not stack and not slow" tests/unit $(PYTEST_ARGS)

lint: setup  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: setup  ## mypy --strict
	$(BIN)/mypy --strict

format: setup  ## Let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## Measure cold starts, idle runs, ours, the limit and other tools in one run (ROWS=1000000 ROUNDS=3)
	$(PY) -m benchmarks.cold_start
	$(PY) -m benchmarks.idle
	$(PY) -m benchmarks --rows $(ROWS) --rounds $(ROUNDS) --write docs $(BENCH_ARGS)

soak: setup  ## Schedules, events, writers and faults together: make soak MINUTES=10
	@$(PY) -m local.soak --minutes $(or $(MINUTES),3)

bench-engines: setup  ## Measure Cloud Run Job tasks against Beam, 100 thousand to 10 million rows, into docs/engines.md
	$(PY) -m benchmarks.engines $(or $(BENCH_ARGS),--write)

model: setup  ## Explore the models of the protocols with larger bounds
	$(PY) -m tests.model --large $(MODEL_ARGS)

infra: setup  ## Check what is deployed, without a cloud: Terraform, workflow, Dockerfile
	$(PY) -m tools.infra

pin-images: setup  ## Give the Dockerfile's base images the digests of their tags (PIN_ARGS="--check | --update | --json")
	@$(PY) -m tools.base_images $(PIN_ARGS)

image: setup  ## Pin the base images, then build the runner image with Docker (IMAGE=<registry>/<name>:<tag>)
	@command -v docker >/dev/null || { echo "image: docker is missing" >&2; exit 1; }
	@[ -n "$(UNPINNED)" ] || $(PY) -m tools.base_images || { echo "image: not built, because a base image \
	has no digest; UNPINNED=1 builds from whatever the tags are now" >&2; exit 1; }
	docker build -f runner_image/Dockerfile -t $(or $(IMAGE),etl-runner:dev) .

template: setup  ## Write the flex template's spec: IMAGE=<registry>/<name>:<tag> TO=gs://<bucket>/<object> (or a file)
	@$(PY) -m tools.template "$(IMAGE)" "$(TO)"

verify-cloud: setup  ## Prove an installation: PROJECT= DATASET= (or LOCAL=1): one row of every type, killed, repeated, removed
	@$(PY) -m tools.verify_cloud $(if $(LOCAL),--local,--project '$(PROJECT)' --dataset '$(DATASET)')

deploy: setup  ## Deploy: PROJECT= REGION= DATASET= SOURCES= (IMAGE= TFVARS= APPROVE=1; SNS_TOPICS= AZURE_TENANT= AZURE_AUDIENCE= EVENT_KEY=)
	@$(PY) -m tools.deploy deploy

destroy: setup  ## Remove a deployment, the same variables (DATA=1: its data too)
	@$(PY) -m tools.deploy destroy

generate: setup  ## Write anew what is made from data: requirements, permissions, commands, conversion, guarantees
	@$(PY) -m tools.requirements
	@$(PY) -m tools.permissions
	@$(PY) -m tools.cli_reference
	@$(PY) -m tools.conversion
	@$(PY) -m tests.guarantees

schema: setup  ## Write docs/schema/*.json from the configuration's models
	$(PY) -m etl_runner.config.schema docs/schema

lock: setup  ## Lock the dependencies again after a change to pyproject.toml
	$$(command -v uv || echo .local/uv/bin/uv) lock

local-up: setup  ## Start the whole topology on this machine and keep it
	@$(BIN)/etl-runner local up

local-down:  ## Stop it
	@$(BIN)/etl-runner local down

run-function: setup  ## Serve one function: make run-function F=plan PORT=8080
	@$(PY) tools/run_function.py $(F)

clean:  ## Stop the local topology, remove caches and local data; the environments stay
	@if [ -x $(BIN)/etl-runner ] && [ -f .local/settings.env ]; then $(BIN)/etl-runner local down || true; fi
	@find . -path ./.venv -prune -o -path ./.local -prune -o -name __pycache__ -type d -print | xargs -r rm -rf
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis dist benchmarks/out .local/data .local/demo-*
