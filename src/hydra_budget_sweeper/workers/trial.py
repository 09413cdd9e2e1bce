"""One trial as a Hydra job: its folder, its log, its progress reports and how it ended."""

import logging
import math
import reprlib
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from functools import update_wrapper
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.utils import run_job
from hydra.types import TaskFunction
from omegaconf import DictConfig
from optuna import TrialPruned
from optuna.trial import Trial, TrialState

from hydra_budget_sweeper.compose import Candidate
from hydra_budget_sweeper.errors import FunctionError
from hydra_budget_sweeper.files import of_full_disk
from hydra_budget_sweeper.reporting import reporting_to
from hydra_budget_sweeper.shown import Shown
from hydra_budget_sweeper.workers.copies import copy_again, spare_copies
from hydra_budget_sweeper.workers.session import Session
from hydra_budget_sweeper.workers.surroundings import surroundings_kept

log = logging.getLogger(__name__)

_LONGEST = 2_000  # characters of a failure's message that are kept


@dataclass
class Outcome:
    """How a trial ended."""

    state: TrialState
    seconds: float
    values: Sequence[float] | None = None
    error: str | None = None
    traceback: str | None = None
    shown: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def failure(
        cls, error: BaseException, seconds: float = 0.0, said: str | None = None
    ) -> "Outcome":
        """Keep what an exception says, or what is `said` of it, and where it came from."""
        lines = traceback.format_exception(error)
        if said is None:
            last = traceback.format_exception_only(error)[0].strip().splitlines()
            # What a named function raised is told already.
            own = str(error) if isinstance(error, FunctionError) else "".join(last[:1])
            said = own or type(error).__name__
        told = "".join(lines)[-20_000:]
        return cls(TrialState.FAIL, seconds, error=_in_a_line(said), traceback=told)


def _in_a_line(message: str) -> str:
    """Cut a message that is no sentence any more; escape what a terminal would obey."""
    more = f"… ({len(message):,} characters)" if len(message) > _LONGEST else ""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in message[:_LONGEST].replace("\n", " ")
    )
    return shown + more


class TrialTimeout(RuntimeError):
    """The trial took longer than `hydra.sweeper.trial_timeout`."""


def run_trial(session: Session, trial: Trial, candidate: Candidate, shown: Shown) -> Outcome:
    """Run the task by Hydra's `run_job`; an exception in it ends this trial, not the worker.

    Raises:
        OSError: The disk is full: the trial is to be run again once there is room.
    """
    start = time.monotonic()
    pruned: list[str] = []

    def guarded(cfg: DictConfig) -> Any:
        copy_again(candidate.job)
        try:
            reporter = _Reporter(session, trial)
            with (
                surroundings_kept(),
                reporting_to(reporter, shown),
                session.interrupts.let_through(),
                _time_limit(session),
            ):
                returned = session.task(cfg)
            session.interrupts.insist()
            return returned
        except TrialPruned as reason:
            # Handled here, Hydra does not log it as a failure.
            log.info("PRUNED %s", reason)
            pruned.append(str(reason))
            return None
        except SystemExit as exit_:
            session.interrupts.insist()
            raise RuntimeError(f"the task ended itself by sys.exit({exit_.code!r})") from exit_
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # asyncio.CancelledError, say: it ends this trial, no other
            raise RuntimeError(f"the task raised {type(error).__name__}: {error}") from error

    folder = Path(candidate.job.hydra.runtime.output_dir)
    with session.job(), _named(folder):
        spare_copies(candidate.job, session.context)
        job = run_job(
            task_function=_InPlaceOf(session.task, guarded),
            config=candidate.job,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=session.context,
        )
    seconds = time.monotonic() - start
    if pruned:
        _mark_pruned(folder, pruned[0])
        return Outcome(TrialState.PRUNED, seconds)
    try:
        with redirect_stderr(StringIO()):  # to which Hydra writes what `Outcome` tells as well
            returned = job.return_value
        return _success(returned, len(session.settings.directions), seconds)
    except Exception as error:
        if (refused := of_full_disk(error)) is not None:
            with _named(folder):
                raise refused from None  # no fault of the trial's
        return Outcome.failure(error, seconds)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Name a trial's folder in what a disk refuses without saying where."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(folder)
        raise


class _InPlaceOf:
    """Calls something else, but is named and pickled as the task: Hydra's callbacks are given it."""

    def __init__(self, task: TaskFunction, call: TaskFunction) -> None:
        update_wrapper(self, task)
        self._task, self._call = task, call

    def __call__(self, cfg: DictConfig) -> Any:
        return self._call(cfg)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self._task,)


def _itself(task: TaskFunction) -> TaskFunction:
    return task


def _mark_pruned(folder: Path, reason: str) -> None:
    try:
        (folder / "PRUNED").write_text(f"{reason}\n", encoding="utf-8")
    except OSError as error:  # the study knows it as well
        log.warning("Cannot write %s: %s", folder / "PRUNED", error)


def _success(returned: Any, n_objectives: int, seconds: float) -> Outcome:
    wanted = "a number" if n_objectives == 1 else f"{n_objectives} numbers"
    try:
        if n_objectives > 1 and isinstance(returned, str | bytes | Mapping | Set):
            raise TypeError("what it holds is in no order, or no numbers")
        values = [float(v) for v in ([returned] if n_objectives == 1 else returned)]
    except Exception as error:  # whatever converting it raises, a late CUDA fault included
        told = "" if isinstance(error, TypeError | ValueError) else f" ({error})"
        problem = f"the task must return {wanted}, but returned {reprlib.repr(returned)}{told}"
        return Outcome(TrialState.FAIL, seconds, error=problem)
    if len(values) != n_objectives:
        problem = f"the task must return {wanted}, but returned {len(values)}"
        return Outcome(TrialState.FAIL, seconds, error=problem)
    if not all(map(math.isfinite, values)):
        shown = values[0] if n_objectives == 1 else values
        return Outcome(TrialState.FAIL, seconds, error=f"the task returned {shown}")
    return Outcome(TrialState.COMPLETE, seconds, values)


class _Reporter:
    def __init__(self, session: Session, trial: Trial) -> None:
        self._trial = trial
        self._reported = set(session.store.trial(trial.number).intermediate_values)
        self._limit = session.settings.trial_timeout
        self._start = time.monotonic()
        self._interrupts = session.interrupts
        self._single = len(session.settings.directions) == 1

    def __call__(self, value: float, step: int) -> None:
        with self._interrupts.let_through(False):
            self._report(value, step)

    def _report(self, value: float, step: int) -> None:
        if self._limit is not None and time.monotonic() - self._start > self._limit:
            raise TrialTimeout(f"not finished after trial_timeout={self._limit:g} s")
        if not float(step).is_integer():
            raise ValueError(f"report(value, step): step must be a whole number, but got {step!r}")
        if not self._single:
            return
        step = int(step)
        if step not in self._reported:
            self._trial.report(value, step)
            self._reported.add(step)
        # A resumed trial that repeats early steps is judged where it had got to, not again.
        if step >= max(self._reported) and self._trial.should_prune():
            raise TrialPruned(f"at step {step}")


@contextmanager
def _time_limit(session: Session) -> Iterator[None]:
    """Raise `TrialTimeout` in the task when its time is up.

    By a signal, which only a main thread gets; elsewhere the next `report` raises it.
    """
    limit = session.settings.trial_timeout
    if limit is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_signal: int, _frame: FrameType | None) -> None:
        late = TrialTimeout(f"not finished after trial_timeout={limit:g} s")
        session.interrupts.deliver(late)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        session.interrupts.forget(TrialTimeout)
