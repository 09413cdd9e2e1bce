"""Writing so that a reader, or a kill, never meets half a file."""

import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Put `text` at `path` in one step; the file before it stays whole until then."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
