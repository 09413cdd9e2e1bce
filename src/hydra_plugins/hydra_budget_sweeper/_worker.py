"""What the launcher runs: a worker that takes trials from the study until there are no more.

A trial is proposed and claimed under a lock that all workers of the folder share, so that exactly
`n_trials` are trained however many workers there are and whichever of them dies. A trial that is
interrupted goes back to the study as WAITING with its parameters, and whoever asks next gets it,
in its own folder.
"""

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial, TrialState

from ._compose import Composer, fingerprint
from ._constraints import Constraints, excess
from ._errors import SweepError
from ._interrupt import Interrupts
from ._ledger import Ledger, Note, note_of, write_note
from ._presence import Presence, Watch, exclusive
from ._queue import fail, propose, put_back
from ._settings import Settings
from ._space import Space
from ._study import WORKERS, StudyPlace, build_pruner, build_sampler, reseed, stop, stopped
from ._trial_run import Outcome, run_trial

log = logging.getLogger(__name__)

_WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know of its sweep; goes to other processes and machines."""

    run: str
    sweeper: str
    sweeper_pid: int
    place: StudyPlace
    settings: Settings
    space: Space
    constraints: Constraints
    extend: Callable[[DictConfig, Trial], None] | None
    seed: int
    master: DictConfig
    example: tuple[str, ...]
    quiet: bool

    @property
    def hidden(self) -> Path:
        return self.place.folder / WORKERS


class Worker:
    """The task function that the launcher gets."""

    def __init__(self, plan: Plan, task: TaskFunction, context: HydraContext) -> None:
        self.plan = plan
        self.task = task
        self.context = context

    def __call__(self, _: DictConfig) -> int:
        """Take trials until there are no more; return how many were trained here."""
        presence = Presence(self.plan.hidden, "worker")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        interrupts = Interrupts()
        # The launcher ends its worker processes by SIGTERM: only the sweeper itself outlives one.
        here = os.getpid() == self.plan.sweeper_pid
        signals = (signal.SIGINT, signal.SIGTERM) if here else (signal.SIGINT,)
        with _output_aside(self.plan, presence.name), _signs_of_life(self.plan, presence):
            try:
                with interrupts.handle(*signals):
                    session = Session(self, presence, interrupts)
                    try:
                        return session.work()
                    finally:
                        session.log_as_worker()
            finally:
                presence.leave()


class Session:
    """One worker's life: its view of the study, and the trial in hand."""

    def __init__(self, worker: Worker, presence: Presence, interrupts: Interrupts) -> None:
        plan = worker.plan
        self.plan = plan
        self.settings = plan.settings
        self.worker = worker
        self.name = presence.name
        self.interrupts = interrupts
        self.sampler = build_sampler(self.settings.sampler, plan.seed, plan.space)
        self.study = optuna.load_study(
            storage=plan.place.open_storage(),
            study_name=plan.place.name,
            sampler=self.sampler,
            pruner=build_pruner(self.settings.pruner, len(self.settings.directions)),
        )
        self.ledger = Ledger(self.study)
        self.watch = Watch(plan.hidden, self.settings.lease)
        self.composer = Composer(worker.context.config_loader, plan.master, plan.example)
        self.constraints = plan.constraints
        self.extend = plan.extend
        self._prepared: DictConfig | None = None
        self._log_is_trials = False
        self._hydra: Any = HydraConfig.instance().cfg

    def work(self) -> int:
        trained = 0
        while (trial := self.next()) is not None:
            try:
                trained += self.attempt(trial)
            except BaseException as error:
                self.abandon(trial, error)
                raise
            self.interrupts.check()
        return trained

    def next(self) -> Trial | None:
        with self.lock():
            return propose(self)

    def attempt(self, trial: Trial) -> bool:
        """Bring one trial to its end; return whether it was trained."""
        overrides = self.suggest(trial)
        note = note_of(self.frozen(trial))
        if note.started is None:
            if not self.admit(trial, note, overrides):
                return False
            note = note_of(self.frozen(trial))
            extra: Sequence[str] = ()
        else:
            extra = self.settings.retry_overrides
        outcome = self.train(trial, [*note.overrides, *extra])
        self.tell(trial, outcome)
        return outcome.state is not TrialState.FAIL

    def suggest(self, trial: Trial) -> list[str]:
        """Draw the values still to be drawn; return the candidate's overrides."""
        space = self.plan.space
        reseed(self.sampler, self.plan.seed, trial.number)
        if not all(axis.name in trial.params for axis in space.axes):
            # Drawn at once, before any single value: a trial cut off half-way draws the rest alike.
            trial.relative_params  # noqa: B018
        params: dict[str, Any] = {}
        for axis in space.axes:
            if space.active(axis, params):
                reseed(self.sampler, self.plan.seed, trial.number, axis.name)
                params[axis.name] = trial._suggest(axis.name, axis.distribution)
        if self.extend is not None:
            self._suggest_more(trial)
        return space.overrides(trial.params if self.extend is not None else params)

    def _suggest_more(self, trial: Trial) -> None:
        assert self.extend is not None
        self.extend(self.plan.master, trial)
        if overlap := trial.params.keys() & self.plan.space.fixed.keys():
            raise SweepError(
                f"custom_search_space suggests {', '.join(sorted(overlap))}, which the command "
                "line sets. Take it away from one of them."
            )

    def admit(self, trial: Trial, note: Note, overrides: list[str]) -> bool:
        """Decide whether a new candidate is trained; if not, tell the study why."""
        config = self.composer.task_config(overrides)
        violations = self.constraints.violations(config)
        for name, value in violations.items():
            trial.set_constraint(name, value)
        for name, text in self.plan.space.fixed.items():
            trial.set_user_attr(name, text)
        if excess(violations) > 0:
            self.study_tell(trial, TrialState.PRUNED)
            return False
        digest = fingerprint(config)
        with self.lock():
            self.ledger.refresh()
            if self._is_duplicate(trial, note, digest):
                return False
            if self.ledger.claimed >= self.settings.n_trials:
                put_back(self.study, trial._trial_id, note)
                return False
            folder = self.folder_of(trial, overrides)
            _set_aside(self.plan.place.folder / folder)
            started = replace(note, started=digest, overrides=overrides, folder=folder)
            write_note(self.study, trial._trial_id, started)
        return True

    def _is_duplicate(self, trial: Trial, note: Note, digest: str) -> bool:
        twin = self.ledger.trained_configs.get(digest) or self.ledger.running_with(digest)
        if twin is None or twin.number == trial.number:
            return False
        write_note(self.study, trial._trial_id, replace(note, duplicate_of=twin.number))
        values = twin.values if twin.state is TrialState.COMPLETE else None
        # One that is still being trained has no value to give: FAIL is what samplers pass over.
        state = twin.state if twin.state.is_finished() else TrialState.FAIL
        self.study_tell(trial, state, values)
        return True

    def folder_of(self, trial: Trial, overrides: list[str]) -> str:
        config = self._prepared = self.composer.job_config(overrides, trial.number)
        subdir = OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]  # type: ignore[index,call-overload]
        if "${hydra:" not in str(subdir):
            return str(config.hydra.sweep.subdir)
        with _hydra_config(config):
            return str(config.hydra.sweep.subdir)

    def train(self, trial: Trial, overrides: Sequence[str]) -> Outcome:
        config, self._prepared = self._prepared, None
        if config is None:
            config = self.composer.job_config(overrides, trial.number)
        try:
            return run_trial(self, trial, config)
        finally:
            HydraConfig.instance().cfg = self._hydra
            self._log_is_trials = True

    def log_as_worker(self) -> None:
        """Log to the worker's own file again; done late, for it costs a millisecond or two."""
        if self._log_is_trials and self._hydra is not None:
            configure_log(self._hydra.hydra.job_logging, self._hydra.hydra.verbose)
        self._log_is_trials = False

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        note = replace(
            note_of(self.frozen(trial)),
            seconds=outcome.seconds,
            error=outcome.error,
            traceback=outcome.traceback,
        )
        write_note(self.study, trial._trial_id, note)
        self.study_tell(trial, outcome.state, outcome.values)
        if outcome.state is TrialState.FAIL:
            self.log_as_worker()
            log.error(
                "Trial %d failed: %s\n  overrides: %s\n  folder: %s",
                trial.number,
                outcome.error,
                " ".join(note.overrides),
                self.plan.place.folder / (note.folder or ""),
            )

    def study_tell(
        self, trial: Trial, state: TrialState, values: Sequence[float] | None = None
    ) -> None:
        try:
            self.study.tell(trial, values=values, state=state)
        except RuntimeError as error:
            # The grid sampler stops the study after its last point; the queue sees to that.
            if "Study.stop" not in str(error):
                raise

    def abandon(self, trial: Trial, error: BaseException) -> None:
        """Leave no trial RUNNING behind: what was interrupted waits, what is broken fails."""
        frozen = self.frozen(trial)
        if frozen.state is not TrialState.RUNNING:
            return
        if isinstance(error, Exception):
            fail(self, frozen, f"{type(error).__name__}: {error}", traceback.format_exc())
            stop(self.study, self.plan.run, f"Trial {trial.number} cannot be set up: {error}")
        else:
            put_back(self.study, frozen._trial_id, note_of(frozen))

    def frozen(self, trial: Trial) -> optuna.trial.FrozenTrial:
        return self.study._storage.get_trial(trial._trial_id)

    def stopped(self) -> bool:
        return stopped(self.study, self.plan.run) is not None

    @contextmanager
    def lock(self) -> Iterator[None]:
        with exclusive(self.plan.hidden / "claim.lock"):
            yield


def _set_aside(folder: Path) -> None:
    """Move what an earlier, unrelated sweep left where a new trial is to write."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.stale-{number}")).exists():
        number += 1
    folder.rename(aside)
    log.warning("%s was not empty; what was there is now in %s", folder, aside.name)


@contextmanager
def _hydra_config(config: DictConfig) -> Iterator[None]:
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


@contextmanager
def _signs_of_life(plan: Plan, presence: Presence) -> Iterator[None]:
    """Beat until the block ends; end this process if its sweeper is gone."""
    over = threading.Event()
    threading.Thread(target=_beat, args=(plan, presence, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _beat(plan: Plan, presence: Presence, over: threading.Event) -> None:
    """Go on after the work is done, too: a pool's idle process would outlive a killed sweeper."""
    # Elsewhere than on the sweeper's machine a worker outlives it, and finishes its trial.
    sweeper = Watch(plan.hidden, float("inf"))
    last = time.monotonic()
    while sweeper.is_alive(plan.sweeper):
        if over.is_set():
            time.sleep(_WATCH_SECONDS)
        elif not over.wait(_WATCH_SECONDS) and time.monotonic() - last > plan.settings.lease / 4:
            presence.beat()
            last = time.monotonic()
    if os.getpid() == plan.sweeper_pid:
        return
    if not over.is_set() or sweeper.was_killed(plan.sweeper):
        # Killed, it could not call its workers back; a new start takes the trial up again.
        os._exit(1)


@contextmanager
def _output_aside(plan: Plan, name: str) -> Iterator[None]:
    """Keep a worker's own output from the terminal's live line, in a file of the worker's."""
    if not plan.quiet or os.getpid() == plan.sweeper_pid:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(plan.hidden / f"{name}.log", "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
