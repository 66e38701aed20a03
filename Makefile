.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
CLUSTER ?= databosun
ENGINE ?= postgresql
SCENARIO ?= backup

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install the locked tools and the Python environment
	@hack/bootstrap

demo: setup ## Bring up a cluster with a database, back it up, prove it; ENGINE=postgresql|mariadb|mysql|mongodb|redis|rds; SCENARIO=failover|lifecycle
	@$(PY) hack/demo/demo up --name $(CLUSTER) --engine $(ENGINE) --scenario $(SCENARIO)

demo-down: ## Remove every trace of the demo
	@python3 hack/cluster/cluster down --name $(CLUSTER)

test: setup ## Lint and run all tests, on a real cluster too
	@hack/test all

lint: setup ## Format check, lint, types, layers, spelling, dependencies
	@hack/test lint

unit: setup ## The tests that need no cluster and no server
	@hack/test unit

servers: setup ## The tests that need real databases and a real S3 server
	@hack/test servers

e2e: setup ## The tests on a real cluster
	@hack/test cluster

bench: setup ## Measure; results belong in docs/benchmarks.md
	@hack/test bench

soak: setup ## What takes hours to show: kills, outages at full length, long quiet; results belong in docs/benchmarks.md
	@hack/test soak

fmt: setup ## Format the code
	@.venv/bin/ruff format operator tests hack && .venv/bin/ruff check --fix --quiet operator tests hack

crds: setup ## Write CRDs and generated reference pages anew
	@$(PY) hack/crds/crds sync && $(PY) hack/charts/charts sync && $(PY) -m databosun.runtime.reference > docs/reference/metrics.md

lock: setup ## Renew uv.lock
	@.tools/uv/bin/uv lock --upgrade

clean: ## Remove what was made in the checkout
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help setup demo demo-down test lint unit servers e2e bench soak fmt crds lock clean
