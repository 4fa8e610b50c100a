# `make` lists the commands.
PYTHON ?= python3
PORT ?= 5000
BASE ?= origin/main
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help repro init backfill promote rollback test test-fast test-airflow drills check bench bench-scale report ui serve env services push pull lock docs clean

help:  ## list these commands
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

repro: .venv/installed  ## run the stages of the pipeline that are out of date
	@python -m services.run dvc --wait-for-lock repro

init: .venv/installed  ## begin with your own table: make init TABLE=my.csv TARGET=column
	$(if $(and $(TABLE),$(TARGET)),,$(error name the table and the target: make init TABLE=my.csv TARGET=column))
	@python -m ridgeline init "$(TABLE)" --target "$(TARGET)" $(if $(KEY),--key "$(KEY)") $(if $(NAME),--name "$(NAME)")

backfill: .venv/installed  ## write to MLflow the runs and versions that are missing there
	@python -m services.run python -m ridgeline backfill

promote: .venv/installed  ## make a version champion by hand: make promote VERSION=3
	$(if $(VERSION),,$(error name the version: make promote VERSION=3))
	@python -m services.run python -m ridgeline promote $(VERSION)

rollback: .venv/installed  ## make the previous champion champion again
	@python -m services.run python -m ridgeline rollback

test: .venv/installed-dev .venv/installed-services  ## run the tests, except the drills
	pytest -n auto --dist loadfile --no-loadscope-reorder -m "not drill"

drills: .venv/installed-dev .venv/installed-services  ## run the drills, as CI does: servers, sweeps, kills, restores
	pytest -n auto --dist loadfile --no-loadscope-reorder -m drill

test-fast: .venv/installed-dev  ## run the tests that start no DVC or MLflow and take no seconds
	pytest -n auto -m "not slow"

test-airflow: .venv/installed-dev deploy/airflow/.venv/installed  ## run the DAG in deploy/airflow in an Airflow of its own
	pytest tests/test_airflow.py

check: .venv/installed-dev  ## check format, lint and types
	ruff format --check .
	ruff check .
	mypy

bench: .venv/installed  ## compare the time of `dvc repro` with one process that does the same work
	python -m bench.repro

bench-scale: .venv/installed  ## time each stage on more and more rows, and the same steps in plain pandas
	python -m bench.scale

report: export BASE := $(BASE)
report: .venv/installed  ## write what this branch changes, for its reviewers: make report BASE=origin/main
	@python -m ridgeline changes --base "$$BASE"

ui: .venv/installed  ## serve MLflow's UI for the local store at http://127.0.0.1:5000
	mlflow server --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $(PORT) --workers 1

serve: PORT = 5001
serve: .venv/installed  ## serve the champion over HTTP on this machine: make serve PORT=5001 WORKERS=1
	@python -m services.run python -m ridgeline serve --port $(PORT) --workers $(or $(WORKERS),1)

env:  ## create .env, or complete it, with random passwords
	@$(PYTHON) -m services.passwords

services: .venv/installed-services env  ## run an S3 store and MLflow's server; Ctrl-C stops both
	@python -m services.run --all honcho --env /dev/null start

push pull: .venv/installed  ## push data and models to the team's S3 store, or pull them
	@python -m services.run dvc $@ || { python -m services.buckets --check; exit 1; }

lock: .venv/installed  ## pin the newest versions that requirements*.in allow and that are at least a week old
	for name in requirements requirements-services requirements-dev requirements-dask \
		deploy/airflow/requirements; do \
		uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
			--exclude-newer "1 week" --generate-hashes --upgrade $$name.in -o $$name.txt || exit; \
	done
	python -m ridgeline.environment

docs: .venv/installed  ## write params.schema.json and docs/settings.md from the settings
	@python -m ridgeline.reference

clean:  ## remove the virtual environment and the tools' caches; data and models are kept
	rm -rf .venv deploy/airflow/.venv .mypy_cache .pytest_cache .ruff_cache .hypothesis

# pip installs uv, at the version and hash in the lock; uv installs the other packages.
.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/# via/p' requirements.txt | \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement /dev/stdin
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode \
		--requirement requirements-dev.txt
	@touch $@

.venv/installed-services: requirements-services.txt .venv/installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode \
		--requirement requirements-services.txt
	@touch $@

deploy/airflow/.venv/installed: deploy/airflow/requirements.txt .venv/installed
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python deploy/airflow/.venv
	$(BIN)/uv pip sync --quiet --python deploy/airflow/.venv/bin/python --compile-bytecode $<
	@touch $@
