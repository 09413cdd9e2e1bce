"""Workers through any of Hydra's launchers: each job it is given is a worker, not a trial."""

import logging
from collections.abc import Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from ._errors import SweepError
from ._session import Plan
from ._study import WORKERS
from ._worker import Worker

log = logging.getLogger(__name__)


def launch(plan: Plan, task: TaskFunction, context: HydraContext) -> BaseException | None:
    """Launch workers and wait for them; return what ended one before its time.

    Raises:
        SweepError: A worker found that the sweep cannot go on.
    """
    launcher, n_workers = _launcher(plan, task, context)
    jobs = [
        [
            *_worker_overrides(plan, context),
            f"hydra.sweep.subdir={WORKERS}/{i}",
            "hydra.output_subdir=null",
            "hydra.job.chdir=false",
        ]
        for i in range(n_workers)
    ]
    try:
        returns = launcher.launch(jobs, initial_job_idx=0)
    except Exception as error:
        log.warning("A worker died (%s); starting the workers again", _first_line(error))
        return error
    failed = [j._return_value for j in returns if j.status is JobStatus.FAILED]
    for problem in failed:
        if isinstance(problem, SweepError):
            raise problem
        log.warning("A worker ended with %s: %s", type(problem).__name__, problem)
    return failed[0] if failed else None


def _launcher(plan: Plan, task: TaskFunction, context: HydraContext) -> tuple[Any, int]:
    """Return the configured launcher, sized for the workers, and how many it can run at once."""
    worker = Worker(plan, task, context)
    # The worker is no job of the application's: its callbacks hear of trials alone.
    silent = HydraContext(
        config_loader=context.config_loader,
        callbacks=Callbacks(),
        execution_whitelist=context.execution_whitelist,
    )
    sized = plan.master.copy()
    if "n_jobs" in sized.hydra.launcher:
        with read_write(sized.hydra), open_dict(sized.hydra):
            sized.hydra.launcher.n_jobs = plan.settings.n_jobs
    launcher = Plugins.instance().instantiate_launcher(
        config=sized, hydra_context=silent, task_function=worker
    )
    # Only the launcher's size differs; jobs are composed from what the user configured.
    launcher.setup(hydra_context=silent, task_function=worker, config=plan.master)
    one_by_one = type(launcher).__name__ == "BasicLauncher"
    return launcher, 1 if one_by_one else plan.settings.n_jobs


def _worker_overrides(plan: Plan, context: HydraContext) -> Sequence[str]:
    """Return what a worker's own job needs to compose: a choice for a group without a default."""
    fixed = plan.space.fixed_overrides()
    try:
        context.config_loader.load_sweep_config(plan.master, list(fixed))
    except (HydraException, OmegaConfBaseException):
        return plan.example
    return fixed


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
