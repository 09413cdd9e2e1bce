"""From a folder to the files of its report."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from budgetsweep.errors import UserError
from budgetsweep.files import write_text


def write(folder: Path, output: Path) -> Path:
    """Write the page to `output` and the pictures to the folder of its name beside it."""
    _check_extra()
    # Its font cache, made at the first use, is no news to who waits for a report.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)
    from budgetsweep.report import pictures
    from budgetsweep.report.collect import Run, Sweep, collect
    from budgetsweep.report.run import run_page, seeds_page
    from budgetsweep.report.sweep import sweep_page
    from budgetsweep.report.winner import Winner, look_at

    found = collect(folder)
    if isinstance(found, Sweep):
        best = found.winner.run if found.winner else None
        # A sweep chose by validation, so its report never opens the test set.
        winner = look_at(best.folder, test=False) if best else Winner(None, None, None)
        text = sweep_page(found, winner, output.parent)
    elif isinstance(found, Run):
        winner = look_at(found.folder, test=True)
        text = run_page(found, winner)
    else:
        winner = look_at(found.runs[0].folder, test=True)
        text = seeds_page(found, winner, output.parent)
    pictures.draw(found, winner, output.parent / output.stem)
    write_text(output, text)
    return output


def _check_extra() -> None:
    missing = [name for name in ("plotly", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"a report needs {' and '.join(missing)}: pip install 'budgetsweep[report]'"
        )
