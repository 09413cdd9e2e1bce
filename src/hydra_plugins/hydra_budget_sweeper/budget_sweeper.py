"""The class Hydra discovers; the work is in modules that load only when a sweep runs."""

import sys
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from . import config as config


class BudgetSweeper(Sweeper):
    """Search a space for the best configuration within limits, by workers that share a study.

    Takes the fields of `config.BudgetSweeperConf` by name. A sweep that cannot go on ends with
    one sentence on stderr and exit code 1: Hydra would print a traceback for an exception.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._setup: dict[str, Any] = {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._setup = {
            "hydra_context": hydra_context,
            "task_function": task_function,
            "config": config,
        }

    def sweep(self, arguments: list[str]) -> None:
        from hydra_budget_sweeper.errors import SweepError
        from hydra_budget_sweeper.files import described, of_disk
        from hydra_budget_sweeper.results.screen import Screen
        from hydra_budget_sweeper.streams import secure_streams

        secure_streams()
        try:
            with Screen() as screen:  # first of all: what follows takes seconds to import
                from hydra_budget_sweeper.settings import settings_from
                from hydra_budget_sweeper.sweep import run_sweep

                run_sweep(settings_from(self._settings), arguments, screen, **self._setup)
        except SweepError as error:
            raise SystemExit(str(error)) from None
        except OSError as error:
            if of_disk(error) is None:
                raise
            raise SystemExit(described(error)) from None
        except KeyboardInterrupt:  # later ones are the sweep's business
            print("Interrupted before the first trial.", file=sys.stderr)
            raise SystemExit(130) from None
