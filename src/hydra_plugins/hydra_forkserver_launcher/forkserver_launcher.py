"""The class Hydra discovers; the work is in a module that loads only when jobs are launched."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from . import config as config
from .cores import available_cores


class ForkserverLauncher(Launcher):
    """Run jobs at the same time on this machine, in processes that are ready at once.

    A process imports the modules of `preload` and of the task, from `setup` on, while the sweeper
    goes on with its own; the processes for the jobs are forked from it. Takes the fields of
    `config.ForkserverLauncherConf` by name.
    """

    def __init__(self, n_jobs: int, preload: Sequence[str]) -> None:
        self.n_jobs = n_jobs if n_jobs > 0 else available_cores()
        self.preload = preload
        self._setup: dict[str, Any] = {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from ._core import start_server

        self._setup = {
            "hydra_context": hydra_context,
            "task_function": task_function,
            "config": config,
        }
        start_server(self.n_jobs, self.preload, task_function)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from ._core import launch

        return launch(self.n_jobs, job_overrides, initial_job_idx, **self._setup)
