"""The page of a sweep."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from budgetsweep.report import facts, figures, network, trials
from budgetsweep.report.collect import Run, Sweep, Trial
from budgetsweep.report.page import Section, escape, fact_list, page, paragraph, plot
from budgetsweep.report.parallel import parallel_figure
from budgetsweep.report.winner import Winner
from budgetsweep.report.words import count, duration, number, percent

FEW = 20  # finished trials under which importances are a hint


def sweep_page(sweep: Sweep, winner: Winner, beside: Path) -> str:
    """The page; `winner` is the network of the best trial."""
    sections = [
        _size(sweep),
        _history(sweep),
        _importances(sweep),
        _parallel(sweep),
        _curves(sweep),
        *(network.sections(winner, "the winner") if sweep.winner else []),
        _time(sweep),
        _again(sweep),
        trials.section(sweep, beside),
    ]
    return page(f"Sweep {sweep.folder.resolve().name}", _intro(sweep, beside), sections)


def _intro(sweep: Sweep, beside: Path) -> str:
    return _standing(sweep) + _winner_line(sweep, beside) + fact_list(headline(sweep))


def _standing(sweep: Sweep) -> str:
    state = sweep.status.get("state", "running")
    done = len(sweep.of("complete", "pruned"))
    of = f" of {wanted}" if (wanted := sweep.status.get("n_trials")) else ""
    running = sweep.of("running")
    why = f" ({reason.rstrip('.')})" if (reason := sweep.status.get("reason")) else ""
    words = f"State: {state}{why}. {done}{of} trials trained"
    words += f", {count(len(running), 'trial')} under way." if running else "."
    if sweep.study is None:
        words += (
            " Its study is not kept in this folder, so proposals over budget are not shown "
            "and importances are not estimated."
        )
    return paragraph(words, "soft")


def _winner_line(sweep: Sweep, beside: Path) -> str:
    best = sweep.winner
    if best is None:
        return paragraph("No trial has been trained to its end yet.")
    several = len(sweep.directions) > 1
    still = sweep.status.get("state", "running") == "running"
    name = "The first of the front" if several else "The best so far" if still else "The winner"
    chosen = ", ".join(
        f"{short} = {trials._shown(best, full)}"
        for full, short in figures.short_names(list(best.params)).items()
    )
    return (
        f"<p>{name} is trial {trials.link(best, beside)}: {escape(chosen or 'no parameters')}.</p>"
    )


def headline(sweep: Sweep) -> list[tuple[str, str, str]]:
    """The facts at the top: (name, value, remark)."""
    found = _best_facts(sweep, sweep.winner) if sweep.winner else []
    counts = {s: len(sweep.of(s)) for s in ("complete", "pruned", "over budget", "failed")}
    found += [
        ("proposed", number(len(sweep.trials)), _duplicates(sweep)),
        ("over budget", number(counts["over budget"]), "not trained"),
        ("trained", number(counts["complete"] + counts["pruned"]), ""),
        ("pruned", number(counts["pruned"]), "given up early"),
        ("failed", number(counts["failed"]), ""),
    ]
    if saved := facts.epochs_saved(sweep):
        found.append(("epochs saved by pruning", number(saved[0]), f"of {saved[1]:,}"))
    workers = sweep.status.get("workers")
    with_workers = f"with {count(workers, 'worker')}" if workers else ""
    found.append(("time", duration(sweep.status.get("seconds")), with_workers))
    return [fact for fact in found if fact[1]]


def _duplicates(sweep: Sweep) -> str:
    n = len(sweep.of("duplicate"))
    return f"{n:,} seen before, reused" if n else ""


def _best_facts(sweep: Sweep, best: Trial) -> list[tuple[str, str, str]]:
    allowed = facts.limit(sweep)
    size = facts.parameters(best, allowed)
    share = f"{100 * (size or 0) / allowed:.0f} % of {allowed:,} allowed" if allowed else ""
    found = [(figures.objective_name(sweep), ", ".join(map(number, best.values)), "the best")]
    if best.accuracy is not None:
        found.append(("its validation accuracy", percent(best.accuracy), "last epoch"))
    if size is not None:
        found.append(("its parameters", number(size), share or "no limit"))
    return found


def _size(sweep: Sweep) -> Section:
    score = facts.score_of(sweep)
    title = f"{score.name.capitalize()} against parameters"
    complete = facts.points(sweep, "complete")
    if not complete:
        return Section(title, paragraph("No complete trial with a known size yet."))
    best = facts.front(complete, score.higher_is_better)
    told = percent if score.name == "validation accuracy" else number
    ends = [f"{p.parameters:,} parameters, {told(p.score)}" for p in (best[0], best[-1])]
    caption = (
        f"Each point is a trained candidate; {count(len(best), 'lies', 'lie')} on the front, where "
        f"none is both smaller and better: from {ends[0]}"
        + (f" to {ends[1]}. " if len(best) > 1 else ". ")
    )
    known = facts.reference(sweep)
    caption += (
        f"The defaults (reference) are trial {known.number}."
        if known
        else "The defaults were not among the trials; hydra.sweeper.enqueue adds them."
    )
    if view := figures.score_view(sweep):
        pruned = facts.points(sweep, "pruned")
        outside = [p for p in pruned if not view[0] <= p.score <= view[1]]
        caption += f" Outside the view: {len(outside):,} pruned; double-click it to see all."
    return Section(title, plot("size", figures.size_figure(sweep), caption))


def _history(sweep: Sweep) -> Section:
    caption = (
        "The objective of every trial in the order they were proposed: complete, pruned "
        "(the last value it reported), and along the lower edge those over budget and those that "
        "failed. The line is the best complete one so far. Values that span more than a factor of "
        "ten are drawn on a logarithmic axis."
    )
    return Section("History", plot("history", figures.history_figure(sweep), caption))


def too_few(sweep: Sweep) -> str:
    """Why there is nothing to relate to the parameters; empty where there is."""
    if sweep.study is None:
        return "The study is not in this folder."
    if len(sweep.of("complete")) < 2:
        return "This needs two complete trials."
    if len(figures.searched(sweep)) < 2:
        return "This needs two parameters that took different values among complete trials."
    if not all(math.isfinite(v) for t in sweep.of("complete") for v in t.values):
        return "A complete trial has an infinite value."
    return ""


def _importances(sweep: Sweep) -> Section:
    title = "Importances"
    if why := too_few(sweep):
        return Section(title, paragraph(why))
    try:
        shares = figures.importances(sweep)
    except (ValueError, RuntimeError) as error:
        return Section(title, paragraph(f"Optuna cannot estimate them: {error}"))
    n = len(sweep.of("complete"))
    caption = (
        "How much of the objective's variation each parameter explains, as Optuna estimates it "
        f"from {count(n, 'complete trial')}"
        + (f"; with under {FEW}, take it as a hint. " if n < FEW else ". ")
        + "The most important: "
        + ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:3])
        + "."
    )
    return Section(title, plot("importances", figures.importances_figure(shares), caption))


def _parallel(sweep: Sweep) -> Section:
    title = "Parallel coordinates"
    if why := too_few(sweep):
        return Section(title, paragraph(why))
    caption = (
        "One line a complete trial, across its parameters, each between its lowest and highest value; "
        "the last column is the objective. The more orange, the better; the winner is thick."
    )
    return Section(
        title,
        plot("parallel", parallel_figure(sweep), caption, columns=len(figures.searched(sweep)) + 1),
    )


def curves(sweep: Sweep) -> tuple[list[tuple[str, Run, bool, bool]], str]:
    """Every trial's epochs, and the column to draw."""
    shown = [
        (f"trial {t.number}", t.run, t.state == "pruned", t.rank == 1)
        for t in sweep.trials
        if t.run and t.run.epochs and t.state != "duplicate"
    ]
    validated = any("val_loss" in row for _, run, *_ in shown for row in run.epochs)
    return shown, "val_loss" if validated else "train_loss"


def _curves(sweep: Sweep) -> Section:
    runs, key = curves(sweep)
    if not runs:
        return Section("Learning curves", paragraph("No trial has written metrics.csv yet."))
    name = "validation loss" if key == "val_loss" else "training loss"
    caption = (
        f"The {name} after each epoch of {count(len(runs), 'trial')}: complete ones solid, pruned "
        "ones dotted, the winner thick. Losses that span more than a factor of ten are drawn on a "
        "logarithmic axis."
    )
    return Section(
        "Learning curves", plot("curves", figures.curves_figure(runs, key, name), caption)
    )


def _time(sweep: Sweep) -> Section:
    spent = facts.sweep_time(sweep)
    if not spent:
        return Section("Where time went", paragraph("No trial has finished yet."))
    return Section("Where time went", plot("time", figures.time_figure(spent), time_caption(spent)))


def time_caption(spent: dict[str, float]) -> str:
    """Each part in words."""
    total = sum(spent.values())
    parts = [f"{name} {duration(s)} ({100 * s / total:.0f} %)" for name, s in spent.items()]
    notes = {
        "other": "Other is loading PyTorch, checkpoints, logs, and a pruned trial's evaluation and set-up.",
        "between trials": "Between trials: starting workers, choosing and checking candidates.",
    }
    return f"{', '.join(parts).capitalize()}. " + " ".join(
        note for key, note in notes.items() if key in spent
    )


def _again(sweep: Sweep) -> Section:
    lines = again(sweep)
    if not lines:
        return Section("Run it again", paragraph("There is no winner yet."))
    text = "\n".join(lines)
    return Section("Run it again", f"<pre>{escape(text)}</pre>")


def again(sweep: Sweep) -> Sequence[str]:
    """The commands that train the winner again, and confirm it over seeds."""
    folder = shlex.quote(str(sweep.folder))
    lines = []
    try:
        head = (sweep.folder / "best.yaml").read_text(encoding="utf-8").splitlines()
        told = [line.removeprefix("# Run it: ") for line in head if line.startswith("# Run it: ")]
        lines += ["# the winner again, one run", *told] if told else []
    except OSError:
        pass
    if not lines and sweep.winner and sweep.winner.run:
        own = " ".join(map(shlex.quote, sweep.winner.run.overrides))
        lines += ["# the winner again, one run", f"python -m budgetsweep.train {own}"]
    if lines and sweep.study is not None:
        lines += [
            "# the finalists against the reference, over seeds",
            f"python -m budgetsweep.replicate {folder} --top 3 --seeds 5",
        ]
    return lines
