"""The rows of a network as they are built, with all that the configuration leaves out."""

from __future__ import annotations

import math
from dataclasses import fields, replace

from budgetsweep.config import BLOCKS, LayerConfig, ModelConfig
from budgetsweep.errors import SettingError

# Null in the defaults too: as in the reference's row.
_OPTIONAL = ("dilation", "groups", "block", "expand", "squeeze_excite", "repeat")
_MAY_STAY_NULL = {"width", "bias", "residual", "projection_norm", "after"}


def resolve_layers(model: ModelConfig, channels: int) -> dict[str, LayerConfig]:
    """The rows as built: in order, defaults filled in, widths scaled, left-out rows gone.

    Args:
        model: the network.
        channels: of the images.

    Raises:
        SettingError: there is no row, a row lacks a value that no default gives, or channels do not
            divide into groups.
    """
    if model.defaults.after is not None:
        raise SettingError("model.defaults.after", model.defaults.after, "is for single rows.")
    ordered = _in_order(model.layers)
    rows = {name: _fill(name, row, model) for name, row in ordered.items() if row is not None}
    rows = {name: row for name, row in rows.items() if row.repeat}
    if not rows:
        raise SettingError("model.layers", "{}", "a network needs at least one row.")
    return _scale(rows, model.width_multiplier, channels)


def scaled(width: int, multiplier: float, step: int = 1) -> int:
    """The width times the multiplier, to the next multiple of `step`, at least one step.

    Halves round up, so that the width never falls while the multiplier rises.
    """
    return max(step, math.floor(width * multiplier / step + 0.5) * step)


def _in_order(layers: dict[str, LayerConfig | None]) -> dict[str, LayerConfig | None]:
    """The rows with each that names another (`after`) right behind it."""
    names = list(layers)
    for name, row in layers.items():
        if row is None or row.after is None:
            continue
        if row.after not in layers or row.after == name:
            others = ", ".join(other for other in layers if other != name)
            raise SettingError(f"model.layers.{name}.after", row.after, f"must be one of {others}.")
        _refuse_circle(name, layers)
        names.remove(name)
        names.insert(names.index(row.after) + 1, name)
    return {name: layers[name] for name in names}


def _refuse_circle(name: str, layers: dict[str, LayerConfig | None]) -> None:
    """Rows that stand behind each other would have no place."""
    behind, row = [name], layers[name]
    while row is not None and row.after in layers:
        if row.after in behind:
            told = f"goes round in a circle: {' after '.join([*behind, row.after])}."
            raise SettingError(f"model.layers.{behind[-1]}.after", row.after, told)
        behind.append(row.after)
        row = layers[row.after]


def _fill(name: str, row: LayerConfig, model: ModelConfig) -> LayerConfig:
    own = {f.name: getattr(row, f.name) for f in fields(row)}
    filled = replace(model.defaults, **{k: v for k, v in own.items() if v is not None})
    usual = ModelConfig().defaults
    filled = replace(
        filled, **{k: getattr(usual, k) for k in _OPTIONAL if getattr(filled, k) is None}
    )
    required = {f.name for f in fields(filled)} - _MAY_STAY_NULL
    if filled.block in BLOCKS and not _is_depthwise(filled):
        required.add("width")
    for key in (f.name for f in fields(filled) if f.name in required):
        if getattr(filled, key) is None:
            raise SettingError(
                f"model.layers.{name}.{key}",
                "null",
                "must be set here or in",
                f"model.defaults.{key}.",
            )
    return replace(filled, padding=_pixels(name, filled))


def _pixels(name: str, row: LayerConfig) -> int | None:
    """The row's padding as a number."""
    if not isinstance(row.padding, str):
        return row.padding
    both = (row.dilation or 1) * ((row.kernel or 1) - 1)
    if both % 2:
        allowed = f"needs an odd kernel, but model.layers.{name}.kernel is {row.kernel}."
        raise SettingError(f"model.layers.{name}.padding", row.padding, allowed)
    return both // 2


def _is_depthwise(row: LayerConfig) -> bool:
    return row.block in ("conv", "basic") and row.conv == "depthwise"


def _groups(row: LayerConfig) -> int:
    grouped = row.block in ("conv", "basic") and row.conv != "depthwise"
    return (row.groups or 1) if grouped else 1


def _scale(rows: dict[str, LayerConfig], by: float, channels: int) -> dict[str, LayerConfig]:
    """Every width multiplied, in steps that its row's groups and those of the next divide."""
    steps, wanted = dict[str, int](), 1
    for name, row in reversed(rows.items()):
        steps[name] = math.lcm(_groups(row), wanted)
        wanted = steps[name] if _is_depthwise(row) else _groups(row)
    given, result = channels, dict[str, LayerConfig]()  # what comes in, unscaled and scaled
    for name, row in rows.items():
        width = row.width or given
        _refuse_odd_groups(name, row, given, width)
        step = math.lcm(steps[name], channels) if _is_depthwise(row) else steps[name]
        given, channels = width, channels if row.width is None else scaled(width, by, step)
        result[name] = replace(row, width=channels)
    return result


def _refuse_odd_groups(name: str, row: LayerConfig, channels: int, width: int) -> None:
    if _is_depthwise(row) and width % channels:
        raise SettingError(
            f"model.layers.{name}.width",
            width,
            f"a depthwise convolution gives {channels} channels, as many as come in, or a multiple.",
            "Leave the width out (null) to keep them.",
        )
    if width % _groups(row) or channels % _groups(row):
        raise SettingError(
            f"model.layers.{name}.groups",
            row.groups,
            f"must divide the {channels} channels that come in and the {width} that go out.",
        )
