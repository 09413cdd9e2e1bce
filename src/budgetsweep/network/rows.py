"""The rows of a network as they are built, with all that the configuration leaves out."""

from __future__ import annotations

import math
from dataclasses import fields, replace

from budgetsweep.config import LayerConfig, ModelConfig
from budgetsweep.errors import SettingError


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
