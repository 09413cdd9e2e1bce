"""The factory: rows in the configuration → a network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace

import torch.nn.functional as F
from torch import Tensor, nn

from budgetsweep.config import DataConfig, LayerConfig, ModelConfig
from budgetsweep.errors import SettingError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}
POOLS: dict[str, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {
    "max": nn.MaxPool2d,
    "avg": nn.AvgPool2d,
}


class Network(nn.Module):
    """Rows, then a head: images (N, C, S, S) → log-probabilities (N, classes)."""

    def __init__(self, layers: dict[str, nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for name, layer in layers.items():
            self.layers.add_module(name, layer)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.logits(images), dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """Scores before the softmax, (N, classes)."""
        scores: Tensor = self.head(self.layers(images))
        return scores.flatten(1)


class Residual(nn.Module):
    """A row whose input is added to its output before pooling (He et al. 2015)."""

    def __init__(self, body: nn.Module, skip: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.body, self.skip, self.tail = body, skip, tail

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.tail(self.body(x) + self.skip(x))
        return y


def resolve_layers(model: ModelConfig) -> dict[str, LayerConfig]:
    """The rows as built: defaults filled in, widths multiplied, dropped rows left out.

    Raises:
        SettingError: there is no row, or a row lacks a value that no default gives.
    """
    rows = {name: row for name, row in model.layers.items() if row is not None}
    if not rows:
        raise SettingError("model.layers", "{}", "a network needs at least one row.")
    return {name: _fill(name, row, model) for name, row in rows.items()}


def _fill(name: str, row: LayerConfig, model: ModelConfig) -> LayerConfig:
    own = {f.name: getattr(row, f.name) for f in fields(row)}
    filled = replace(model.defaults, **{k: v for k, v in own.items() if v is not None})
    for f in fields(filled):
        if getattr(filled, f.name) is None:
            raise SettingError(
                f"model.layers.{name}.{f.name}",
                "null",
                "must be set here or in",
                f"model.defaults.{f.name}.",
            )
    assert filled.width is not None
    # Halves round up, so that the width never falls while the multiplier rises.
    return replace(filled, width=max(1, math.floor(filled.width * model.width_multiplier + 0.5)))


def build_model(model: ModelConfig, data: DataConfig) -> Network:
    """Build the network for images of `data.channels` × `data.size` × `data.size`.

    Raises:
        SettingError: the rows do not fit together; the key names the row.
    """
    channels, size = data.channels, data.size
    layers: dict[str, nn.Module] = {}
    for name, row in resolve_layers(model).items():
        layers[name] = _build_row(name, row, channels, size)
        channels, size = row.width or 0, _out_size(name, row, size)
    return Network(layers, _build_head(model.head, channels, size, data.classes))


def _build_head(kind: str, channels: int, size: int, classes: int) -> nn.Module:
    if kind == "gap":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, classes, 1))
    return nn.Conv2d(channels, classes, size)


def _build_row(name: str, row: LayerConfig, channels: int, size: int) -> nn.Module:
    width = row.width or 0
    body = nn.Sequential(*_body(row, channels, width))
    tail = nn.Sequential(*_tail(row))
    if not row.residual:
        return nn.Sequential(*body, *tail)
    stride = row.stride or 1
    if _conv_size(row, size) != (size - 1) // stride + 1:
        raise SettingError(
            f"model.layers.{name}.residual",
            "true",
            f"the row changes a {size}×{size} map to {_conv_size(row, size)}, so its input cannot be",
            f"added; set padding={(row.kernel or 1) // 2} with an odd kernel.",
        )
    same = channels == width and stride == 1
    skip = nn.Identity() if same else nn.Conv2d(channels, width, 1, stride, bias=False)
    return Residual(body, skip, tail)


def _body(row: LayerConfig, channels: int, width: int) -> Iterator[nn.Module]:
    """Convolution, activation and norm, in the row's order."""
    for step in (row.order or "").split("_"):
        if step == "conv":
            yield from _conv(row, channels, width)
        elif step == "act" and row.activation in ACTIVATIONS:
            # In place only behind the convolution, whose backward does not need its output.
            in_place = row.order == "conv_act_norm" and row.activation != "gelu"
            kwargs = {"inplace": True} if in_place else {}
            yield ACTIVATIONS[row.activation](**kwargs)
        elif step == "norm" and row.norm != "none":
            yield _norm(row.norm or "", channels if row.order == "norm_act_conv" else width)


def _conv(row: LayerConfig, channels: int, width: int) -> Iterator[nn.Module]:
    kernel, stride, padding = row.kernel or 1, row.stride or 1, row.padding or 0
    if row.conv == "separable":
        yield nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
        yield nn.Conv2d(channels, width, 1)
    else:
        yield nn.Conv2d(channels, width, kernel, stride, padding)


def _norm(kind: str, width: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(max(n for n in range(1, 9) if width % n == 0), width)


def _tail(row: LayerConfig) -> Iterator[nn.Module]:
    if row.pool and row.pool > 1:
        yield POOLS[row.pool_type or "max"](row.pool)
    if row.dropout:
        yield nn.Dropout(row.dropout)


def _conv_size(row: LayerConfig, size: int) -> int:
    return (size + 2 * (row.padding or 0) - (row.kernel or 1)) // (row.stride or 1) + 1


def _out_size(name: str, row: LayerConfig, size: int) -> int:
    conv = _conv_size(row, size) if size + 2 * (row.padding or 0) >= (row.kernel or 1) else 0
    out = conv // (row.pool or 1)
    if out < 1:
        raise SettingError(
            f"model.layers.{name}",
            f"{{kernel: {row.kernel}, stride: {row.stride}, pool: {row.pool}}}",
            f"the feature map vanishes here: {size}×{size} comes in and nothing goes out.",
            "Use a smaller kernel, pool or stride, more padding, or drop a row before it.",
        )
    return out
