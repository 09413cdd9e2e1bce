"""One image file of any kind as pixels, upright and square."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from budgetsweep.errors import DataError

_SQUARE = 64_000_000  # pixels that a square around an image may have, or its own four times


def read_image(
    path: Path | str, channels: int, size: int, source: BinaryIO | None = None
) -> Tensor:
    """One image file as (C, S, S) uint8, upright, on white where it is transparent.

    It is turned to grey or colour, padded to a square with the median colour of its border, and
    resized with antialiasing; a very oblong one is resized before it is padded.

    Args:
        path: the file, also as it is called in a message.
        channels: 1 grey, 3 colour.
        size: side, pixels.
        source: read in the file's place.

    Raises:
        DataError: the file is missing or no readable image.
    """
    try:
        with Image.open(source or path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            pixels = _flatten(upright).convert("L" if channels == 1 else "RGB")
        resized = _square(pixels, size)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name the images in it.") from None
    except Exception as error:  # decoders raise whatever they like
        raise DataError(f"{path}: is no readable image ({reason(error)}).") from error
    # (S, S) or (S, S, 3) → (C, S, S); a copy, since the array is read-only
    return torch.from_numpy(np.array(resized)).reshape(size, size, -1).permute(2, 0, 1).contiguous()


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode → one with 8 bits a channel and no transparency."""
    if image.mode.startswith("I"):  # 16 bits; convert() would clip at 255
        return Image.fromarray((np.asarray(image).clip(0, 65_535) // 257).astype(np.uint8))
    if image.mode == "LAB":  # from which there is no way to grey but through colour
        return image.convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image)
    return image


def _square(image: Image.Image, size: int) -> Image.Image:
    """Padded to a square and resized; a very oblong one the other way round.

    The square around a strip of 65,000 × 2 pixels would take gigabytes.
    """
    if image.width == image.height:
        return image.resize((size, size), Image.Resampling.BILINEAR)
    colour, side = _of_border(image), max(image.size)
    if side**2 > max(_SQUARE, 4 * image.width * image.height):
        width, height = (max(1, round(n * size / side)) for n in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        return _pad_to_square(image, colour)
    return _pad_to_square(image, colour).resize((size, size), Image.Resampling.BILINEAR)


def _of_border(image: Image.Image) -> tuple[int, ...]:
    """The median colour of the outermost pixels."""
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(np.atleast_1d(np.median(border, axis=0).astype(int)).tolist())


def _pad_to_square(image: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    side = max(image.size)
    square = Image.new(image.mode, (side, side), colour)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def reason(error: BaseException | None) -> str:
    """Why a file could not be read, in a few words."""
    if isinstance(error, UnidentifiedImageError):  # its own text repeats the path
        return "unknown format"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, MemoryError):  # mostly without words
        return "there is not enough memory for its pixels"
    if isinstance(error, OSError) and error.strerror:  # its own text repeats number and path
        return error.strerror
    return str(error).rstrip(".") or type(error).__name__
