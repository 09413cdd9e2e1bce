"""A study belongs to one sweep folder, and the folder to that study.

Who is alive is known by files in the folder, whose trial is whose by the study: two folders on one
study would take each other's workers for dead. Both carry the same id, therefore. A folder that is
moved, or copied with the journal in it, takes its study along; a study on a server stays with the
folder that began it. Others may join it there: their signs of life are in the study.
"""

import json
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.files import write_text
from hydra_budget_sweeper.space.grammar import override_text
from hydra_budget_sweeper.storage_url import on_server
from hydra_budget_sweeper.study.place import JOURNAL, MARK, WORKERS, StudyPlace, mark_of
from hydra_budget_sweeper.study.store import StudyStore

OWNER = "budget_sweep:sweep"
APART = "apart"  # in the mark of a folder that only helps with its study
_ELSEWHERE = "To start anew: another folder (hydra.sweep.dir)."
_HELP = " To help with it from here while it runs: hydra.sweeper.join=true."
_ANOTHER = "Take another hydra.sweeper.study_name for this sweep."


def check_folder(place: StudyPlace, studies: Sequence[str]) -> None:
    """Refuse a folder that holds the sweep of another study.

    Args:
        studies: Names of those that are in the storage of `place`.

    Raises:
        SweepError: Names the study that the folder belongs to.
    """
    mark, exists = mark_of(place.folder), place.name in studies
    name, storage = mark.get("study"), mark.get("storage")
    if not name and not storage:  # none yet, or its journal was copied alone
        if place.storage is None and studies and not exists:
            raise SweepError(_holds_another(place, studies[0], None))
        return
    in_folder = place.storage is None and storage is None
    if in_folder and name == place.name:
        if exists:
            return
        raise SweepError(
            f"{place.folder / JOURNAL} does not hold the study of the sweep in this folder, {name}: "
            f"it was emptied, or another's. Put it back. {_ELSEWHERE}"
        )
    if not exists and (name, storage) == (place.name, place.shown_storage):
        raise SweepError(
            f"{place.folder} holds a sweep whose {place} is not there. A relative path counts from "
            f"where the command is started. {_ELSEWHERE}"
        )
    if place.storage is None or storage is None or not exists:
        raise SweepError(_holds_another(place, name, storage))


def _holds_another(place: StudyPlace, name: Any, storage: Any) -> str:
    kept_in = storage or "the folder itself (hydra.sweeper.storage=null)"
    return (
        f"{place.folder} holds another sweep: its study is {name} in {kept_in}, not the "
        f"{place}. Name that one to go on with it. {_ELSEWHERE}"
    )


def bind(
    store: StudyStore,
    place: StudyPlace,
    directions: tuple[str, ...],
    ours: bool,
    joining: bool = False,
) -> None:
    """Make study and folder belong to each other, or find that they do.

    Args:
        directions: What the sweep is to do: minimize, maximize.
        ours: Whether a sweep of this kind has written to the study before.
        joining: Whether a study of a server's may stay another folder's.

    Raises:
        SweepError: The study belongs to another folder, or something else made it and it has
            trials or other directions.
    """
    owner, mark = store.attribute(OWNER), mark_of(place.folder)
    # A folder that shares the owner's files would have its mark.
    apart = joining and on_server(place.storage) and bool(owner) and mark.get(APART, not mark)
    if owner is not None and place.storage is not None and not apart:
        _check_owner(owner, mark, place)
    if not ours:
        _check_foreign(store, place, directions)
    identifier = (owner or mark or {}).get("id") or uuid.uuid4().hex
    here = {"id": identifier, "folder": str(place.folder), "host": socket.gethostname()}
    if owner != here and not apart:
        store.set_attribute(OWNER, here)
    new = {"id": identifier, "study": place.name, "storage": place.shown_storage}
    new |= {APART: True} if apart else {}
    if mark != new:
        write_text(place.folder / WORKERS / MARK, json.dumps(new) + "\n")


def _check_owner(owner: dict[str, Any], mark: dict[str, Any], place: StudyPlace) -> None:
    theirs = Path(owner["folder"])
    marked, at_home = (
        not mark.get(APART) and mark.get("id") == owner["id"],
        owner["host"] == socket.gethostname(),
    )
    if _is_same(theirs, place.folder) and (marked or (at_home and not mark)):
        return
    moved_here = marked and mark_of(theirs).get("id") != owner["id"]
    if not moved_here:
        where = "" if at_home else f" on {owner['host']}"
        raise SweepError(
            f"The {place} belongs to the sweep in {theirs}{where}. To go on with it: "
            f"hydra.sweep.dir={override_text(str(theirs))}. To start another sweep here: another "
            "hydra.sweeper.study_name." + (_HELP if on_server(place.storage) else "")
        )


def _check_foreign(store: StudyStore, place: StudyPlace, directions: tuple[str, ...]) -> None:
    n_trials = len(store.trials())
    theirs = [direction.name.lower() for direction in store.directions]
    if theirs != list(directions):
        raise SweepError(
            f"The {place} was made to {' and '.join(theirs)}, but hydra.sweeper.direction is "
            f"{' and '.join(directions)}. {_ANOTHER}"
        )
    if n_trials:
        raise SweepError(
            f"The {place} has {n_trials} trials that no sweep of hydra/sweeper=budget made, so "
            f"they cannot be gone on with. {_ANOTHER}"
        )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
