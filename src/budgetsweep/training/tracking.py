"""What a run tells while it goes: the log, metrics.csv, a progress bar, TensorBoard if asked."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from budgetsweep.errors import UserError
from budgetsweep.files import write_csv
from budgetsweep.folders import METRICS
from hydra_budget_sweeper import show

log = logging.getLogger(__name__)


class Tracker:
    """The history of a run: a row for each epoch, and for each look within one where a sweep
    compares its trials. `val_*` are of all validation images by the network as it is kept,
    `look_*` of a sample of them by batch statistics (`early_looks`)."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]], tensorboard: bool) -> None:
        self.folder, self.rows = folder, [apart(row) for row in rows]
        self._board = _summary_writer(folder) if tensorboard else None
        self._shown = 0.0

    def at(self, epoch: float) -> None:
        """Let a sweep see how far the run is, about once a second."""
        if (now := time.monotonic()) >= self._shown + 1:
            self._shown = now
            show(epoch=epoch)

    def add(self, row: dict[str, Any], epochs: int) -> None:
        """Log a row and rewrite metrics.csv."""
        self.rows.append(row)
        write_csv(self.folder / METRICS, self.rows)
        shown = "epoch", "val_loss", "val_accuracy", "look_loss"
        show(**{name: row[name] for name in shown if row[name] is not None})
        speed = f"{row['images_per_second']:,.0f} images/s"
        if row["train_loss"] is not None:
            loss = f"  loss {row['train_loss']:.4f}"
            log.info("epoch %d/%d%s%s  %s", row["epoch"], epochs, loss, _words(row, "val"), speed)
        if row["look_loss"] is not None:
            log.info("look at epoch %.7g/%d%s", row["epoch"], epochs, _words(row, "look"))
        if self._board:
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    self._board.add_scalar(name, value, len(self.rows))
            self._board.flush()


def apart(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is now written; a look of an older release lay in the columns of the epochs."""
    if "look_loss" in row:
        return row
    of_look = row["train_loss"] is None
    return row | {
        f"{k}_{what}": row[f"val_{what}"] if (k == "look") == of_look else None
        for k in ("val", "look")
        for what in ("loss", "accuracy")
    }


def _words(row: dict[str, Any], kind: str) -> str:
    """`  val loss 0.1234  val accuracy 96.20%`, for what of it there is."""
    told = ((f"{kind} {what}", row.get(f"{kind}_{what}")) for what in ("loss", "accuracy"))
    return "".join(
        f"  {name} {value:.2%}" if "accuracy" in name else f"  {name} {value:.4f}"
        for name, value in told
        if value is not None
    )


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
    if not (enabled and sys.stdout.isatty() and sys.stderr.isatty()):
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
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True, refresh_per_second=2)
    with bar as progress, _log_above():
        task = progress.add_task("training", total=steps, completed=done)
        yield lambda: progress.advance(task)


@contextlib.contextmanager
def _log_above() -> Iterator[None]:
    """Let what is logged to the terminal go through rich's stand-in for it, above the bar."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
    ]
    before = [handler.setStream(sys.stdout) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream)
