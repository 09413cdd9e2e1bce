"""`python -m budgetsweep.predict`: what a trained network says about a person's own images."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from budgetsweep.arguments import positive
from budgetsweep.config import DataConfig
from budgetsweep.data import read_image, resize
from budgetsweep.errors import DataError, SettingError, UserError
from budgetsweep.saved import SavedRun, load_run
from budgetsweep.training import normalize, to_unit

Choice = Literal["auto", "yes", "no"]

# How the makers of each dataset placed the drawing on its dark background: the longer side's share
# of the image, and whether the centre of mass or the middle of the bounding box is centred.
PLACING = {
    "mnist": (20 / 28, "mass"),
    "qmnist": (20 / 28, "mass"),
    "emnist": (24 / 28, "box"),
    "fashion_mnist": (1.0, "box"),
    "kmnist": (1.0, "box"),
    "usps": (1.0, "box"),
    "digits": (1.0, "box"),
}
_LARGEST = 1_024  # larger images are reduced to this side first, pixels
_INK = 0.2  # share of the strongest contrast from which a pixel belongs to the drawing
_FAINT = 16  # brightness levels of 255 between drawing and background, at least

HELP = """\
examples:
  python -m budgetsweep.predict outputs/shapes photo.png
  python -m budgetsweep.predict multirun/demo new/*.png --top 1 --json

The images may have any size and be grey, colour or transparent. They are padded to a square with
the colour of their border and resized, as in training. For data=image_folder and cifar10 that is
all, since your images are expected to look like those the network learned from.

mnist, qmnist, emnist, fashion_mnist, kmnist, usps and digits are light drawings on a dark
background, of a fixed size and place. An image for a network trained on these is also

  inverted  if its background is light: if the median brightness of its border is above the middle
            between its darkest and its lightest pixel (--invert yes or no: always, never)
  centred   cut out, stretched to full contrast, scaled and centred as that dataset was made (MNIST:
            20x20 of 28x28 pixels, centre of mass in the middle), unless it already has the
            network's size (--centre yes or no: always, never)

One drawing an image, on an even background. The probabilities are the network's own; a picture of
something else gets high ones too. Exit code 1 if an image could not be read; the others are shown.

More: docs/own-data.md
"""


@dataclass(frozen=True)
class Prepared:
    """An image as the network sees it, and what was done to it."""

    pixels: Tensor  # (C, S, S) uint8
    inverted: bool
    centred: bool


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


def prepare(
    path: Path, data: DataConfig, invert: Choice = "auto", centre: Choice = "auto"
) -> Prepared:
    """Bring an image into the form of the training images; see the command's help."""
    if data.name not in PLACING:
        if centre == "yes":
            raise SettingError("--centre", centre, f"{data.name} has no fixed place for a drawing.")
        pixels = read_image(path, data.channels, data.size)
        return Prepared(255 - pixels if invert == "yes" else pixels, invert == "yes", False)
    grey, side = _read_grey(path)
    if int(grey.max()) - int(grey.min()) < _FAINT:
        raise DataError(f"{path}: is blank; its brightness is the same all over.")
    inverted = invert == "yes" or (invert == "auto" and _on_light(grey))
    grey = 255 - grey if inverted else grey
    centred = centre == "yes" or (centre == "auto" and side != data.size)
    if centred:
        grey = _place(grey, data.size, *PLACING[data.name])
    else:
        grey = resize(grey[None], data.size, data.size)[0]
    return Prepared(grey.expand(data.channels, -1, -1), inverted, centred)


def _read_grey(path: Path) -> tuple[Tensor, int]:
    """A square grey image (1, H, H) uint8 at its own size, and the file's longer side."""
    source: Any = path
    try:
        with Image.open(path) as image:
            side = max(image.size)
            if image.has_transparency_data:
                source = _on_contrast(ImageOps.exif_transpose(image).convert("RGBA"))
    except Exception:  # decoders raise whatever they like; read_image finds the words
        side = 1
    return read_image(source, 1, min(side, _LARGEST)), side


def _on_contrast(image: Image.Image) -> io.BytesIO:
    """What is transparent becomes white, or black behind a light drawing, as a PNG."""
    visible = np.asarray(image.getchannel("A"), dtype=float)
    brightness = np.asarray(image.convert("L"))
    light = visible.any() and np.average(brightness, weights=visible) > 127
    background = Image.new("RGBA", image.size, "black" if light else "white")
    file = io.BytesIO()
    Image.alpha_composite(background, image).convert("L").save(file, "PNG", compress_level=0)
    file.seek(0)
    return file


def _border(grey: Tensor) -> float:
    """The median brightness of the outermost pixels."""
    edges = [grey[0, 0], grey[0, -1], grey[0, :, 0], grey[0, :, -1]]
    return float(torch.cat(edges).float().median())


def _on_light(grey: Tensor) -> bool:
    return _border(grey) > (int(grey.min()) + int(grey.max())) / 2


def _place(grey: Tensor, size: int, share: float, middle: str) -> Tensor:
    """Cut out a light drawing, stretch its contrast, scale it, and put it in the middle."""
    ink = (grey[0].float() - _border(grey)).clamp(min=0)
    mask = ink > _INK * ink.max()
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    ink = ink[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    scale = share * size / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    ink = resize(ink[None, None], height, width)[0, 0]
    ink = ink * (255 / ink.max())
    placed = torch.zeros(1, size, size)
    top, left = (_offset(ink.sum(dim), size, middle) for dim in (1, 0))
    placed[0, top : top + height, left : left + width] = ink
    return placed.round().to(torch.uint8)


def _offset(profile: Tensor, size: int, middle: str) -> int:
    """Where a drawing begins along one axis; `profile` is its brightness along that axis."""
    n = len(profile)
    if middle == "mass":
        # MNIST's centres of mass all lie on pixel 14 of 0–27, not between 13 and 14.
        first = size // 2 - float((profile * torch.arange(n)).sum() / profile.sum())
    else:
        first = (size - n) / 2
    return min(max(round(first), 0), size - n)


def table(results: Sequence[dict[str, Any]]) -> str:
    """One line an image: its file, then the classes with their probabilities."""
    rows = [
        [r["file"], *(f"{p['class']} {p['probability']:.1%}" for p in r["predictions"])]
        for r in results
    ]
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(s) for c, s in zip(row, sizes, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


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


def parser() -> argparse.ArgumentParser:
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(
        "python -m budgetsweep.predict",
        description="Say what is on your own images, by a trained network.",
        epilog=HELP,
        formatter_class=formatter,
    )
    p.add_argument("run", type=Path, help="a finished run's folder, or a sweep's: its winner")
    p.add_argument("images", type=Path, nargs="+", metavar="image", help="image files")
    p.add_argument("--top", type=positive, default=3, metavar="N", help="classes shown (3)")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    choices = ("auto", "yes", "no")
    p.add_argument("--invert", choices=choices, default="auto", help="dark to light; see below")
    p.add_argument("--centre", choices=choices, default="auto", help="as the dataset; see below")
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Predict and print; exit with 1 if an image could not be read."""
    args = parser().parse_args(argv)
    try:
        results, failures = predict_all(
            load_run(args.run), args.images, top=args.top, invert=args.invert, centre=args.centre
        )
    except UserError as error:
        sys.exit(str(error))
    if args.json:
        print(json.dumps([*results, *failures], indent=2, ensure_ascii=False))
    elif results:
        print(table(results))
    for failure in failures:
        print(failure["error"], file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
