"""Files that are either whole or not there."""

from __future__ import annotations

import csv
import io
import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/budgetsweep`, by default in ~/.cache: what can be made again at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "budgetsweep"


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write to a temporary file beside `path`, flush it to the disk, then rename it."""
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
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows atomically; the columns are the first row's."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
