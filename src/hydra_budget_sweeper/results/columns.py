"""What of a trial is shown in a line: the columns that an application names."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from string import Formatter
from typing import Any

from optuna.trial import FrozenTrial
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.study.trials import note_of

Cells = tuple[str, ...]


class Columns:
    """Turns what is known of a trial into the cells of a row: its number, the columns, its time.

    Args:
        templates: By heading what stands there, such as `{accuracy:.1%}`: a name that the task gave
            to `show`, or `step` and `value` (with several objectives `value_2`, ...), in Python's
            format. The last ones are left out where a terminal has no room. Empty: step and value.
        n_objectives: How many there are.

    Raises:
        SweepError: A template is none.
    """

    def __init__(self, templates: Mapping[str, str], n_objectives: int) -> None:
        values = ["value", *(f"value_{i}" for i in range(2, n_objectives + 1))]
        default = {"step": "{step}"} | {name: f"{{{name}:.6g}}" for name in values}
        self._values = values
        self._templates = dict(templates) or default
        for heading, template in self._templates.items():
            _check(heading, template)
        self.headings = ("trial", *self._templates, "time")

    def cells(self, trial: FrozenTrial, shown: Mapping[str, Any] | None = None) -> Cells:
        """The cells of a trial, as texts; empty where it has not told what belongs there.

        Args:
            shown: What it has told, while it runs; afterwards the study knows.
        """
        known = dict(zip(self._values, _values(trial), strict=False))
        if trial.last_step is not None:
            known["step"] = trial.last_step
        known |= trial.user_attrs if shown is None else shown
        return (
            _number(trial),
            *(_fill(template, known) for template in self._templates.values()),
            _clock(_seconds(trial)),
        )

    def words(self, trial: FrozenTrial) -> str:
        """The same as words, `loss 0.0581, accuracy 98.1%`."""
        named = zip(self.headings[1:], self.cells(trial)[1:], strict=True)
        return ", ".join(f"{heading} {cell}" for heading, cell in named if cell)


class TrialTable:
    """Groups of trials, one below the other, in columns of the width that there is.

    Args:
        headings: Of the columns of `groups`' rows.
        groups: Label and rows; one without rows is left out.
    """

    def __init__(
        self, headings: Sequence[str], groups: Sequence[tuple[str, Sequence[Cells]]]
    ) -> None:
        self._headings = headings
        self._rows = [
            ("" if i else label, *row) for label, rows in groups for i, row in enumerate(rows)
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        used = [any(cells) for cells in zip(*(row[1:] for row in self._rows), strict=True)]
        shown = [i for i, is_used in enumerate(used, start=1) if is_used]
        table, unlimited = self._table(shown), options.update(max_width=10_000)
        while Measurement.get(console, unlimited, table).maximum > options.max_width:
            if len(shown) <= 2:
                break
            del shown[-2]  # the time stays
            table = self._table(shown)
        yield table

    def _table(self, shown: Sequence[int]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("", style="bold", min_width=len("running"))
        for i in shown:
            table.add_column(self._headings[i - 1], justify="right", no_wrap=True)
        for row in self._rows:
            table.add_row(row[0], *(row[i] for i in shown))
        return table


def _check(heading: str, template: str) -> None:
    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        names, problem = [], str(error)
    else:
        problem = "it names nothing that a trial shows"
    if not names or not all(name.isidentifier() for name in names):
        raise SweepError(
            f"hydra.sweeper.columns.{heading}={template}: {problem}. Write a name that the task gives "
            "to `show`, in braces, with a format: '{accuracy:.1%}'."
        )


def _number(trial: FrozenTrial) -> str:
    if (finalist := note_of(trial).finalist) is None:
        return str(trial.number)
    number, seed = finalist
    return f"{number}, seed {seed}"


def _fill(template: str, known: Mapping[str, Any]) -> str:
    try:
        return template.format_map(known)
    except (KeyError, TypeError, ValueError):  # not told yet, or None
        return ""


def _values(trial: FrozenTrial) -> Sequence[float]:
    if trial.values:
        return trial.values
    return [] if trial.last_step is None else [trial.intermediate_values[trial.last_step]]


def _seconds(trial: FrozenTrial) -> float | None:
    if trial.state.is_finished() or trial.datetime_start is None:
        return note_of(trial).seconds
    return (datetime.now() - trial.datetime_start).total_seconds()


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
