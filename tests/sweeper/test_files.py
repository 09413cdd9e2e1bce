"""A file is the old one or the new one, and nothing is left beside it."""

from pathlib import Path
from typing import IO

import pytest

from hydra_budget_sweeper.files import write_atomic, write_text


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    write_text(path, "ö")

    def breaks(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomic(path, breaks)
    assert path.read_bytes() == "ö".encode()
    assert list(path.parent.iterdir()) == [path]
