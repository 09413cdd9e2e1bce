"""The factory: rows in the configuration → a network."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from torch import nn

from budgetsweep.config import DataConfig, LayerConfig, ModelConfig
from budgetsweep.errors import SettingError, UserError
from budgetsweep.network.blocks import build, convolutions, drop_idle_biases, with_skip
from budgetsweep.network.modules import POOLS, Network, SqueezeExcite, activation
from budgetsweep.network.rows import resolve_layers, scaled
from budgetsweep.network.trace import output_shape
from budgetsweep.own import Own

Modules = list[nn.Module]


def build_model(model: ModelConfig, data: DataConfig) -> Network:
    """Build the network for images of `data.channels` × `data.size` × `data.size`.

    Raises:
        SettingError: the rows do not fit together; the key names the row.
    """
    channels, size = data.channels, data.size
    layers: dict[str, nn.Module] = {}
    chain: list[tuple[nn.Module, LayerConfig]] = []
    for name, row in resolve_layers(model, channels).items():
        _refuse_name(name)
        modules: Modules = []
        for i in range(row.repeat or 1):
            block = row if i == 0 else replace(row, stride=1)
            built, channels, size = _build_block(name, block, channels, size)
            modules += built if row.repeat == 1 else [nn.Sequential(*built)]
            chain += [(module, row) for module in built]
        tail = list(_tail(row))
        chain += [(module, row) for module in tail]
        layers[name] = nn.Sequential(*modules, *tail)
        size = _not_vanished(name, row, size, size // (row.pool or 1))
    drop_idle_biases(chain)
    with _named("model.head", model.head):
        head = nn.Sequential(*_head(model, channels, size, data.classes))
    return Network(layers, head)


def _refuse_name(name: str) -> None:
    """Rows are attributes of the network, so that their weights have names."""
    if not name or "." in name or hasattr(nn.Sequential(), name):
        raise SettingError(
            "model.layers",
            f"{{{name}: ...}}",
            "a row cannot have this name: it is empty, has a dot, or torch has something of that name.",
            f"Call it {name.replace('.', '_') or 'row'}1.",
        )


def _build_block(name: str, row: LayerConfig, channels: int, size: int) -> tuple[Modules, int, int]:
    """A block's modules, and the channels and side of the map that they give."""
    if make := Own().blocks.get(row.block or ""):
        return _build_own(name, row, make(channels, row), channels, size)
    out = size
    for conv in convolutions(row, channels):
        out = _not_vanished(name, row, out, conv.size(out))
    if row.residual or (row.residual is None and row.block == "basic"):
        _refuse_other_shape(name, row, size, row.width or 0, out)
    with _named(f"model.layers.{name}", f"{{width: {row.width}, block: {row.block}}}"):
        return build(row, channels, size, out), row.width or 0, out


@contextmanager
def _named(key: str, value: object) -> Iterator[None]:
    """Tell by its key of what torch, or a function of one's own, refuses to make."""
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        told = str(error).strip() or type(error).__name__
        allowed = f"this cannot be built: {told.splitlines()[0].rstrip('.')}."
        raise SettingError(key, value, allowed) from error


def _brief(returned: object) -> str:
    if isinstance(returned, type):
        return f"the class {returned.__name__}, which is to be called first"
    return "nothing (None)" if returned is None else reprlib.repr(returned)


def _build_own(
    name: str, row: LayerConfig, module: object, channels: int, size: int
) -> tuple[Modules, int, int]:
    key = f"model.layers.{name}.block"
    if not isinstance(module, nn.Module):
        allowed = f"what was registered must return an nn.Module, and returned {_brief(module)}."
        raise SettingError(key, row.block, allowed)
    try:
        shape = output_shape(module, channels, size)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        allowed = f"cannot take maps of {channels}×{size}×{size}: {error}"
        raise SettingError(key, row.block, allowed) from error
    if len(shape) != 3 or shape[1] != shape[2]:
        raise SettingError(key, row.block, f"must give square maps, but gives {shape}.")
    body = [module, SqueezeExcite(shape[0], row.squeeze_excite)] if row.squeeze_excite else [module]
    if row.residual:
        _refuse_other_shape(name, row, size, *shape[:2])
        body = [with_skip(row, channels, body, [])]
    return body, shape[0], shape[1]


def _head(model: ModelConfig, channels: int, size: int, classes: int) -> Iterator[nn.Module]:
    if model.head == "gap":
        yield nn.AdaptiveAvgPool2d(1)
        size = 1
    if model.head_hidden:
        hidden = scaled(model.head_hidden, model.width_multiplier)
        yield nn.Conv2d(channels, hidden, size)
        if model.defaults.activation not in (None, "none"):
            yield activation(model.defaults.activation, may_overwrite=True)
        channels, size = hidden, 1
    yield nn.Conv2d(channels, classes, size)


def _tail(row: LayerConfig) -> Iterator[nn.Module]:
    if row.pool and row.pool > 1:
        yield POOLS[row.pool_type or "max"](row.pool)
    if row.dropout:
        yield nn.Dropout(row.dropout)


def _refuse_other_shape(name: str, row: LayerConfig, size: int, width: int, out: int) -> None:
    """What is added must have the shape that a projection of the input has."""
    if width != row.width or out != (size - 1) // (row.stride or 1) + 1:
        key, value = ("block", row.block) if row.residual is None else ("residual", "true")
        raise SettingError(
            f"model.layers.{name}.{key}",
            value,
            f"the block changes a {size}×{size} map to {out}×{out}, so its input cannot be added;",
            f"set padding={(row.kernel or 1) // 2}, or padding=same, with an odd kernel.",
        )


def _not_vanished(name: str, row: LayerConfig, size: int, out: int) -> int:
    if out < 1:
        raise SettingError(
            f"model.layers.{name}",
            f"{{kernel: {row.kernel}, stride: {row.stride}, pool: {row.pool}}}",
            f"the feature map vanishes here: {size}×{size} comes in and nothing goes out.",
            "Use a smaller kernel, pool or stride, more padding, or drop a row before it.",
        )
    return out
