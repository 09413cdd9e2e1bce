"""What a running trial tells of itself by `show`: a small file for whoever watches, no word to the study."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


class Shown:
    """The values that a trial has told; written down anew at each call.

    In a `with` block: the file is gone after it.

    Args:
        hidden: The folder that the sweep's processes share.
        worker: Whose trial it is, as its note says; one at a time.
    """

    def __init__(self, hidden: Path, worker: str) -> None:
        self.values: dict[str, Any] = {}
        self._path = _path(hidden, worker)
        self._file: int | None = None
        self._length = 0

    def __enter__(self) -> "Shown":
        return self

    def __call__(self, values: dict[str, Any]) -> None:
        # As read back, so that numpy's numbers are numbers to whoever reads them.
        self.values |= json.loads(json.dumps(values, default=float))
        # In place, which takes a tenth of a new file's time; blanks after it are none of JSON's.
        text = json.dumps(self.values).encode().ljust(self._length)
        self._length = len(text)
        with suppress(OSError):  # a full disk costs the sight of it only
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.pwrite(self._file, text, 0)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
                self._path.unlink(missing_ok=True)


def shown(hidden: Path, worker: str) -> dict[str, Any]:
    """Return what the trial of a worker has told so far, nothing where it cannot be read just now."""
    try:
        values: dict[str, Any] = json.loads(_path(hidden, worker).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values


def _path(hidden: Path, worker: str) -> Path:
    return hidden / f"{worker}.json"
