"""The page of a single run, and of several in one folder."""

from __future__ import annotations

from pathlib import Path

from budgetsweep.report import network
from budgetsweep.report.collect import Run, Runs, setting
from budgetsweep.report.page import Block, Code, Facts, Section, render, text
from budgetsweep.report.sections import again, curves, seeds, timing
from budgetsweep.report.sections.headline import Fact
from budgetsweep.report.sections.made_with import made_with
from budgetsweep.report.words import duration, number, percent
from budgetsweep.runs.comparison import differing
from budgetsweep.runs.seeds import grouped
from budgetsweep.runs.statistics import Interval, interval


def run_page(run: Run) -> str:
    """The page of one run."""
    looked = network.look_at(run.folder, test=True)
    words = "A finished run."
    if not run.summary:
        words = "This run is not finished; these are its epochs so far."
    sections = [
        Section("Learning curve", [curves.of_run(run)]),
        *network.sections(looked, "the network"),
        Section("Where time went", [timing.block(timing.of_run(run))]),
        Section("Run it again", [Code([again.of_run(run.overrides)])]),
    ]
    intro = [text(words, kind="soft"), *network.warnings(looked), Facts(_facts(run))]
    intro.append(text(made_with(run), kind="soft"))
    return render(f"Run {run.folder.resolve().name}", intro, sections)


def runs_page(found: Runs, beside: Path) -> str:
    """The page of several runs: one network's seeds, or several networks, which are not pooled."""
    places = grouped([(run.folder, run.summary) for run in found.runs])
    networks = {name: [found.runs[i] for i in group] for name, group in places.items()}
    score, values = seeds.scores(networks)
    first, stats = found.runs[0], None
    if len(networks) > 1:
        title, heading = f"{len(networks)} networks in {found.folder.resolve().name}", "Networks"
        intro: list[Block] = [
            text(
                f"These {len(found.runs)} runs differ in more than their seed, so they are compared, "
                "not pooled. The sections below the seeds are those of the first network's first run."
            )
        ]
    else:
        title, heading = f"Seeds {found.folder.resolve().name}", "Seeds"
        stats = interval(values) if values else None
        intro = [Facts(_seed_facts(found, score, stats))]
    unlike = differing([run.summary for run in found.runs])
    if unlike:
        intro.append(text(f"Not made alike: {'; '.join(unlike)}.", kind="warning"))
    looked = network.look_at(first.folder, test=True)
    over_seeds = [*seeds.compared(networks), *seeds.every_seed(networks, stats, beside)]
    sections = [
        Section(heading, over_seeds),
        Section("Learning curves", [curves.of_networks(networks)]),
        *network.sections(looked, f"seed {first.summary.get('seed')}"),
        Section("Where time went", [timing.block(timing.of_runs(found.runs))]),
        Section("Run it again", [Code([again.of_seeds(runs) for runs in networks.values()])]),
    ]
    intro += [*network.warnings(looked), text(made_with(first), kind="soft")]
    return render(title, intro, sections)


def _facts(run: Run) -> list[Fact]:
    allowed = setting(run.config, "budget.max_parameters")
    full = setting(run.config, "trainer.epochs")
    found = [
        (name, percent(value), "last epoch")
        for key, name in seeds.SCORES.items()
        if (value := run.last(key)) is not None
    ]
    found += [
        ("validation loss", number(run.last("val_loss")), ""),
        ("parameters", number(run.summary.get("parameters")), f"of {allowed:,} allowed" if allowed else ""),
        ("epochs", number(len(run.epochs) or None), f"of {full:,}" if full and full != len(run.epochs) else ""),
        ("training time", duration(timing.of_run(run).get("training")), ""),
        ("device", str(run.summary.get("device", "")), str(run.summary.get("precision", ""))),
    ]  # fmt: skip
    return [fact for fact in found if fact[1]]


def _seed_facts(found: Runs, score: str, stats: Interval | None) -> list[Fact]:
    told = [("seeds", number(len(found.runs)), "")]
    if stats:
        told.append((f"mean {seeds.SCORES[score]}", percent(stats.mean), "last epoch"))
    if stats and stats.n > 1:
        told.append(("95 % interval", stats.of_share, "Student's t"))
        told.append(("sd", f"{100 * stats.sd:.3f}", "points"))
    return told + [f for f in _facts(found.runs[0]) if f[0] in ("parameters", "epochs", "device")]
