"""What is asked before anything is written: by Hydra, once a command line is composed, and by the sweeper."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from budgetsweep.config import MAXIMIZED, to_config, typed
from budgetsweep.errors import SettingError, UserError
from budgetsweep.folders import LEADERBOARD, SUMMARY
from hydra_budget_sweeper.space.grammar import parse_all

_LOCAL = ("basic", "workers", "forkserver", "joblib")  # launchers that stay on this machine


class BeforeRun(Callback):
    """Ends a command with a sentence where what was given cannot be what was meant."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        try:
            _refuse_search(config)
            _refuse_teacher(config)
            _keep_finished(config)
        except UserError as error:
            sys.exit(str(error))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        try:
            _refuse_settings(config)
            _refuse_direction(config)
            _refuse_teacher(config)
            if config.hydra.runtime.choices["hydra/launcher"] in _LOCAL:
                _refuse_device(config)
        except UserError as error:
            sys.exit(str(error))


def _refuse_search(config: DictConfig) -> None:
    """A space, and nothing of it set: a sweep was meant. A trial that is run again sets it all."""
    overrides: Any = OmegaConf.to_container(config.hydra.overrides.task)  # ${...} as it is
    given = [o.lstrip("+").partition("=")[0] for o in overrides]
    if "search" not in given or {"--run", "-r"} & set(sys.argv):
        return
    searched = list(_keys(OmegaConf.select(config, "hydra.sweeper.params") or {}))
    if not any(fnmatchcase(key, pattern) for key in given for pattern in searched):
        search = f"search={config.hydra.runtime.choices['search']}"
        raise UserError(
            f"{search} is of a sweep: budgetsweep sweep {search}. To train its network once as it is, add "
            "--run."
        )


def refuse_data(config: DictConfig) -> None:
    """The sweeper's on_start: images that no trial could have, and what is missing of them fetched once.

    Not where trials run on other machines, or bring images of their own.

    Raises:
        UserError: see `budgetsweep.data.check`.
    """
    from budgetsweep.data import check  # torch

    theirs = {key.partition(".")[0] for key in _searched(config)}
    if config.hydra.runtime.choices["hydra/launcher"] in _LOCAL and not theirs & {
        "data", "experiment"
    }:  # fmt: skip
        check(typed(config, "data"))


def _refuse_settings(config: DictConfig) -> None:
    """What no candidate could be trained with; what is searched, the candidates bring themselves."""
    run = config.copy()
    with open_dict(run):
        del run["hydra"]
    try:
        to_config(run)
    except SettingError as error:
        if not any(
            fnmatchcase(error.key, key) or error.key.startswith(f"{key}.")
            for key in _searched(config)
        ):
            raise


def _refuse_direction(config: DictConfig) -> None:
    """A sweep that goes the wrong way finds the worst network."""
    given = OmegaConf.select(config, "hydra.sweeper.direction")
    if given is None:  # of a sweeper that knows none
        return
    names = list(OmegaConf.select(config, "objectives") or ())
    wanted = ["maximize" if name in MAXIMIZED else "minimize" for name in names]
    listed = given if OmegaConf.is_list(given) else [given]
    if [getattr(d, "name", str(d)) for d in listed] != wanted:
        right = f"[{','.join(wanted)}]" if len(wanted) > 1 else "".join(wanted)
        raise UserError(
            f"hydra.sweeper.direction={given} does not go with objectives=[{','.join(names)}]: add "
            f"hydra.sweeper.direction={right}."
        )


def _refuse_teacher(config: DictConfig) -> None:
    """A teacher that is not there would end every trial."""
    folder = OmegaConf.select(config, "teacher.run")
    if folder is not None and not str(folder).strip():
        raise SettingError("teacher.run", "''", "must name a folder, or be null for no teacher.")
    if folder is not None and not any(
        (Path(folder) / name).exists() for name in (SUMMARY, LEADERBOARD)
    ):
        reason = "there is no finished run and no sweep."
        raise SettingError("teacher.run", folder, reason, "Name the folder of one.")


def _refuse_device(config: DictConfig) -> None:
    """One that this machine does not have."""
    device = OmegaConf.select(config, "trainer.device")
    if device in ("cuda", "mps"):
        from budgetsweep.training.device import choose_device  # torch

        choose_device(device)


def _searched(config: DictConfig) -> set[str]:
    """The keys that candidates bring themselves."""
    return {*_keys(OmegaConf.select(config, "hydra.sweeper.params") or {}), *_swept(config)}


def _keys(params: Any) -> Iterable[str]:
    for key, value in params.items():
        yield str(key).partition("=")[0]
        if OmegaConf.is_dict(value):
            yield from _keys(value)


def _swept(config: DictConfig) -> Iterable[str]:
    """What the command line gives several values."""
    given: Any = OmegaConf.to_container(config.hydra.overrides.task)
    return [o.key_or_group for o in parse_all(given) if o.is_sweep_override()]


def _keep_finished(config: DictConfig) -> None:
    """A finished run's folder is not written over, unless it is to be taken up."""
    folder = Path(config.hydra.run.dir)
    if config.get("resume") or not (folder / SUMMARY).exists():
        return
    try:
        before = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        told = f" ({before['model']}, seed {before['seed']}, {before['epochs']} epochs)"
    except (OSError, ValueError, KeyError, TypeError):
        told = ""
    raise UserError(
        f"{os.path.relpath(folder)} holds a finished run{told}, which is kept. Name another folder "
        "(hydra.run.dir=...), or add resume=true to have its results again."
    )
