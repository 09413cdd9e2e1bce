"""What a worker knows: the plan of the sweep, and its own view of the study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from optuna.trial import Trial

from hydra_budget_sweeper.compose import Composer
from hydra_budget_sweeper.limits import Limits
from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.space.space import Space
from hydra_budget_sweeper.study.finalists import Run
from hydra_budget_sweeper.study.place import WORKERS, StudyPlace
from hydra_budget_sweeper.study.pruner import build_pruner
from hydra_budget_sweeper.study.sampler import SeededSampler
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.workers.liveness import Watch
from hydra_budget_sweeper.workers.locks import claim_lock
from hydra_budget_sweeper.workers.signals import Interrupts
from hydra_budget_sweeper.workers.walk import Walk


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know of its sweep; goes to other processes and machines."""

    run: str
    sweeper: str
    place: StudyPlace
    settings: Settings
    space: Space
    constraints: Limits
    extend: Callable[[DictConfig, Trial], None] | None
    seed: int
    sampler: SeededSampler
    master: DictConfig
    example: tuple[str, ...]
    quiet: bool
    apart: bool  # its workers are on machines of which others do not see the folder
    still: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[Run, ...] | None = None  # all there is to train; None: what the sampler proposes

    @property
    def hidden(self) -> Path:
        return self.place.folder / WORKERS


class Session:
    """One worker's hold on the sweep, from its first trial to its last.

    Args:
        plan: The sweep's.
        task: The application's task function.
        context: Hydra's, for the jobs.
        name: The worker's, which trials in its hands carry.
        interrupts: When signals may become exceptions.
    """

    def __init__(
        self,
        plan: Plan,
        task: TaskFunction,
        context: HydraContext,
        name: str,
        interrupts: Interrupts,
    ) -> None:
        self.plan, self.settings = plan, plan.settings
        self.task, self.context = task, context
        self.name, self.interrupts = name, interrupts
        pruner = build_pruner(self.settings.pruner, len(self.settings.directions))
        self.store = StudyStore(plan.place.open_storage(), plan.place.name, plan.sampler, pruner)
        self.tally = Tally(self.store.study(), plan.space)
        self.walk = Walk(plan.space, plan.seed)
        self.watch = Watch(plan.hidden, self.settings.lease, plan.still, self.store)
        self.composer = Composer(context.config_loader, plan.master)
        self._hydra: Any = HydraConfig.instance().cfg
        self._log_is_trials = False

    def lock(self) -> AbstractContextManager[None]:
        """Hold what all workers share; trials are claimed under it."""
        return claim_lock(self.plan.place)

    def stopped(self) -> bool:
        return self.store.stopped(self.plan.run) is not None

    @contextmanager
    def job(self) -> Iterator[None]:
        """Let a job have Hydra's global configuration and log for the length of the block."""
        self._log_is_trials = True
        try:
            yield
        finally:
            HydraConfig.instance().cfg = self._hydra

    def log_as_worker(self) -> None:
        """Log to the worker's own file again; done late, for it costs a millisecond or two."""
        if self._log_is_trials and self._hydra is not None:
            configure_log(self._hydra.hydra.job_logging, self._hydra.hydra.verbose)
        self._log_is_trials = False
