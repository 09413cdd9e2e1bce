"""One training run, from a configuration to a folder with its results."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from budgetsweep import checkpoint
from budgetsweep.budget import Cost, enforce
from budgetsweep.config import Config
from budgetsweep.data import Dataset, load
from budgetsweep.ensemble import check_alike, train_parts
from budgetsweep.files import write_json
from budgetsweep.model import build_model
from budgetsweep.provenance import device_name, git_commit, versions
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
    return run_together([config], [folder], threads=threads, report=report)[0]


def run_together(
    configs: Sequence[Config],
    folders: Sequence[Path],
    *,
    threads: int,
    report: Callable[[float, int], None] = lambda value, step: None,
) -> list[dict[str, Any]]:
    """`run` for several configurations that take their steps as one batched network.

    A folder's seconds are its share of the time; a run alone and one together can each go on from
    the other's checkpoint.

    Raises:
        SettingError: the configurations differ in more than `ensemble.MAY_DIFFER`.
        UserError: as `run`.
    """
    check_alike(configs)
    opened = [_open(c, f, threads, report) for c, f in zip(configs, folders, strict=True)]
    runs = [run for run in opened if run]
    for run in runs if len(configs) > 1 else ():
        run.tracker.label = f"{run.tracker.folder.name}: "
    # Checkpoints keep the format they were begun in; only equal ones make a batch.
    for fmt in dict.fromkeys(run.trainer.fmt for run in runs):
        _fit([run for run in runs if run.trainer.fmt == fmt])
    for run in runs:
        run.finish()
    return [json.loads((folder / SUMMARY).read_text()) for folder in folders]


def _open(
    config: Config, folder: Path, threads: int, report: Callable[[float, int], None]
) -> Run | None:
    """All that a run needs, from its checkpoint where there is one; None if it has finished."""
    started = time.perf_counter()
    config.model, cost = enforce(config.model, config.data, config.budget)
    log.info("%s", describe(config, cost))
    state = checkpoint.load(folder, config) if config.resume else None
    if state and (folder / SUMMARY).exists():
        log.info("finished before: %s", folder / SUMMARY)
        return None

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
    return Run(trainer, dataset, cost, tracker, clock, setup_seconds, report)


def _trainer(config: Config, dataset: Dataset, state: dict[str, Any] | None) -> Trainer:
    device = choose_device(config.trainer.device)
    seed_everything(config.seed, -1)
    network = build_model(config.model, config.data).to(device)
    fmt = Format(**state["format"]) if state else choose_format(network, config, device)
    trainer = Trainer(network, config, dataset.train, device, fmt)
    if state:
        trainer.load_state_dict(state["trainer"])
    return trainer


def _fit(runs: Sequence[Run]) -> None:
    """Train to the last epoch; look at the validation images and report in the first epoch after
    each of its parts, later once an epoch."""
    first, settings = runs[0].trainer, runs[0].trainer.config.trainer
    steps, done = first.steps_per_epoch, min(run.trainer.epoch for run in runs)
    with progress_bar(steps * settings.epochs, steps * done, settings.progress) as advance:
        while runs := [run for run in runs if run.trainer.epoch < settings.epochs]:
            parts = max(1 if run.trainer.epoch else run.first_parts for run in runs)
            tick = time.perf_counter()
            epoch = train_parts([run.trainer for run in runs], parts, advance)
            for part, losses in enumerate(epoch, start=1):
                share = (time.perf_counter() - tick) / len(runs)
                for run, train_loss in zip(runs, losses, strict=True):
                    run.look(train_loss, part, parts, share)
                tick = time.perf_counter()


@dataclass
class Run:
    """A network in training, and what goes into its folder."""

    trainer: Trainer
    dataset: Dataset
    cost: Cost
    tracker: Tracker
    clock: Clock
    setup_seconds: float
    report: Callable[[float, int], None]

    @property
    def first_parts(self) -> int:
        """Parts of the first epoch, each of which ends with a look at the validation images."""
        interval = self.trainer.config.trainer.validation_interval
        if interval is None or self.dataset.validation is None:
            return 1
        return max(1, self.trainer.steps_per_epoch // interval)

    def look(self, train_loss: float, part: int, parts: int, seconds: float) -> None:
        """Validate, log and report after `part` of an epoch's `parts`, which took `seconds`."""
        trainer, total = self.trainer, self.trainer.config.trainer.epochs
        begun, steps = trainer.epoch - (part == parts), trainer.steps_per_epoch
        self.clock.train += seconds
        tick = time.perf_counter()
        row: dict[str, Any] = {
            "epoch": trainer.epoch if part == parts else round(begun + part / parts, 3),
            "lr": trainer.scheduler.get_last_lr()[0],
            "train_loss": train_loss,
            **self._validate(begun + 1, steps * part // parts),
            "seconds": self.clock.train,
            "images_per_second": steps * trainer.batch_size / parts / seconds,
        }
        self.clock.evaluate += time.perf_counter() - tick
        self.tracker.add(row, total)
        if part == parts:
            self._save()
        if self.dataset.validation and row["epoch"] < total:
            # A step of the sweep's pruner is a part of the first epoch, or as much training later.
            # The last look is the result itself: there is nothing left to save.
            step = begun * self.first_parts + part * self.first_parts // parts
            self.report(row["val_loss"], step)

    def _validate(self, epoch: int, step: int) -> dict[str, float | None]:
        """Loss and accuracy after this step of this epoch, both counted from 1."""
        trainer, validation = self.trainer, self.dataset.validation
        if validation is None:
            return {"val_loss": None, "val_accuracy": None}
        found = evaluate(trainer.result, validation, trainer.config, trainer.fmt)
        if not math.isfinite(found.loss):  # the last steps' updates show only here
            raise trainer.diverged("validation loss", found.loss, epoch, step)
        return {"val_loss": found.loss, "val_accuracy": found.accuracy}

    def _save(self) -> None:
        state = {
            "identity": checkpoint.identity(self.trainer.config),
            "format": dataclasses.asdict(self.trainer.fmt),
            "trainer": self.trainer.state_dict(),
            "clock": dataclasses.asdict(self.clock),
            "rows": self.tracker.rows,
        }
        checkpoint.save(self.tracker.folder / checkpoint.CHECKPOINT, state)

    def finish(self) -> None:
        """Write the weights and the summary; reads the test set if the run is to."""
        folder, weights = self.tracker.folder, self.trainer.result.state_dict()
        summary = _summary(self)
        checkpoint.save(folder / checkpoint.MODEL, {k: v.cpu() for k, v in weights.items()})
        write_json(folder / SUMMARY, summary)
        log.info("%s", _closing(summary, folder))


def _summary(run: Run) -> dict[str, Any]:
    trainer, dataset, cost, clock = run.trainer, run.dataset, run.cost, run.clock
    config, fmt, last = trainer.config, trainer.fmt, run.tracker.rows[-1]
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
        "setup_seconds": run.setup_seconds,
        "images_per_second": images / clock.train,
        "data": config.data.name,
        "train_images": len(dataset.train),
        "class_names": list(dataset.class_names),
        "device": device_name(trainer.device),
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
