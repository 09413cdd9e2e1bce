"""One training run, from a configuration to a folder with its results."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import budgetsweep
from budgetsweep import checkpoint
from budgetsweep.budget import Cost, enforce
from budgetsweep.config import Config
from budgetsweep.data import Dataset, Images, load
from budgetsweep.files import write_json
from budgetsweep.model import build_model
from budgetsweep.tracking import Tracker, progress_bar
from budgetsweep.training import Trainer, choose_device, evaluate, seed_everything
from budgetsweep.tuning import Format, choose_format, keep_memory

log = logging.getLogger(__name__)

SUMMARY = "summary.json"


@dataclass
class Clock:
    """Seconds spent, kept across interruptions."""

    train: float = 0.0
    evaluate: float = 0.0


def run(
    config: Config,
    folder: Path,
    *,
    threads: int,
    report: Callable[[float, int], None] = lambda value, step: None,
) -> dict[str, Any]:
    """Train one network and write its folder; the summary, as in summary.json.

    A finished folder is not trained again under `config.resume`: its summary is returned.

    Args:
        config: the run; see `budgetsweep.config`.
        folder: takes metrics.csv, checkpoint.pt, model.pt and summary.json.
        threads: CPU threads where `trainer.threads` is null.
        report: told the validation loss after each look at the validation images but the last, and
            for how long it has trained, in parts of the first epoch that end with a look; may raise
            to end the run.

    Raises:
        BudgetError: the network is over budget; nothing was read or written.
        UserError: other mistakes in the configuration or the data.
    """
    started = time.perf_counter()
    config.model, cost = enforce(config.model, config.data, config.budget)
    log.info("%s", describe(config, cost))
    state = checkpoint.load(folder, config) if config.resume else None
    if state and (folder / SUMMARY).exists():
        log.info("finished before: %s", folder / SUMMARY)
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
        return summary

    keep_memory()
    torch.set_num_threads(config.trainer.threads or threads)
    torch.backends.cudnn.benchmark = True
    dataset = load(config.data)
    trainer = _trainer(config, dataset, state)
    clock, rows = Clock(), list[dict[str, Any]]()
    if state:
        clock, rows = Clock(**state["clock"]), state["rows"]
        log.info("going on after epoch %d of %d", trainer.epoch, config.trainer.epochs)
    setup_seconds = time.perf_counter() - started
    log.info(
        "%s, %s %s, %d threads, %d training images, ready in %.1f s",
        trainer.device, trainer.fmt.precision, trainer.fmt.memory_format, torch.get_num_threads(),
        len(dataset.train), setup_seconds,
    )  # fmt: skip
    tracker = Tracker(folder, rows, config.trainer.tensorboard)
    _fit(trainer, dataset.validation, tracker, clock, report)
    summary = _summary(trainer, dataset, cost, tracker.rows[-1], clock, setup_seconds)
    weights = {k: v.cpu() for k, v in trainer.result.state_dict().items()}
    checkpoint.save(folder / checkpoint.MODEL, weights)
    write_json(folder / SUMMARY, summary)
    log.info("%s", _closing(summary, folder))
    return summary


def _trainer(config: Config, dataset: Dataset, state: dict[str, Any] | None) -> Trainer:
    device = choose_device(config.trainer.device)
    seed_everything(config.seed, -1)
    network = build_model(config.model, config.data).to(device)
    fmt = Format(**state["format"]) if state else choose_format(network, config, device)
    trainer = Trainer(network, config, dataset.train, device, fmt)
    if state:
        trainer.load_state_dict(state["trainer"])
    return trainer


def _fit(
    trainer: Trainer,
    validation: Images | None,
    tracker: Tracker,
    clock: Clock,
    report: Callable[[float, int], None],
) -> None:
    """Train to the last epoch; look at the validation images and report in the first epoch after
    each of its parts, later once an epoch."""
    config = trainer.config
    steps, total = trainer.steps_per_epoch, config.trainer.epochs
    first_parts = min(config.trainer.first_epoch_validations, steps) if validation else 1
    with progress_bar(steps * total, steps * trainer.epoch, config.trainer.progress) as advance:
        while trainer.epoch < total:
            begun = trainer.epoch
            parts = 1 if begun else first_parts
            tick = time.perf_counter()
            for part, train_loss in enumerate(trainer.train_parts(parts, advance), start=1):
                tock = time.perf_counter()
                clock.train += tock - tick
                row: dict[str, Any] = {
                    "epoch": trainer.epoch if part == parts else round(begun + part / parts, 3),
                    "lr": trainer.scheduler.get_last_lr()[0],
                    "train_loss": train_loss,
                    **_validate(trainer, validation, begun + 1, steps * part // parts),
                    "seconds": clock.train,
                    "images_per_second": steps * trainer.batch_size / parts / (tock - tick),
                }
                clock.evaluate += time.perf_counter() - tock
                tracker.add(row, total)
                if part == parts:
                    _save(trainer, tracker, clock)
                if validation and row["epoch"] < total:
                    # A step of the sweep's pruner is a part of the first epoch, or as much training
                    # later. The last look is the result itself: there is nothing left to save.
                    report(row["val_loss"], begun * first_parts + part * first_parts // parts)
                tick = time.perf_counter()


def _validate(
    trainer: Trainer, validation: Images | None, epoch: int, step: int
) -> dict[str, float | None]:
    """Loss and accuracy after this step of this epoch, both counted from 1."""
    if validation is None:
        return {"val_loss": None, "val_accuracy": None}
    found = evaluate(trainer.result, validation, trainer.config, trainer.fmt)
    if not math.isfinite(found.loss):  # the last steps' updates show only here
        raise trainer.diverged("validation loss", found.loss, epoch, step)
    return {"val_loss": found.loss, "val_accuracy": found.accuracy}


def _save(trainer: Trainer, tracker: Tracker, clock: Clock) -> None:
    checkpoint.save(
        tracker.folder / checkpoint.CHECKPOINT,
        {
            "identity": checkpoint.identity(trainer.config),
            "format": dataclasses.asdict(trainer.fmt),
            "trainer": trainer.state_dict(),
            "clock": dataclasses.asdict(clock),
            "rows": tracker.rows,
        },
    )


def _summary(
    trainer: Trainer,
    dataset: Dataset,
    cost: Cost,
    last: dict[str, Any],
    clock: Clock,
    setup_seconds: float,
) -> dict[str, Any]:
    """All that summary.json holds; reads the test set if the run is to."""
    config, fmt = trainer.config, trainer.fmt
    test = evaluate(trainer.result, dataset.test(), config, fmt) if config.trainer.test else None
    images = trainer.steps_per_epoch * trainer.batch_size * trainer.epoch
    return {
        "model": config.model.name,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "activation_bytes": cost.activation_bytes,
        "width_multiplier": config.model.width_multiplier,
        "epochs": trainer.epoch,
        "seed": config.seed,
        "train_loss": last["train_loss"],
        "val_loss": last["val_loss"],
        "val_accuracy": last["val_accuracy"],
        "test_loss": test.loss if test else None,
        "test_accuracy": test.accuracy if test else None,
        "train_seconds": clock.train,
        "evaluate_seconds": clock.evaluate,
        "setup_seconds": setup_seconds,
        "images_per_second": images / clock.train,
        "data": config.data.name,
        "train_images": len(dataset.train),
        "class_names": list(dataset.class_names),
        "device": _device_name(trainer.device),
        "precision": fmt.precision,
        "memory_format": fmt.memory_format,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def describe(config: Config, cost: Cost) -> str:
    """The network's size against its budget, in one line."""
    limit = config.budget.max_parameters
    words = f"{config.model.name}: {cost.parameters:,} parameters"
    words += f" of {limit:,} allowed" if limit else ""
    if config.budget.fit:
        words += f", widths × {config.model.width_multiplier:g} to fit"
    return f"{words}, {cost.macs:,} MACs"


def _closing(summary: dict[str, Any], folder: Path) -> str:
    scores = [
        f"{name} accuracy {summary[key]:.2%} (loss {summary[key.replace('accuracy', 'loss')]:.4f})"
        for name, key in (("validation", "val_accuracy"), ("test", "test_accuracy"))
        if summary[key] is not None
    ]
    trained = f"{summary['epochs']} epochs in {summary['train_seconds']:.1f} s"
    return ", ".join([trained, *scores]) + f" → {os.path.relpath(folder)}"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def versions() -> dict[str, str]:
    """What the numbers depend on."""
    return {
        "budgetsweep": budgetsweep.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, `+` for uncommitted changes."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
