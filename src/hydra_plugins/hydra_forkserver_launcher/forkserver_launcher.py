"""The class Hydra discovers; the work is in modules that load only when jobs are launched."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
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
        self.n_jobs = available_cores() if n_jobs == -1 else n_jobs
        self.preload = preload
        self._setup: dict[str, Any] = {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from ._server import start_server

        if self.n_jobs < 1:
            raise CompactHydraException(
                f"hydra.launcher.n_jobs={self.n_jobs}: how many jobs run at a time, at least 1; "
                "or -1, one a core."
            )
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
