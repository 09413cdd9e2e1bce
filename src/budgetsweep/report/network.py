"""One network: its rows, how it does on each class, what it confuses, its worst mistakes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from budgetsweep.config import Config
from budgetsweep.errors import UserError
from budgetsweep.network.cost import Cost, LayerCost, cost_of
from budgetsweep.network.limits import measure
from budgetsweep.report.page import Block, Confusion, Pictures, Section, Table, text
from budgetsweep.report.words import count, percent
from budgetsweep.runs.loading import SavedRun, load_run

N_WORST = 24
MOST_CLASSES = 20  # a larger confusion matrix is told by its largest entries


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
    def is_chance(self) -> bool:
        """Whether naming the largest class each time would be as good, within two sd."""
        total = int(self.confusion.sum())
        base = float(self.confusion.sum(1).max()) / total
        return bool(
            np.trace(self.confusion) / total < base + 2 * (base * (1 - base) / total) ** 0.5
        )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


@dataclass(frozen=True)
class Looked:
    """A finished run's network; what could not be had is None, with the reason."""

    saved: SavedRun | None
    cost: Cost | None
    mistakes: Mistakes | None
    why_not: str = ""


def look_at(folder: Path, test: bool) -> Looked:
    """Read a run's network, count it, and try it on its validation or test images.

    Args:
        folder: a single run's.
        test: use the test set if the run itself did.
    """
    try:
        saved = load_run(folder)
    except UserError as error:
        return Looked(None, None, None, str(error))
    cost = cost_of(saved.config.model, saved.config.data)
    try:
        return Looked(saved, cost, find_mistakes(saved, test))
    except (UserError, OSError) as error:
        known = counted_by_the_run(saved, test)
        return Looked(saved, cost, known, f"The images cannot be read here: {error}")


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
    name = "test" if use_test else "validation"
    return Mistakes(name, saved.class_names, confusion.numpy(), worst)


def _picture(image: Any) -> np.ndarray:
    pixels: np.ndarray = image.permute(1, 2, 0).numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def sections(looked: Looked, whose: str, beside: Cost | None = None) -> list[Section]:
    """The network's sections; `whose` names it, such as "the winner", `beside` is the reference."""
    if looked.saved is None and looked.mistakes is None:
        return [Section("The network", [text(looked.why_not)])]
    found = [Section("Layers", _layers(looked, beside))]
    if looked.mistakes is None:
        return [*found, Section("Confusion and mistakes", [text(looked.why_not)])]
    return [
        *found,
        Section("Classes", _classes(looked.mistakes)),
        Section("Confusion", _confusion(looked.mistakes, whose)),
        Section(
            "Worst mistakes", [text(looked.why_not)] if looked.why_not else _worst(looked.mistakes)
        ),
    ]


def warnings(looked: Looked) -> list[Block]:
    """What belongs on top of the page: classes that are never predicted, chance level."""
    if looked.mistakes is None:
        return []
    found, mistakes = list[Block](), looked.mistakes
    if mistakes.is_chance:
        share = percent(float(mistakes.confusion.sum(1).max() / mistakes.confusion.sum()))
        found.append(
            text(
                f"This is chance level: naming the most frequent class every time is right on {share} "
                f"of the {mistakes.split} images. Nothing here tells one network from another.",
                kind="warning",
            )
        )
    if mistakes.never:
        names = ", ".join(mistakes.never[:10]) + (", …" if len(mistakes.never) > 10 else "")
        found.append(
            text(f"Never predicted on the {mistakes.split} images: {names}.", kind="warning")
        )
    return found


def _layers(looked: Looked, beside: Cost | None) -> list[Block]:
    if looked.cost is None or looked.saved is None:
        return [text(looked.why_not)]
    cost = looked.cost
    head = ["layer", "operations", "output", "parameters", "MACs", "receptive field"]
    rows, foot = [_layer(layer) for layer in cost.layers], _total(cost)
    if beside is not None:
        head += ["reference: output", "parameters", "MACs"]
        there = {layer.name: layer for layer in beside.layers}
        empty = ["", "", ""]
        for row in rows:
            row += _layer(there.pop(row[0]))[2:5] if row[0] in there else empty
        rows += [[n, *empty, "", "", *_layer(layer)[2:5]] for n, layer in there.items()]
        foot += _total(beside)[2:5]
    config = looked.saved.config
    limits = "; ".join(map(str, measure(config.model, config.data, config.budget)[1]))
    said = f"Against the budget: {limits}." if limits else "There was no budget."
    return [Table(head, rows, foot, words=3), text(said, kind="soft")]


def _layer(layer: LayerCost) -> list[str]:
    output = "×".join(map(str, layer.output))
    costs = [f"{layer.parameters:,}", f"{layer.macs:,}"]
    return [layer.name, layer.operations, output, *costs, str(layer.receptive_field)]


def _total(cost: Cost) -> list[str]:
    return ["total", "", "", f"{cost.parameters:,}", f"{cost.macs:,}", ""]


def _classes(mistakes: Mistakes) -> list[Block]:
    recall, precision = mistakes.recall, mistakes.precision
    order = np.argsort(np.nan_to_num(recall, nan=2.0), kind="stable")
    rows = [
        [
            mistakes.names[i], f"{int(mistakes.confusion[i].sum()):,}",
            _percent(recall[i]), _percent(precision[i]),
        ]
        for i in order
    ]  # fmt: skip
    balanced = f"Balanced accuracy, the mean of the recalls: {percent(float(np.nanmean(recall)))}. "
    said = (
        "Recall: of a class's images, the share that is found. Precision: of what is taken for the "
        f"class, the share that is it. On the {mistakes.split} images, the worst first."
    )
    return [text(balanced + said), Table(["class", "images", "recall", "precision"], rows)]


def _percent(share: float) -> str:
    return "—" if np.isnan(share) else percent(float(share))


def _confusion(mistakes: Mistakes, whose: str) -> list[Block]:
    matrix, names = mistakes.confusion, mistakes.names
    right, total = int(np.trace(matrix)), int(matrix.sum())
    said = text(
        f"On the {count(total, mistakes.split + ' image')} {whose} is right {right:,} times "
        f"({percent(right / total)}). Most often confused: {_most_confused(mistakes)}."
    )
    if len(names) > MOST_CLASSES:
        return [said]
    # Mistakes are few: the root makes single ones visible.
    shades = 0.6 * np.sqrt(matrix / np.maximum(matrix.sum(1, keepdims=True), 1))
    pairs = [list(zip(*row, strict=True)) for row in zip(matrix.tolist(), shades, strict=True)]
    return [said, Confusion(names, pairs)]


def _most_confused(mistakes: Mistakes) -> str:
    off = mistakes.confusion.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:3]
    pairs = [divmod(int(i), len(mistakes.names)) for i in order if off.flat[i]]
    told = [f"{mistakes.names[t]} taken for {mistakes.names[p]} ({off[t, p]})" for t, p in pairs]
    return ", ".join(told) or "nothing"


def _worst(mistakes: Mistakes) -> list[Block]:
    if not mistakes.worst:
        return [text(f"It makes no mistake on the {mistakes.split} images.")]
    pictures = [
        (
            _data_uri(m.image),
            f"{m.truth} taken for {m.predicted}, {100 * m.probability:.0f} % sure",
            f"{m.truth} → {m.predicted}",
            f"{100 * m.probability:.0f} %",
        )
        for m in mistakes.worst
    ]
    said = (
        f"The {count(len(pictures), mistakes.split + ' image')} it gets wrong and is surest about: "
        "the true class → what it saw, and how sure it was."
    )
    return [text(said), Pictures(pictures)]


def _data_uri(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
