"""Writing so that a reader, or a kill, never meets half a file; and what a disk may answer."""

import errno
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_OTHERS = {errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.ESTALE,
           errno.EMFILE, errno.ENFILE, errno.EEXIST}  # fmt: skip


def of_disk(error: BaseException | None) -> OSError | None:
    """Return what a disk refused, if an exception came of that, else None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL | _REFUSED | _OTHERS:
            return error
        error = error.__cause__
    return None


def of_full_disk(error: BaseException) -> OSError | None:
    """Return what a disk, or a quota, that is full refused, if an exception came of that."""
    refused = of_disk(error)
    return refused if refused is not None and refused.errno in _FULL else None


def described(error: OSError) -> str:
    """Write what a disk refused in a sentence, and what to do about it in another."""
    place = "The output" if error.filename is None else str(error.filename)
    advice = "Mend that; then the same command goes on."
    if error.errno in _FULL:
        advice = "Make room; then the same command goes on."
    elif error.errno in _REFUSED:
        advice = "Let it be written to, or name another folder."
    return f"{place}: {error.strerror}. {advice}"


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a file beside `path`, flush it to the disk, then put it in the old one's place.

    Raises:
        OSError: It cannot be written, and `path` is as it was; names `path`.
    """
    try:
        _write_beside(path, write)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_beside(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files are private: results are for everyone the umask allows.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomic(path, lambda file: file.write(text.encode()))
