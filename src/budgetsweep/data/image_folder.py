"""A person's own images: which folder is a class, which a part, which file an image.

Known layouts, whatever the case and with or without a prefix or year (`Training`, `val_set`,
`seg_test`, `train2017`), and inside one more folder, as archives unpack:

    CLASS/...
    train/CLASS/...  with or without val/CLASS/... and test/CLASS/...

What cannot be told apart is refused, with what was found.
"""

from __future__ import annotations

import logging
import mimetypes
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path, PurePath
from typing import NamedTuple

from budgetsweep.errors import DataError, SettingError

log = logging.getLogger(__name__)

_PARTS = {
    "train": ("training", "train", "trn"),
    "validation": ("validation", "valid", "val", "development", "dev"),
    "test": ("testing", "tests", "test", "tst", "evaluation", "eval", "holdout"),
}
_ROLES = {word: part for part, words in _PARTS.items() for word in words}
_MEANING_NOTHING = "datasets?|data|sets?|images?|imgs?|splits?|samples?|examples?"
_PART = re.compile(rf"(?<![a-z])({'|'.join(_ROLES)})({_MEANING_NOTHING})?(?![a-z])")
# What systems, cameras and file managers leave behind; hidden files and folders are skipped too.
_SYSTEM = {
    "@eadir", "@recycle", "#recycle", "@tmp", "@__thumb", "@recently-snapshot", "$recycle.bin",
    "system volume information", "lost+found", "__macosx", "__pycache__", "thumbnails", "_thumbnails",
    "_thumbs", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
}  # fmt: skip
_TYPES = mimetypes.MimeTypes()  # the standard library's own table, not that of the machine


class File(NamedTuple):
    """An image file; a link and what it leads to have one identity."""

    path: str
    identity: tuple[int, int]  # device and inode
    size: int  # bytes
    changed: int  # ns


class Sample(NamedTuple):
    """An image file and its class."""

    file: File
    label: int


@dataclass(frozen=True)
class ImageFolder:
    """What a folder holds; without test images of known classes, there is no part `test`."""

    classes: tuple[str, ...]  # fit for any output; a class's label is its place among them
    parts: Mapping[str, list[Sample]]  # train, perhaps validation and test


@lru_cache(maxsize=4)
def find(path: str | None) -> ImageFolder:
    """List a folder of images; opens none of them.

    Raises:
        SettingError: `path` is no folder.
        DataError: its layout cannot be told, or a part holds classes that train/ lacks.
    """
    if path is None or not path.strip() or not (top := Path(path).expanduser()).is_dir():
        allowed = "must be a folder with one sub-folder of images for each class."
        raise SettingError("data.path", path, allowed)
    try:
        return _find(_unwrap(top, within_part=False))
    except OSError as error:
        raise DataError(f"{shown(error.filename)}: cannot be read ({error.strerror}).") from None
    finally:
        _entries.cache_clear()


def shown(name: str | Path) -> str:
    """A name fit for any output: bytes that are not UTF-8, newlines and the like are escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in str(name))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a name that it could not decode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()


def _find(top: Path) -> ImageFolder:
    parts = _parts(top) or {"train": top}
    folders = {part: _unwrap(folder) for part, folder in parts.items()}
    train = _class_folders(folders["train"])
    if len(train) < 2:
        raise DataError(
            f"{shown(folders['train'])}: needs a sub-folder for each class, at least 2; has "
            f"{len(train)}{_loose_text(folders['train'])}."
        )
    _refuse_parts_in_classes(train)
    _warn_of_others(folders["train"])
    labels = {folder.name: label for label, folder in enumerate(train)}
    found = {"train": _samples(train, labels)}
    for part in folders.keys() - {"train"}:
        classes = _class_folders(folders[part])
        if _unlabelled(classes, labels):
            log.warning(
                "%s/ holds no images in class folders of train/ and is left out; a part of train/ "
                "takes its place",
                shown(folders[part].name),
            )
            continue
        if unknown := [folder.name for folder in classes if folder.name not in labels]:
            raise DataError(
                f"{shown(folders[part])}: has class folders that {shown(folders['train'])} lacks: "
                f"{listed(unknown)}. Rename or remove them."
            )
        _warn_of_others(folders[part])
        found[part] = _samples(classes, labels)
    _refuse_overlap(found)
    return ImageFolder(tuple(shown(name) for name in labels), found)


def listed(names: Iterable[str], most: int = 20) -> str:
    """Names in one line, at most so many."""
    texts = [name if len(name) < 80 else f"{name[:77]}..." for name in map(shown, names)]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


# --- Which folder is a part, which a class --------------------------------------------------------


def _parts(top: Path) -> dict[str, Path]:
    """The folders of the parts, train among them; empty where the folders are classes."""
    folders = _class_folders(top)
    groups: dict[str, list[tuple[str, Path]]] = {}
    for folder in folders:
        if role := _role(folder.name):
            part, rest = role
            groups.setdefault(rest, []).append((part, folder))
    for group in groups.values():
        parts = dict(group)
        if "train" in parts and any(_holds_images(f) for f in _class_folders(parts["train"])):
            others = [f for f in folders if f not in parts.values() and _holds_images(f)]
            if len(parts) < len(group) or (others and len(parts) == 1):
                raise _undecided(top, folders)
            if others:
                log.warning("left out: %s, no part of the data", listed(f.name for f in others))
            return parts
    named = [part for part, _ in groups.get("", [])]
    # A folder `train` of loose images beside others is a class: buses, cars, trains.
    if named and (named != ["train"] or len(folders) < 2):
        raise _undecided(top, folders)
    return {}


def _role(name: str) -> tuple[str, str] | None:
    """The part that a folder's name stands for, and what else the name says."""
    found = list(_PART.finditer(name.lower()))
    if len(found) != 1:
        return None
    rest = _PART.sub(" ", name.lower())
    rest = re.sub(rf"\b({_MEANING_NOTHING})\b|[^a-z ]", " ", rest)
    return _ROLES[found[0][1]], " ".join(rest.split())


def _undecided(top: Path, folders: list[Path]) -> DataError:
    found = listed(f"{f.name}/ ({_content(f)})" for f in folders)
    return DataError(
        f"{shown(top)}: holds {found}; which of them are classes, and which parts such as train/ and "
        "test/? Put a folder for each class into one folder of each part (train/, val/, test/: "
        "train/CLASS/...), or rename a class that is called like a part."
    )


def _content(folder: Path) -> str:
    n, within = sum(1 for _ in _files(folder)), [f for f in _subfolders(folder) if _holds_images(f)]
    return f"{n:,} images" + (f" in {listed((f.name for f in within), 3)}" if within else "")


def _refuse_parts_in_classes(classes: list[Path]) -> None:
    for folder in classes:
        within = {role[0] for f in _subfolders(folder) if (role := _role(f.name)) and not role[1]}
        if "train" in within and len(within) > 1:
            raise DataError(
                f"{shown(folder)}: holds {listed(f.name for f in _subfolders(folder))}; put the "
                "classes into the parts instead: train/CLASS/..., test/CLASS/..."
            )


def _unlabelled(classes: list[Path], labels: Mapping[str, int]) -> bool:
    """Whether a part's images have no classes: none in folders, or all in a foreign one."""
    full = [folder for folder in classes if _holds_images(folder)]
    foreign = [folder for folder in classes if folder.name not in labels]
    return (not full and not foreign) or (len(classes) == 1 and bool(foreign))


def _unwrap(folder: Path, within_part: bool = True) -> Path:
    """A folder that holds only one folder of folders: that one; outside of parts, no part."""
    for _ in range(8):  # a link may lead around
        inner = _class_folders(folder)
        if len(inner) != 1 or _loose(folder) or not any(map(_holds_images, _subfolders(inner[0]))):
            break
        if _role(inner[0].name) and not within_part:
            break
        folder = inner[0]
    return folder


def _class_folders(folder: Path) -> list[Path]:
    """The sub-folders that may be classes: those with images, and empty ones."""
    return [f for f in _subfolders(folder) if _holds_images(f) or not _holds_files(f)]


def _warn_of_others(folder: Path) -> None:
    if n := len(_loose(folder)):
        log.warning("left out: %d images beside the class folders in %s", n, shown(folder))
    classes = _class_folders(folder)
    if others := [f.name for f in _subfolders(folder) if f not in classes]:
        log.warning("left out: %s in %s, without an image", listed(others), shown(folder))


def _loose_text(folder: Path) -> str:
    n = len(_loose(folder))
    return f", beside {n:,} images that lie in no such folder" if n else ""


def _refuse_overlap(parts: Mapping[str, list[Sample]]) -> None:
    """What links put into two parts would be tested on after training; into two classes, is wrong."""
    seen: dict[tuple[int, int], tuple[tuple[str, int], str]] = {}
    for part, samples in parts.items():
        for file, label in samples:
            place, path = seen.setdefault(file.identity, ((part, label), file.path))
            if place != (part, label):
                raise DataError(
                    f"{shown(file.path)} and {shown(path)} are one file, in two "
                    f"{'classes' if place[0] == part else 'parts'}; remove one of them."
                )


# --- Which file is an image -----------------------------------------------------------------------


def _samples(classes: list[Path], labels: Mapping[str, int]) -> list[Sample]:
    return [Sample(file, labels[folder.name]) for folder in classes for file in _files(folder)]


def _files(folder: Path) -> Iterator[File]:
    """The images below a folder, by name; links are followed, each file and folder is met once."""
    around = (folder, *folder.absolute().parents, *folder.resolve().parents)
    met = {_identity(place.stat()) for place in around}

    def walk(place: str | Path) -> Iterator[File]:
        for entry in _entries(place):
            if _is_folder(entry):
                identity = _identity(entry.stat())
                if identity not in met and entry.name.lower() != "thumbs":
                    met.add(identity)
                    yield from walk(entry.path)
            elif (file := _file(entry)) and file.identity not in met:
                met.add(file.identity)
                yield file

    return walk(folder)


def _file(entry: os.DirEntry[str]) -> File | None:
    """An entry as an image file, by its name; a link that leads nowhere is one, to be told of."""
    if not _may_be_image(PurePath(entry.name).suffix):
        return None
    try:
        found = entry.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe or a socket
            return None
    except OSError:
        found = entry.stat(follow_symlinks=False)
    return File(entry.path, _identity(found), found.st_size, found.st_mtime_ns)


@cache
def _may_be_image(ending: str) -> bool:
    """Whether files of an ending may be images: any but those of text, videos, archives."""
    kind, packed = _TYPES.guess_type(f"name{ending}")
    return not packed and (kind or "image").startswith("image")


@cache  # for one search: each folder is looked at for several questions
def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not _is_system(e.name)), key=lambda e: e.name)


def _is_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _subfolders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(folder) if _is_folder(entry)]


def _loose(folder: Path) -> list[os.DirEntry[str]]:
    return [entry for entry in _entries(folder) if not _is_folder(entry) and _file(entry)]


def _holds_images(folder: Path) -> bool:
    return next(_files(folder), None) is not None


def _holds_files(folder: Path) -> bool:
    return any(not _is_system(name) for _, _, names in os.walk(folder) for name in names)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
