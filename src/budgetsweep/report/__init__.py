"""`budgetsweep report`: one HTML file about a sweep, a run or several seeds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from budgetsweep.errors import UserError

__all__ = ["write_report"]


def write_report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a folder, by default to `FOLDER/report.html`; returns its path.

    Nothing else is changed: a sweep may go on meanwhile. As a sweep's hook:
    `hydra.sweeper.on_end=[budgetsweep.report.write_report]`.

    Args:
        folder: a sweep's, a single run's, or one whose sub-folders are runs, of several seeds or
            several networks.
        output: the HTML file.

    Raises:
        UserError: there is nothing to report in `folder`, or the `report` extra is missing.
    """
    if importlib.util.find_spec("plotly") is None:
        raise UserError("a report needs plotly: pip install 'budgetsweep[report]'")
    from budgetsweep.report.collect import Run, Sweep, collect
    from budgetsweep.report.run import run_page, runs_page
    from budgetsweep.report.sweep import sweep_page
    from hydra_budget_sweeper.files import write_text

    folder = Path(folder)
    output = Path(output) if output else folder / "report.html"
    found = collect(folder)
    if isinstance(found, Sweep):
        text = sweep_page(found, output.parent)
    elif isinstance(found, Run):
        text = run_page(found)
    else:
        text = runs_page(found, output.parent)
    write_text(output, text)
    return output
