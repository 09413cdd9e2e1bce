"""Every batched change against torchvision's own, and the draws that decide it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from composing import compose
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, MixUp
from torchvision.transforms.v2 import functional as tv

from budgetsweep.config import AugmentConfig, DataConfig
from budgetsweep.data import transforms
from budgetsweep.data.augment import Augmentation
from budgetsweep.data.transforms import affine, affine_matrices, elastic, smooth_field

CASES = {
    "nothing": (0, (0, 0), 1, 0),
    "clockwise": (10, (0, 0), 1, 0),
    "counter-clockwise": (-37, (0, 0), 1, 0),
    "a quarter turn": (90, (0, 0), 1, 0),
    "right": (0, (0.25, 0), 1, 0),
    "up": (0, (0, -0.125), 1, 0),
    "by half a pixel": (0, (1 / 64, 0), 1, 0),
    "larger": (0, (0, 0), 1.3, 0),
    "smaller": (0, (0, 0), 0.8, 0),
    "shear": (0, (0, 0), 1, 15),
    "turn and shear": (20, (0, 0), 1, -15),
    "turn and shift": (30, (0.1, 0.05), 1, 0),
    "all at once": (-12, (-0.06, 0.08), 1.1, 8),
}


def smooth_images(n: int, channels: int = 1, side: int = 32) -> Tensor:
    torch.manual_seed(0)
    coarse = torch.rand(n, channels, 6, 6)
    size = [side, side]
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)


def ours(
    images: Tensor, angle: float, shift: tuple[float, float], scale: float, shear: float
) -> Tensor:
    n = len(images)
    return affine(
        images,
        affine_matrices(
            angle=torch.full((n,), math.radians(angle)),
            shift=torch.tensor([shift] * n, dtype=torch.float32),
            scale=torch.full((n,), float(scale)),
            shear=torch.full((n,), math.radians(shear)),
        ),
    )


@pytest.mark.parametrize(("angle", "shift", "scale", "shear"), CASES.values(), ids=CASES.keys())
def test_the_affine_change_is_torchvisions(
    angle: float, shift: tuple[float, float], scale: float, shear: float
) -> None:
    images = smooth_images(3, channels=3)
    expected = tv.affine(
        images,
        angle=angle,
        translate=[share * 32 for share in shift],
        scale=scale,
        shear=[shear, 0.0],
        interpolation=InterpolationMode.BILINEAR,
        fill=None,
    )
    actual = ours(images, angle, shift, scale, shear)
    # At the border of the source image, zero padding and torchvision's mask may differ by a pixel.
    inside = tv.affine(
        torch.nn.functional.pad(torch.ones(3, 3, 28, 28), (2, 2, 2, 2)), angle=angle,
        translate=[share * 32 for share in shift], scale=scale, shear=[shear, 0.0],
    ).bool()  # fmt: skip
    assert inside.float().mean() > 0.4
    torch.testing.assert_close(actual[inside], expected[inside], atol=2e-4, rtol=0)


def test_each_image_follows_its_own_draw() -> None:
    images = smooth_images(1).expand(4, -1, -1, -1)
    angles = torch.tensor([0.0, 0.1, 0.2, 0.3])
    zeros, ones = torch.zeros(4), torch.ones(4)
    together = affine(images, affine_matrices(angles, torch.zeros(4, 2), ones, zeros))
    for i, angle in enumerate(angles):
        alone = ours(images[:1], math.degrees(float(angle)), (0, 0), 1, 0)
        torch.testing.assert_close(together[i : i + 1], alone)


@pytest.mark.parametrize("side", [28, 33])
def test_the_elastic_change_is_torchvisions(side: int) -> None:
    """Which takes one displacement for all images, as coordinates of -1 to 1, rows and columns last."""
    images = smooth_images(3, channels=3, side=side)
    field = smooth_field(
        torch.rand(1, 2, 5, 5, generator=torch.Generator().manual_seed(0)) / 10, side
    )
    displacement = 2 * field.permute(0, 2, 3, 1)
    expected = tv.elastic(images, displacement, InterpolationMode.BILINEAR, fill=0.0)
    inside = tv.elastic(torch.ones_like(images), displacement, fill=0.0) == 1
    assert inside.float().mean() > 0.7
    torch.testing.assert_close(
        elastic(images, field.expand(3, -1, -1, -1))[inside], expected[inside], atol=2e-4, rtol=0
    )


def test_a_displacement_goes_through_its_points_and_each_image_has_its_own() -> None:
    points = torch.rand(4, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    field = smooth_field(points, 31)
    torch.testing.assert_close(field[:, :, ::5, ::5], points)
    # A displacement that is the same everywhere is a shift: here by a quarter, to the left and up.
    images = smooth_images(1, side=32)
    moved = elastic(images, torch.full((1, 2, 32, 32), 0.25))
    torch.testing.assert_close(moved[:, :, :24, :24], images[:, :, 8:, 8:], atol=1e-5, rtol=0)


FACTORS = (0.0, 0.4, 1.0, 1.7)


def each(function: Callable[..., Tensor], images: Tensor, *values: Sequence[Any]) -> Tensor:
    """torchvision's change of one image at a time."""
    return torch.stack([function(i, *v) for i, *v in zip(images, *values, strict=True)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["adjust_brightness", "adjust_contrast", "adjust_saturation"])
def test_colour_changes_are_torchvisions(name: str, channels: int) -> None:
    images = smooth_images(4, channels)
    actual = getattr(transforms, name)(images, torch.tensor(FACTORS))
    torch.testing.assert_close(actual, each(getattr(tv, name), images, FACTORS))
    torch.testing.assert_close(actual[2], images[2], atol=0, rtol=0)


def test_grey_is_torchvisions() -> None:
    images = smooth_images(3, 3)
    torch.testing.assert_close(transforms.grey(images), tv.rgb_to_grayscale(images))


@pytest.mark.parametrize(
    ("mode", "theirs"), [("reflect", "reflect"), ("replicate", "edge"), ("constant", "constant")]
)
def test_a_crop_is_torchvisions(mode: Any, theirs: str) -> None:
    images, corners = smooth_images(4, 3), [(0, 0), (8, 8), (4, 4), (7, 1)]

    def one(image: Tensor, corner: tuple[int, int]) -> Tensor:
        return tv.crop(tv.pad(image, [4], padding_mode=theirs), *corner, 32, 32)

    actual = transforms.crop(images, torch.tensor(corners), 4, mode)
    assert torch.equal(actual, each(one, images, corners))
    assert torch.equal(actual[2], images[2])


def test_an_erased_square_is_torchvisions() -> None:
    images, corners = smooth_images(3, 3), [(0, 0), (22, 22), (5, 17)]
    fill = torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1)
    actual = transforms.erase(images, torch.tensor(corners), 10, fill)
    assert torch.equal(actual, each(lambda i, c: tv.erase(i, *c, 10, 10, fill), images, corners))


def test_mixing_is_torchvisions() -> None:
    images, labels = smooth_images(4, 3), torch.tensor([2, 0, 1, 2])
    theirs = MixUp(alpha=0.5, num_classes=3)
    theirs.make_params = lambda _: {"lam": 0.3}  # type: ignore[method-assign]
    share = torch.full((4,), 0.3)
    targets = torch.nn.functional.one_hot(labels, 3).float()
    expected = theirs(images, labels)
    torch.testing.assert_close(transforms.mix(images, share), expected[0])
    torch.testing.assert_close(transforms.mix(targets, share), expected[1])


def test_the_edge_drawn_on_is_what_a_padded_image_shows() -> None:
    images = smooth_images(2, 3)
    padded = tv.pad(images, [32], padding_mode="edge")
    turned = tv.affine(padded, 30.0, [4.0, -3.0], 0.8, [0.0], InterpolationMode.BILINEAR)
    n = torch.ones(2)
    matrices = affine_matrices(
        math.radians(30) * n, torch.tensor([[4 / 32, -3 / 32]] * 2), 0.8 * n, 0 * n
    )
    actual = affine(images, matrices, edge=True)
    torch.testing.assert_close(actual, turned[:, :, 32:64, 32:64], atol=2e-4, rtol=0)


# --- Draws ----------------------------------------------------------------------------------------

DATA = DataConfig(channels=3, classes=10, size=32, mean=[0.4, 0.5, 0.6], std=[0.2])


def augment(
    images: Tensor, progress: float = 0.0, data: DataConfig = DATA, **values: Any
) -> Tensor:
    labels = torch.zeros(len(images), dtype=torch.int64)
    return Augmentation(AugmentConfig(**values), data)(images, labels, progress)[0]


CHANGES: dict[str, dict[str, Any]] = {
    "flip": {"flip": True, "flip_p": 1.0},
    "affine": {"rotation": 20.0, "shear": 5.0, "scale": 0.1, "shift": 0.1},
    "elastic": {"elastic": 0.1},
    "crop": {"crop": 0.25, "crop_padding": "zero"},
    "brightness": {"brightness": 0.5},
    "contrast": {"contrast": 0.5},
    "saturation": {"saturation": 0.9},
    "grey": {"grey": 1.0},
    "cutout": {"cutout": 0.5},
    "mixup": {"mixup": 1.0},
}


def test_all_zero_leaves_the_very_images_and_draws_nothing() -> None:
    images, state = smooth_images(4, 3), torch.get_rng_state()
    assert augment(images) is images
    assert torch.equal(torch.get_rng_state(), state)


def test_the_affine_preset_draws_what_it_always_drew() -> None:
    # Published numbers rest on it: one call of `rand`, in this order, and nothing else.
    images, config = smooth_images(64), compose("augment=affine")
    torch.manual_seed(7)
    actual, _ = Augmentation(config.augment, config.data)(images, torch.zeros(64).long())
    after = torch.get_rng_state()
    torch.manual_seed(7)
    draws = torch.rand(5, 64) * 2 - 1
    assert torch.equal(torch.get_rng_state(), after)
    matrices = affine_matrices(
        draws[0] * math.radians(10.0), draws[1:3].T * 0.08, 1 + draws[3] * 0.1, draws[4] * 0.0
    )
    assert torch.equal(actual, affine(images, matrices))


@pytest.mark.parametrize("values", CHANGES.values(), ids=CHANGES)
def test_a_change_is_drawn_from_the_seed_for_each_image(values: dict[str, Any]) -> None:
    images = smooth_images(8, 3)
    torch.manual_seed(3)
    first, second = augment(images, **values), augment(images, **values)
    torch.manual_seed(3)
    assert torch.equal(augment(images, **values), first)
    assert first.shape == images.shape and not torch.equal(first, images)
    assert torch.equal(first, second) == (set(values) <= {"flip", "flip_p", "grey"})


@pytest.mark.parametrize("name", CHANGES)
def test_a_probability_is_the_share_of_the_images_that_change(name: str) -> None:
    images, share = smooth_images(2000, 3, side=8), "grey" if name == "grey" else f"{name}_p"
    data = dataclasses.replace(DATA, size=8)

    def changed(p: float, progress: float = 0.0, **values: Any) -> float:
        torch.manual_seed(0)
        settings = {**CHANGES[name], share: p, **values}
        differs = augment(images, progress, data, **settings) != images
        return float(differs.flatten(1).any(1).float().mean())

    full = changed(1.0)
    assert full > 0.9
    assert changed(0.0) == 0
    assert changed(0.3) == pytest.approx(0.3 * full, abs=0.05)
    # From `until` on it fades out.
    assert changed(1.0, 0.5, until=0.5) == full
    assert changed(1.0, 0.75, until=0.5) == pytest.approx(0.5 * full, abs=0.05)
    assert changed(1.0, 1.0, until=0.5) == 0


@pytest.mark.parametrize(
    "values",
    [
        {"rotation": 10, "shift": 0.08, "scale": 0.1, "shear": 5},
        {"rotation": 180},
        {"shift": 0.5},
        {"scale": 0.3},
        {"shear": 20},
    ],
)
def test_draws_fill_the_configured_range_and_stay_in_it(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Tensor] = {}

    def spy(**draws: Tensor) -> Tensor:
        drawn.update(draws)
        return affine_matrices(**draws)

    monkeypatch.setattr(transforms, "affine_matrices", spy)
    torch.manual_seed(0)
    augment(torch.zeros(4000, 1, 2, 2), **values)
    config = AugmentConfig(**values)
    limits = {
        "angle": math.radians(config.rotation),
        "shift": config.shift,
        "scale": config.scale,
        "shear": math.radians(config.shear),
    }
    for name, limit in limits.items():
        values = drawn[name] - (1 if name == "scale" else 0)
        assert values.abs().max() <= limit + 1e-6
        assert values.max() >= 0.99 * limit
        assert values.min() <= -0.99 * limit
        assert abs(float(values.mean())) <= 0.05 * limit


def test_brightness_stays_in_its_range_and_fills_it() -> None:
    torch.manual_seed(0)
    values = augment(torch.full((4000, 3, 1, 1), 0.5), brightness=0.4)
    assert 0.3 <= values.min() < 0.302 and 0.698 < values.max() <= 0.7


def test_cutout_covers_one_whole_square_with_the_mean() -> None:
    torch.manual_seed(0)
    changed = augment(
        torch.full((8000, 3, 8, 8), 2.0), data=dataclasses.replace(DATA, size=8), cutout=0.25
    )
    covered = (changed != 2).all(1)
    assert (covered.flatten(1).sum(1) == 4).all()
    assert (covered.any(0)).all()  # anywhere, up to the corners
    for channel, mean in enumerate(DATA.mean):
        assert torch.equal(changed[:, channel][covered], torch.full((8000 * 4,), mean))


@pytest.mark.parametrize(
    ("name", "fill", "corner"),
    [
        ("mnist", "auto", 0.0),
        ("image_folder", "auto", 0.8),
        ("image_folder", "black", 0.0),
        ("mnist", "mean", 0.4),
        ("mnist", "edge", 0.8),
    ],
)
def test_what_lies_beside_a_turned_image(name: Any, fill: str, corner: float) -> None:
    images = torch.full((64, 3, 32, 32), 0.8)
    torch.manual_seed(0)
    data = dataclasses.replace(DATA, name=name)
    found = augment(images, data=data, rotation=45.0, fill=fill)[:, 0, 0, 0]
    assert float(found.min()) == pytest.approx(min(corner, 0.8), abs=1e-5)


def test_mixup_gives_each_class_its_share() -> None:
    torch.manual_seed(0)
    labels = torch.arange(10).repeat(20)
    images = labels.view(-1, 1, 1, 1).expand(-1, 3, 2, 2) / 10
    mixed, targets = Augmentation(AugmentConfig(mixup=0.4), DATA)(images, labels)
    assert targets.shape == (200, 10)
    torch.testing.assert_close(targets.sum(1), torch.ones(200))
    # What an image is mixed of is what its label says.
    torch.testing.assert_close(mixed[:, 0, 0, 0], targets @ (torch.arange(10.0) / 10))
    assert 0.05 < float(targets.max(1).values.min()) < 0.6


@pytest.mark.parametrize("preset", ["crop_flip", "photo", "strong"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_preset_gives_images_that_are_still_images(preset: str, channels: int) -> None:
    config = compose(f"augment={preset}", f"data.channels={channels}", "data.size=32")
    torch.manual_seed(0)
    images = smooth_images(32, channels)
    changed, _ = Augmentation(config.augment, config.data)(images, torch.zeros(32).long(), 0.5)
    assert changed.shape == images.shape and changed.dtype == torch.float32
    assert float(changed.min()) >= -1e-6 and float(changed.max()) <= 1 + 1e-6
    assert not torch.equal(changed, images)
