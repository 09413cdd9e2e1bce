"""The page of a sweep."""

from __future__ import annotations

from pathlib import Path

from budgetsweep.report import network
from budgetsweep.report.collect import Sweep
from budgetsweep.report.common import common
from budgetsweep.report.page import Block, Code, Facts, Section, render, text
from budgetsweep.report.reference import reference_cost
from budgetsweep.report.sections import (
    again,
    curves,
    failures,
    finalists,
    front,
    headline,
    history,
    importances,
    parallel,
    seeds,
    timing,
    trials,
)  # fmt: skip
from budgetsweep.report.sections.made_with import made_with


def sweep_page(sweep: Sweep, beside: Path) -> str:
    """The page; `beside` is its folder."""
    best = sweep.winner
    # A sweep chose by validation, so its report never opens the test set.
    looked = network.look_at(best.run.folder, test=False) if best and best.run else None
    commands = again.of_sweep(sweep)
    sections = [
        Section("Over seeds", [*finalists.blocks(sweep, beside), *seeds.replication(sweep)]),
        front.section(sweep),
        history.section(sweep),
        *_relations(sweep),
        curves.of_sweep(sweep),
        *(network.sections(looked, "the winner", reference_cost(sweep)) if looked else []),
        Section("Where time went", [timing.block(timing.of_sweep(sweep))]),
        Section("Failures", failures.blocks(sweep, beside)),
        Section("Run it again", [Code(commands) if commands else text("There is no winner yet.")]),
        Section("Trials", [trials.table(sweep, beside)]),
    ]
    intro: list[Block] = [
        headline.standing(sweep),
        *(network.warnings(looked) if looked else []),
        headline.winner(sweep, beside),
        Facts(headline.facts(sweep)),
        text(made_with(best.run if best else None, sweep), kind="soft"),
    ]
    return render(f"Sweep {sweep.folder.resolve().name}", intro, sections)


def _relations(sweep: Sweep) -> list[Section]:
    """Importances and parallel coordinates; left out where they would rest on too little."""
    shared = common(sweep)
    return [importances.section(shared), parallel.section(shared)] if shared else []
