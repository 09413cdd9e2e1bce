"""A person's own images: a folder with one sub-folder a class, or train/ and test/ of such.

Hidden files are skipped; every other file in a class folder counts as an image.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from budgetsweep.data.image_file import read_image, reason
from budgetsweep.errors import DataError, SettingError

_LISTED = 20  # unreadable files named in one message
_NO_IMAGES = ("Thumbs.db", "desktop.ini")  # what file managers leave behind


def image_folder_classes(path: str | Path | None) -> tuple[str, ...]:
    """The names of the class folders, sorted; a class's label is its place among them.

    Raises:
        SettingError: `path` is no folder.
        DataError: it holds fewer than two class folders, or test/ holds one that train/ lacks.
    """
    train, test = _split_folders(path)
    names = _folder_names(train)
    if len(names) < 2:
        raise DataError(
            f"{train}: needs a sub-folder for each class, at least 2; has {len(names)}."
        )
    if test and (unknown := sorted(set(_folder_names(test)) - set(names))):
        raise DataError(f"{test}: has class folders that {train} lacks: {', '.join(unknown)}.")
    return names


def read_folder(path: str | None, channels: int, size: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Read every image below a folder.

    Returns:
        Images (N, C, S, S) uint8, labels (N,) int64, and which of them lie in test/, (N,) bool;
        None if there are no train/ and test/.

    Raises:
        DataError: files cannot be read; all of them are named.
        SettingError: `path` is no folder.
    """
    names = image_folder_classes(path)
    train, test = _split_folders(path)
    files, labels, in_test = [], [], []
    for folder in [train, test] if test else [train]:
        for label, name in enumerate(names):
            found = _image_files(folder / name)
            files += found
            labels += [label] * len(found)
            in_test += [folder == test] * len(found)
    images = _read_all(files, channels, size, Path(str(path)))
    return images, torch.tensor(labels), torch.tensor(in_test) if test else None


def _read_all(files: list[Path], channels: int, size: int, path: Path) -> Tensor:
    images = torch.empty(len(files), channels, size, size, dtype=torch.uint8)
    bad = []
    for i, file in enumerate(files):
        try:
            images[i] = read_image(file, channels, size)
        except DataError as error:
            bad.append(f"  {file.relative_to(path)} ({reason(error.__cause__)})")
    if bad:
        rest = [f"  and {len(bad) - _LISTED} more"] if len(bad) > _LISTED else []
        head = f"{path}: {len(bad)} of the {len(files)} files cannot be read as images:"
        raise DataError("\n".join([head, *bad[:_LISTED], *rest, "Repair or remove them."]))
    return images


def _split_folders(path: str | Path | None) -> tuple[Path, Path | None]:
    """The folders that hold the class folders: train and test, or the only one and None."""
    if path is None or not (folder := Path(path).expanduser()).is_dir():
        allowed = "must be a folder with one sub-folder of images for each class."
        raise SettingError("data.path", path, allowed)
    train, test = folder / "train", folder / "test"
    return (train, test) if train.is_dir() and test.is_dir() else (folder, None)


def _folder_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != "."))


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and file.name not in _NO_IMAGES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
