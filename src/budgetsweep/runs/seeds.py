"""Runs of one configuration that differ by seed, summed up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from budgetsweep.errors import UserError
from budgetsweep.files import write_json, write_text
from budgetsweep.folders import SUMMARY
from budgetsweep.runs.statistics import interval

RESULT = "replication"


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """The summaries of the finished runs in `folder`'s sub-folders, by seed.

    Raises:
        UserError: there is no such folder, no run in it, or one that did not read the test set.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    paths = sorted(folder.glob(f"*/{SUMMARY}"))
    runs = [json.loads(path.read_text()) for path in paths]
    if not runs:
        raise UserError(f"{folder}: no finished runs (*/{SUMMARY}); train some seeds first.")
    if any(run["test_accuracy"] is None for run in runs):
        raise UserError(f"{folder}: runs without a test accuracy; train with trainer.test=true.")
    return sorted(runs, key=lambda run: run["seed"])


def seeds_table(runs: Sequence[dict[str, Any]], published: float | None) -> str:
    """A markdown table: each seed, then mean, sd and interval, against the published figure."""
    stats = interval([run["test_accuracy"] for run in runs])
    first = runs[0]
    lines = [
        "| seed | test accuracy | test loss | parameters | train seconds |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['seed']} | {r['test_accuracy']:.2%} | {r['test_loss']:.4f} | {r['parameters']:,} "
        f"| {r['train_seconds']:.0f} |"
        for r in runs
    ]
    spread = (
        f", sd {100 * stats.sd:.3f} points, 95 % interval {stats.low:.3%} to {stats.high:.3%}"
        if stats.n > 1
        else ""
    )
    lines.append(
        f"\nmean {stats.mean:.3%}{spread} ({stats.n} seeds, {first['parameters']:,} parameters, "
        f"last of {first['epochs']} epochs)"
    )
    if published is not None:
        lines.append(
            f"published: {published:.2%}; difference {100 * (stats.mean - published):+.3f} points"
        )
    return "\n".join(lines)


def seeds(folder: Path, published: float | None) -> str:
    """Sum up one configuration's seeds; written to replication.md and .json in the folder."""
    runs = read_runs(folder)
    text = seeds_table(runs, published)
    stats = interval([run["test_accuracy"] for run in runs])
    write_json(folder / f"{RESULT}.json", {"published": published, **asdict(stats), "runs": runs})
    write_text(folder / f"{RESULT}.md", text + "\n")
    return text
