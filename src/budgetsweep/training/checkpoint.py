"""The state of a run after an epoch, from which it goes on to the same end."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import torch

from budgetsweep.config import Config
from budgetsweep.errors import UserError
from budgetsweep.files import write_atomic
from budgetsweep.folders import CHECKPOINT

# Settings that may differ between a run and its continuation: they change no number.
_FREE = {
    "resume", "objectives", "trainer.progress", "trainer.tensorboard", "data.root", "data.mirror",
    "data.download", "trainer.precision", "trainer.memory_format", "trainer.threads",
    "trainer.compile", "trainer.first_look", "trainer.look_images", "trainer.test",
}  # fmt: skip


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


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint or weights atomically."""
    write_atomic(path, lambda file: torch.save(state, file))


def load(folder: Path, config: Config) -> dict[str, Any] | None:
    """The checkpoint in `folder`, or None where there is none.

    Raises:
        UserError: it is unreadable, or belongs to a run with other settings.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove it to start anew.") from None
    before, now = state["identity"], identity(config)
    differing = [
        f"{key}: {before.get(key)} then, {now.get(key)} now"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if differing:
        raise UserError(
            f"{path} belongs to a run with other settings ({'; '.join(differing)}); use those, "
            "or another hydra.run.dir."
        )
    return state
