"""Which trial comes next: interrupted ones, enqueued ones, then the sampler's proposals."""

import logging
import random
from dataclasses import replace

from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import Note, note_of, point
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
    tally = session.tally
    tally.refresh()
    if take_back(session):
        tally.refresh()
    if session.stopped():
        return None
    if reason := reason_to_stop(session.settings, tally, session.plan.run):
        session.store.stop(session.plan.run, reason)
        return None
    full = tally.claimed >= session.settings.n_trials
    waiting = _first_waiting(tally, started_only=full)
    if waiting is None and full:
        return None
    if waiting is None and not _has_untried(session):
        return None
    waiting = waiting or _first_waiting(tally, started_only=False)
    if waiting is None:
        return session.store.ask(session.name, session.plan.run)
    return session.store.claim(waiting.number, session.name, session.plan.run)


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
        session.store.fail(trial.number, reason, None)
        return
    if note.started:
        log.warning("Trial %d was interrupted; it goes on in its own folder", trial.number)
    note = replace(note, retries=retries, last_step=trial.last_step)
    session.store.put_back(trial.number, note)


def reason_to_stop(settings: Settings, tally: Tally, run: str) -> str | None:
    """Say why the sweep should end before its `n_trials`, or None.

    Failures count over the whole study, but only one in this run ends it: whoever starts a sweep
    again after a failure wants it to go on.
    """
    recent = [error for of_run, error in tally.errors_in_a_row if of_run == run]
    failed, finished = tally.counts["failed"], tally.counts["failed"] + tally.trained
    tolerated = settings.max_failure_rate * max(settings.n_trials, finished)
    if run in tally.runs_with_failures and (failed > tolerated or failed >= settings.n_trials):
        last = f" The last: {recent[-1]}" if recent else ""
        return (
            f"{failed} of {finished} trials failed; hydra.sweeper.max_failure_rate="
            f"{settings.max_failure_rate:g} tolerates {int(tolerated)}.{last}"
        )
    latest = recent[-settings.max_repeated_errors :]
    if len(latest) == settings.max_repeated_errors and len(set(latest)) == 1:
        return f"{len(latest)} trials in a row failed with the same error: {latest[0]}"
    if tally.infeasible_in_a_row >= settings.max_infeasible:
        return f"{tally.infeasible_in_a_row} proposals in a row were over the limits"
    return None


def _has_untried(session: Session) -> bool:
    """Return False if a finite space has nothing left; help a sampler that only repeats itself."""
    space, tally = session.plan.space, session.tally
    size = space.size()
    if size is None or size > _MAX_WALK or session.plan.extend is not None:
        return True
    being_tried = tally.tried | {point(t.params) for t in tally.open}
    if len(being_tried) < size and tally.repeats_in_a_row < _MAX_REPEATS:
        return True
    untried = [c for c in space.candidates() if point(c) not in being_tried]
    if untried:
        session.store.study().enqueue_trial(random.Random(tally.proposed).choice(untried))
        tally.refresh()
    elif not tally.open:
        reason = f"All {len(tally.tried)} candidates of the space have been tried"
        session.store.stop(session.plan.run, reason, error=False)
    return bool(untried)
