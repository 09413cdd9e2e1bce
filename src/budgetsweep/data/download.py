"""Original files of datasets: fetched from an address or a folder, checked, extracted.

A file is written whole or not at all, and one process at a time writes below a root, so that
workers may start at once and be killed at any moment.
"""

from __future__ import annotations

import fcntl
import gzip
import logging
import math
import shutil
import struct
import sys
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pooch  # type: ignore[import-untyped]

from budgetsweep.errors import DataError, SettingError
from hydra_budget_sweeper.files import write_atomic

log = logging.getLogger(__name__)
TIMEOUT = 30  # seconds without an answer until an address counts as unreachable


@dataclass(frozen=True)
class Member:
    """A file taken out of an archive; without an MD5 it is an IDX file of `count` entries."""

    name: str  # below the folder of the archive
    count: int = 0
    md5: str = ""


@dataclass(frozen=True)
class Archive:
    """An original file: its official addresses, and the members that are read.

    One without members is read as it is.
    """

    name: str
    md5: str
    urls: tuple[str, ...]
    members: tuple[Member, ...] = ()


def complete(
    name: str,
    archives: list[Archive],
    root: Path,
    folder: Path,
    mirror: str | None,
    download: bool,
) -> None:
    """Have all files of dataset `name` in `folder` below `root`, checked and extracted.

    Safe when several processes start at once: one works, the others wait for it.

    Raises:
        DataError: a file is missing and cannot be fetched, or is truncated or altered.
        SettingError: `data.mirror` is no address, or `data.root` cannot be written.
    """
    addresses = mirror and check_mirror(mirror)
    _refuse_damaged(archives, folder)
    if not any(_missing(a, folder) or _unextracted(a, folder) for a in archives):
        return  # without the lock: a complete folder may be read-only
    missing = [a for a in archives if _missing(a, folder)]
    if missing and not download:
        raise _missing_error(name, missing, folder, "data.download=true fetches them.")
    with _lock(root):
        _fetch_missing(name, archives, folder, addresses)
        for archive in archives:
            for member in _unextracted(archive, folder):
                _extract(folder / archive.name, member, folder / member)


def _fetch_missing(name: str, archives: list[Archive], folder: Path, mirror: str | None) -> None:
    problems = []
    for archive in (missing := [a for a in archives if _missing(a, folder)]):
        urls = (f"{mirror}/{archive.name}",) if mirror else archive.urls
        if problem := _fetch(archive, folder, urls):
            problems.append(problem)
            if not urls[0].startswith("file:"):
                break  # the others would fail alike, each after as long a wait
    if problems:
        missing = [a for a in missing if _missing(a, folder)]
        raise _missing_error(name, missing, folder, " ".join(dict.fromkeys(problems)))


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
    return [m.name for m in archive.members if not (folder / m.name).exists()]


def _missing_error(name: str, missing: list[Archive], folder: Path, problem: str) -> DataError:
    names = ", ".join(archive.name for archive in missing)
    return DataError(
        f"{name}: missing {names}. {problem} Put what is missing in {folder}, or name another "
        "source: data.mirror=file:///folder or a URL."
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
            write_atomic(folder / archive.name, partial(_download, url, archive.md5))
            return ""
        except (OSError, DataError) as error:  # requests' errors are OSErrors
            problems.append(f"{_trouble(url, error)}.")
    return " ".join(problems)


def _download(url: str, md5: str, file: IO[bytes]) -> None:
    if url.startswith("file:"):
        source = Path(urllib.request.url2pathname(urlsplit(url).path))
        with source.open("rb") as stream:
            shutil.copyfileobj(stream, file)
    else:
        fetch = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
        fetch(url, file, None)
    file.flush()
    if (found := pooch.file_hash(file.name, "md5")) != md5:
        raise DataError(_altered(found, md5))


def _trouble(url: str, error: BaseException) -> str:
    while error.__context__:  # the first error tells more than those it was wrapped in
        error = error.__context__
    if isinstance(error, FileNotFoundError):
        return f"There is no such file in {url.rpartition('/')[0]}"
    text = error.strerror if isinstance(error, OSError) else None
    return f"{url}: {text or error}".rstrip(".")


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


def _refuse_damaged(archives: list[Archive], folder: Path) -> None:
    """Every file that is there must be whole; all that are not are named in one error."""
    problems = []
    for archive in archives:
        path = folder / archive.name
        if path.exists() and (md5 := pooch.file_hash(str(path), "md5")) != archive.md5:
            problems.append(f"{path}: {_altered(md5, archive.md5)}")
            continue
        for member in archive.members:
            extracted = folder / member.name
            if extracted.exists() and (problem := _damage(extracted, member, path)):
                problems.append(f"{extracted}: {problem}")
    if problems:
        advice = "Delete what is damaged to have it fetched and extracted again."
        raise DataError(
            "\n".join([*problems, advice]) if problems[1:] else f"{problems[0]} {advice}"
        )


def _altered(md5: str, expected: str) -> str:
    return f"its MD5 is {md5} but should be {expected}, so it is truncated or altered."


def _damage(path: Path, member: Member, archive: Path) -> str:
    """What is wrong with an extracted file, as far as that can be told; nothing if all is well."""
    if member.md5:
        md5 = pooch.file_hash(str(path), "md5")
        return "" if md5 == member.md5 else _altered(md5, member.md5)
    size, (shape, width) = path.stat().st_size, _idx_header(path)
    # The header: four bytes, and four for each dimension.
    if size != (expected := 4 + 4 * len(shape) + width * math.prod(shape)):
        return f"it has {size:,} bytes but should have {expected:,}, so it is truncated or altered."
    if not archive.exists():  # only its shape is left to vouch for it
        whole = shape[0] == member.count
        return "" if whole else f"it holds {shape[0]:,} entries instead of {member.count:,}."
    if archive.suffix == ".gz" and _crc(path) != _gzip_crc(archive):
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
