"""The factory: rows in the configuration → a network."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from budgetsweep.config import DataConfig, LayerConfig, ModelConfig
from budgetsweep.errors import SettingError
from budgetsweep.network.modules import ACTIVATIONS, POOLS, Network, Residual
from budgetsweep.network.rows import resolve_layers


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
