"""On top of a sweep's page: how it stands, who wins, by how much, within which limits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from budgetsweep.network.limits import LIMITS, in_words
from budgetsweep.report.collect import STATES, Sweep, Trial, setting
from budgetsweep.report.costs import cost, limits
from budgetsweep.report.drawing import short_names
from budgetsweep.report.page import Block, link, text
from budgetsweep.report.reference import reference
from budgetsweep.report.sections.seeds import verdict
from budgetsweep.report.sections.trials import parameter
from budgetsweep.report.words import count, duration, number, percent

Fact = tuple[str, str, str]  # name, value, remark


def standing(sweep: Sweep) -> Block:
    """Whether it runs, and how far it came."""
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


def winner(sweep: Sweep, beside: Path) -> Block:
    """Which trial wins, and its parameters."""
    best = sweep.winner
    if best is None:
        return text("No trial has been trained to its end yet.")
    still = sweep.results.status.get("state", "running") == "running"
    name = "The best so far" if still else "The winner"
    if len(sweep.results.directions) > 1:
        on_front = sum(t.told.rank == 1 for t in sweep.trials)
        name = f"The first of {count(on_front, 'trial')} on the front"
    names = short_names(list(best.told.params))
    chosen = ", ".join(f"{short} = {parameter(best, full)}" for full, short in names.items())
    is_reference = " It is the reference." if best is reference(sweep) else ""
    where = link(best.told.number, best.folder, beside)
    return text(f"{name} is trial ", where, f": {chosen or 'no parameters'}.{is_reference}")


def facts(sweep: Sweep) -> list[Fact]:
    """The winner's figures, then the sweep's."""
    found = _of_winner(sweep, sweep.winner) if sweep.winner else []
    counts = {s: len(sweep.of(s)) for s in STATES}
    again = counts["duplicate"]
    found += [
        ("proposed", number(len(sweep.trials)), f"{again:,} seen before, reused" if again else ""),
        ("over budget", number(counts["over budget"]), _most_missed(sweep)),
        ("trained", number(counts["complete"] + counts["pruned"]), ""),
        ("pruned", number(counts["pruned"]), "given up early"),
        ("failed", number(counts["failed"]), ""),
    ]
    if counts["pruned"] and (saved := _epochs_saved(sweep)):
        found.append(("epochs saved by pruning", number(saved[0]), f"of {saved[1]:,}"))
    workers = sweep.results.status.get("workers")
    with_workers = f"with {count(workers, 'worker')}" if workers else ""
    found.append(("time", duration(sweep.results.status.get("seconds")), with_workers))
    return [fact for fact in found if fact[1]]


def _of_winner(sweep: Sweep, best: Trial) -> list[Fact]:
    which = "the best" if len(sweep.objectives) == 1 else "the first of the front"
    found = [(", ".join(sweep.objectives), ", ".join(map(number, best.told.values)), which)]
    if (runs := best.told.finalist) and runs.mean is not None:
        spread = "" if runs.sd is None else f"sd {number(runs.sd)} "
        remark = f"{spread}over {count(runs.n, 'seed')}; its single run {found[0][1]}"
        found = [(f"mean {sweep.objectives[0]}", number(runs.mean), remark)]
    if best.accuracy is not None:
        found.append(("its validation accuracy", percent(best.accuracy), "last epoch, one seed"))
    found += _margin(sweep, best)
    name = "reference" if best is reference(sweep) else f"trial-{best.told.number}"
    if over_seeds := verdict(sweep, name):
        found.append(over_seeds)
    allowed = limits(sweep)
    for name in dict.fromkeys(("parameters", *allowed)):
        size, limit = cost(sweep, best, name), allowed.get(name)
        if size is not None:
            found.append((f"its {in_words(name)}", number(size), _share(name, size, limit)))
    return found


def _share(name: str, size: int, limit: int | None) -> str:
    if limit is None:
        return "no limit"
    if LIMITS[name].startswith("min_"):
        return f"at least {limit:,} asked for"
    return f"{100 * size / limit:.0f} % of {limit:,} allowed"


def _margin(sweep: Sweep, best: Trial) -> list[Fact]:
    """How far the winner is ahead of the reference, by its one seed."""
    known = reference(sweep)
    if known is None or len(sweep.results.directions) > 1:
        return []
    if known is best:
        return [("against the reference", "0", "it is the reference")]
    if known.state != "complete":
        return [("against the reference", "unknown", f"trial {known.told.number}: {known.state}")]
    remark = f"trial {known.told.number}, one seed each"
    if best.accuracy is not None and known.accuracy is not None:
        lead = 100 * (best.accuracy - known.accuracy)
        return [("against the reference", f"{lead:+.2f} points", remark)]
    if best.value is not None and known.value is not None:
        return [("against the reference", f"{best.value - known.value:+.4g}", remark)]
    return []


def _most_missed(sweep: Sweep) -> str:
    over = [t.told.violations for t in sweep.of("over budget")]
    by = Counter(name for missed in over for name, share in missed.items() if share > 0)
    told = (f"{n} {in_words(name)}" for name, n in by.most_common())
    return f"not trained; by limit: {', '.join(told)}" if by else "not trained"


def _epochs_saved(sweep: Sweep) -> tuple[int, int] | None:
    """Epochs that pruned trials did not train, of those all trials would have taken."""
    full = setting(sweep.config, "trainer.epochs")
    trained = [t for t in sweep.of("complete", "pruned") if t.run and t.run.rows]
    if not full or not trained:
        return None
    done = round(sum(t.run.rows[-1]["epoch"] for t in trained if t.run))
    return len(trained) * int(full) - done, len(trained) * int(full)
