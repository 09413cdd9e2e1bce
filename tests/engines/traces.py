"""Sweeps on any engine, and what must hold of them by the traces of their tasks and the study."""

import subprocess
from collections import Counter
from pathlib import Path

from sweeping import command, environment, hear_interrupts, states, summary, traced


def begin(folder: Path, *overrides: str, log: str = "log") -> subprocess.Popen[bytes]:
    """Start a sweep in the folder above its own; what it says goes to `log` there."""
    with open(folder.parent / log, "wb") as file:
        return subprocess.Popen(
            command(folder, "x=interval(-5,5)", *overrides), env=environment(),
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder.parent,
            preexec_fn=hear_interrupts,
        )  # fmt: skip


def task(trace: Path, n_trials: int, n_steps: int) -> list[str]:
    """Trials of a second a step that keep a checkpoint; the trace is named as it is from there."""
    return [
        f"trace={trace.name}", f"steps={n_steps}", f"seconds={n_steps}",
        f"hydra.sweeper.n_trials={n_trials}", "hydra.sweeper.retry_overrides=['resume=true']",
    ]  # fmt: skip


def happened(trace: Path, what: str) -> Counter[int]:
    """How often it happened in each trial."""
    if not trace.exists():
        return Counter()
    return Counter(number for said, number, _ in traced(trace) if said == what)


def steps(trace: Path) -> Counter[tuple[int, str]]:
    events = traced(trace) if trace.exists() else []
    return Counter((number, what) for what, number, _ in events if what.startswith("step"))


def assert_exact(folder: Path, trace: Path, n_trials: int) -> None:
    """Exactly `n_trials` were trained, each to its end once, with the same x at every start."""
    # A candidate that was drawn beside the last one may wait for ever.
    assert states(folder) - Counter(WAITING=1) == {"COMPLETE": n_trials}
    assert summary(folder)["trained"] == n_trials
    assert happened(trace, "end") == dict.fromkeys(range(n_trials), 1)
    assert len({(number, x) for _, number, x in traced(trace)}) == n_trials
