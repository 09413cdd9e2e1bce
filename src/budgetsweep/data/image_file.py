"""One image file of any kind as pixels, upright and square."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from budgetsweep.errors import DataError


def read_image(path: str | Path, channels: int, size: int) -> Tensor:
    """One image file as (C, S, S) uint8, upright, on white where it is transparent.

    It is turned to grey or colour, padded to a square with the median colour of its border, and
    resized with antialiasing.

    Raises:
        DataError: the file is missing or no readable image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            pixels = _flatten(upright).convert("L" if channels == 1 else "RGB")
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name the images in it.") from None
    except Exception as error:  # decoders raise whatever they like
        raise DataError(f"{path}: is no readable image ({reason(error)}).") from error
    resized = _pad_to_square(pixels).resize((size, size), Image.Resampling.BILINEAR)
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


def _pad_to_square(image: Image.Image) -> Image.Image:
    if image.width == image.height:
        return image
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    median = np.median(border, axis=0).astype(int)
    side = max(image.size)
    square = Image.new(image.mode, (side, side), tuple(np.atleast_1d(median).tolist()))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def reason(error: BaseException | None) -> str:
    """Why a file could not be read, in a few words."""
    if isinstance(error, UnidentifiedImageError):  # its own text repeats the path
        return "unknown format"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return str(error).rstrip(".") or type(error).__name__
