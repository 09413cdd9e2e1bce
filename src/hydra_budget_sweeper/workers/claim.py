"""Which trial comes next: interrupted ones, enqueued ones, then the sampler's proposals."""

import logging
import random
from dataclasses import replace

from optuna import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.study.store import stop
from hydra_budget_sweeper.study.tally import Ledger, Note, note_of, write_note
from hydra_budget_sweeper.workers.session import Session

log = logging.getLogger(__name__)

# Proposals in a row that were tried before, after which a finite space is walked through instead.
_MAX_REPEATS = 5
# Candidates of a space that is small enough to be walked through.
_MAX_WALK = 100_000


def propose(session: Session) -> Trial | None:
    """Return the next trial, owned by this worker, or None when there is nothing left to do.

    Call it with the folder's lock held: a trial is created and owned in one go, so that a trial
    without a living owner is known to be nobody's.
    """
    ledger = session.ledger
    ledger.refresh()
    if take_back(session):
        ledger.refresh()
    if session.stopped():
        return None
    if reason := reason_to_stop(session.settings, ledger, session.plan.run):
        stop(session.study, session.plan.run, reason)
        return None
    full = ledger.claimed >= session.settings.n_trials
    waiting = _first_waiting(ledger, started_only=full)
    if waiting is None and full:
        return None
    if waiting is None and not _has_untried(session):
        return None
    trial = _take(session, waiting or _first_waiting(ledger, started_only=False))
    note = replace(note_of(session.frozen(trial)), worker=session.name, run=session.plan.run)
    write_note(session.study, trial._trial_id, note)
    return trial


def _first_waiting(ledger: Ledger, started_only: bool) -> FrozenTrial | None:
    waiting = [t for t in ledger.open if t.state is TrialState.WAITING]
    started = [t for t in waiting if note_of(t).started]
    return next(iter(started if started_only else started + waiting), None)


def _take(session: Session, waiting: FrozenTrial | None) -> Trial:
    if waiting is None:
        return session.study.ask()
    session.study._storage.set_trial_state_values(waiting._trial_id, state=TrialState.RUNNING)
    session.study._thread_local.cached_all_trials = None
    return Trial(session.study, waiting._trial_id)


def take_back(session: Session) -> bool:
    """Make trials whose worker died available again, or fail them after too many retries."""
    taken = False
    for trial in session.ledger.open:
        if trial.state is not TrialState.RUNNING:
            continue
        note = note_of(trial)
        if note.worker and session.watch.is_alive(note.worker):
            continue
        # Looked at anew: it may have ended its trial, and then itself, in the meantime.
        trial = session.frozen(trial)
        if trial.state is TrialState.RUNNING:
            retry_or_fail(session, trial, note_of(trial))
            taken = True
    return taken


def retry_or_fail(session: Session, trial: FrozenTrial, note: Note) -> None:
    """Count a retry against the trial only if it alone can be to blame and got no further."""
    session.log_as_worker()
    same_run = note.run == session.plan.run
    moved_on = trial.last_step is not None and trial.last_step != note.last_step
    retries = note.retries
    if note.started and same_run:
        retries = 1 if moved_on else retries + 1
    if retries > session.settings.max_retries:
        reason = f"its worker died {retries} times without progress (killed, or out of memory?)"
        fail(session.study, trial, reason, None)
        return
    if note.started:
        log.warning("Trial %d was interrupted; it goes on in its own folder", trial.number)
    put_back(
        session.study, trial._trial_id, replace(note, retries=retries, last_step=trial.last_step)
    )


def put_back(study: Study, trial_id: int, note: Note) -> None:
    """Return a trial to the queue with its number and its parameters."""
    write_note(study, trial_id, replace(note, worker="", run=""))
    study._storage.set_trial_state_values(trial_id, state=TrialState.WAITING)


def fail(study: Study, trial: FrozenTrial, error: str, traceback: str | None) -> None:
    """End a trial that no worker can bring to its end."""
    note = replace(note_of(trial), error=error, traceback=traceback)
    write_note(study, trial._trial_id, note)
    study._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
    log.error("Trial %d failed: %s", trial.number, error)


def reason_to_stop(settings: Settings, ledger: Ledger, run: str) -> str | None:
    """Say why the sweep should end before its `n_trials`, or None.

    Failures count over the whole study, but only one in this run ends it: whoever starts a sweep
    again after a failure wants it to go on.
    """
    recent = [error for of_run, error in ledger.errors_in_a_row if of_run == run]
    failed, finished = ledger.counts["failed"], ledger.counts["failed"] + ledger.trained
    tolerated = settings.max_failure_rate * max(settings.n_trials, finished)
    if run in ledger.runs_with_failures and (failed > tolerated or failed >= settings.n_trials):
        last = f" The last: {recent[-1]}" if recent else ""
        return (
            f"{failed} of {finished} trials failed; hydra.sweeper.max_failure_rate="
            f"{settings.max_failure_rate:g} tolerates {int(tolerated)}.{last}"
        )
    latest = recent[-settings.max_repeated_errors :]
    if len(latest) == settings.max_repeated_errors and len(set(latest)) == 1:
        return f"{len(latest)} trials in a row failed with the same error: {latest[0]}"
    if ledger.infeasible_in_a_row >= settings.max_infeasible:
        return f"{ledger.infeasible_in_a_row} proposals in a row were over the limits"
    return None


def _has_untried(session: Session) -> bool:
    """Return False if a finite space has nothing left; help a sampler that only repeats itself."""
    space, ledger = session.plan.space, session.ledger
    size = space.size()
    if size is None or size > _MAX_WALK or session.plan.extend is not None:
        return True
    being_tried = ledger.tried | {space.point(t.params) for t in ledger.open}
    if len(being_tried) < size and ledger.repeats_in_a_row < _MAX_REPEATS:
        return True
    untried = [c for c in space.candidates() if space.point(c) not in being_tried]
    if untried:
        session.study.enqueue_trial(random.Random(ledger.proposed).choice(untried))
        ledger.refresh()
    elif not ledger.open:
        reason = f"All {len(ledger.tried)} candidates of the space have been tried"
        stop(session.study, session.plan.run, reason, error=False)
    return bool(untried)
