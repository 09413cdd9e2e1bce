"""A run from epoch to epoch: early looks, validation, history, checkpoint."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from budgetsweep import tensors
from budgetsweep.data import Dataset, Images
from budgetsweep.folders import CHECKPOINT
from budgetsweep.network.cost import Cost
from budgetsweep.training.early_looks import look, look_steps, sample
from budgetsweep.training.evaluation import Evaluation, evaluate
from budgetsweep.training.tracking import Tracker, progress_bar
from budgetsweep.training.trainer import Trainer

Reporter = Callable[[float, int], None]


@dataclass
class Clock:
    """Seconds spent, kept across interruptions."""

    train: float = 0.0
    evaluate: float = 0.0


@dataclass
class Run:
    """A network in training, and what goes into its folder."""

    trainer: Trainer
    identity: dict[str, Any]  # the settings as they were before the data was read
    dataset: Dataset
    cost: Cost
    tracker: Tracker
    clock: Clock
    setup_seconds: float
    report: Reporter | None
    validated: Evaluation | None = None  # after the last epoch

    def train(self) -> None:
        """Go on to the last epoch."""
        trainer, settings = self.trainer, self.trainer.config.trainer
        total = trainer.steps_per_epoch * settings.epochs
        done = trainer.steps_per_epoch * trainer.epoch
        with progress_bar(total, done, settings.progress) as advance:
            while trainer.epoch < settings.epochs:
                epoch = _Epoch(self, advance)
                train_loss = trainer.train_epoch(epoch.on_step)
                self.end_epoch(train_loss, epoch.seconds)

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
        self._add(step, seconds, self.clock.train + seconds, look=found)
        self._tell(found, trainer.epoch * trainer.steps_per_epoch + step)

    def end_epoch(self, train_loss: float, seconds: float) -> None:
        """Validate, log, save and report, after an epoch that took `seconds`."""
        trainer, looked = self.trainer, None
        self.clock.train += seconds
        found = self.validate()
        # After the last epoch there is nothing left to save.
        if self._compared and trainer.epoch < trainer.config.trainer.epochs:
            looked = self._look(trainer.epoch, trainer.steps_per_epoch)
        self._add(trainer.steps_per_epoch, seconds, self.clock.train, train_loss, found, looked)
        self._save()
        if looked:
            self._tell(looked, trainer.epoch * trainer.steps_per_epoch)

    def validate(self) -> Evaluation | None:
        """Judge the network as it is kept by all validation images, if there are any."""
        trainer, validation = self.trainer, self.dataset.validation
        if validation is None:
            return None
        self.validated = self._evaluated(
            lambda: evaluate(trainer.result, validation, trainer.config, trainer.fmt),
            trainer.epoch, trainer.steps_per_epoch,
        )  # fmt: skip
        return self.validated

    def _tell(self, found: Evaluation, steps: int) -> None:
        assert self.report
        accuracy = self.trainer.config.objectives[0] == "val_accuracy"
        self.report(found.accuracy if accuracy else found.loss, steps)

    def _look(self, epoch: int, step: int) -> Evaluation:
        """By the network or its short average, not the kept one: early on, that lags far behind."""
        trainer = self.trainer
        return self._evaluated(
            lambda: look(trainer.looked_at, self._sample, trainer.config, trainer.fmt), epoch, step
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
        seconds: float,
        total_seconds: float,
        train_loss: float | None = None,
        found: Evaluation | None = None,
        look: Evaluation | None = None,
    ) -> None:
        """A row for the history, after a step of the epoch and `seconds` of it."""
        trainer, steps = self.trainer, self.trainer.steps_per_epoch
        row = {
            "epoch": trainer.epoch if step == steps else round(trainer.epoch + step / steps, 3),
            "lr": trainer.scheduler.get_last_lr()[0],
            "train_loss": train_loss,
            "val_loss": found.loss if found else None,
            "val_accuracy": found.accuracy if found else None,
            "look_loss": look.loss if look else None,
            "look_accuracy": look.accuracy if look else None,
            "seconds": total_seconds,
            "images_per_second": step * trainer.batch_size / seconds,
        }
        self.tracker.add(row, trainer.config.trainer.epochs)

    def _save(self) -> None:
        state = {
            "identity": self.identity,
            "contents": dict(self.dataset.contents),
            "format": dataclasses.asdict(self.trainer.fmt),
            "trainer": self.trainer.state_dict(),
            "clock": dataclasses.asdict(self.clock),
            "rows": self.tracker.rows,
        }
        tensors.save(self.tracker.folder / CHECKPOINT, state)


class _Epoch:
    """An epoch in progress: its looks, and its seconds without theirs."""

    def __init__(self, run: Run, advance: Callable[[], object]) -> None:
        self._run, self._advance, self._looks = run, advance, run.looks
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def on_step(self, step: int) -> None:
        self._advance()
        trainer = self._run.trainer
        self._run.tracker.at(trainer.epoch + step / trainer.steps_per_epoch)
        if step in self._looks:
            tick = time.perf_counter()
            self._run.look(step, self.seconds)
            self._start += time.perf_counter() - tick
