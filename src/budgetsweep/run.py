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
from budgetsweep.data import load
from budgetsweep.files import write_json
from budgetsweep.model import build_model
from budgetsweep.tracking import Tracker, progress_bar
from budgetsweep.training import Trainer, choose_device, evaluate, seed_everything
from budgetsweep.tuning import Format, choose_format

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
        report: told the validation loss after each epoch; may raise to end the run.

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

    torch.set_num_threads(config.trainer.threads or threads)
    torch.backends.cudnn.benchmark = True
    dataset = load(config.data)
    device = choose_device(config.trainer.device)
    seed_everything(config.seed, -1)
    network = build_model(config.model, config.data).to(device)
    fmt = Format(**state["format"]) if state else choose_format(network, config, device)
    trainer = Trainer(network, config, dataset.train, device, fmt)
    clock, rows = Clock(), list[dict[str, Any]]()
    if state:
        trainer.load_state_dict(state["trainer"])
        clock, rows = Clock(**state["clock"]), state["rows"]
        log.info("going on after epoch %d of %d", trainer.epoch, config.trainer.epochs)
    setup_seconds = time.perf_counter() - started
    log.info(
        "%s, %s %s, %d threads, %d training images, ready in %.1f s",
        device, fmt.precision, fmt.memory_format, torch.get_num_threads(), len(dataset.train),
        setup_seconds,
    )  # fmt: skip

    tracker = Tracker(folder, rows, config.trainer.tensorboard)
    images = trainer.steps_per_epoch * trainer.batch_size
    steps = trainer.steps_per_epoch * config.trainer.epochs
    done = trainer.steps_per_epoch * trainer.epoch
    with progress_bar(steps, done, config.trainer.progress) as advance:
        while trainer.epoch < config.trainer.epochs:
            tick = time.perf_counter()
            train_loss = trainer.train_epoch(advance)
            tock = time.perf_counter()
            val = None
            if dataset.validation:
                val = evaluate(trainer.result, dataset.validation, config, fmt)
                if not math.isfinite(val.loss):  # the last steps' updates show only here
                    step = trainer.steps_per_epoch
                    raise trainer.diverged("validation loss", val.loss, trainer.epoch, step)
            clock.train += tock - tick
            clock.evaluate += time.perf_counter() - tock
            row = {
                "epoch": trainer.epoch,
                "lr": trainer.scheduler.get_last_lr()[0],
                "train_loss": train_loss,
                "val_loss": val.loss if val else None,
                "val_accuracy": val.accuracy if val else None,
                "seconds": clock.train,
                "images_per_second": images / (tock - tick),
            }
            tracker.add(row, config.trainer.epochs)
            checkpoint.save(
                folder / checkpoint.CHECKPOINT,
                {
                    "identity": checkpoint.identity(config),
                    "format": dataclasses.asdict(fmt),
                    "trainer": trainer.state_dict(),
                    "clock": dataclasses.asdict(clock),
                    "rows": tracker.rows,
                },
            )
            if val:
                report(val.loss, trainer.epoch - 1)

    test = evaluate(trainer.result, dataset.test(), config, fmt) if config.trainer.test else None
    last = tracker.rows[-1]
    summary = {
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
        "images_per_second": images * trainer.epoch / clock.train,
        "data": config.data.name,
        "train_images": len(dataset.train),
        "class_names": list(dataset.class_names),
        "device": _device_name(device),
        "precision": fmt.precision,
        "memory_format": fmt.memory_format,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "git_commit": git_commit(),
    }
    weights = {k: v.cpu() for k, v in trainer.result.state_dict().items()}
    checkpoint.save(folder / checkpoint.MODEL, weights)
    write_json(folder / SUMMARY, summary)
    log.info("%s", _closing(summary, folder))
    return summary


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
