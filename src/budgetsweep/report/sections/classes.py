"""How a network does on each class, what it confuses, and its worst mistakes."""

from __future__ import annotations

import base64
import io

import numpy as np

from budgetsweep.report.mistakes import Mistakes
from budgetsweep.report.page import Block, Confusion, Pictures, Table, text
from budgetsweep.report.words import count, percent

MOST = 20  # classes: a larger confusion matrix is told by its largest entries


def warnings(mistakes: Mistakes) -> list[Block]:
    """What belongs on top of the page: classes that are never predicted, chance level."""
    found = list[Block]()
    if mistakes.is_chance:
        found.append(
            text(
                "This is chance level: naming the most frequent class every time is right on "
                f"{percent(mistakes.largest)} of the {mistakes.split} images. Nothing here tells one "
                "network from another.",
                kind="warning",
            )
        )
    if mistakes.never:
        names = ", ".join(mistakes.never[:10]) + (", …" if len(mistakes.never) > 10 else "")
        said = f"Never predicted on the {mistakes.split} images: {names}."
        found.append(text(said, kind="warning"))
    return found


def by_class(mistakes: Mistakes) -> list[Block]:
    """Recall and precision, the worst class first."""
    recall, precision = mistakes.recall, mistakes.precision
    images = mistakes.confusion.sum(1)
    rows = [
        [mistakes.names[i], f"{int(images[i]):,}", _percent(recall[i]), _percent(precision[i])]
        for i in np.argsort(np.nan_to_num(recall, nan=2.0), kind="stable")
    ]
    balanced = f"Balanced accuracy, the mean of the recalls: {percent(float(np.nanmean(recall)))}. "
    said = (
        "Recall: of a class's images, the share that is found. Precision: of what is taken for the "
        f"class, the share that is it. On the {mistakes.split} images, the worst first."
    )
    return [text(balanced + said), Table(["class", "images", "recall", "precision"], rows)]


def _percent(share: float) -> str:
    return "—" if np.isnan(share) else percent(float(share))


def confusion(mistakes: Mistakes, whose: str) -> list[Block]:
    """The matrix, and the most frequent confusions in words."""
    matrix, names = mistakes.confusion, mistakes.names
    said = text(
        f"On the {count(int(matrix.sum()), mistakes.split + ' image')} {whose} is right "
        f"{int(np.trace(matrix)):,} times ({percent(mistakes.accuracy)}). Most often confused: "
        f"{_most_confused(mistakes)}."
    )
    if len(names) > MOST:
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


def worst(mistakes: Mistakes) -> list[Block]:
    """The images it gets wrong and is surest about."""
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
