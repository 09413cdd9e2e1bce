"""Several networks over the same seeds: which differ."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budgetsweep.files import write_json, write_text
from budgetsweep.runs.finalists import REFERENCE, networks, over_budget, train
from budgetsweep.runs.seeds import RESULT, read_runs
from budgetsweep.runs.statistics import interval, verdict


def compare(sweep: Path, top: int, n_seeds: int, overrides: Sequence[str]) -> str:
    """Train the reference and the sweep's `top` finalists over seeds, and compare them.

    The finalists are those the sweep selected by validation; the test set is read once a run.
    Runs that are finished, from an earlier call, are not repeated. A reference over the sweep's
    budget is left out, and the finalists are compared with the best of them.
    """
    from budgetsweep.training.number_format import share  # torch takes seconds to import

    groups = networks(sweep, top)
    share(sweep)
    why_not = over_budget([*groups[REFERENCE], *overrides])
    if why_not:
        del groups[REFERENCE]
        print(why_not, file=sys.stderr, flush=True)  # the training takes a while
    results: dict[str, list[dict[str, Any]]] = {}
    for name, own in groups.items():
        folder = sweep / "replicate" / name
        train(folder, [*own, *overrides], n_seeds)
        results[name] = read_runs(folder)
    finalists = {name: own for name, own in groups.items() if name != REFERENCE}
    text = comparison_table(results, finalists)
    if why_not:
        text += f"\n\n{why_not}"
    write_json(sweep / "replicate" / f"{RESULT}.json", results)
    write_text(sweep / "replicate" / f"{RESULT}.md", text + "\n")
    return text


def comparison_table(
    results: dict[str, list[dict[str, Any]]], finalists: dict[str, list[str]]
) -> str:
    """Each group's interval, and its difference from the first by Welch's t-test.

    The first is the reference, or without one the finalist that the sweep found best.
    """
    from scipy.stats import ttest_ind

    first = next(iter(results))
    reference = [run["test_accuracy"] for run in results[first]]
    against = f"the {first}" if first == REFERENCE else first
    lines = [
        f"| network | parameters | mean | 95 % interval | against {against} |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for name, runs in results.items():
        values = [run["test_accuracy"] for run in runs]
        stats = interval(values)
        against_first = ""
        if name != first and len(values) > 1:
            test = ttest_ind(values, reference, equal_var=False).confidence_interval(0.95)
            against_first = (
                f"{100 * (stats.mean - statistics.fmean(reference)):+.3f} points "
                f"({100 * test.low:+.3f} to {100 * test.high:+.3f}): "
                + verdict(test.low, test.high)
            )
        lines.append(
            f"| {name} | {runs[0]['parameters']:,} | {stats.mean:.3%} "
            f"| {stats.low:.3%} to {stats.high:.3%} | {against_first} |"
        )
    lines += ["", *(f"{name}: `{' '.join(own)}`" for name, own in finalists.items())]
    return "\n".join(lines)
