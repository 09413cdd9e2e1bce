"""A person's own image in the form of the images that a network was trained on."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from budgetsweep.config import DataConfig
from budgetsweep.data.image_file import read_image
from budgetsweep.data.pixels import resize
from budgetsweep.errors import DataError, SettingError

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


@dataclass(frozen=True)
class Prepared:
    """An image as the network sees it, and what was done to it."""

    pixels: Tensor  # (C, S, S) uint8
    inverted: bool
    centred: bool


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
        if not _ink(grey).any():
            turned = ", once it is inverted," if inverted else ""
            raise DataError(
                f"{path}: nothing in it{turned} is lighter than its background, as a drawing of "
                f"{data.name} is. Leave --invert at auto."
            )
        grey = _place(grey, data.size, *PLACING[data.name])
    else:
        grey = resize(grey[None], data.size, data.size)[0]
    return Prepared(grey.expand(data.channels, -1, -1), inverted, centred)


def _read_grey(path: Path) -> tuple[Tensor, int]:
    """A square grey image (1, H, H) uint8 at its own size, and the file's longer side."""
    source: BinaryIO | None = None
    try:
        with Image.open(path) as image:
            side = max(image.size)
            if image.has_transparency_data:
                source = _on_contrast(ImageOps.exif_transpose(image).convert("RGBA"))
    except Exception:  # decoders raise whatever they like; read_image finds the words
        side = 1
    return read_image(path, 1, min(side, _LARGEST), source), side


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


def _ink(grey: Tensor) -> Tensor:
    """How much lighter than the background each pixel is, (H, W)."""
    return (grey[0].float() - _border(grey)).clamp(min=0)


def _place(grey: Tensor, size: int, share: float, middle: str) -> Tensor:
    """Cut out a light drawing, stretch its contrast, scale it, and put it in the middle."""
    ink = _ink(grey)
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
