"""Why trials failed."""

from __future__ import annotations

import re
from pathlib import Path

from budgetsweep.report.collect import Sweep, Trial
from budgetsweep.report.page import Block, Table, link


def causes(sweep: Sweep) -> list[tuple[str, list[Trial]]]:
    """Why trials failed, the most frequent first; messages that differ in numbers are one cause."""
    groups: dict[str, list[Trial]] = {}
    for trial in sweep.of("failed"):
        said = trial.told.error or "no reason is known"
        groups.setdefault(re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "…", said), []).append(trial)
    return sorted(groups.items(), key=lambda item: -len(item[1]))


def blocks(sweep: Sweep, beside: Path) -> list[Block]:
    """A row a cause: as the first trial told it, and how often; nothing where none failed."""
    rows = []
    for cause, trials in causes(sweep):
        first = trials[0]
        where = link(f"trial {first.told.number}", first.folder, beside)
        rows.append([first.told.error or cause, where, f"{len(trials):,}"])
    return [Table(["cause", "first", "trials"], rows, words=2)] if rows else []
