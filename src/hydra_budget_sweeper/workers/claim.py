"""Which trial comes next: interrupted ones, enqueued ones, then the sampler's proposals."""

import logging
from collections.abc import Sequence

from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_budget_sweeper.study.finalists import Run, runs_in
from hydra_budget_sweeper.study.stopping import reason_to_stop
from hydra_budget_sweeper.study.store import Stop
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import WALKED, Note, note_of, title_of
from hydra_budget_sweeper.workers.session import Session

log = logging.getLogger(__name__)

# Proposals in a row that were tried before, after which a finite space is walked through instead.
_MAX_REPEATS = 5


def propose(session: Session) -> Trial | None:
    """Return the next trial, owned by this worker, or None when there is nothing left to do.

    Call it with the folder's lock held: a trial is created and owned in one go, so that a trial
    without a living owner is known to be nobody's.
    """
    tally = session.tally
    tally.refresh()
    if take_back(session):
        tally.refresh()
    if session.stopped():
        return None
    if reason := reason_to_stop(session.settings, tally, session.plan.run):
        session.store.stop(session.plan.run, reason)
        return None
    if session.plan.runs is not None:
        return _begin(session, session.plan.runs)
    full = not session.settings.left(tally.claimed)
    waiting = _first_waiting(tally, started_only=full)
    if waiting is None and full:
        return None
    if waiting is None and not _has_untried(session):
        return None
    waiting = waiting or _first_waiting(tally, started_only=False)
    if waiting is None:
        return session.store.ask(session.name, session.plan.run)
    trial = session.store.claim(waiting.number, session.name, session.plan.run)
    return propose(session) if trial is None else trial


def _begin(session: Session, runs: Sequence[Run]) -> Trial | None:
    """Return the first of the runs that nobody has begun, or that waits to be gone on with."""
    begun = runs_in(session.store.trials())
    for run in runs:
        trial = begun.get(run.key)
        if trial is None:
            return session.store.create(run.begun_by(session.name, session.plan.run))
        if trial.state is TrialState.WAITING:
            return session.store.claim(trial.number, session.name, session.plan.run)
    return None


def _first_waiting(tally: Tally, started_only: bool) -> FrozenTrial | None:
    waiting = [t for t in tally.open if t.state is TrialState.WAITING]
    started = [t for t in waiting if note_of(t).started]
    return next(iter(started if started_only else started + waiting), None)


def take_back(session: Session) -> bool:
    """Make trials whose worker died available again, or fail them after too many retries."""
    taken = False
    for trial in session.tally.open:
        if trial.state is not TrialState.RUNNING:
            continue
        note = note_of(trial)
        if note.worker and session.watch.is_alive(note.worker):
            continue
        # Looked at anew: it may have ended its trial, and then itself, in the meantime.
        trial = session.store.trial(trial.number)
        if trial.state is TrialState.RUNNING:
            retry_or_fail(session, trial, note_of(trial))
            taken = True
    return taken


_DIED = "its worker died {} times without progress (killed, or out of memory?)"
_REQUEUED = (
    "its worker's job was ended {} times without progress: allow a job more time "
    "(hydra.launcher.timeout_min), or let the task keep checkpoints and report its steps"
)


def retry_or_fail(session: Session, trial: FrozenTrial, note: Note, requeued: bool = False) -> None:
    """Count a retry against the trial only if it alone can be to blame and got no further.

    Args:
        requeued: A scheduler took its worker's machine; otherwise the worker died.
    """
    session.log_as_worker()
    same_run = note.run == session.plan.run
    moved_on = trial.last_step is not None and trial.last_step != note.last_step
    retries = note.retries
    if note.started and same_run:
        retries = 1 if moved_on else retries + 1
    if retries > session.settings.max_retries:
        reason = _REQUEUED if requeued else _DIED
        session.store.fail(note.worker, trial.number, reason.format(retries))
        return
    if note.started:
        log.warning("%s was interrupted; it goes on in its own folder", title_of(trial))
    session.store.put_back(note.worker, trial.number, retries=retries, last_step=trial.last_step)


def _has_untried(session: Session) -> bool:
    """Return False if a finite space has nothing left; help a sampler that only repeats itself."""
    walk, tally, space = session.walk, session.tally, session.plan.space
    if walk.size is None or session.plan.extend is not None:
        return True
    being_tried = {space.point(t.params) for t in tally.open} - tally.tried
    n_tried = len(tally.tried) + len(being_tried)
    if n_tried < walk.size and tally.repeats_in_a_row < _MAX_REPEATS:
        return True
    candidate = walk.next(tally.tried, being_tried)
    if candidate is not None:
        session.store.study().enqueue_trial(candidate, user_attrs={WALKED: True})
        tally.refresh()
    elif not tally.open:
        reason = f"All {len(tally.tried)} candidates of the space have been tried"
        session.store.stop(session.plan.run, Stop(reason, error=False))
    return candidate is not None
