"""What a trained network says about image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from budgetsweep.data.image_folder import shown
from budgetsweep.data.own_image import Choice, prepare
from budgetsweep.data.pixels import normalize, to_unit
from budgetsweep.errors import DataError
from budgetsweep.network.saved import SavedRun


def predict(
    run: SavedRun, path: Path, *, top: int = 3, invert: Choice = "auto", centre: Choice = "auto"
) -> dict[str, Any]:
    """The most probable classes of one image file.

    Raises:
        DataError: the image is unreadable or blank.
    """
    image = prepare(path, run.config.data, invert, centre)
    with torch.inference_mode():
        scores = run.network(normalize(to_unit(image.pixels[None]), run.config.data))
    best = scores[0].exp().topk(min(top, len(run.class_names)))
    return {
        "file": str(path),
        "predictions": [
            {"class": run.class_names[i], "probability": p}
            for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ],
        "inverted": image.inverted,
        "centred": image.centred,
    }


def predict_all(
    run: SavedRun, paths: Sequence[Path], **options: Any
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The predictions of the readable images, and file and error of the others."""
    results, failures = [], []
    for path in paths:
        try:
            results.append(predict(run, path, **options))
        except DataError as error:
            failures.append({"file": str(path), "error": str(error)})
    return results, failures


def table(results: Sequence[dict[str, Any]]) -> str:
    """One line an image: its file, then the classes with their probabilities."""
    rows = [
        [shown(r["file"]), *(f"{p['class']} {p['probability']:.1%}" for p in r["predictions"])]
        for r in results
    ]
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(s) for c, s in zip(row, sizes, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
