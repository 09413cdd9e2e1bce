"""What must hold of a sweep on any engine, read off the traces of its tasks and its study."""

from collections import Counter
from pathlib import Path

from sweeping import states, summary, traced


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
    assert states(folder) == {"COMPLETE": n_trials}
    assert summary(folder)["trained"] == n_trials
    assert happened(trace, "end") == dict.fromkeys(range(n_trials), 1)
    assert len({(number, x) for _, number, x in traced(trace)}) == n_trials
