"""One image file of any shape: what comes out, in what memory, and what is said of one that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from budgetsweep.config import DataConfig
from budgetsweep.data.image_file import read_image
from budgetsweep.data.own_image import prepare
from budgetsweep.errors import DataError


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image of more than ten million pixels can be made."""
    make = Image.new

    def limited(mode: str, size: tuple[int, int], *colour: Any) -> Image.Image:
        if size[0] * size[1] > 10_000_000:
            raise MemoryError
        return make(mode, size, *colour)

    monkeypatch.setattr(Image, "new", limited)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
@pytest.mark.parametrize(("long", "short", "rows"), [(65_000, 2, 1), (12_000, 1_500, 2)])
def test_a_very_oblong_image_takes_no_square_of_its_long_side(
    long: int, short: int, rows: int, mode: str, channels: int, upright: bool, tmp_path: Path
) -> None:
    pixels = np.full((short, long), 100, dtype=np.uint8)
    pixels[:, long // 2 :] = 200
    pixels[:, : long // 8] = 30  # an eighth: the median of the border is 100 still, or 200
    picture = Image.fromarray(pixels.T if upright else pixels).convert(mode)
    picture.save(tmp_path / "strip.png", compress_level=1)
    seen = read_image(tmp_path / "strip.png", channels, 16).numpy()
    seen = seen.transpose(0, 2, 1) if upright else seen
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    expected = np.full((16, 16), int(np.median(border)))
    # Each of the 16 pixels stands for so many of the strip's; where they differ within, both show.
    top = (16 - rows) // 2
    expected[top : top + rows] = [30] * 2 + [100] * 6 + [200] * 8
    inner = [0, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15]  # apart from where the filter mixes two
    for channel in seen:
        assert (channel[:, inner] == expected[:, inner]).all()


@pytest.mark.parametrize("size", [(28, 28), (640, 480), (480, 641), (5_000, 40), (3_000, 900)])
@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_any_other_is_padded_then_resized(
    size: tuple[int, int], mode: str, channels: int, tmp_path: Path
) -> None:
    shape = (size[1], size[0], *([3] if mode == "RGB" else []))
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png", compress_level=1)
    side = max(size)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    square = np.empty((side, side, *shape[2:]), dtype=np.uint8)
    square[:] = np.median(edge, axis=0).astype(int)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = pixels
    expected = np.asarray(Image.fromarray(square).resize((28, 28), Image.Resampling.BILINEAR))
    seen = read_image(tmp_path / "photo.png", channels, 28).numpy()
    assert (seen == np.moveaxis(expected.reshape(28, 28, -1), 2, 0)).all()


@pytest.mark.parametrize("mode", ["L", "LA"])
@pytest.mark.parametrize("data", [DataConfig(), DataConfig("image_folder", size=28)])
def test_what_fails_while_it_is_padded_is_told_by_its_name(
    data: DataConfig, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wide.png"
    Image.linear_gradient("L").resize((90, 60)).convert(mode).save(path)
    make = Image.new

    def fails(mode: str, *given: Any) -> Image.Image:
        if mode == "L":  # the square's, not that of what lies behind a transparent image
            raise MemoryError
        return make(mode, *given)

    monkeypatch.setattr(Image, "new", fails)
    with pytest.raises(DataError, match=r"^\S*wide\.png: .*not enough memory"):
        prepare(path, data)


def test_what_the_system_says_is_told_in_words_alone(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "loop.png", 1, 8)
    assert str(caught.value) == (
        f"{tmp_path}/loop.png: is no readable image (Too many levels of symbolic links)."
    )
