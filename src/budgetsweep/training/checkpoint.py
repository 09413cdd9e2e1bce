"""The state of a run after an epoch, from which it goes on to the same end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from budgetsweep import tensors
from budgetsweep.config import Config
from budgetsweep.errors import UserError
from budgetsweep.folders import CHECKPOINT

# Settings that may differ between a run and its continuation: what is told and where things lie,
# and how the same sums are computed. Threads, and torch's compiler, change their last bits; the
# number format is the checkpoint's own, whatever is set.
_FREE = {
    "resume", "objectives", "target", "trainer.progress", "trainer.tensorboard", "data.root", "data.mirror",
    "data.download", "trainer.precision", "trainer.memory_format", "trainer.threads",
    "trainer.compile", "trainer.first_look", "trainer.look_images", "trainer.look_ema", "trainer.test",
}  # fmt: skip

_ROWS = "model.layers."  # whose fields are null where nothing is said
_PARTS = {"identity", "format", "trainer", "clock", "rows"}


def identity(config: Config) -> dict[str, Any]:
    """The settings that decide a run's numbers, flat: `{"optimizer.lr": 0.1, ...}`."""
    flat = _flatten(dataclasses.asdict(config))
    return {key: value for key, value in flat.items() if key not in _FREE}


def _flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, their keys joined by dots."""
    if not isinstance(node, dict):
        return {prefix.rstrip("."): node}
    return {
        k: v for name, item in node.items() for k, v in _flatten(item, f"{prefix}{name}.").items()
    }


def load(folder: Path) -> dict[str, Any] | None:
    """The checkpoint in `folder`, or None where there is none.

    Raises:
        UserError: it is unreadable, or no checkpoint of ours.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        state = tensors.load(path)
    except UserError as error:
        raise UserError(f"{error} Remove it to start anew.") from None
    if not (
        isinstance(state, dict) and state.keys() >= _PARTS and isinstance(state["identity"], dict)
    ):
        raise UserError(f"{path} is no checkpoint of budgetsweep; remove it to start anew.")
    return dict(state)


def refuse_other(state: dict[str, Any], config: Config, folder: Path) -> None:
    """Hold a run's settings against those of the checkpoint in its folder.

    A setting that it does not know, from before there was such a one, had its default.

    Raises:
        UserError: it is of a run with other settings.
    """
    differing = [
        f"{key}: {then} then, {now} now"
        for key, then, now in _pairs(state["identity"], identity(config))
        if then != now
    ]
    if differing:
        raise UserError(
            f"{folder / CHECKPOINT} belongs to a run with other settings ({'; '.join(differing)}); use those, "
            "or another hydra.run.dir."
        )


def _pairs(before: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each setting then and now, by name; one that the older did not know had its default."""
    defaults = _flatten(dataclasses.asdict(Config()))
    yield "model.layers", _rows(before), _rows(now)
    for key in sorted((before.keys() | now.keys()) - _FREE):
        default = None if key.startswith(_ROWS) else defaults.get(key)
        yield key, before.get(key, default), now.get(key, default)


def _rows(flat: dict[str, Any]) -> list[str]:
    """The names of the network's rows, in their order; a dropped one is apart from an empty one."""
    rows = (key.removeprefix(_ROWS).split(".") for key in flat if key.startswith(_ROWS))
    return list(dict.fromkeys(name if inner else f"{name}=null" for name, *inner in rows))
