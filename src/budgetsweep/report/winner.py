"""The network itself: its rows and what it gets wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from budgetsweep.config import Config
from budgetsweep.errors import UserError
from budgetsweep.network.cost import Cost, cost_of
from budgetsweep.runs.loading import SavedRun, load_run

N_WORST = 24


@dataclass(frozen=True)
class Mistakes:
    """How a network does on one split."""

    split: str  # validation or test
    names: tuple[str, ...]
    confusion: np.ndarray  # [true, predicted] → images
    worst: list[Mistake]  # the surest first


@dataclass(frozen=True)
class Mistake:
    """One image that was taken for something else."""

    image: np.ndarray  # (S, S) or (S, S, 3) uint8
    truth: str
    predicted: str
    probability: float  # given to the wrong class


@dataclass(frozen=True)
class Winner:
    """A finished run's network; what could not be had is None, with the reason."""

    saved: SavedRun | None
    cost: Cost | None
    mistakes: Mistakes | None
    why_not: str = ""


def look_at(folder: Path, test: bool) -> Winner:
    """Read a run's network, count it, and try it on its validation or test images.

    Args:
        folder: a single run's.
        test: use the test set if the run itself did.
    """
    try:
        saved = load_run(folder)
    except UserError as error:
        return Winner(None, None, None, str(error))
    cost = cost_of(saved.config.model, saved.config.data)
    try:
        return Winner(saved, cost, find_mistakes(saved, test))
    except (UserError, OSError) as error:
        return Winner(saved, cost, None, f"The images cannot be read here: {error}")


def find_mistakes(saved: SavedRun, test: bool) -> Mistakes:
    """Classify the split again.

    Raises:
        UserError: the data are not there, or the run set no images apart.
    """
    import torch

    from budgetsweep.data import load
    from budgetsweep.data.pixels import normalize, to_unit

    config: Config = saved.config
    config.data.download = False  # a report fetches nothing
    dataset = load(config.data)
    use_test = test and saved.summary.get("test_accuracy") is not None
    split = dataset.test() if use_test else dataset.validation
    if split is None:
        raise UserError("the run set no validation images apart (data.validation=0).")
    with torch.inference_mode():
        parts = split.images.split(config.trainer.eval_batch_size)
        scores = torch.cat([saved.network(normalize(to_unit(p), config.data)) for p in parts])
    probabilities = scores.exp()
    predicted = scores.argmax(1)
    n = len(saved.class_names)
    confusion = torch.bincount(split.labels * n + predicted, minlength=n * n).reshape(n, n)
    wrong = (predicted != split.labels).nonzero().squeeze(1)
    sure = probabilities[wrong, predicted[wrong]]
    order = wrong[sure.argsort(descending=True, stable=True)][:N_WORST]
    worst = [
        Mistake(
            _picture(split.images[i]),
            saved.class_names[int(split.labels[i])],
            saved.class_names[int(predicted[i])],
            float(probabilities[i, predicted[i]]),
        )
        for i in order
    ]
    return Mistakes(
        "test" if use_test else "validation", saved.class_names, confusion.numpy(), worst
    )


def _picture(image: Any) -> np.ndarray:
    pixels: np.ndarray = image.permute(1, 2, 0).numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
