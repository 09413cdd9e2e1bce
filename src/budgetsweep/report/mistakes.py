"""How a network does on one split: class by class, and where it errs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from budgetsweep.data import load
from budgetsweep.data.pixels import normalize, to_unit
from budgetsweep.errors import UserError
from budgetsweep.network.saved import SavedRun
from budgetsweep.runs.images import changed_images

N_WORST = 24


class ChangedImagesError(UserError):
    """A folder of images that no longer holds those that a run saw."""


@dataclass(frozen=True)
class Mistake:
    """One image that was taken for something else."""

    image: np.ndarray  # (S, S) or (S, S, 3) uint8
    truth: str
    predicted: str
    probability: float  # given to the wrong class


@dataclass(frozen=True)
class Mistakes:
    """How a network does on one split."""

    split: str  # validation or test
    names: tuple[str, ...]
    confusion: np.ndarray  # [true, predicted] → images
    worst: list[Mistake]  # the surest first

    @property
    def recall(self) -> np.ndarray:
        """Of each class's images, the share that is found; NaN without images."""
        return _share(self.confusion.diagonal(), self.confusion.sum(1))

    @property
    def precision(self) -> np.ndarray:
        """Of what is taken for each class, the share that is it; NaN where nothing is."""
        return _share(self.confusion.diagonal(), self.confusion.sum(0))

    @property
    def never(self) -> list[str]:
        """The classes that are there but never predicted."""
        rows, columns = self.confusion.sum(1), self.confusion.sum(0)
        return [n for n, r, c in zip(self.names, rows, columns, strict=True) if r and not c]

    @property
    def accuracy(self) -> float:
        """The share of all images that is right."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def largest(self) -> float:
        """The accuracy of naming the most frequent class each time."""
        return float(self.confusion.sum(1).max() / self.confusion.sum())

    @property
    def is_chance(self) -> bool:
        """Whether naming the most frequent class each time would be as good, within two sd."""
        base = self.largest
        return self.accuracy < base + 2 * (base * (1 - base) / int(self.confusion.sum())) ** 0.5


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def find_mistakes(saved: SavedRun, test: bool) -> Mistakes:
    """Classify the validation images again, or under `test` the test set if the run itself did.

    Raises:
        ChangedImagesError: they are others by now, and some of these may have been trained on.
        UserError: the data are not there, or the run set no images apart.
    """
    config = saved.config
    config.data.download = False  # a report fetches nothing
    _, changed = changed_images(saved)
    if changed:
        raise ChangedImagesError(
            f"The images in {config.data.path} have changed since the run ({changed}); only what it "
            "counted itself can be told."
        )
    dataset = load(config.data)
    use_test = test and saved.summary.get("test_accuracy") is not None
    split = dataset.test() if use_test else dataset.validation
    if split is None:
        raise UserError("the run set no validation images apart (data.validation=0).")
    with torch.inference_mode():
        parts = split.images.split(config.trainer.eval_batch_size)
        scores = torch.cat([saved.network(normalize(to_unit(p), config.data)) for p in parts])
    probabilities, predicted = scores.exp(), scores.argmax(1)
    n = len(saved.class_names)
    confusion = torch.bincount(split.labels * n + predicted, minlength=n * n).reshape(n, n)
    wrong = (predicted != split.labels).nonzero().squeeze(1)
    sure = probabilities[wrong, predicted[wrong]]
    worst = [
        Mistake(
            _picture(split.images[i]),
            saved.class_names[int(split.labels[i])],
            saved.class_names[int(predicted[i])],
            float(probabilities[i, predicted[i]]),
        )
        for i in wrong[sure.argsort(descending=True, stable=True)][:N_WORST]
    ]
    name = "test" if use_test else "validation"
    return Mistakes(name, saved.class_names, confusion.numpy(), worst)


def _picture(image: torch.Tensor) -> np.ndarray:
    pixels: np.ndarray = image.permute(1, 2, 0).numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def counted_by_the_run(saved: SavedRun, test: bool) -> Mistakes | None:
    """What the run itself counted at its end, without the images; None where it is not fitting."""
    told = saved.summary.get("per_class")
    if not isinstance(told, dict) or (told.get("split") == "test" and not test):
        return None
    try:
        confusion = np.array(told["confusion"], dtype=np.int64)
    except (KeyError, TypeError, ValueError):
        return None
    n = len(saved.class_names)
    if confusion.shape != (n, n) or confusion.sum() == 0:
        return None
    return Mistakes(str(told["split"]), saved.class_names, confusion, [])
