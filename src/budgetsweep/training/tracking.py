"""What a run tells while it goes: the log, metrics.csv, a progress bar, TensorBoard if asked."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from budgetsweep.errors import UserError
from budgetsweep.files import write_csv
from budgetsweep.folders import METRICS

log = logging.getLogger(__name__)


class Tracker:
    """The history of a run: a row for each epoch and, in a sweep, for each look within one, whose
    validation figures are of a sample and by batch statistics (`early_looks`)."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]], tensorboard: bool) -> None:
        self.folder, self.rows = folder, list(rows)
        self._board = _summary_writer(folder) if tensorboard else None

    def add(self, row: dict[str, Any], epochs: int) -> None:
        """Log a row and rewrite metrics.csv."""
        self.rows.append(row)
        write_csv(self.folder / METRICS, self.rows)
        log.info("epoch %.7g/%d  %s", row["epoch"], epochs, _words(row))
        if self._board:
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    self._board.add_scalar(name, value, len(self.rows))
            self._board.flush()


def _words(row: dict[str, Any]) -> str:
    words = list[str]()
    if row["train_loss"] is not None:
        words.append(f"train loss {row['train_loss']:.4f}")
    if row["val_loss"] is not None:
        words.append(f"val loss {row['val_loss']:.4f}")
        words.append(f"val accuracy {row['val_accuracy']:.2%}")
    return "  ".join([*words, f"{row['images_per_second']:,.0f} images/s"])


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "trainer.tensorboard=true needs the tensorboard extra: "
            "pip install 'budgetsweep[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder))


@contextlib.contextmanager
def progress_bar(steps: int, done: int, enabled: bool) -> Iterator[Callable[[], object]]:
    """A bar over a run's steps on a terminal; elsewhere nothing. Yields what advances it."""
    if not (enabled and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=steps, completed=done)
        yield lambda: progress.advance(task)
