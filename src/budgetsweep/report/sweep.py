"""The page of a sweep."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from budgetsweep.errors import UserError
from budgetsweep.folders import REPLICATION
from budgetsweep.network.cost import cost_of
from budgetsweep.report import facts, figures, finalists, network
from budgetsweep.report.collect import Run, Sweep, Trial
from budgetsweep.report.page import (
    Block,
    Code,
    Facts,
    Plot,
    Row,
    Section,
    Table,
    TrialTable,
    link,
    render,
    text,
)
from budgetsweep.report.words import cost_name, count, duration, number, percent
from budgetsweep.runs.comparison import comparison, remarks
from budgetsweep.runs.loading import load_run

FEWEST = 10  # trials that importances and parallel coordinates rest on
FEW = 20  # under which importances are a hint
MOST = 1_000  # of more, as many are taken evenly from the best to the worst

_STATES = ("complete", "pruned", "over budget", "failed", "duplicate", "running")


def sweep_page(sweep: Sweep, beside: Path) -> str:
    """The page; `beside` is its folder."""
    best, known = sweep.winner, facts.reference(sweep)
    # A sweep chose by validation, so its report never opens the test set.
    looked = network.look_at(best.run.folder, test=False) if best and best.run else None
    sections = [
        Section("Over seeds", [*finalists.blocks(sweep, beside), *_replication(sweep)]),
        _size(sweep),
        _history(sweep),
        *_relations(sweep),
        _curves(sweep),
        *(network.sections(looked, "the winner", _cost_beside(best, known)) if looked else []),
        _time(sweep),
        Section("Failures", _failures(sweep, beside)),
        _again(sweep),
        Section("Trials", [_trials(sweep, beside)]),
    ]
    intro = [
        _standing(sweep),
        *(network.warnings(looked) if looked else []),
        _winner_line(sweep, beside),
        Facts(headline(sweep)),
        text(made_with(best.run if best else None, sweep), kind="soft"),
    ]
    return render(f"Sweep {sweep.folder.resolve().name}", intro, sections)


def _standing(sweep: Sweep) -> Block:
    status, running = sweep.results.status, sweep.of("running")
    done = len(sweep.of("complete", "pruned"))
    of = f" of {wanted}" if (wanted := status.get("n_trials")) else ""
    why = f" ({reason.rstrip('.')})" if (reason := status.get("reason")) else ""
    words = f"State: {status.get('state', 'running')}{why}. {done}{of} trials trained"
    words += f", {count(len(running), 'trial')} under way." if running else "."
    if sweep.results.unread:
        words += f" {sweep.results.unread}."
    if not any(t.told.overrides for t in sweep.trials):
        words += (
            " Its study is not kept in this folder, so proposals over budget and what pruned "
            "trials reported are not shown."
        )
    return text(words, kind="soft")


def _winner_line(sweep: Sweep, beside: Path) -> Block:
    best = sweep.winner
    if best is None:
        return text("No trial has been trained to its end yet.")
    still = sweep.results.status.get("state", "running") == "running"
    name = "The best so far" if still else "The winner"
    if len(sweep.results.directions) > 1:
        name = f"The first of {count(_n_front(sweep), 'trial')} on the front"
    chosen = ", ".join(
        f"{short} = {_shown(best, full)}"
        for full, short in figures.short_names(list(best.told.params)).items()
    )
    is_reference = " It is the reference." if best is facts.reference(sweep) else ""
    where = link(best.told.number, best.folder, beside)
    return text(f"{name} is trial ", where, f": {chosen or 'no parameters'}.{is_reference}")


def _n_front(sweep: Sweep) -> int:
    return sum(t.told.rank == 1 for t in sweep.trials)


def headline(sweep: Sweep) -> list[tuple[str, str, str]]:
    """The facts at the top: (name, value, remark)."""
    found = _best_facts(sweep, sweep.winner) if sweep.winner else []
    counts = {s: len(sweep.of(s)) for s in _STATES}
    again = counts["duplicate"]
    found += [
        ("proposed", number(len(sweep.trials)), f"{again:,} seen before, reused" if again else ""),
        ("over budget", number(counts["over budget"]), _most_missed(sweep)),
        ("trained", number(counts["complete"] + counts["pruned"]), ""),
        ("pruned", number(counts["pruned"]), "given up early"),
        ("failed", number(counts["failed"]), ""),
    ]
    if counts["pruned"] and (saved := facts.epochs_saved(sweep)):
        found.append(("epochs saved by pruning", number(saved[0]), f"of {saved[1]:,}"))
    workers = sweep.results.status.get("workers")
    with_workers = f"with {count(workers, 'worker')}" if workers else ""
    found.append(("time", duration(sweep.results.status.get("seconds")), with_workers))
    return [fact for fact in found if fact[1]]


def _most_missed(sweep: Sweep) -> str:
    over = sweep.of("over budget")
    if not over:
        return "not trained"
    names = {n for t in over for n, x in t.told.violations.items() if x > 0}
    by = {n: sum(t.told.violations.get(n, 0) > 0 for t in over) for n in names}
    told = (f"{n} {cost_name(name)}" for name, n in sorted(by.items(), key=lambda i: -i[1]))
    return f"not trained; by limit: {', '.join(told)}" if by else "not trained"


def _best_facts(sweep: Sweep, best: Trial) -> list[tuple[str, str, str]]:
    which = "the best" if len(sweep.objectives) == 1 else "the first of the front"
    found = [(", ".join(sweep.objectives), ", ".join(map(number, best.told.values)), which)]
    if best.accuracy is not None:
        found.append(("its validation accuracy", percent(best.accuracy), "last epoch, one seed"))
    found += _margin(sweep, best)
    allowed = facts.limits(sweep)
    for name in dict.fromkeys(("parameters", *allowed)):
        size, limit = facts.cost(sweep, best, name), allowed.get(name)
        if size is not None:
            share = f"{100 * size / limit:.0f} % of {limit:,} allowed" if limit else "no limit"
            found.append((f"its {cost_name(name)}", number(size), share))
    return found


def _margin(sweep: Sweep, best: Trial) -> list[tuple[str, str, str]]:
    """How far the winner is ahead of the reference, by its one seed."""
    known = facts.reference(sweep)
    if known is None or len(sweep.results.directions) > 1:
        return []
    if known is best:
        return [("ahead of the reference", "0", "it is the reference")]
    if known.state == "pruned":
        return [("ahead of the reference", "unknown", f"trial {known.told.number} was pruned")]
    remark = f"trial {known.told.number}, one seed each"
    if best.accuracy is not None and known.accuracy is not None:
        lead = 100 * (best.accuracy - known.accuracy)
        return [("ahead of the reference", f"{lead:+.2f} points", remark)]
    if best.value is not None and known.value is not None:
        return [("from the reference", f"{best.value - known.value:+.4g}", remark)]
    return []


def made_with(run: Run | None, sweep: Sweep | None = None) -> str:
    """Data, epochs, date, machine, versions and commit, in one line."""
    s = run.summary if run else {}
    versions = s.get("versions") if isinstance(s.get("versions"), Mapping) else {}
    epochs = facts.setting(run.config, "trainer.epochs") if run else None
    begun = [t.told.started for t in sweep.trials if t.told.started] if sweep else []
    last = None if sweep or not run else _date_of(run)
    parts = [
        s.get("data"),
        count(s["train_images"], "training image") if s.get("train_images") else "",
        count(int(epochs), "epoch") if epochs else "",
        f"begun {min(begun):%Y-%m-%d %H:%M}"
        if begun
        else f"of {last:%Y-%m-%d %H:%M}"
        if last
        else "",
        s.get("machine") or s.get("device"),
        " ".join(str(s[k]) for k in ("precision", "memory_format") if s.get(k)),
        count(s["threads"], "thread") if s.get("threads") else "",
        " ".join(f"{k} {v}" for k, v in versions.items()) if versions else "",
        f"commit {str(s['git_commit'])[:12]}" if s.get("git_commit") else "",
        f"seed {s['seed']}" if s.get("seed") is not None else "",
    ]
    return "Made with: " + "; ".join(str(p) for p in parts if p) + "." if any(parts) else ""


def _date_of(run: Run) -> datetime | None:
    times = [path.stat().st_mtime for path in run.folder.glob("metrics.csv")]
    return datetime.fromtimestamp(times[0]) if times else None


def _cost_beside(best: Trial | None, known: Trial | None) -> Any:
    """The reference's cost, row by row; None where it is the winner or left no configuration."""
    if known is None or known is best or known.run is None:
        return None
    try:
        saved = load_run(known.run.folder)
    except UserError:
        return None
    return cost_of(saved.config.model, saved.config.data)


def _replication(sweep: Sweep) -> list[Block]:
    """What `replicate` found of the winner, or that nothing is confirmed yet."""
    path = sweep.folder / REPLICATION
    if not path.exists():
        return [
            text(
                "The best of many trials is partly luck, and what it was chosen by flatters it. "
                "Nothing is known over fresh seeds yet; the last command under “Run it again” finds it out.",
                kind="soft",
            )
        ] * bool(sweep.winner)
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        head, rows = comparison(results)
        said = [text(remark, kind="soft") for remark in remarks(results)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [text(f"{REPLICATION} cannot be read: {error!r}", kind="warning")]
    n = len(next(iter(results.values())))
    return [
        text(f"Test accuracy over {count(n, 'fresh seed')}, each network trained again:"),
        Table(head, rows),
        *said,
    ]


def _size(sweep: Sweep) -> Section:
    several = len(sweep.results.directions) > 1
    score, name = facts.score_of(sweep), facts.binding(sweep)
    title = f"{score.name} against {cost_name(name)}"
    if several:
        title = f"{sweep.objectives[0]} against {sweep.objectives[1]}"
    title = title[:1].upper() + title[1:]
    complete = facts.points(sweep, "complete")
    if not complete:
        return Section(title, [text("No complete trial with a known size yet.")])
    best = facts.front(sweep, complete)
    told = percent if score.name == "validation accuracy" and not several else number
    unit = sweep.objectives[1] if several else cost_name(name)
    ends = [f"{p.x:,.6g} {unit}, {told(p.y)}" for p in (best[0], best[-1])] if best else []
    caption = "Each point is a trained candidate"
    if ends:
        caption += (
            f"; {count(len(best), 'lies', 'lie')} on the front, where no other is better in both: "
            f"from {ends[0]}" + (f" to {ends[1]}" if len(best) > 1 else "")
        )
    known = facts.reference(sweep)
    caption += (
        f". The reference is trial {known.told.number}."
        if known
        else ". The reference was not among the trials; hydra.sweeper.enqueue adds it."
    )
    if not several and (view := figures.score_view(sweep)):
        pruned = facts.points(sweep, "pruned")
        outside = [p for p in pruned if not view[0] <= p.y <= view[1]]
        caption += f" Outside the view: {len(outside):,} pruned; double-click it to see all."
    return Section(title, [Plot("size", figures.size_figure(sweep), caption)])


def _history(sweep: Sweep) -> Section:
    caption = (
        f"The {sweep.objectives[0]} of every trial in the order they were proposed: complete, pruned "
        "(the last value it reported), and along the lower edge those over budget and those that "
        "failed. The line is the best complete one so far. Values that span more than a factor of "
        "ten are drawn on a logarithmic axis."
    )
    return Section("History", [Plot("history", figures.history_figure(sweep), caption)])


def _relations(sweep: Sweep) -> list[Section]:
    """Importances and parallel coordinates; left out where they would rest on too little."""
    values, name = facts.comparable(sweep)
    trials = [t for t in sweep.trials if t.told.number in values]
    names = figures.searched(trials)
    if len(trials) < FEWEST or len(names) < 2:
        return []
    n = count(len(trials), "trained trial")
    if len(trials) > MOST:
        trials.sort(key=lambda t: values[t.told.number])
        trials = [trials[round(i * (len(trials) - 1) / (MOST - 1))] for i in range(MOST)]
        n = f"{MOST:,} of {n}, evenly from the best to the worst"
    told = [values[t.told.number] for t in trials]
    of = f"from the {name} of {n}"
    minimize = sweep.results.directions[0] == "minimize"
    parallel = (
        f"One line a trial ({of[5:]}), across its parameters, each between its lowest and highest "
        f"value; the last column is the {name}. The more orange, the better; the best is thick."
    )
    found = [
        Section(
            "Parallel coordinates",
            [
                Plot(
                    "parallel",
                    figures.parallel_figure(trials, told, name, minimize),
                    parallel,
                    columns=len(names) + 1,
                )
            ],
        )
    ]
    try:
        figure = figures.importances_figure(trials, told)
    except (ValueError, RuntimeError) as error:
        why = text(f"Optuna cannot estimate them: {error}")
        return [Section("Importances", [why]), *found]
    hint = f"; with under {FEW}, take it as a hint" if len(trials) < FEW else ""
    caption = (
        f"How much of the variation each parameter explains, as Optuna estimates it {of}{hint}."
    )
    return [Section("Importances", [Plot("importances", figure, caption)]), *found]


def _curves(sweep: Sweep) -> Section:
    groups = _curve_groups(sweep)
    runs = [run for pairs in groups.values() for _, run in pairs]
    if not runs:
        return Section("Learning curves", [text("No trial has written metrics.csv yet.")])
    validated = any("val_loss" in row for run in runs for row in run.epochs)
    key, name = ("val_loss", "validation loss") if validated else ("train_loss", "training loss")
    caption = (
        f"The {name} after each epoch of {count(len(runs), 'trial')}: complete ones solid, pruned "
        "ones dotted, the winner thick. Losses that span more than a factor of ten are drawn on a "
        "logarithmic axis."
    )
    figure = figures.curves_figure(groups, key, name)
    return Section("Learning curves", [Plot("curves", figure, caption)])


def _curve_groups(sweep: Sweep) -> dict[str, list[tuple[str, Run]]]:
    """Every trial's epochs, the winner drawn last."""
    groups: dict[str, list[tuple[str, Run]]] = {"pruned": [], "complete": [], "winner": []}
    for t in sweep.trials:
        if t.run and t.state != "duplicate" and t.run.epochs:
            kind = (
                "winner" if t is sweep.winner else "pruned" if t.state == "pruned" else "complete"
            )
            groups[kind].append((f"trial {t.told.number}", t.run))
    return groups


def _time(sweep: Sweep) -> Section:
    spent = facts.sweep_time(sweep)
    if not spent:
        return Section("Where time went", [text("No trial has finished yet.")])
    return Section("Where time went", [time_plot(spent)])


def time_plot(spent: dict[str, float]) -> Plot:
    """One bar, and each part in words."""
    total = sum(spent.values()) or 1
    parts = [f"{name} {duration(s)} ({100 * s / total:.0f} %)" for name, s in spent.items()]
    notes = {
        "other": "Other is loading PyTorch, checkpoints, logs, and a pruned trial's evaluation and set-up.",
        "between trials": "Between trials: starting workers, choosing and checking candidates.",
    }
    words = [f"{', '.join(parts).capitalize()}.", *(n for key, n in notes.items() if key in spent)]
    return Plot("time", figures.time_figure(spent), " ".join(words))


def _failures(sweep: Sweep, beside: Path) -> list[Block]:
    rows = []
    for cause, trials in facts.causes(sweep):
        first = trials[0]
        where = link(f"trial {first.told.number}", first.folder, beside)
        rows.append([cause, where, f"{len(trials):,}"])
    return [Table(["cause", "first", "trials"], rows, words=2)] if rows else []


def _again(sweep: Sweep) -> Section:
    lines = again(sweep)
    return Section("Run it again", [Code(lines) if lines else text("There is no winner yet.")])


def again(sweep: Sweep) -> Sequence[str]:
    """The commands that train the winner again, and confirm it over seeds."""
    lines = []
    try:
        head = (sweep.folder / "best.yaml").read_text(encoding="utf-8").splitlines()
        told = [line.removeprefix("# Run it: ") for line in head if line.startswith("# Run it: ")]
        lines += ["# the winner again, one run", *told] if told else []
    except (OSError, ValueError):
        pass
    if not lines and sweep.winner and sweep.winner.run:
        own = " ".join(map(shlex.quote, sweep.winner.run.overrides))
        lines += ["# the winner again, one run", f"budgetsweep train {own}"]
    if lines:
        folder = shlex.quote(str(sweep.folder))
        lines += [
            "# the winner against the reference, over fresh seeds",
            f"budgetsweep replicate {folder} --seeds 5",
        ]
    return lines


def _trials(sweep: Sweep, beside: Path) -> TrialTable:
    """Every proposal, the leaderboard's order first."""
    names = list(dict.fromkeys(name for t in sweep.trials for name in t.told.params))
    short, cost = figures.short_names(names), facts.binding(sweep)
    head = [
        "trial", "state", "rank", *sweep.objectives, "accuracy", cost_name(cost), "epochs",
        "time", *(short[n] for n in names), "remark",
    ]  # fmt: skip
    places = {trial.number: place for place, trial in enumerate(sweep.results.trials)}
    order = sorted(sweep.trials, key=lambda t: (t.told.rank is None, places[t.told.number]))
    rows = [_row(sweep, trial, names, cost, beside) for trial in order]
    return TrialTable(head, rows, [s for s in _STATES if sweep.of(s)])


def _row(sweep: Sweep, trial: Trial, names: list[str], cost: str, beside: Path) -> Row:
    told, run = trial.told, trial.run
    epochs = run.rows[-1]["epoch"] if run and run.rows else None
    size = facts.cost(sweep, trial, cost)
    values = [*told.values, *[None] * len(sweep.objectives)][: len(sweep.objectives)]
    cells = [
        (number(told.rank), told.rank),
        *((number(v), _key(v)) for v in values),
        (percent(trial.accuracy), trial.accuracy),
        (number(size), size),
        (number(epochs), epochs),
        (duration(told.seconds), told.seconds),
        *((_shown(trial, n), _key(told.params.get(n))) for n in names),
    ]
    where = link(told.number, trial.folder, beside)
    return Row(trial.state, trial is sweep.winner, where, cells, remark(sweep, trial))


def _key(value: Any) -> Any:
    """What a cell is sorted by; None: by what it shows."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def remark(sweep: Sweep, trial: Trial) -> str:
    """What a person asks about a trial that was not trained to its end, and which one this is."""
    if trial.told.error:
        return trial.told.error
    if trial.told.duplicate_of is not None:
        return f"the same configuration as trial {trial.told.duplicate_of}"
    if over := facts.misses(sweep, trial):
        return "; ".join(over)
    if trial is facts.reference(sweep):
        return "the reference"
    return "enqueued" if trial.told.enqueued else ""


def _shown(trial: Trial, name: str) -> str:
    # An empty cell is a parameter the candidate has not; null is a value.
    if name not in trial.told.params:
        return ""
    value = trial.told.params[name]
    return "null" if value is None else number(value)
