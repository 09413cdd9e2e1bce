"""When a sweep ends before its `n_trials`."""

from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.study.store import Stop
from hydra_budget_sweeper.study.tally import Tally

_MANY = 20  # trials, where only time ends a sweep


def reason_to_stop(settings: Settings, tally: Tally, run: str) -> Stop | None:
    """Say why `run` should end now, or None.

    Failures count over the whole study, but only one in this run ends it: whoever starts a sweep
    again after a failure wants it to go on.
    """
    return _failures(settings, tally, run) or _nothing_to_train(settings, tally)


def _failures(settings: Settings, tally: Tally, run: str) -> Stop | None:
    rate, same = settings.max_failure_rate, settings.max_repeated_errors
    n_trials = _MANY if settings.n_trials is None else settings.n_trials
    in_a_row = [failure for failure in tally.failures_in_a_row if failure.run == run]
    recent = [failure.error.rstrip(".") for failure in in_a_row]
    n_trained = sum(failure.trained for failure in in_a_row)
    failed, finished = tally.counts["failed"], tally.counts["failed"] + tally.trained
    tolerated = rate * max(n_trials, finished)
    go_on = "To go on: the same command on the same folder"
    if run in tally.runs_with_failures and failed > tolerated:
        last = f" The last: {recent[-1]}." if recent else ""
        return Stop(
            f"{failed} of {finished} trials failed; hydra.sweeper.max_failure_rate={rate:g} "
            f"tolerates {int(tolerated)}.{last} {go_on}, with a higher rate (1 tolerates all)"
        )
    if rate < 1 and len(recent) >= same and len(set(recent[-same:])) == 1:
        return Stop(
            f"{same} trials in a row failed with the same error: {recent[-1]}. {go_on}; "
            f"hydra.sweeper.max_repeated_errors={same} says how many end it, "
            "hydra.sweeper.max_failure_rate=1 that none do"
        )
    if n_trained and n_trained >= n_trials:
        return Stop(
            f"{n_trained} trials in a row failed, as many as hydra.sweeper.n_trials="
            f"{'null' if settings.n_trials is None else n_trials} allows, and none succeeded "
            f"between; each has its error in its folder's log. {go_on}",
            error=False,
        )
    return None


def _nothing_to_train(settings: Settings, tally: Tally) -> Stop | None:
    fruitless = tally.fruitless_in_a_row
    n, over, repeats = fruitless.total(), fruitless["over_budget"], fruitless["duplicates"]
    if n < settings.max_infeasible:
        return None
    if over == n:
        return Stop(f"{over} proposals in a row were over the limits")
    if repeats == n:
        return Stop(f"{repeats} proposals in a row repeated what had been tried", error=False)
    return Stop(
        f"{n} proposals in a row brought nothing to train: {over} were over the limits, {repeats} "
        f"repeated what had been tried, {n - over - repeats} failed before their training"
    )
