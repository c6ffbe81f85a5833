# BuildPeer: `make` alone lists what there is.
PYTHON ?= python3.11
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup up check test test-chaos test-long test-s3 bench-kickoff bench-api bench-fairness bench-field \
  bench-rls bench-processing lock openapi vectors formats clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.done .venv-ministack/.done ## Make the two environments from the hashed locks

.venv/.done: requirements/dev.lock pyproject.toml
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/dev.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# ministack pins botocore exactly, so it lives apart.
.venv-ministack/.done: requirements/ministack.lock
	@$(PYTHON) -m venv .venv-ministack
	@.venv-ministack/bin/pip install --quiet --require-hashes --no-deps -r requirements/ministack.lock
	@touch $@

up: setup ## Bring everything up on this machine; Ctrl-C stops it
	@$(BIN)/buildpeer up

check: setup ## Lint, formatting, types, import contracts, migrations
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports
	@$(BIN)/squawk migrations/*.sql

test: setup ## Unit, architecture, Postgres, S3 and journey tests
	@$(BIN)/pytest -n 2 --dist loadgroup

test-chaos: setup ## A push while everything is killed; BUILDPEER_CHAOS_SEED replays one
	@$(BIN)/pytest -s -m chaos tests/chaos

test-long: setup ## What takes minutes: the same with 500 files, every conformance scenario
	@$(BIN)/pytest -s -m long tests

test-s3: setup ## The S3 tests against ministack and against SeaweedFS
	@S3_TARGET=ministack $(BIN)/pytest tests/platform/test_s3.py
	@S3_TARGET=seaweedfs $(BIN)/pytest tests/platform/test_s3.py

bench-kickoff: setup ## A kickoff of 2,000 files, and the same work without BuildPeer
	@$(BIN)/python -m bench.kickoff

bench-api: setup ## What the api bears with 450 tenants in it
	@$(BIN)/python -m bench.api

bench-processing: setup ## What each format costs, against bare library calls and npm's sharp; minutes
	@$(BIN)/python -m bench.processing

bench-fairness: setup ## One company's photo, alone and during another one's kickoff of 5,000 files
	@$(BIN)/python -m bench.fairness

bench-field: setup ## Files on bad links, sent by `buildpeer push` and by others; half an hour, packet loss as root
	@$(BIN)/python -m bench.field

bench-rls: setup ## What row-level security costs, with 2,000,000 documents of 150 and of 1,000 tenants
	@$(BIN)/python -m bench.rls

lock: ## Renew the locks from requirements/*.in
	@for name in app dev ministack; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header requirements/$$name.in -o requirements/$$name.lock; done

openapi: setup ## Write docs/openapi.json and docs/permissions.md from the code
	@$(BIN)/buildpeer openapi > docs/openapi.json
	@$(BIN)/buildpeer permissions > docs/permissions.md

vectors: setup ## Write docs/guides/upload-protocol.json from the code
	@$(BIN)/python -m tests.conformance.vectors > docs/guides/upload-protocol.json

formats: setup ## Write docs/guides/formats.md from the zoo of the tests
	@$(BIN)/python -m tests.processing.zoo > docs/guides/formats.md

clean: ## Remove what was built; keeps the data of `make up`
	@rm -rf .venv .venv-ministack build .pytest_cache .ruff_cache
