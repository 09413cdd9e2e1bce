"""Several networks over the same seeds: which differ from the first."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from budgetsweep.runs.statistics import differences, interval, verdict

Results = Mapping[str, Sequence[Mapping[str, Any]]]  # network → the summaries of its runs

# What two runs must share for their figures to be of the same kind.
ALIKE = ("device", "precision", "memory_format", "threads", "versions")

AHEAD = (
    "Decide on the number of seeds beforehand: looking and adding seeds until one is better finds "
    "one by luck."
)


def comparison(results: Results) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: each network's interval, and its difference from the first."""
    control, *others = results
    values = {name: [float(run["test_accuracy"]) for run in runs] for name, runs in results.items()}
    found = differences([values[n] for n in others], values[control]) if others else None
    against = f"the {control}" if control == "reference" else control
    head = ["network", "parameters", "seeds", "mean", "95 % interval", f"against {against}"]
    rows = []
    for name, runs in results.items():
        stats = interval(values[name])
        told = ""
        if name != control:
            lead = stats.mean - statistics.fmean(values[control])
            told = f"{100 * lead:+.3f} points"
            if found:
                low, high = found[others.index(name)]
                told += f" ({100 * low:+.3f} to {100 * high:+.3f}): {verdict(low, high)}"
            else:
                told += ": too few seeds"
        sizes = " or ".join(f"{n:,}" for n in sorted({run["parameters"] for run in runs}))
        rows.append([name, sizes, str(stats.n), f"{stats.mean:.3%}", stats.of_share, told])
    return head, rows


def remarks(results: Results) -> list[str]:
    """What a reader of the table must know: the test, and whether the runs were made alike."""
    said = []
    if len(results) > 2:
        said.append(
            f"{len(results) - 1} networks against one: Dunnett's test, so that all intervals "
            "hold at once in 95 of 100 such tables."
        )
    seeds = {tuple(sorted(run["seed"] for run in runs)) for runs in results.values()}
    if len(seeds) > 1:
        said.append("Not over the same seeds.")
    unlike = differing([run for runs in results.values() for run in runs])
    if unlike:
        said.append(f"NOT MADE ALIKE, so a difference may come from it: {'; '.join(unlike)}.")
    return [*said, AHEAD] if len(results) > 1 else said


def differing(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """What differs between runs beside their network, as `precision bf16 (1 run), fp32 (8 runs)`."""
    runs, told = list(runs), []
    for key in ALIKE:
        kinds = Counter(_words(run[key]) for run in runs if run.get(key) is not None)
        if len(kinds) > 1:
            parts = (f"{kind} ({n} run{'s' * (n > 1)})" for kind, n in sorted(kinds.items()))
            told.append(f"{key.replace('_', ' ')} {', '.join(parts)}")
    return told


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{k} {v}" for k, v in value.items())
    return str(value)


def comparison_table(results: Results, about: Iterable[str] = ()) -> str:
    """The comparison as markdown, `about` the networks below it."""
    head, rows = comparison(results)
    lines = [
        f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * 3, "---", "---"], *rows)
    ]
    return "\n".join([*lines, "", *remarks(results), *about])
