"""A finished run, read back from its folder."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from budgetsweep.config import Config, to_config
from budgetsweep.errors import UserError
from budgetsweep.folders import CONFIG, LEADERBOARD, MODEL, SUMMARY
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
    config, summary = _read_config(folder), _read_json(folder / SUMMARY)
    try:
        config.model.width_multiplier = summary["width_multiplier"]
        names = tuple(map(str, summary["class_names"]))
        config.data.classes = len(names)
        for key in ("channels", "mean", "std"):  # what the configuration may leave to the data
            setattr(config.data, key, summary.get(key, getattr(config.data, key)))
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / SUMMARY}: is no summary of a run ({error!r}).") from None
    network = build_model(config.model, config.data)
    try:
        network.load_state_dict(_read_weights(folder / MODEL))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder / MODEL} does not fit {CONFIG}: {reason}") from None
    return SavedRun(folder, config, network.eval(), names, summary)


def winner(sweep: Path) -> Path:
    """The folder of a sweep's best trial.

    Raises:
        UserError: no trial is complete yet.
    """
    for trial in _read_json(sweep / LEADERBOARD):
        if trial.get("rank") == 1 and trial.get("folder"):
            return sweep / str(trial["folder"])
    raise UserError(f"{sweep}: no trial of this sweep is complete yet; name a run's folder.")


def _read_config(folder: Path) -> Config:
    path = _existing(folder / CONFIG)
    try:
        cfg = OmegaConf.load(path)
        if not isinstance(cfg, DictConfig):
            raise UserError("it is no run's configuration.")
        return to_config(cfg)
    except (
        UserError,
        OSError,
        UnicodeDecodeError,
        yaml.YAMLError,
        OmegaConfBaseException,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be read: {reason}") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_existing(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} cannot be read: {error}") from None


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        weights: dict[str, torch.Tensor] = torch.load(
            _existing(path), map_location="cpu", weights_only=True
        )
        return weights
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"{path} cannot be read ({reason}); train the run again.") from None


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(
            f"{path} is missing: no finished run there. Name the folder that the training's last "
            "line names, or a sweep's."
        )
    return path
