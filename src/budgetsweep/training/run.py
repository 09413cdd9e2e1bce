"""One training run, from a configuration to a folder with its results."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from budgetsweep.config import Config
from budgetsweep.data import Dataset, Images, load
from budgetsweep.files import write_json
from budgetsweep.folders import CHECKPOINT, MODEL, SUMMARY
from budgetsweep.network.budget import enforce
from budgetsweep.network.cost import Cost
from budgetsweep.network.factory import build_model
from budgetsweep.training import checkpoint
from budgetsweep.training.device import choose_device, keep_memory, seed_everything
from budgetsweep.training.early_looks import look, look_steps, sample
from budgetsweep.training.ensemble import check_alike, train_epoch
from budgetsweep.training.evaluation import Evaluation, evaluate
from budgetsweep.training.number_format import Format, choose_format
from budgetsweep.training.summary import Clock, closing, describe, summarize
from budgetsweep.training.tracking import Tracker, progress_bar
from budgetsweep.training.trainer import Trainer

log = logging.getLogger(__name__)

Reporter = Callable[[float, int], None]


def run(
    config: Config,
    folder: Path,
    *,
    threads: int,
    report: Reporter | None = None,
) -> dict[str, Any]:
    """Train one network and write its folder; the summary, as in summary.json.

    A finished folder is not trained again under `config.resume`: its summary is returned.

    Args:
        config: the run; see `budgetsweep.config`.
        folder: takes metrics.csv, checkpoint.pt, model.pt and summary.json.
        threads: CPU threads where `trainer.threads` is null.
        report: told how the training goes, by the objective on validation images and the optimizer
            steps so far, before its end; may raise to end the run. None: nobody asks.

    Raises:
        BudgetError: the network is over budget; nothing was read or written.
        UserError: other mistakes in the configuration or the data.
    """
    return _run([config], [folder], threads, report)[0]


def run_together(
    configs: Sequence[Config], folders: Sequence[Path], *, threads: int
) -> list[dict[str, Any]]:
    """`run` for several configurations that take their steps as one batched network.

    A folder's seconds are its share of the time; a run alone and one together can each go on from
    the other's checkpoint.

    Raises:
        SettingError: the configurations differ in more than `ensemble.MAY_DIFFER`.
        UserError: as `run`.
    """
    check_alike(configs)
    return _run(configs, folders, threads, report=None)


def _run(
    configs: Sequence[Config], folders: Sequence[Path], threads: int, report: Reporter | None
) -> list[dict[str, Any]]:
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


def _open(config: Config, folder: Path, threads: int, report: Reporter | None) -> Run | None:
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
    """Train to the last epoch."""
    first, settings = runs[0].trainer, runs[0].trainer.config.trainer
    steps, done = first.steps_per_epoch, min(run.trainer.epoch for run in runs)
    with progress_bar(steps * settings.epochs, steps * done, settings.progress) as advance:
        while runs := [run for run in runs if run.trainer.epoch < settings.epochs]:
            watch, looks = Stopwatch(), [(run, run.looks) for run in runs]

            def on_step(
                step: int,
                looks: Sequence[tuple[Run, set[int]]] = looks,
                watch: Stopwatch = watch,
            ) -> None:
                advance()
                for run, steps in looks:
                    if step in steps:
                        with watch.stopped():
                            run.look(step, watch.seconds)

            losses = train_epoch([run.trainer for run in runs], on_step)
            share = watch.seconds / len(runs)
            for run, train_loss in zip(runs, losses, strict=True):
                run.end_epoch(train_loss, share)


class Stopwatch:
    """Seconds since it was made, without those it was stopped for."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    @contextmanager
    def stopped(self) -> Iterator[None]:
        tick = time.perf_counter()
        yield
        self._start += time.perf_counter() - tick


@dataclass
class Run:
    """A network in training, and what goes into its folder."""

    trainer: Trainer
    dataset: Dataset
    cost: Cost
    tracker: Tracker
    clock: Clock
    setup_seconds: float
    report: Reporter | None

    @property
    def looks(self) -> set[int]:
        """The steps of the epoch in progress after which to look."""
        if not self._compared:
            return set()
        trainer = self.trainer
        first = trainer.config.trainer.first_look
        return look_steps(first, trainer.epoch, trainer.steps_per_epoch)

    @property
    def _compared(self) -> bool:
        """Whether a sweep may give this run up; with several objectives none does."""
        by_validation = self.trainer.config.objectives in (["val_loss"], ["val_accuracy"])
        return bool(self.report and self.dataset.validation and by_validation)

    @cached_property
    def _sample(self) -> Images:
        config, validation = self.trainer.config, self.dataset.validation
        assert validation is not None
        return sample(validation, config.trainer.look_images, config.data.split_seed)

    def look(self, step: int, seconds: float) -> None:
        """Tell how an epoch goes, after a step and `seconds` of it."""
        trainer = self.trainer
        found = self._look(trainer.epoch + 1, step)
        self._add(step, None, found, seconds, self.clock.train + seconds)
        self._tell(found, trainer.epoch * trainer.steps_per_epoch + step)

    def end_epoch(self, train_loss: float, seconds: float) -> None:
        """Validate, log, save and report, after an epoch that took `seconds`."""
        trainer, validation = self.trainer, self.dataset.validation
        self.clock.train += seconds
        found = None
        if validation is not None:
            found = self._evaluated(
                lambda: evaluate(trainer.result, validation, trainer.config, trainer.fmt),
                trainer.epoch, trainer.steps_per_epoch,
            )  # fmt: skip
        self._add(trainer.steps_per_epoch, train_loss, found, seconds, self.clock.train)
        self._save()
        # After the last epoch there is nothing left to save.
        if self._compared and trainer.epoch < trainer.config.trainer.epochs:
            found = self._look(trainer.epoch, trainer.steps_per_epoch)
            self._tell(found, trainer.epoch * trainer.steps_per_epoch)

    def _tell(self, found: Evaluation, steps: int) -> None:
        assert self.report
        accuracy = self.trainer.config.objectives[0] == "val_accuracy"
        self.report(found.accuracy if accuracy else found.loss, steps)

    def _look(self, epoch: int, step: int) -> Evaluation:
        trainer = self.trainer
        return self._evaluated(
            lambda: look(trainer.result, self._sample, trainer.config, trainer.fmt), epoch, step
        )

    def _evaluated(self, evaluation: Callable[[], Evaluation], epoch: int, step: int) -> Evaluation:
        tick = time.perf_counter()
        found = evaluation()
        self.clock.evaluate += time.perf_counter() - tick
        if not math.isfinite(found.loss):  # the last steps' updates show only here
            raise self.trainer.diverged("validation loss", found.loss, epoch, step)
        return found

    def _add(
        self,
        step: int,
        train_loss: float | None,
        found: Evaluation | None,
        seconds: float,
        total_seconds: float,
    ) -> None:
        """A row for the history, after a step of the epoch and `seconds` of it."""
        trainer, steps = self.trainer, self.trainer.steps_per_epoch
        row = {
            "epoch": trainer.epoch if step == steps else round(trainer.epoch + step / steps, 3),
            "lr": trainer.scheduler.get_last_lr()[0],
            "train_loss": train_loss,
            "val_loss": found.loss if found else None,
            "val_accuracy": found.accuracy if found else None,
            "seconds": total_seconds,
            "images_per_second": step * trainer.batch_size / seconds,
        }
        self.tracker.add(row, trainer.config.trainer.epochs)

    def _save(self) -> None:
        state = {
            "identity": checkpoint.identity(self.trainer.config),
            "format": dataclasses.asdict(self.trainer.fmt),
            "trainer": self.trainer.state_dict(),
            "clock": dataclasses.asdict(self.clock),
            "rows": self.tracker.rows,
        }
        checkpoint.save(self.tracker.folder / CHECKPOINT, state)

    def finish(self) -> None:
        """Write the weights and the summary; reads the test set if the run is to."""
        folder, weights = self.tracker.folder, self.trainer.result.state_dict()
        summary = summarize(
            self.trainer, self.dataset, self.cost, self.clock, self.tracker.rows[-1],
            self.setup_seconds,
        )  # fmt: skip
        checkpoint.save(folder / MODEL, {k: v.cpu() for k, v in weights.items()})
        write_json(folder / SUMMARY, summary)
        log.info("%s", closing(summary, folder))
