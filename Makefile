# `make demo` and `make test` do all the set-up; the environment is .venv.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: install demo demo-kafka test check bench bench-kafka torture clean

install: .venv/.dev

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("riverd needs Python 3.11 or newer, but $(PYTHON) is %s.\n  Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

.venv/.demo: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[demo]' --group dev
	@touch $@ .venv/.demo

.venv/.bench: pyproject.toml .venv/.dev
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

demo: .venv/.demo
	@$(BIN)/riverd demo

demo-kafka: .venv/.demo
	@$(BIN)/python -m deploy.kafka.demo

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports

bench: .venv/.bench
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/stages.py
	$(BIN)/python benchmarks/pending.py
	$(BIN)/python -m benchmarks.kernel
	$(BIN)/python -m benchmarks.dicts
	$(BIN)/python -m benchmarks.reservoirs
	$(BIN)/python -m benchmarks.learner --held-out --markdown docs/learner-figures.md

# quix-streams wants older releases of what riverd uses, so it has an environment of its own
.venv/quix/.done: | .venv/bin/python
	$(PYTHON) -m venv .venv/quix
	.venv/quix/bin/python -m pip install --quiet 'quixstreams>=3.28,<4' 'river>=0.24'
	@touch $@

bench-kafka: .venv/.dev .venv/quix/.done
	$(BIN)/python benchmarks/on_kafka.py

torture: .venv/.dev
	$(BIN)/python benchmarks/torture.py
	$(BIN)/python -m benchmarks.ordeal

clean:
	rm -rf .venv riverd-demo benchmarks/data models/kernels/__pycache__
