"""A sweep's finalists: their means over seeds, and what single runs would have chosen."""

from __future__ import annotations

from pathlib import Path

from budgetsweep.report.collect import Sweep
from budgetsweep.report.page import Block, Table, link, text
from budgetsweep.report.words import count, number


def blocks(sweep: Sweep, beside: Path) -> list[Block]:
    """The finalists by their means; nothing where the sweep has none, or no round is over."""
    found = [(t, t.told.finalist) for t in sweep.trials if t.told.finalist]
    if not any(f.n for _, f in found):
        return []
    found.sort(key=lambda pair: (pair[0].told.rank is None, pair[0].told.rank))
    objective = sweep.objectives[0]
    head = ["place", "trial", f"mean {objective}", "sd", "seeds", "its single run", "place by that"]
    rows = [
        [number(t.told.rank), link(t.told.number, t.folder, beside), number(f.mean), number(f.sd),
         number(f.n), number(t.value), number(f.single_run_rank)]
        for t, f in found
    ]  # fmt: skip
    told = f"The {count(len(found), 'finalist')}, trained again under other seeds than the search's"
    return [text(f"{told}:"), Table(head, rows, words=0), text(_misled(sweep), kind="soft")]


def _misled(sweep: Sweep) -> str:
    status = sweep.results.status.get("finalists", {})
    wrong, rho, best = status.get("n_misled"), status.get("rank_correlation"), sweep.winner
    words = "More seeds are of those that went on."
    finalist = best and best.told.finalist
    if isinstance(wrong, int) and finalist and finalist.n > 1:  # its one seed alone has chosen it
        of = count(finalist.n, "seed")
        words += f" Another than the winner would have been chosen by {wrong} of {of} alone."
    if isinstance(rho, int | float):
        words += f" The places by the search's single runs correlate with these by {rho:.2f}."
    return words
