"""A trained network, read back from the folder of its run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from budgetsweep import tensors
from budgetsweep.config import Config, to_config
from budgetsweep.errors import UserError
from budgetsweep.files import read_json
from budgetsweep.folders import CHECKPOINT, CONFIG, LEADERBOARD, MODEL, SUMMARY
from budgetsweep.network.factory import build_model
from budgetsweep.network.modules import Network


@dataclass(frozen=True)
class SavedRun:
    """A trained network with all that is needed to use it."""

    folder: Path
    config: Config  # with the width multiplier that was trained
    network: Network  # on the CPU, in evaluation mode
    class_names: tuple[str, ...]
    summary: dict[str, Any]


def load_run(folder: Path) -> SavedRun:
    """Read a run's folder, or the winner's where `folder` is a sweep's.

    Raises:
        UserError: a file is missing or unreadable, or they do not belong together.
    """
    folder = winner(folder) if (folder / LEADERBOARD).exists() else folder
    config = _read_config(folder)
    of_summary, of_weights = _existing(folder / SUMMARY), _existing(folder / MODEL)
    with _advised():
        summary = read_json(of_summary)
        names = _read_into(config, summary, of_summary)
        weights = tensors.load(of_weights)
    try:
        network = build_model(config.model, config.data)
        network.load_state_dict(weights)
    except (UserError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder / MODEL} does not fit {CONFIG} and {SUMMARY}: {reason}") from None
    return SavedRun(folder, config, network.eval(), names, summary)


def _read_into(config: Config, summary: Any, path: Path) -> tuple[str, ...]:
    """Take what the data decided from a run's summary; the names of the classes."""
    try:
        config.model.width_multiplier = _positive(summary["width_multiplier"])
        names = tuple(map(str, summary["class_names"]))
        config.data.classes = len(names)
        data = config.data  # which may leave these to the images
        data.channels = int(summary.get("channels", data.channels))
        data.mean = list(map(float, summary.get("mean", data.mean)))
        data.std = list(map(float, summary.get("std", data.std)))
        if not len(data.mean) == len(data.std) == data.channels or not all(
            map(math.isfinite, [*data.mean, *map(_positive, data.std)])
        ):
            raise ValueError(f"mean={data.mean}, std={data.std} of {data.channels} channels")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no summary of a run: {error!r}.") from None
    return names


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{value} is no positive number")
    return number


def winner(sweep: Path) -> Path:
    """The folder of a sweep's best trial.

    Raises:
        UserError: no trial is complete yet.
    """
    path = sweep / LEADERBOARD
    try:
        for trial in read_json(path):
            if trial.get("rank") == 1 and trial.get("folder"):
                return sweep / str(trial["folder"])
    except (UserError, AttributeError, TypeError) as error:
        reason = str(error) if isinstance(error, UserError) else f"{path} is no leaderboard."
        raise UserError(
            f"{reason} The sweep's own command on this folder writes it anew; or name a run's folder."
        ) from None
    raise UserError(f"{sweep}: no trial of this sweep is complete yet; name a run's folder.")


def _read_config(folder: Path) -> Config:
    path = _existing(folder / CONFIG)
    try:
        cfg = OmegaConf.load(path)
        if not isinstance(cfg, DictConfig) or "model" not in cfg:
            raise UserError("it is no run's configuration.")
        return to_config(cfg)
    except (
        UserError,
        OSError,
        UnicodeDecodeError,
        TypeError,
        yaml.YAMLError,
        OmegaConfBaseException,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be read: {reason} {_AGAIN}") from None


_AGAIN = (
    "The run's own command with its folder as hydra.run.dir and resume=true writes it anew, from "
    f"{CHECKPOINT}."
)


@contextmanager
def _advised() -> Iterator[None]:
    """Add to what cannot be read in a run's folder how to have it again."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error} {_AGAIN}") from None


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError(
            f"{path} is missing: no finished run there. Name the folder that the training's last "
            "line names, or a sweep's."
        )
    return path
