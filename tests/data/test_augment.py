"""The batched affine change against torchvision's own, and the range of its draws."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from budgetsweep.config import AugmentConfig
from budgetsweep.data import augment as module
from budgetsweep.data.augment import affine, affine_matrices, augment

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


def test_all_zero_leaves_the_very_images() -> None:
    images = smooth_images(4)
    assert augment(images, AugmentConfig()) is images


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(rotation=10, shift=0.08, scale=0.1, shear=5),
        AugmentConfig(rotation=180),
        AugmentConfig(shift=0.5),
        AugmentConfig(scale=0.3),
        AugmentConfig(shear=20),
    ],
)
def test_draws_fill_the_configured_range_and_stay_in_it(
    config: AugmentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Tensor] = {}

    def spy(**draws: Tensor) -> Tensor:
        drawn.update(draws)
        return affine_matrices(**draws)

    monkeypatch.setattr(module, "affine_matrices", spy)
    torch.manual_seed(0)
    augment(torch.zeros(4000, 1, 2, 2), config)
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


def test_flip_mirrors_about_half_of_the_images() -> None:
    torch.manual_seed(0)
    images = torch.arange(3.0).expand(1000, 1, 3, 3)
    mirrored = augment(images, AugmentConfig(flip=True))[:, 0, 0, 0] == 2
    assert 430 < int(mirrored.sum()) < 570


def test_the_same_seed_draws_the_same_images_and_the_next_draw_differs() -> None:
    config, images = AugmentConfig(rotation=20, flip=True), smooth_images(8)
    torch.manual_seed(3)
    first, second = augment(images, config), augment(images, config)
    torch.manual_seed(3)
    assert torch.equal(augment(images, config), first)
    assert not torch.equal(first, second)
