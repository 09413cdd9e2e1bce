"""What the sweep knows of one trial beyond what Optuna does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from hydra_budget_sweeper.space.axes import Axis, Choice

# One system attribute of a trial holds what the sweep knows of it (see `Note`).
NOTE = "budget_sweep"
# A user attribute of trials that came of walking through a finite space; nobody enqueued them.
WALKED = "walked"


@dataclass
class Note:
    """What the sweep writes down beside a trial.

    A trial with `started` has been claimed for training: it counts toward `n_trials` unless it
    fails. `worker` is who runs it, `run` the start of the sweep that worker belongs to. `finalist` is
    of a run in the finalists' study the number of its candidate and its seed.
    """

    worker: str = ""
    run: str = ""
    started: str | None = None
    overrides: list[str] = field(default_factory=list)
    folder: str | None = None
    retries: int = 0
    last_step: int | None = None
    seconds: float | None = None
    duplicate_of: int | None = None
    error: str | None = None
    traceback: str | None = None
    finalist: list[int] | None = None

    def said(self) -> dict[str, Any]:
        """Return what is to be written down, fields that say nothing left out."""
        unsaid = vars(Note())
        return {key: value for key, value in vars(self).items() if value != unsaid[key]}


def note_of(trial: FrozenTrial) -> Note:
    """Read what the sweep wrote down beside a trial; what a newer version also did is passed over."""
    said = trial.system_attrs.get(NOTE, {})
    return Note(**{key: value for key, value in said.items() if key in Note.__dataclass_fields__})


def is_over_budget(trial: FrozenTrial) -> bool:
    """Return whether a trial is over one of its limits."""
    return any(value > 0 for value in trial.constraints.values())


def kind_of(trial: FrozenTrial) -> str:
    """Name what became of a finished trial: one of the counts of `Tally`."""
    note = note_of(trial)
    if note.duplicate_of is not None:
        return "duplicates"
    if trial.state is TrialState.FAIL:
        return "failed"
    if not note.started and is_over_budget(trial):
        return "over_budget"
    return "complete" if trial.state is TrialState.COMPLETE else "pruned"


def title_of(trial: FrozenTrial) -> str:
    """Name a trial to a person."""
    if (finalist := note_of(trial).finalist) is None:
        return f"Trial {trial.number}"
    number, seed = finalist
    return f"Trial {number}, as a finalist under seed {seed},"


def describe_failure(trial: FrozenTrial, sweep: Path) -> str:
    """Say what failed, with what overrides, and in which folder, if it came to have one."""
    note = note_of(trial)
    lines = [
        f"{title_of(trial)} failed: {note.error}",
        f"  overrides: {' '.join(note.overrides)}",
    ]
    return "\n".join([*lines, *([f"  folder: {sweep / note.folder}"] if note.folder else [])])


def suggest(trial: Trial, axis: Axis) -> Any:
    """Let the sampler of `trial` choose a value of `axis`."""
    if isinstance(axis, Choice):
        return trial.suggest_categorical(axis.name, axis.distribution.choices)
    d = axis.distribution
    if isinstance(d, IntDistribution):
        return trial.suggest_int(axis.name, d.low, d.high, step=d.step, log=d.log)
    return trial.suggest_float(axis.name, d.low, d.high, step=d.step, log=d.log)


def tell_quietly(
    study: Study,
    trial: Trial | int,
    values: Sequence[float] | None,
    state: TrialState = TrialState.COMPLETE,
) -> bool:
    """End a trial; return False if the sampler says by that that it has nothing left to try."""
    try:
        study.tell(trial, values=values, state=state)
    except RuntimeError as error:
        # The grid sampler stops the study after its last point; outside `optimize` that raises.
        if "Study.stop" not in str(error):
            raise
        return False
    return True
