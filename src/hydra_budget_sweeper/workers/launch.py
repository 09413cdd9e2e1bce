"""Workers through any of Hydra's launchers: each job it is given is a worker, not a trial."""

import io
import logging
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from contextlib import redirect_stderr

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException, HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.results.screen import VOICE as log
from hydra_budget_sweeper.study.place import WORKERS
from hydra_budget_sweeper.workers.launcher_errors import death, missing_extra, refusal
from hydra_budget_sweeper.workers.session import Plan
from hydra_budget_sweeper.workers.worker import Worker


class Workers:
    """The workers of a sweep, launched together, and again if one of them dies.

    A launcher that gets its processes ready in its `setup` does so from now on, while the sweeper
    looks at the space.

    Raises:
        SweepError: The launcher is not installed.
    """

    def __init__(
        self,
        n_jobs: int,
        config: DictConfig,
        task: TaskFunction,
        context: HydraContext,
        quiet: bool = False,
    ) -> None:
        self._context = context
        self._worker = Worker(task, context)
        sized = config.copy()
        if "n_jobs" in sized.hydra.launcher:
            with read_write(sized.hydra), open_dict(sized.hydra):
                sized.hydra.launcher.n_jobs = n_jobs
        # The worker is no job of the application's: its callbacks hear of trials alone.
        self._silent = HydraContext(
            config_loader=context.config_loader,
            callbacks=type(context.callbacks)(),
            execution_whitelist=context.execution_whitelist,
        )
        if missing := missing_extra(str(config.hydra.launcher.get("_target_"))):
            raise SweepError(missing)
        self._launcher = Plugins.instance().instantiate_launcher(
            config=sized, hydra_context=self._silent, task_function=self._worker
        )
        if quiet:  # it would speak of workers, for which nobody asked
            log_of = logging.getLogger(type(self._launcher).__module__.rpartition(".")[0])
            log_of.setLevel(logging.WARNING)
        one_by_one = type(self._launcher).__name__ == "BasicLauncher"
        self.most = 1 if one_by_one else n_jobs  # at a time

    def launch(self, plan: Plan, n_workers: int) -> BaseException | None:
        """Launch up to `n_workers` and wait for them; return what ended one before its time.

        Raises:
            SweepError: The launcher or a worker found that the sweep cannot go on.
        """
        self._worker.plan = plan
        # Only the launcher's size differs; jobs are composed from what the user configured.
        self._launcher.setup(
            hydra_context=self._silent, task_function=self._worker, config=plan.master
        )
        jobs = [
            [
                *_worker_overrides(plan, self._context),
                f"hydra.sweep.subdir={WORKERS}/{i}",
                "hydra.output_subdir=null",
                "hydra.job.chdir=false",
            ]
            for i in range(min(n_workers, self.most))
        ]
        try:
            returns = self._launcher.launch(jobs, initial_job_idx=0)
        except Exception as error:
            if isinstance(error, CompactHydraException) and not isinstance(error, BrokenExecutor):
                raise SweepError(str(error)) from None  # a mistake that its message explains
            if reason := refusal(error):
                raise SweepError(reason) from None
            log.warning("A worker died (%s); starting the workers again", death(error))
            return error
        problems = [problem for returned in returns if (problem := _problem_of(returned))]
        for problem in problems:
            if isinstance(problem, SweepError):
                raise problem
            log.warning("A worker ended with %s: %s", type(problem).__name__, problem)
        return problems[0] if problems else None


def _worker_overrides(plan: Plan, context: HydraContext) -> Sequence[str]:
    """Return what a worker's own job needs to compose: a choice for a group without a default."""
    fixed = plan.space.fixed_overrides()
    try:
        context.config_loader.load_sweep_config(plan.master, list(fixed))
    except (HydraException, OmegaConfBaseException):
        return plan.example
    return fixed


def _problem_of(returned: JobReturn) -> Exception | None:
    try:
        # Hydra announces a failed job on stderr, by overrides that a worker's user never wrote.
        with redirect_stderr(io.StringIO()):
            returned.return_value  # noqa: B018
    except Exception as error:
        return error
    return None
