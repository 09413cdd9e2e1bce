"""Accuracy over seeds: of one network with its interval, of several compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from budgetsweep.folders import REPLICATION
from budgetsweep.report.collect import Run, Sweep
from budgetsweep.report.drawing import GREEN, NETWORKS, axes, plain
from budgetsweep.report.page import Block, Plot, Table, link, text
from budgetsweep.report.words import count, duration, number, percent
from budgetsweep.runs.comparison import comparison, remarks
from budgetsweep.runs.statistics import Interval

SCORES = {"test_accuracy": "test accuracy", "val_accuracy": "validation accuracy"}
# a seed's table: the summary's key, its heading and how it is written
_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "test_accuracy": ("test accuracy", percent),
    "test_loss": ("test loss", number),
    "val_accuracy": ("validation accuracy", percent),
    "parameters": ("parameters", number),
    "train_seconds": ("train time", duration),
}

Networks = Mapping[str, Sequence[Run]]  # name → runs


def figure(groups: Mapping[str, Sequence[tuple[str, float]]], band: Interval | None) -> go.Figure:
    """Every seed's accuracy, one colour a network; of one network the mean and its interval."""
    drawn = go.Figure()
    if band is not None:
        drawn.add_hrect(
            band.low, band.high, fillcolor=GREEN, opacity=0.18, line_width=0, layer="below"
        )
        drawn.add_hline(band.mean, line={"color": GREEN, "width": 2})
    for place, (name, pairs) in enumerate(groups.items()):
        drawn.add_scatter(
            x=[seed for seed, _ in pairs], y=[value for _, value in pairs], mode="markers",
            name=plain(name), showlegend=len(groups) > 1,
            marker={"color": NETWORKS[place % 6], "size": 10},
            hovertemplate="seed %{x}: %{y:.3%}<extra></extra>",
        )  # fmt: skip
    axes(drawn, "seed", "accuracy", percent=True)
    drawn.update_xaxes(type="category")
    if band is not None:  # the interval's ends in view
        values = [value for pairs in groups.values() for _, value in pairs]
        bottom, top = min(band.low, *values), max(band.high, *values)
        room = (top - bottom) / 8
        drawn.update_yaxes(range=[bottom - room, top + room])
    return drawn


def replication(sweep: Sweep) -> list[Block]:
    """What `replicate` found of a sweep's winner, or that nothing is confirmed yet."""
    if not (sweep.folder / REPLICATION).exists():
        return [
            text(
                "The best of many trials is partly luck, and what it was chosen by flatters it. "
                "Nothing is known over fresh seeds yet; the last command under “Run it again” finds it out.",
                kind="soft",
            )
        ] * bool(sweep.winner)
    try:
        return [text("Test accuracy, each network trained again:"), *_compared(_replicated(sweep))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [text(f"{REPLICATION} cannot be read: {error!r}", kind="warning")]


def verdict(sweep: Sweep, name: str) -> tuple[str, str, str] | None:
    """What `replicate` found of one network, to stand on top; None where that is nothing."""
    try:
        rows = comparison(_replicated(sweep))[1]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    known = {row[0]: row for row in rows}
    if name not in known:
        return None
    _, _, seeds, mean, spread, told = known[name]
    against = f"{told}, against {rows[0][0]}" if told else spread
    return f"over {count(int(seeds), 'fresh seed')}, test accuracy", mean, against


def _replicated(sweep: Sweep) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads(
        (sweep.folder / REPLICATION).read_text(encoding="utf-8")
    )
    return found


def compared(networks: Networks) -> list[Block]:
    """Each network's interval and its difference from the first; nothing of a single one."""
    if len(networks) < 2 or scores(networks)[0] != "test_accuracy":
        return []
    try:
        return _compared({name: [run.summary for run in runs] for name, runs in networks.items()})
    except (KeyError, TypeError) as error:
        return [text(f"They cannot be compared: a summary lacks {error}.", kind="warning")]


def _compared(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Block]:
    return [Table(*comparison(results)), *(text(said, kind="soft") for said in remarks(results))]


def scores(networks: Networks) -> tuple[str, list[float]]:
    """The accuracy every run has, the test set's first, and its values in order."""
    runs = [run for of_one in networks.values() for run in of_one]
    for key in SCORES:
        values = [run.summary.get(key) for run in runs]
        if all(v is not None for v in values):
            return key, [float(v) for v in values if v is not None]
    return "val_accuracy", []


def every_seed(networks: Networks, stats: Interval | None, beside: Path) -> list[Block]:
    """A picture and a table of every run."""
    runs = [run for of_one in networks.values() for run in of_one]
    known = [k for k in _COLUMNS if any(r.summary.get(k) is not None for r in runs)]
    several = ["network"] * (len(networks) > 1)
    rows = [
        [*[name] * len(several), link(run.summary.get("seed", run.folder.name), run.folder, beside),
         *(_COLUMNS[key][1](run.summary.get(key)) for key in known)]
        for name, of_one in networks.items() for run in of_one
    ]  # fmt: skip
    table = Table([*several, "seed", *(_COLUMNS[key][0] for key in known)], rows, words=1)
    score, values = scores(networks)
    if not values:
        return [text("The runs have no accuracy in common."), table]
    caption = f"{SCORES[score].capitalize()} of each seed"
    if stats:
        caption += f": mean {100 * stats.mean:.3f} %"
        caption += _spread(stats)
    enough = stats and stats.of_share != "too few seeds" and stats.low < stats.high
    found = iter(values)
    pairs = {
        name: [(str(run.summary.get("seed", run.folder.name)), next(found)) for run in of_one]
        for name, of_one in networks.items()
    }
    return [Plot("seeds", figure(pairs, stats if enough else None), caption), table]


def _spread(stats: Interval) -> str:
    if not math.isfinite(stats.high):
        return ". An interval needs a second seed."
    told = (
        f"95 % t-interval of the mean {100 * stats.low:.3f} to {100 * stats.high:.3f} % (shaded)."
    )
    if stats.of_share == "too few seeds":
        told = "too few seeds for an interval of the mean."
    return f", standard deviation {100 * stats.sd:.3f} points, {told}"
