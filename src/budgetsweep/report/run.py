"""The page of a single run, and of several that differ by seed."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from budgetsweep.report import facts, figures, network
from budgetsweep.report.collect import Run, Seeds
from budgetsweep.report.page import Section, escape, fact_list, page, paragraph, plot
from budgetsweep.report.sweep import time_caption
from budgetsweep.report.winner import Winner
from budgetsweep.report.words import count, duration, number, percent
from budgetsweep.runs.statistics import Interval, interval

SCORES = {"test_accuracy": "test accuracy", "val_accuracy": "validation accuracy"}
# a seed's table: the summary's key, its heading and how it is written
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "test_accuracy": ("test accuracy", percent),
    "test_loss": ("test loss", number),
    "val_accuracy": ("validation accuracy", percent),
    "parameters": ("parameters", number),
    "train_seconds": ("train time", duration),
}


def run_page(run: Run, winner: Winner) -> str:
    """The page of one run."""
    sections = [
        _curves(run),
        *network.sections(winner, "the network"),
        _time([run]),
        Section("Run it again", f"<pre>{escape(command(run))}</pre>"),
    ]
    if run.summary:
        intro = paragraph("A finished run.", "soft")
    else:
        intro = paragraph("This run is not finished; these are its epochs so far.", "soft")
    title = f"Run {run.folder.resolve().name}"
    return page(title, intro + fact_list(_facts(run)), sections)


def seeds_page(seeds: Seeds, winner: Winner, beside: Path) -> str:
    """The page of runs that differ by seed."""
    score, values = scores(seeds)
    stats = interval(values) if values else None
    sections = [
        _seeds(seeds, score, values, stats, beside),
        _all_curves(seeds),
        *network.sections(winner, f"seed {seeds.runs[0].summary.get('seed')}"),
        _time(seeds.runs),
        Section("Run it again", f"<pre>{escape(_seeds_command(seeds))}</pre>"),
    ]
    first = seeds.runs[0]
    found = [("seeds", number(len(seeds.runs)), "")]
    if stats:
        found.append((f"mean {SCORES[score]}", percent(stats.mean), "last epoch"))
    if stats and stats.n > 1:
        found.append(("95 % interval", interval_words(stats), "Student's t"))
        found.append(("sd", f"{100 * stats.sd:.3f}", "points"))
    found += [f for f in _facts(first) if f[0] in ("parameters", "epochs", "device")]
    title = f"Seeds {seeds.folder.resolve().name}"
    return page(title, fact_list(found), sections)


def scores(seeds: Seeds) -> tuple[str, list[float]]:
    """The accuracy every run has, the test set's first, and its values."""
    for key in SCORES:
        values = [run.summary.get(key) for run in seeds.runs]
        if all(v is not None for v in values):
            return key, [float(v) for v in values if v is not None]
    return "val_accuracy", []


def interval_words(stats: Interval) -> str:
    """`99.51 – 99.62 %`."""
    return f"{100 * stats.low:.2f} – {100 * stats.high:.2f} %"


def command(run: Run) -> str:
    """The run's own overrides behind the command that trains."""
    return " ".join(["python -m budgetsweep.train", *map(shlex.quote, run.overrides)])


def _seeds_command(seeds: Seeds) -> str:
    own = [o for o in seeds.runs[0].overrides if not o.startswith("seed=")]
    numbers = ",".join(str(run.summary.get("seed", 0)) for run in seeds.runs)
    told = map(shlex.quote, [*own, f"seed={numbers}"])
    return "python -m budgetsweep.train --multirun hydra/sweeper=basic " + " ".join(told)


def _facts(run: Run) -> list[tuple[str, str, str]]:
    allowed = facts.setting(run.config, "budget.max_parameters")
    found = [
        (SCORES[key], percent(value), "last epoch")
        for key in SCORES
        if (value := run.last(key)) is not None
    ]
    loss = run.last("val_loss")
    found += [
        ("validation loss", number(loss), ""),
        ("parameters", number(run.summary.get("parameters")), f"of {allowed:,} allowed" if allowed else ""),
        ("epochs", number(len(run.epochs) or None), _of_epochs(run)),
        ("training time", duration(facts.run_time(run).get("training")), ""),
        ("device", str(run.summary.get("device", "")), str(run.summary.get("precision", ""))),
    ]  # fmt: skip
    return [fact for fact in found if fact[1]]


def _of_epochs(run: Run) -> str:
    full = facts.setting(run.config, "trainer.epochs")
    return f"of {full:,}" if full and full != len(run.epochs) else ""


def _curves(run: Run) -> Section:
    if not run.epochs:
        return Section("Learning curve", paragraph("There is no metrics.csv."))
    caption = (
        f"Loss after each of {count(len(run.epochs), 'epoch')}. Training loss includes label "
        "smoothing and augmentation, so it may lie above the validation loss."
    )
    return Section("Learning curve", plot("curves", figures.split_curves_figure(run), caption))


def _all_curves(seeds: Seeds) -> Section:
    runs = [(f"seed {r.summary.get('seed')}", r, False, False) for r in seeds.runs if r.epochs]
    if not runs:
        return Section("Learning curves", paragraph("There is no metrics.csv."))
    validated = any("val_loss" in row for _, run, *_ in runs for row in run.epochs)
    key, name = ("val_loss", "validation loss") if validated else ("train_loss", "training loss")
    caption = f"The {name} after each epoch, one line a seed."
    return Section(
        "Learning curves", plot("curves", figures.curves_figure(runs, key, name), caption)
    )


def _seeds(
    seeds: Seeds, score: str, values: list[float], stats: Interval | None, beside: Path
) -> Section:
    known = [k for k in COLUMNS if any(r.summary.get(k) is not None for r in seeds.runs)]
    head = "".join(f'<th class="n">{COLUMNS[key][0]}</th>' for key in known)
    rows = "".join(_seed_row(run, known, beside) for run in seeds.runs)
    body = (
        f'<div class="wide"><table><thead><tr><th>seed</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    if stats is None:
        return Section("Seeds", paragraph("The runs have no accuracy in common.") + body)
    caption = f"{SCORES[score].capitalize()} of each seed: mean {100 * stats.mean:.3f} %"
    if math.isfinite(stats.high):
        caption += (
            f", standard deviation {100 * stats.sd:.3f} points, 95 % t-interval of the mean "
            f"{100 * stats.low:.3f} to {100 * stats.high:.3f} % (shaded)."
        )
    else:
        caption += ". An interval needs a second seed."
    labels = [str(run.summary.get("seed", i)) for i, run in enumerate(seeds.runs)]
    figure = figures.seeds_figure(values, labels, stats.low, stats.high)
    return Section("Seeds", plot("seeds", figure, caption) + body)


def _seed_row(run: Run, known: list[str], beside: Path) -> str:
    s = run.summary
    address = quote(os.path.relpath(run.folder, beside).replace(os.sep, "/"))
    cells = [COLUMNS[key][1](s.get(key)) for key in known]
    return (
        f'<tr><td><a href="{escape(address)}/">{escape(s.get("seed", run.folder.name))}</a></td>'
        + "".join(f'<td class="n">{escape(c)}</td>' for c in cells)
        + "</tr>"
    )


def _time(runs: list[Run]) -> Section:
    total: dict[str, float] = {}
    for run in runs:
        for name, seconds in facts.run_time(run).items():
            total[name] = total.get(name, 0.0) + seconds
    if not total:
        return Section("Where time went", paragraph("Nothing was timed yet."))
    return Section("Where time went", plot("time", figures.time_figure(total), time_caption(total)))
