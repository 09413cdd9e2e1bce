"""`python -m budgetsweep.report`: one HTML file, and pictures, about a sweep, a run or seeds."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_report"]


def write_report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a folder, `FOLDER/report.html` and `FOLDER/report/*.png` by default.

    Nothing else is changed: a sweep may go on meanwhile. As a sweep's hook:
    `hydra.sweeper.on_end=[budgetsweep.report.write_report]`.

    Args:
        folder: a sweep's, a single run's, or one whose sub-folders are runs of several seeds.
        output: the HTML file; the pictures go to a folder of its name beside it.

    Raises:
        UserError: there is nothing to report in `folder`, or the `report` extra is missing.
    """
    from budgetsweep.report.write import write

    folder = Path(folder)
    return write(folder, Path(output) if output else folder / "report.html")
