"""The Hydra application: compose, build, train, sum up. The one place that exits."""

from __future__ import annotations

import logging
import math
import os
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from budgetsweep.config import (
    CONF_DIR,
    MAXIMIZED,
    OBJECTIVES,
    check_objectives,
    register,
    to_config,
)
from budgetsweep.errors import BudgetError, DivergedError, UserError
from budgetsweep.folders import CHECKPOINT
from budgetsweep.mistakes import told_in_words
from hydra_budget_sweeper import report
from hydra_budget_sweeper.results.command import program, setting
from hydra_plugins.hydra_forkserver_launcher.cores import available_cores

register()
log = logging.getLogger(__name__)


@told_in_words()
@hydra.main(
    config_path=str(CONF_DIR),
    config_name="config",
    execution_whitelist=["budgetsweep.training.before.BeforeRun"],
)
def main(cfg: DictConfig) -> float | list[float] | None:
    """Train one network; a sweep gets its `objectives`, by default the validation loss."""
    hydra_cfg = HydraConfig.get()
    sweeping = hydra_cfg.mode == RunMode.MULTIRUN
    try:
        return _train(cfg, hydra_cfg, sweeping)
    except KeyboardInterrupt:
        if sweeping:  # the sweeper's business
            raise
        print(_interrupted(hydra_cfg), file=sys.stderr)
        sys.exit(130)


def _train(cfg: DictConfig, hydra_cfg: HydraConf, sweeping: bool) -> float | list[float] | None:
    with nullcontext() if sweeping else Console(stderr=True).status("loading torch"):
        from budgetsweep.training.run import run  # only when a run starts, not for --help
        from budgetsweep.training.shared import share

    threads = 1 if sweeping else available_cores()
    searching = sweeping and not hydra_cfg.sweeper._target_.endswith("BasicSweeper")
    try:
        config = to_config(cfg)
        if searching:
            check_objectives(config.objectives, config.data.validation, config.target)
        folder = Path(hydra_cfg.runtime.output_dir)
        if sweeping:
            share(Path(hydra_cfg.runtime.cwd) / hydra_cfg.sweep.dir)
        compared = report if sweeping and _prunes(hydra_cfg.sweeper) else None
        summary = run(config, folder, threads=threads, report=compared, sweeping=sweeping)
    except UserError as error:
        # In a single run a person reads it, as of a plain multirun; in a search the sweeper, which goes on.
        if not sweeping:
            sys.exit(str(error))
        if not searching or not isinstance(error, BudgetError | DivergedError):
            raise
        # No mistake where widths or rates are searched, but a bad value.
        if (
            isinstance(error, DivergedError)
            and "hydra_budget_sweeper" in hydra_cfg.sweeper._target_
        ):
            from optuna import TrialPruned

            raise TrialPruned(str(error)) from error
        log.warning("%s", error)  # another sweeper knows of neither
        summary = {name: -math.inf if name in MAXIMIZED else math.inf for name in OBJECTIVES}
    values = [summary[name] for name in config.objectives]
    return values[0] if len(values) == 1 else values


def _interrupted(hydra_cfg: HydraConf) -> str:
    """How to go on with a single run, in one sentence."""
    folder = Path(hydra_cfg.runtime.output_dir)
    if not (folder / CHECKPOINT).exists():
        return "Interrupted in the first epoch: nothing is kept yet; the same command begins anew."
    names = "resume", "hydra.run.dir"
    given = [*hydra_cfg.overrides.hydra, *hydra_cfg.overrides.task]
    kept = [o for o in given if o.lstrip("+").split("=")[0] not in names]
    place = setting("hydra.run.dir", os.path.relpath(folder, hydra_cfg.runtime.cwd))
    again = " ".join([program(), *map(shlex.quote, kept), "resume=true", place])
    return f"Interrupted. To go on after the last whole epoch: {again}"


def sweep() -> None:
    """`budgetsweep sweep`: as `budgetsweep train --multirun`."""
    shown = {"--cfg", "-c", "--info", "-i"} & {word.split("=")[0] for word in sys.argv}
    many = [] if shown else ["--multirun"]
    sys.argv[:1] = [sys.argv[0].removesuffix("sweep") + "train", *many]
    main()


def _prunes(sweeper: DictConfig) -> bool:
    """Whether the sweeper gives up trials by what they report; if not, nobody need look."""
    pruner = sweeper.get("pruner")
    return pruner is not None and not str(pruner.get("_target_")).endswith("NopPruner")


if __name__ == "__main__":
    main()
