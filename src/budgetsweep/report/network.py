"""A finished run's network: its rows, and how it does on the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from budgetsweep.errors import UserError
from budgetsweep.network.cost import Cost, cost_of
from budgetsweep.network.saved import SavedRun, load_run
from budgetsweep.report.mistakes import (
    ChangedImagesError,
    Mistakes,
    counted_by_the_run,
    find_mistakes,
)
from budgetsweep.report.page import Block, Section, text
from budgetsweep.report.sections import classes, layers


@dataclass(frozen=True)
class Looked:
    """A finished run's network; what could not be had is None, with the reason."""

    saved: SavedRun | None
    cost: Cost | None
    mistakes: Mistakes | None
    why_not: str = ""


def look_at(folder: Path, test: bool) -> Looked:
    """Read a run's network, count it, and try it on its validation or test images.

    Args:
        folder: a single run's.
        test: use the test set if the run itself did.
    """
    try:
        saved = load_run(folder)
    except UserError as error:
        return Looked(None, None, None, str(error))
    cost = cost_of(saved.config.model, saved.config.data)
    try:
        return Looked(saved, cost, find_mistakes(saved, test))
    except (UserError, OSError) as error:
        changed = isinstance(error, ChangedImagesError)
        why_not = str(error) if changed else f"The images cannot be read here: {error}"
        return Looked(saved, cost, counted_by_the_run(saved, test), why_not)


def sections(looked: Looked, whose: str, beside: Cost | None = None) -> list[Section]:
    """The network's sections; `whose` names it, such as "the winner", `beside` is the reference."""
    mistakes, why_not = looked.mistakes, [text(looked.why_not)]
    rows: list[Block] = [*why_not]
    if looked.saved is None and mistakes is None:
        return [Section("The network", why_not)]
    if looked.saved is not None and looked.cost is not None:
        rows = layers.blocks(looked.saved, looked.cost, beside, whose)
    if mistakes is None:
        return [Section("Layers", rows), Section("Confusion and mistakes", why_not)]
    return [
        Section("Layers", rows),
        Section("Classes", classes.by_class(mistakes)),
        Section("Confusion", classes.confusion(mistakes, whose)),
        Section("Worst mistakes", why_not if looked.why_not else classes.worst(mistakes)),
    ]


def warnings(looked: Looked) -> list[Block]:
    """What belongs on top of the page."""
    return classes.warnings(looked.mistakes) if looked.mistakes else []
