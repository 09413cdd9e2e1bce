"""The original files of torchvision's datasets: fetched, checked against their MD5, extracted.

Everything lands where torchvision itself looks below `data.root`, so a folder that torchvision
filled before is used as it is. torchvision's classes then read the files; they never download.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import logging
import math
import shutil
import struct
import sys
import tarfile
import urllib.request
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import torch
from rich.progress import wrap_file
from torch import Tensor
from torchvision.datasets import CIFAR10, EMNIST, KMNIST, MNIST, QMNIST, USPS, FashionMNIST  # type: ignore[import-untyped]

from budgetsweep.errors import DataError, SettingError
from budgetsweep.files import write_atomic

log = logging.getLogger(__name__)

DIGITS = tuple("0123456789")
TIMEOUT = 30  # seconds without an answer until an address counts as unreachable


@dataclass(frozen=True)
class Archive:
    """One original file: its official addresses, and the files taken out of it."""

    name: str
    md5: str
    urls: tuple[str, ...]
    members: tuple[str, ...]  # below the folder of the archive; none: it is read as it is


@dataclass(frozen=True)
class Source:
    """One dataset; `folder` is where torchvision looks for its archives, below `data.root`."""

    folder: str
    class_names: tuple[str, ...]
    counts: tuple[int, int]  # training and test images
    archives: Callable[[], list[Archive]]  # called late: torchvision's own list of files and MD5s
    read: Callable[[Path, bool], tuple[Any, Any]]  # (root, train) → images, labels


def _idx_archives(dataset: type[MNIST]) -> list[Archive]:
    return [
        Archive(name, md5, tuple(m + name for m in dataset.mirrors), (name.removesuffix(".gz"),))
        for name, md5 in dataset.resources
    ]


def _qmnist_archives() -> list[Archive]:
    files = [file for split in ("train", "test") for file in QMNIST.resources[split]]
    names = [url.rpartition("/")[2] for url, _ in files]
    return [
        Archive(name, md5, (url,), (name.removesuffix(".gz"),))
        for name, (url, md5) in zip(names, files, strict=True)
    ]


def _emnist_archives() -> list[Archive]:
    members = tuple(
        f"emnist-balanced-{split}-{kind}-ubyte"
        for split in ("train", "test")
        for kind in ("images-idx3", "labels-idx1")
    )
    return [Archive(EMNIST.url.rpartition("/")[2], EMNIST.md5, (EMNIST.url,), members)]


def _usps_archives() -> list[Archive]:
    return [Archive(name, md5, (url,), ()) for url, name, md5 in USPS.split_list.values()]


def _cifar10_archives() -> list[Archive]:
    members = tuple(f"{CIFAR10.base_folder}/{name}" for name in _cifar10_md5())
    return [Archive(CIFAR10.filename, CIFAR10.tgz_md5, (CIFAR10.url,), members)]


def _cifar10_md5() -> dict[str, str]:
    meta = CIFAR10.meta
    return {**dict(CIFAR10.train_list + CIFAR10.test_list), meta["filename"]: meta["md5"]}


def _idx_source(dataset: type[MNIST], class_names: tuple[str, ...]) -> Source:
    def read(root: Path, train: bool) -> tuple[Any, Any]:
        content = dataset(root, train=train)
        return content.data, content.targets

    folder = f"{dataset.__name__}/raw"
    return Source(folder, class_names, (60_000, 10_000), lambda: _idx_archives(dataset), read)


def _read_qmnist(root: Path, train: bool) -> tuple[Any, Any]:
    content = QMNIST(root, train=train)
    return content.data, content.targets[:, 0]  # the other columns tell who wrote it


def _read_emnist(root: Path, train: bool) -> tuple[Any, Any]:
    content = EMNIST(root, split="balanced", train=train)
    return content.data.transpose(1, 2), content.targets  # its files hold columns as rows


def _read_usps(root: Path, train: bool) -> tuple[Any, Any]:
    content = USPS(root, train=train)
    return content.data, content.targets


def _read_cifar10(root: Path, train: bool) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        # The batches were pickled long ago; numpy deprecates how they spell their dtype.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*align should be passed")
        content = CIFAR10(root, train=train)
    return content.data, content.targets


_CIFAR10_NAMES = tuple(
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
)
_EMNIST_NAMES = tuple(EMNIST.classes_split_dict["balanced"])

SOURCES: dict[str, Source] = {
    "mnist": _idx_source(MNIST, DIGITS),
    "fashion_mnist": _idx_source(FashionMNIST, tuple(FashionMNIST.classes)),
    "kmnist": _idx_source(KMNIST, tuple(KMNIST.classes)),
    "qmnist": Source("QMNIST/raw", DIGITS, (60_000, 60_000), _qmnist_archives, _read_qmnist),
    "emnist": Source(
        "EMNIST/raw", _EMNIST_NAMES, (112_800, 18_800), _emnist_archives, _read_emnist
    ),
    "usps": Source("", DIGITS, (7_291, 2_007), _usps_archives, _read_usps),
    "cifar10": Source("", _CIFAR10_NAMES, (50_000, 10_000), _cifar10_archives, _read_cifar10),
}


def read(name: str, root: Path, train: bool) -> tuple[Tensor, Tensor]:
    """The images (N, C, H, W) uint8 and labels (N,) int64 of a prepared dataset."""
    images, labels = (torch.as_tensor(part) for part in SOURCES[name].read(root, train))
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    if len(images) != len(labels):
        raise DataError(f"{name} in {root}: {len(images)} images but {len(labels)} labels.")
    return images, labels.long()


def prepare(name: str, root: Path, mirror: str | None, download: bool) -> None:
    """Have all files of a dataset below `root`, checked and extracted.

    Safe when several processes start at once: one works, the others wait for it.

    Raises:
        DataError: a file is missing and cannot be fetched, or is truncated or altered.
        SettingError: `data.mirror` is no address, or `data.root` cannot be written.
    """
    source = SOURCES[name]
    archives, folder = source.archives(), root / source.folder
    addresses = mirror and check_mirror(mirror)
    _refuse_damaged(source, folder)
    if not any(_missing(a, folder) or _unextracted(a, folder) for a in archives):
        return  # without the lock: a complete folder may be read-only
    with _lock(root):
        missing = [a for a in archives if _missing(a, folder)]
        if missing and not download:
            raise _missing_error(name, missing, folder, "data.download=true fetches them.")
        for number, archive in enumerate(missing):
            urls = (f"{addresses}/{archive.name}",) if addresses else archive.urls
            if problem := _fetch(archive, folder, urls):
                raise _missing_error(name, missing[number:], folder, problem)
        for archive in archives:
            for member in _unextracted(archive, folder):
                _extract(folder / archive.name, member, folder / member)


def check_mirror(mirror: str) -> str:
    """The address without its last slash; a `SettingError` if it is no address of a folder."""
    parts = urlsplit(mirror)
    if parts.scheme == "file" and not parts.netloc:
        if not Path(urllib.request.url2pathname(parts.path)).is_dir():
            raise SettingError("data.mirror", mirror, "there is no such folder.")
    elif parts.scheme not in ("http", "https") or not parts.netloc:
        allowed = "must be a URL (https://…) or a folder's absolute path as file:///folder."
        raise SettingError("data.mirror", mirror, allowed)
    return mirror.rstrip("/")


def _missing(archive: Archive, folder: Path) -> bool:
    return not (folder / archive.name).exists() and (
        not archive.members or bool(_unextracted(archive, folder))
    )


def _unextracted(archive: Archive, folder: Path) -> list[str]:
    return [member for member in archive.members if not (folder / member).exists()]


def _missing_error(name: str, missing: list[Archive], folder: Path, problem: str) -> DataError:
    names = ", ".join(archive.name for archive in missing)
    return DataError(
        f"{name}: missing {names}. {problem} Or put them in {folder}, or name another source: "
        "data.mirror=file:///folder or a URL."
    )


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock when a process dies."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        # The file stays: removing it would let two processes lock two files of one name.
        with (root / ".budgetsweep.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        problem = f"the dataset cannot be written there ({error.strerror or error})."
        raise SettingError("data.root", root, problem) from error


def _fetch(archive: Archive, folder: Path, urls: tuple[str, ...]) -> str:
    """Try the addresses in turn; returns what went wrong, or nothing."""
    problems = []
    for url in urls:
        log.info("Fetching %s", url)
        try:
            write_atomic(folder / archive.name, lambda file, url=url: _download(url, file, archive))  # type: ignore[misc]
            return ""
        except (OSError, HTTPException, DataError) as error:
            problems.append(f"{url}: {getattr(error, 'reason', '') or error}".rstrip(".") + ".")
    return " ".join(problems)


def _download(url: str, file: IO[bytes], archive: Archive) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    request = urllib.request.Request(url, headers={"User-Agent": "budgetsweep"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        size = int(response.headers.get("Content-Length") or 0)
        quiet = not sys.stderr.isatty()
        with wrap_file(response, size, description=archive.name, disable=quiet) as stream:
            while chunk := stream.read(1 << 20):
                md5.update(chunk)
                file.write(chunk)
    if md5.hexdigest() != archive.md5:
        raise DataError(_altered(md5.hexdigest(), archive.md5))


def _extract(archive: Path, member: str, target: Path) -> None:
    """Write one file of an archive under its name, whole or not at all."""
    with _open_member(archive, member) as stream:
        write_atomic(target, lambda file: shutil.copyfileobj(stream, file))


@contextmanager
def _open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar, tar.extractfile(member) as stream:  # type: ignore[union-attr]
            yield stream
    elif archive.suffix == ".zip":
        with (
            zipfile.ZipFile(archive) as zipped,
            zipped.open(f"gzip/{member}.gz") as packed,
            gzip.open(packed) as stream,
        ):
            yield stream  # type: ignore[misc]
    else:
        with gzip.open(archive) as stream:
            yield stream  # type: ignore[misc]


def _refuse_damaged(source: Source, folder: Path) -> None:
    """Every file that is there must be whole; all that are not are named in one error."""
    problems = []
    for archive in source.archives():
        path = folder / archive.name
        if path.exists() and (md5 := _md5(path)) != archive.md5:
            problems.append(f"{path}: {_altered(md5, archive.md5)}")
            continue
        for member in archive.members:
            if (folder / member).exists() and (problem := _damage(source, path, folder / member)):
                problems.append(f"{folder / member}: {problem}")
    if problems:
        advice = "Delete what is damaged to have it fetched and extracted again."
        raise DataError(
            "\n".join([*problems, advice]) if problems[1:] else f"{problems[0]} {advice}"
        )


def _altered(md5: str, expected: str) -> str:
    return f"its MD5 is {md5} but should be {expected}, so it is truncated or altered."


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _damage(source: Source, archive: Path, member: Path) -> str:
    """What is wrong with an extracted file, as far as that can be told; nothing if all is well."""
    if expected := _cifar10_md5().get(member.name):
        return "" if (md5 := _md5(member)) == expected else _altered(md5, expected)
    size, shape, width = member.stat().st_size, *_idx_header(member)
    # The header: four bytes, and four for each dimension.
    if size != (expected_size := 4 + 4 * len(shape) + width * math.prod(shape)):
        return f"it has {size:,} bytes but should have {expected_size:,}, so it is truncated."
    if not archive.exists():  # only its shape is left to vouch for it
        count = source.counts["train" not in member.name]
        return "" if shape[0] == count else f"it holds {shape[0]:,} entries instead of {count:,}."
    if archive.suffix == ".gz" and _crc(member) != _gzip_crc(archive):
        return f"it differs from what {archive.name} holds, so it was altered."
    return ""


def _idx_header(path: Path) -> tuple[tuple[int, ...], int]:
    """Shape and bytes an element of an IDX file; (0,) for a file that is none."""
    with path.open("rb") as file:
        head = file.read(16)
    if len(head) < 4 or len(head) < 4 + 4 * head[3] or head[2] not in (8, 12):
        return (0,), 1
    return struct.unpack_from(f">{head[3]}I", head, 4), {8: 1, 12: 4}[head[2]]


def _crc(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            value = zlib.crc32(chunk, value)
    return value


def _gzip_crc(path: Path) -> int:
    """CRC-32 of the content, from the last eight bytes of a gzip file."""
    with path.open("rb") as file:
        file.seek(-8, 2)
        return int.from_bytes(file.read(4), "little")
