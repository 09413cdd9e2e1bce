"""What a run comes to: summary.json, and the lines of its log that open and close it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from budgetsweep.config import Config
from budgetsweep.data import Images
from budgetsweep.network.cost import Cost
from budgetsweep.training.epochs import Run
from budgetsweep.training.evaluation import Evaluation, evaluate
from budgetsweep.training.provenance import device_name, git_commit, machine, versions


def summarize(run: Run) -> dict[str, Any]:
    """The content of summary.json; reads the test set if the run is to."""
    trainer, dataset, cost, clock = run.trainer, run.dataset, run.cost, run.clock
    config, fmt, last = trainer.config, trainer.fmt, run.tracker.rows[-1]
    split = dataset.test() if config.trainer.test else dataset.validation
    test = evaluate(trainer.result, split, config, fmt) if config.trainer.test and split else None
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
        "size_at_target": size_at_target(cost.parameters, last["val_accuracy"], config.target),
        "test_loss": test.loss if test else None,
        "test_accuracy": test.accuracy if test else None,
        "train_seconds": clock.train,
        "evaluate_seconds": clock.evaluate,
        "setup_seconds": run.setup_seconds,
        "images_per_second": images / clock.train,
        "data": config.data.name,
        "train_images": len(dataset.train),
        "contents": dict(dataset.contents),
        "channels": config.data.channels,
        "mean": list(config.data.mean),
        "std": list(config.data.std),
        "class_names": list(dataset.class_names),
        "per_class": per_class(
            test or run.validated, split, len(dataset.class_names), "test" if test else "validation"
        ),
        "device": device_name(trainer.device),
        "machine": machine(),
        "precision": fmt.precision,
        "memory_format": fmt.memory_format,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def size_at_target(parameters: int, accuracy: float | None, target: float | None) -> float | None:
    """What a search for the smallest network minimizes: the size, and more where the target is missed.

    A size alone would tell a search nothing of how near a network came: every tenth of the allowed
    errors, 1 - target, above them counts as much as the network once more.
    """
    if accuracy is None or target is None:
        return None
    return parameters * (1 + max(0.0, target - accuracy) / (0.1 * (1 - target)))


def per_class(
    found: Evaluation | None, split: Images | None, n_classes: int, name: str
) -> dict[str, Any] | None:
    """Recall and precision of each class, null where there is nothing to divide by.

    Returns:
        `split`, `recall`, `precision` (a share each class) and `confusion`, the images by true class
        and then by predicted class; None where no images were judged.
    """
    if found is None or split is None:
        return None
    pairs = split.labels * n_classes + found.predictions
    confusion = torch.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)

    def shares(totals: torch.Tensor) -> list[float | None]:
        pairs = zip(confusion.diagonal().tolist(), totals.tolist(), strict=True)
        return [right / total if total else None for right, total in pairs]

    return {
        "split": name,
        "recall": shares(confusion.sum(1)),
        "precision": shares(confusion.sum(0)),
        "confusion": confusion.tolist(),
    }


def describe(config: Config, cost: Cost) -> str:
    """The network's size against its budget, in one line."""
    limit = config.budget.max_parameters
    words = f"{config.model.name}: {cost.parameters:,} parameters"
    words += f" of {limit:,} allowed" if limit else ""
    if config.budget.fit:
        words += f", widths × {config.model.width_multiplier:g} to fit"
    return f"{words}, {cost.macs:,} MACs"


def closing(summary: Mapping[str, Any], folder: Path) -> list[str]:
    """Lines of a finished run: its scores, if it has any, then its time and place."""
    scores = [
        f"{name} accuracy {summary[key]:.2%} (loss {summary[key.replace('accuracy', 'loss')]:.4f})"
        for name, key in (("validation", "val_accuracy"), ("test", "test_accuracy"))
        if summary[key] is not None
    ]
    trained = f"{summary['epochs']} epochs in {summary['train_seconds']:.1f} s"
    return [*filter(None, [", ".join(scores)]), f"{trained} → {os.path.relpath(folder)}"]
