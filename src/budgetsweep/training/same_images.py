"""That a run goes on with the images it began with, and runs that are compared have the same."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from budgetsweep.config import DataConfig
from budgetsweep.data import changes, held
from budgetsweep.errors import SettingError, UserError
from budgetsweep.files import read_json, write_json
from budgetsweep.folders import IMAGES, REPLICATION
from budgetsweep.training.shared import locked, shared_by


def refuse_changed(state: Mapping[str, Any], data: DataConfig) -> None:
    """Hold what a folder of images holds now against what a run's checkpoint says of it.

    A checkpoint of before there was such a note is taken as it is.

    Raises:
        SettingError: they differ; says in what.
    """
    then, begun = state.get("contents"), state["identity"]
    if not then or (begun.get("data.name"), begun.get("data.path")) != (data.name, data.path):
        return  # other settings are told as such
    if changed := changes(then, held(data)):
        raise SettingError(
            "data.path",
            data.path,
            f"its images are not those that this run began with ({changed}).",
            "Put those back, or begin anew: with resume=false, or in another hydra.run.dir.",
        )


def refuse_unlike(contents: Mapping[str, str], data: DataConfig, folder: Path) -> None:
    """Hold a run's images against those of the other runs of its sweep or comparison.

    The first run of a `data.path` leaves a note of its images beside what else they share.

    Raises:
        SettingError: they differ; says in what.
    """
    above = shared_by(folder)
    if above is None or not contents:
        return
    path, key = above / IMAGES, str(data.path)
    with locked(path):
        known = _read(path)
        if key not in known:
            known[key] = dict(contents)
            with contextlib.suppress(OSError):  # as with what else is shared
                write_json(path, known)
    if changed := changes(known[key], contents):
        elsewhere = "sweep into another hydra.sweep.dir"
        if above.name == Path(REPLICATION).parent.name:
            elsewhere = f"move {above} away, to compare anew"
        raise SettingError(
            "data.path",
            data.path,
            f"its images are not those of the earlier runs in {above} ({changed}).",
            f"Put those back, or {elsewhere}.",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        known = read_json(path)
    except UserError:  # not there yet, or damaged
        return {}
    return known if isinstance(known, dict) else {}
