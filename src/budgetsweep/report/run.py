"""The page of a single run, and of several in one folder."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from budgetsweep.report import facts, figures, network
from budgetsweep.report.collect import Run, Runs
from budgetsweep.report.page import Block, Code, Facts, Plot, Section, Table, link, render, text
from budgetsweep.report.sweep import made_with, time_plot
from budgetsweep.report.words import count, duration, number, percent
from budgetsweep.runs.comparison import comparison, differing, remarks
from budgetsweep.runs.seeds import grouped
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


def run_page(run: Run) -> str:
    """The page of one run."""
    looked = network.look_at(run.folder, test=True)
    words = "A finished run."
    if not run.summary:
        words = "This run is not finished; these are its epochs so far."
    sections = [
        Section("Learning curve", [_curve(run)]),
        *network.sections(looked, "the network"),
        Section("Where time went", [_time([run])]),
        Section("Run it again", [Code([command(run.overrides)])]),
    ]
    intro = [text(words, kind="soft"), *network.warnings(looked), Facts(_facts(run))]
    intro.append(text(made_with(run), kind="soft"))
    return render(f"Run {run.folder.resolve().name}", intro, sections)


def runs_page(found: Runs, beside: Path) -> str:
    """The page of several runs: one network's seeds, or several networks, which are not pooled."""
    score, values = scores(found)
    groups = grouped([(run.folder, run.summary) for run in found.runs])
    first = found.runs[0]
    if len(groups) > 1:
        title = f"{len(groups)} networks in {found.folder.resolve().name}"
        intro: list[Block] = [
            text(
                f"These {len(found.runs)} runs differ in more than their seed, so they are compared, "
                "not pooled. The sections below the seeds are those of the first network's first run."
            )
        ]
        stats = None
    else:
        title = f"Seeds {found.folder.resolve().name}"
        stats = interval(values) if values else None
        intro = [Facts(_seed_facts(found, score, stats))]
    unlike = differing([run.summary for run in found.runs])
    if unlike:
        intro.append(text(f"Not made alike: {'; '.join(unlike)}.", kind="warning"))
    looked = network.look_at(first.folder, test=True)
    sections = [
        Section("Seeds" if stats or len(groups) == 1 else "Networks", [
            *_comparison(found, groups, score),
            *_seeds(found, groups, score, values, stats, beside),
        ]),
        Section("Learning curves", [_all_curves(found, groups)]),
        *network.sections(looked, f"seed {first.summary.get('seed')}"),
        Section("Where time went", [_time(found.runs)]),
        Section("Run it again", [Code(_again(found, groups))]),
    ]  # fmt: skip
    intro += [*network.warnings(looked), text(made_with(first), kind="soft")]
    return render(title, intro, sections)


def scores(found: Runs) -> tuple[str, list[float]]:
    """The accuracy every run has, the test set's first, and its values."""
    for key in SCORES:
        values = [run.summary.get(key) for run in found.runs]
        if all(v is not None for v in values):
            return key, [float(v) for v in values if v is not None]
    return "val_accuracy", []


def command(overrides: list[str], name: str = "train") -> str:
    """The command that trains with these overrides."""
    return " ".join(["budgetsweep", name, *map(shlex.quote, overrides)])


def _again(found: Runs, groups: dict[str, list[int]]) -> list[str]:
    lines = []
    for places in groups.values():
        runs = [found.runs[i] for i in places]
        seeds = ",".join(str(r.summary.get("seed")) for r in runs)
        own = [o for o in runs[0].overrides if not o.startswith("seed=")]
        several = len(runs) > 1
        own = ["hydra/sweeper=basic", *own] if several else own
        lines.append(command([*own, f"seed={seeds}"], "sweep" if several else "train"))
    return lines


def _facts(run: Run) -> list[tuple[str, str, str]]:
    allowed = facts.setting(run.config, "budget.max_parameters")
    full = facts.setting(run.config, "trainer.epochs")
    found = [
        (SCORES[key], percent(value), "last epoch")
        for key in SCORES
        if (value := run.last(key)) is not None
    ]
    found += [
        ("validation loss", number(run.last("val_loss")), ""),
        ("parameters", number(run.summary.get("parameters")), f"of {allowed:,} allowed" if allowed else ""),
        ("epochs", number(len(run.epochs) or None), f"of {full:,}" if full and full != len(run.epochs) else ""),
        ("training time", duration(facts.run_time(run).get("training")), ""),
        ("device", str(run.summary.get("device", "")), str(run.summary.get("precision", ""))),
    ]  # fmt: skip
    return [fact for fact in found if fact[1]]


def _seed_facts(found: Runs, score: str, stats: Interval | None) -> list[tuple[str, str, str]]:
    told = [("seeds", number(len(found.runs)), "")]
    if stats:
        told.append((f"mean {SCORES[score]}", percent(stats.mean), "last epoch"))
    if stats and stats.n > 1:
        told.append(("95 % interval", stats.of_share, "Student's t"))
        told.append(("sd", f"{100 * stats.sd:.3f}", "points"))
    return told + [f for f in _facts(found.runs[0]) if f[0] in ("parameters", "epochs", "device")]


def _curve(run: Run) -> Block:
    if not run.epochs:
        return text("There is no metrics.csv.")
    caption = (
        f"Loss after each of {count(len(run.epochs), 'epoch')}. Training loss includes label "
        "smoothing and augmentation, so it may lie above the validation loss."
    )
    return Plot("curves", figures.split_curves_figure(run), caption)


def _all_curves(found: Runs, groups: dict[str, list[int]]) -> Block:
    pairs = {
        name: [(f"{name}, seed {r.summary.get('seed')}", r) for i in places if (r := found.runs[i]).epochs]
        for name, places in groups.items()
    }  # fmt: skip
    runs = [run for group in pairs.values() for _, run in group]
    if not runs:
        return text("There is no metrics.csv.")
    validated = any("val_loss" in row for run in runs for row in run.epochs)
    key, name = ("val_loss", "validation loss") if validated else ("train_loss", "training loss")
    caption = f"The {name} after each epoch, one line a seed."
    return Plot("curves", figures.curves_figure(pairs, key, name), caption)


def _comparison(found: Runs, groups: dict[str, list[int]], score: str) -> list[Block]:
    if len(groups) < 2 or score != "test_accuracy":
        return []
    results = {name: [found.runs[i].summary for i in places] for name, places in groups.items()}
    try:
        head, rows = comparison(results)
        return [Table(head, rows), *(text(remark, kind="soft") for remark in remarks(results))]
    except (KeyError, TypeError) as error:
        return [text(f"They cannot be compared: a summary lacks {error}.", kind="warning")]


def _seeds(
    found: Runs, groups: dict[str, list[int]], score: str, values: list[float],
    stats: Interval | None, beside: Path,
) -> list[Block]:  # fmt: skip
    known = [k for k in COLUMNS if any(r.summary.get(k) is not None for r in found.runs)]
    rows = [_row(found.runs[i], known, name, beside) for name, g in groups.items() for i in g]
    head = ["seed", *(COLUMNS[key][0] for key in known)]
    if len(groups) > 1:
        head.insert(0, "network")
    else:
        rows = [row[1:] for row in rows]
    table = Table(head, rows, words=1)
    if not values:
        return [text("The runs have no accuracy in common."), table]
    caption = f"{SCORES[score].capitalize()} of each seed"
    if stats:
        caption += f": mean {100 * stats.mean:.3f} %"
        caption += ". An interval needs a second seed."
        if math.isfinite(stats.high):
            told = f"95 % t-interval of the mean {100 * stats.low:.3f} to {100 * stats.high:.3f} % (shaded)."
            if stats.of_share == "too few seeds":
                told = "too few seeds for an interval of the mean."
            caption = caption.removesuffix(". An interval needs a second seed.")
            caption += f", standard deviation {100 * stats.sd:.3f} points, {told}"
    band = stats if stats and stats.of_share != "too few seeds" and stats.low < stats.high else None
    pairs = {
        name: [(str(found.runs[i].summary.get("seed", i)), values[i]) for i in g]
        for name, g in groups.items()
    }
    return [Plot("seeds", figures.seeds_figure(pairs, band), caption), table]


def _row(run: Run, known: list[str], name: str, beside: Path) -> list[Any]:
    s = run.summary
    where = link(s.get("seed", run.folder.name), run.folder, beside)
    return [name, where, *(COLUMNS[key][1](s.get(key)) for key in known)]


def _time(runs: list[Run]) -> Block:
    total: dict[str, float] = {}
    for run in runs:
        for name, seconds in facts.run_time(run).items():
            total[name] = total.get(name, 0.0) + seconds
    return time_plot(total) if total else text("Nothing was timed yet.")
