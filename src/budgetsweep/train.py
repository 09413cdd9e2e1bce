"""The Hydra application: compose, build, train, sum up. The one place that exits."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra_plugins.hydra_budget_sweeper.trial import report
from omegaconf import DictConfig

from budgetsweep.config import CONF_DIR, register, to_config
from budgetsweep.errors import BudgetError, UserError

register()


@hydra.main(config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Train one network; the validation loss is what a sweep minimizes."""
    from budgetsweep.run import run  # torch loads only when a run starts, not for --help

    hydra_cfg = HydraConfig.get()
    sweeping = hydra_cfg.mode == RunMode.MULTIRUN
    threads = 1 if sweeping else len(os.sched_getaffinity(0))
    try:
        config = to_config(cfg)
        summary = run(config, Path(hydra_cfg.runtime.output_dir), threads=threads, report=report)
    except BudgetError:
        # A sweeper that does not ask about the budget beforehand learns that it is worthless.
        if not sweeping:
            raise
        return math.inf
    loss: float | None = summary["val_loss"]
    return loss


def cli() -> None:
    """Run the application; a person's mistake ends with one line and exit code 1."""
    main()


if __name__ == "__main__":
    cli()
