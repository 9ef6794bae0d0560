# Every target does its own set-up; the first run on a machine takes a minute or two, the next ones none.

SHELL := /bin/bash
BIN := .venv/bin
# Two workers: the suite shall hold on two cores. One file stays on one worker, with its broker and its database.
PYTEST ?= $(BIN)/pytest -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak bench yardsticks fuzz check format lock docs charts clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup:  ## the virtual environment and everything the tests use
	@deploy/setup/bootstrap test

demo:  ## a small city on this machine, in the browser (DEMO="--for 60s" ends by itself with a score)
	@deploy/setup/bootstrap demo
	@$(BIN)/undercity demo $(DEMO)

test:  ## all tests (TEST="tests/unit -k journal" for some)
	@deploy/setup/bootstrap test
	@$(PYTEST) $(TEST)

soak: setup  ## what takes long: rules changed live, real bootloaders on bad lines
	@$(PYTEST) -m soak --timeout 600 $(TEST)

bench: setup  ## the whole path beside a C consumer, the codecs, 2,000 loggers (BENCH="--rounds 3" for less)
	@$(BIN)/python -m tests.benchmarks.bench $(BENCH)
	@$(BIN)/python -m tests.benchmarks.hj212_rate
	@$(BIN)/python -m tests.benchmarks.cjt188_rate
	@$(BIN)/python -m tests.benchmarks.tcp_loggers
	@$(BIN)/python -m tests.benchmarks.rules_rate
	@$(BIN)/python -m tests.benchmarks.backtest_rate
	@$(BIN)/python -m tests.benchmarks.flash_rate
	@$(BIN)/python -m tests.benchmarks.flash_many
	@$(BIN)/python -m tests.benchmarks.flash_rate_avr
	@$(BIN)/python -m tests.benchmarks.flash_rate_smp
	@$(BIN)/python -m tests.benchmarks.flash_rate_ymodem

yardsticks: setup  ## detection on public data and labelled faults, with aims (YARDSTICKS="--data FOLDER --only nab")
	@$(BIN)/python -m tests.yardsticks $(YARDSTICKS)

fuzz: setup  ## every codec under atheris, ten minutes (FUZZ="60 hj212 mbus" for a minute of two)
	$(BIN)/uv pip install --quiet "atheris>=3,<4"
	$(BIN)/python -m tests.fuzz $(FUZZ)

check: setup  ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## write the generated tables of deploy/docs again
	$(BIN)/python -m deploy.docs_tables

charts: setup  ## draw the manual's charts again, some minutes; KINDS='a b': only these
	$(BIN)/python -m deploy.docs_charts $(KINDS)

lock: setup  ## resolve requirements.lock anew
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--upgrade --group dev pyproject.toml -o requirements.lock

clean:  ## remove the virtual environment and what set-up remembers
	rm -rf .venv .setup
