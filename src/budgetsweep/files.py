"""Tables and records, written whole or not at all, and where the cache lies."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from budgetsweep.errors import UserError
from hydra_budget_sweeper.files import write_text


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/budgetsweep`, by default in ~/.cache: what can be made again at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "budgetsweep"


def read_json(path: Path) -> Any:
    """A file's JSON.

    Raises:
        UserError: it is missing, unreadable or no JSON; says so without an advice.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}.") from None


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
