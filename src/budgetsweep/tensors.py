"""Files of tensors: written whole, and read only where not a bit of them has changed."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from budgetsweep.errors import UserError
from hydra_budget_sweeper.files import write_atomic


def save(path: Path, content: Any) -> None:
    """Write tensors, and what holds them, atomically.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    # torch would turn what the disk says into an error of its own.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, lambda file: file.write(buffer.getbuffer()))


def load(path: Path, *, mmap: bool = False) -> Any:
    """What `save` wrote, on the CPU.

    Raises:
        UserError: the file is cut short, altered, or none of ours; says so without an advice.
    """
    try:
        # torch itself does not look at the checksums that it writes.
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
        if altered:
            raise UserError(f"{path} cannot be read: it was altered ({altered}).")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except UserError:
        raise
    except Exception as error:  # other programs' bytes make unpickling raise anything
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise UserError(f"{path} cannot be read: {reason}.") from None
