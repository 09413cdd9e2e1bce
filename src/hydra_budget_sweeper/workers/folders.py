"""Folders of trials: each is its trial's alone, and nothing that was there before is touched."""

import errno
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from hydra_budget_sweeper.folder import is_own


def make_folder(sweep: Path, subdir: str, number: int, is_taken: Callable[[str], bool]) -> str:
    """Make the folder of trial `number` and return its path below the sweep's folder.

    It is `subdir`, unless that is no folder for one trial alone (the sweep's own, or where its files lie,
    another trial's, or something that was there before): then the trial's number tells it apart. Where
    it is longer than the disk takes, the number is all of it.

    Args:
        sweep: The sweep's folder.
        subdir: What `hydra.sweep.subdir` gives this trial.
        number: The trial's.
        is_taken: Whether another trial has a folder; an empty one that none has is nobody's.
    """
    for name in _names(sweep, subdir, number):
        try:
            (sweep / name).mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):
            if not _is_empty_folder(sweep / name) or is_taken(name):
                continue
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG or subdir == str(number):
                raise
            return make_folder(sweep, str(number), number, is_taken)
        return name
    raise AssertionError("unreachable: there is always a free name")


def _names(sweep: Path, subdir: str, number: int) -> Iterator[str]:
    whole = sweep.resolve()
    place = (whole / subdir).resolve()
    if place == whole or place in whole.parents:
        subdir = str(number)
        yield subdir
    elif whole in place.parents and is_own(below := place.relative_to(whole)):
        subdir = below.parts[0]
    else:
        yield subdir
    yield f"{subdir}-trial-{number}"
    for again in itertools.count(2):
        yield f"{subdir}-trial-{number}-{again}"


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())
