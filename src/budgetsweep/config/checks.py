"""What Hydra cannot check while it composes: unknown keys and ranges."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from budgetsweep.config.schema import OBJECTIVES, Config, LayerConfig
from budgetsweep.config.store import CONF_DIR
from budgetsweep.errors import SettingError
from hydra_budget_sweeper.hydra_errors import NO_SUCH_SETTING
from hydra_budget_sweeper.near import did_you_mean, near

LISTED = "`budgetsweep settings` lists every one."


def to_config(cfg: DictConfig) -> Config:
    """The composed configuration as checked dataclasses.

    Raises:
        SettingError: a key is unknown, or a value missing or out of its range.
    """
    refuse_missing(cfg)
    given, known = OmegaConf.to_container(cfg), dataclasses.asdict(Config())
    row = dataclasses.asdict(LayerConfig())
    known["model"]["layers"] = dict.fromkeys(OmegaConf.select(cfg, "model.layers") or (), row)
    _refuse_unknown(given, known)
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), cfg))
    except OmegaConfBaseException as error:  # a row that was added by its path has no types before
        key = str(error.full_key)
        reason = allowed(key) or str(error).splitlines()[0].rstrip(".") + "."
        raise SettingError(key, OmegaConf.select(cfg, key), reason) from None
    assert isinstance(config, Config)
    for name in ("mean", "std"):
        given = getattr(config.data, name)
        if not isinstance(given, str):
            setattr(config.data, name, [float(value) for value in given])
    check(config)
    _check_names(config.objectives)
    return config


def typed(cfg: DictConfig, group: str) -> Any:
    """A group of a composed configuration as the schema's dataclass.

    Raises:
        OmegaConfBaseException: a primary configuration of one's own, without the schema, does not fit it.
    """
    node, kind = cfg[group], type(getattr(Config(), group))
    if OmegaConf.get_type(node) is not kind:
        given = OmegaConf.to_container(node, resolve=True)
        node = OmegaConf.merge(OmegaConf.structured(kind), given)
    return OmegaConf.to_object(node)


def refuse_missing(cfg: DictConfig) -> None:
    """A value that is still to be given, or a group of which nothing is chosen.

    Raises:
        SettingError: there is one.
    """
    for key in sorted(OmegaConf.missing_keys(cfg)):
        options = ", ".join(sorted(file.stem for file in (CONF_DIR / key).glob("*.yaml")))
        hint = f"Choose one, such as {options}." if options else f"Set {key}=..."
        raise SettingError(key, "???", "is missing.", hint)


def allowed(key: str) -> str:
    """What a setting of several types allows, in words; empty for any other, and where there is none."""
    node: Any = Config()
    *parents, last = key.split(".")
    for name in parents:
        node = LayerConfig() if isinstance(node, dict) else getattr(node, name, None)
    known = {f.name: f for f in dataclasses.fields(node)} if dataclasses.is_dataclass(node) else {}
    return str(known[last].metadata.get("allowed", "")) if last in known else ""


def check_objectives(
    objectives: Sequence[str], validation: int | str, target: float | None
) -> None:
    """Hold what a sweep is to optimize against what a run can give.

    Raises:
        SettingError: a figure is unknown, of validation images where there are none, or of a target
            that is not set.
    """
    _check_names(objectives)
    if "size_at_target" in objectives and target is None:
        raise SettingError(
            "target",
            "null",
            "size_at_target needs the validation accuracy to hold.",
            "Set target=0.99.",
        )
    of_validation = [n for n in objectives if n.startswith("val_") or n == "size_at_target"]
    if validation == 0 and of_validation:
        raise SettingError(
            "objectives",
            f"[{','.join(objectives)}]",
            "there are no validation images to take it from.",
            "Set data.validation, or objectives=[train_loss].",
        )


def _check_names(objectives: Sequence[str]) -> None:
    if not objectives or not set(objectives) <= set(OBJECTIVES):
        allowed = f"must be a list of some of {', '.join(OBJECTIVES)}."
        raise SettingError("objectives", list(objectives), allowed)


def _refuse_unknown(given: Any, known: dict[str, Any]) -> None:
    """A key added with `+` passes the schema while Hydra composes; no run reads it."""
    for key, value in _unknown(given, known):
        hint = did_you_mean(near(key, _names(known))).strip()
        raise SettingError(key, value, NO_SUCH_SETTING, hint or LISTED)


def _unknown(given: Any, known: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name in known:
                yield from _unknown(value, known[name], f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value


def _names(known: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every key, of groups and of settings."""
    for name, value in known.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{name}.")


def check(node: Any, prefix: str = "") -> None:
    """Hold every number below `node` against its range."""
    for key, value in _children(node):
        path = f"{prefix}{key}"
        if dataclasses.is_dataclass(value):
            check(value, f"{path}.")
        elif isinstance(value, dict):
            for name, item in value.items():
                check(item, f"{path}.{name}.")
    if dataclasses.is_dataclass(node):
        for f in dataclasses.fields(node):
            _check_bounds(f"{prefix}{f.name}", getattr(node, f.name), f.metadata.get("bounds", {}))
            _check_choice(f"{prefix}{f.name}", getattr(node, f.name), f.metadata.get("choices"))


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(node):
        for f in dataclasses.fields(node):
            yield f.name, getattr(node, f.name)


def _check_bounds(key: str, value: Any, bounds: dict[str, float]) -> None:
    within = {
        "≥": lambda v, b: v >= b,
        ">": lambda v, b: v > b,
        "≤": lambda v, b: v <= b,
        "<": lambda v, b: v < b,
    }
    if value is None or isinstance(value, str):
        return
    # A comparison with NaN is false, so NaN is refused too.
    if not all(within[sign](value, b) for sign, b in bounds.items()):
        raise SettingError(key, value, f"must be {describe_bounds(bounds)}.")


def _check_choice(key: str, value: Any, choices: Callable[[], Sequence[str]] | None) -> None:
    if choices is None or value is None or value in choices():
        return
    hint = did_you_mean(difflib.get_close_matches(value, choices(), n=1)).strip()
    hint = hint or "One's own: see docs/own-layers.md."
    raise SettingError(key, value, f"must be one of {', '.join(choices())}.", hint)


def describe_bounds(bounds: dict[str, float]) -> str:
    """`{"≥": 0, "<": 1}` → "≥ 0 and < 1"."""
    return " and ".join(f"{sign} {bound}" for sign, bound in bounds.items())
