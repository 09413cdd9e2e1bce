"""One training run, from a configuration to a folder with its results."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch

from budgetsweep import tensors
from budgetsweep.config import OBJECTIVES, Config
from budgetsweep.data import Dataset, load, normalization, resolve
from budgetsweep.errors import SettingError, UserError
from budgetsweep.files import read_json, write_json
from budgetsweep.folders import CHECKPOINT, MODEL, SUMMARY
from budgetsweep.network.budget import enforce, refuse_single_values
from budgetsweep.network.factory import build_model
from budgetsweep.training import checkpoint
from budgetsweep.training.device import (
    choose_device,
    is_out_of_memory,
    keep_memory,
    seed_everything,
)
from budgetsweep.training.epochs import Clock, Reporter, Run
from budgetsweep.training.number_format import Format, choose_format
from budgetsweep.training.same_images import refuse_changed, refuse_unlike
from budgetsweep.training.summary import closing, describe, summarize
from budgetsweep.training.teacher import load_teacher
from budgetsweep.training.tracking import Tracker
from budgetsweep.training.trainer import Trainer
from hydra_budget_sweeper import show

log = logging.getLogger(__name__)


def run(
    config: Config,
    folder: Path,
    *,
    threads: int,
    report: Reporter | None = None,
    sweeping: bool = False,
) -> dict[str, Any]:
    """Train one network and write its folder; the summary, as in summary.json.

    A finished folder is not trained again under `config.resume`: its summary is returned, after
    the test set is read where `config.trainer.test` asks for it and it was not yet.

    Args:
        config: the run; see `budgetsweep.config`.
        folder: takes metrics.csv, checkpoint.pt, model.pt and summary.json.
        threads: CPU threads where `trainer.threads` is null.
        report: told how the training goes, by the objective on validation images and the optimizer
            steps so far, before its end; may raise to end the run. None: nobody asks.
        sweeping: the run is one of a sweep, where `trainer.test` null does not read the test set.

    Raises:
        BudgetError: the network is over budget; nothing was read or written.
        SettingError: the memory does not suffice.
        UserError: other mistakes in the configuration or the data.
    """
    if config.trainer.test is None:
        config.trainer.test = not sweeping
    try:
        if begun := _open(config, folder, threads, report):
            begun.train()
            _finish(begun)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise SettingError(
            "trainer.batch_size", config.trainer.batch_size, "there is not enough memory to train this "
            f"network on so many images of {config.data.size}×{config.data.size} pixels at a time.",
            "Take fewer, or narrower rows. What was trained is kept: resume=true goes on.",
        ) from None  # fmt: skip
    summary: dict[str, Any] = read_json(folder / SUMMARY)
    return summary


def _open(config: Config, folder: Path, threads: int, report: Reporter | None) -> Run | None:
    """All that a run needs, from its checkpoint where there is one; None if it has finished."""
    started = time.perf_counter()
    config.data = resolve(config.data)
    state = checkpoint.load(folder) if config.resume else None
    finished = state is not None and _is_finished(folder, config)
    if state and not finished:  # before the settings: other classes make another network
        refuse_changed(state, config.data)
    config.model, cost = enforce(config.model, config.data, config.budget)
    log.info("%s", describe(config, cost))
    show(parameters=cost.parameters, macs=cost.macs, epoch=0, epochs=config.trainer.epochs)
    identity = checkpoint.identity(config)
    if state:
        checkpoint.refuse_other(state, config, folder)
    elif (folder / SUMMARY).exists():
        log.warning("%s held a finished run, which this one replaces", folder)
    if finished:
        log.info("finished before: %s", folder / SUMMARY)
        return None

    device = choose_device(config.trainer.device)
    keep_memory()
    torch.set_num_threads(config.trainer.threads or threads)
    torch.backends.cudnn.benchmark = True
    dataset = load(config.data)
    refuse_unlike(dataset.contents, config.data, folder)
    refuse_single_values(cost, min(config.trainer.batch_size, len(dataset.train)))
    config.data = normalization(config.data, dataset.train.images)
    if config.trainer.batch_size > len(dataset.train):
        told = "trainer.batch_size=%d is more than the %d training images: an epoch is one step"
        log.warning(told, config.trainer.batch_size, len(dataset.train))
    if report is None:
        config.trainer.look_ema = 0.0  # nobody will look
    trainer = _trainer(config, folder, dataset, device, state)
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
    return Run(trainer, identity, dataset, cost, tracker, clock, setup_seconds, report)


def _is_finished(folder: Path, config: Config) -> bool:
    """Whether there is nothing left to do: trained, and the test set read if it is to be.

    A summary, or weights, that were damaged since are made again from the checkpoint.
    """
    if not (folder / SUMMARY).exists():
        return False
    try:
        summary = read_json(folder / SUMMARY)
        tensors.load(folder / MODEL)
    except UserError as error:
        log.warning("%s It is made again from %s.", error, CHECKPOINT)
        return False
    if not isinstance(summary, dict) or not summary.keys() >= {*OBJECTIVES, "test_accuracy"}:
        log.warning("%s is no summary; it is made again from %s.", folder / SUMMARY, CHECKPOINT)
        return False
    return not config.trainer.test or summary["test_accuracy"] is not None


def _trainer(
    config: Config,
    folder: Path,
    dataset: Dataset,
    device: torch.device,
    state: dict[str, Any] | None,
) -> Trainer:
    seed_everything(config.seed, -1)
    network = build_model(config.model, config.data).to(device)
    fmt = Format(**state["format"]) if state else choose_format(network, config, device, folder)
    teacher = load_teacher(config, device, fmt)
    trainer = Trainer(network, config, dataset.train, device, fmt, teacher)
    if state:
        try:
            trainer.load_state_dict(state["trainer"])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{folder / CHECKPOINT} does not fit this network ({reason}): its layers were built by "
                "other code. Remove it to start anew, or use another hydra.run.dir."
            ) from None
    return trainer


def _finish(run: Run) -> None:
    """Write the weights and the summary; reads the test set if the run is to."""
    folder, weights = run.tracker.folder, run.trainer.result.state_dict()
    if run.validated is None:  # nothing was left to train
        run.validate()
    summary = summarize(run)
    tensors.save(folder / MODEL, {k: v.cpu() for k, v in weights.items()})
    write_json(folder / SUMMARY, summary)
    for line in closing(summary, folder):
        log.info("%s", line)
