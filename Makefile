# budgetsweep: every target sets up .venv from the pinned lock first, if that has not been done.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
BUDGETSWEEP := $(VENV)/bin/budgetsweep
READY := $(VENV)/.ready
# the sweeper, a distribution of its own
SWEEPER := distributions/hydra-budget-sweeper
SEEDS ?= 5
EPOCHS ?= 20
# what reproduce trains: the published network, or one that was found, such as curve/1k
EXPERIMENT ?= reproduce
REPRODUCED = multirun/$(subst /,-,$(EXPERIMENT))-$(EPOCHS)-epochs
PUBLISHED ?= $(if $(filter reproduce,$(EXPERIMENT)),0.9945)
# how long make best may take
TIME ?= 2h
ARGS ?=
# the sweep that report and dashboard show: by default the one that was last written to
DIR ?= $(patsubst %/leaderboard.json,%,$(shell ls -t multirun/*/leaderboard.json multirun/*/*/leaderboard.json 2>/dev/null | head -n 1))
DEMO = $(or $(patsubst hydra.sweep.dir=%,%,$(filter hydra.sweep.dir=%,$(ARGS))),multirun/demo)
PORT ?= 8080
UPGRADE ?= --upgrade
NEEDS_SWEEP = test -n "$(DIR)" || { echo "No sweep in multirun/ yet: make demo runs one; DIR=... names another folder."; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help setup demo train sweep reproduce best report dashboard bench test test-all engines lint format lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'
	@echo "  ARGS='key=value ...' passes overrides to demo, train, sweep, reproduce and best."

setup: $(READY) ## make .venv and install the pinned dependencies

$(READY): requirements.lock pyproject.toml $(SWEEPER)/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet "$$(sed -nE 's/^(uv==[0-9.]+).*/\1/p' requirements.lock)"
	$(VENV)/bin/uv pip install --python $(VENV) --compile-bytecode --require-hashes -r requirements.lock
	$(VENV)/bin/uv pip install --python $(VENV) --no-deps --no-build-isolation -e $(SWEEPER) -e .
	@touch $(READY)

demo: $(READY) ## a tight budget on bundled digits, in minutes, without a download
	$(BUDGETSWEEP) sweep experiment=demo $(ARGS)
	@echo && echo "The winner against the reference, both at this budget, trained anew over five seeds:"
	$(BUDGETSWEEP) replicate "$(DEMO)" --seeds 5
	$(BUDGETSWEEP) report "$(DEMO)"

train: $(READY) ## one training run: make train ARGS='optimizer.lr=0.05'
	$(BUDGETSWEEP) train $(ARGS)

sweep: $(READY) ## a sweep over the widths at the full budget, on MNIST: make sweep ARGS='search=joint'
	$(BUDGETSWEEP) sweep $(if $(findstring search=,$(ARGS)),,search=shapes) $(ARGS)

reproduce: $(READY) ## the published network over seeds: SEEDS=5 EPOCHS=20 EXPERIMENT=reproduce
	$(BUDGETSWEEP) sweep hydra/sweeper=basic experiment=$(EXPERIMENT) "seed=range(0,$(SEEDS))" \
	  trainer.epochs=$(EPOCHS) trainer.test=true resume=true hydra.sweep.dir=$(REPRODUCED) $(ARGS)
	$(BUDGETSWEEP) replicate $(REPRODUCED) $(if $(PUBLISHED),--published $(PUBLISHED))

best: $(READY) ## the best network for MNIST, and how sure that is, in a time: TIME=2h
	$(BUDGETSWEEP) find --time $(TIME) --folder multirun/best augment.flip=false $(ARGS)

report: $(READY) ## an HTML report of the newest sweep, or of DIR=...
	@$(NEEDS_SWEEP)
	$(BUDGETSWEEP) report "$(DIR)"

dashboard: $(READY) ## optuna-dashboard on the newest sweep, or DIR=...; PORT=8080
	@$(NEEDS_SWEEP)
	$(BUDGETSWEEP) dashboard "$(DIR)" --port $(PORT)

bench: $(READY) ## all benchmarks, side by side in one go (about 100 minutes, on a quiet machine)
	$(RUN) benchmarks $(ARGS)

# A process a core, each on one thread. They start thousands of programs: without bytecode, which many containers
# turn off, each would compile its modules anew.
PYTEST := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(RUN) pytest -n auto --dist worksteal

test: $(READY) ## the tests, a few minutes
	$(PYTEST)

test-all: $(READY) ## the tests, slow ones too
	$(PYTEST) -m "slow or not slow"

engines: $(READY) ## sweeps on Ray and Slurm, started here; Slurm's need root, and Debian's slurm-wlm and munge
	$(VENV)/bin/uv pip install --python $(VENV) --quiet -e "$(SWEEPER)[slurm,ray]"
	$(PYTEST) -n 0 -m slow tests/engines $(ARGS)

lint: $(READY) ## ruff and mypy
	$(RUN) ruff check src tests benchmarks
	$(RUN) ruff format --check src tests benchmarks
	$(RUN) mypy

format: $(READY) ## let ruff format and mend
	$(RUN) ruff check --fix src tests benchmarks
	$(RUN) ruff format src tests benchmarks

lock: $(READY) ## resolve requirements.lock anew: the newest versions, or UPGRADE= for what must change
	$(VENV)/bin/uv pip compile --universal --generate-hashes --no-annotate --no-header --python-version 3.11 \
	  --all-extras --group dev pyproject.toml --no-emit-package hydra-budget-sweeper \
	  --output-file requirements.lock $(UPGRADE) --quiet

clean: ## remove caches and .venv; never results
	rm -rf $(VENV) build dist $(SWEEPER)/dist .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
