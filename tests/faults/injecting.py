"""What goes wrong under a user, put into files and streams; and commands called as a user does."""

from __future__ import annotations

import contextlib
import io
import random
import runpy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from budgetsweep.commands import main

APPS = Path(__file__).parents[1] / "sweeper" / "apps"

DAMAGES = ("emptied", "cut", "tail lost", "flipped", "text", "other JSON", "picture", "folder")
_PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def damage(path: Path, kind: str, seed: int = 0) -> None:
    """Do one of DAMAGES to a file; `seed` says where."""
    whole, rng = path.read_bytes(), random.Random(seed)
    if kind == "folder":
        path.unlink()
        path.mkdir()
        return
    cut, place = rng.randrange(1, len(whole)), rng.randrange(len(whole))
    flipped = bytes([whole[place] ^ (1 << rng.randrange(8))])
    path.write_bytes(
        {
            "emptied": b"",
            "cut": whole[:cut],
            "tail lost": whole[:-1] if whole[-1:] != b"\n" else whole[:-2],
            "flipped": whole[:place] + flipped + whole[place + 1 :],
            "text": b"no such thing: [\n",
            "other JSON": b'[1, {"a": null}]\n',
            "picture": _PICTURE,
        }[kind]
    )


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and what it said."""

    code: int
    out: str
    err: str

    def check_told(self, *names: str) -> None:
        """It failed with a short sentence that names all this, without a traceback."""
        assert self.code not in (0, 120)
        assert "Traceback" not in self.err and "Error:" not in self.err, self.err
        last = self.err.strip().splitlines()[-1]
        assert [name for name in names if name not in last] == [], last
        assert len(last) < 700, last


def budgetsweep(*words: str | Path) -> Ended:
    """`budgetsweep WORDS` in this process, which saves the seconds in which torch loads.

    What a command raises that is no exit is a traceback to its user, and fails the test here.
    """
    return _called(main, "budgetsweep", *map(str, words))


def _called(function: Callable[[], object], *words: str) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", list(words))
        patch.syspath_prepend(APPS)  # as Python does for a script in it
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                function()
                code: object = 0
            except SystemExit as ended:
                code = ended.code
    if isinstance(code, str):  # the interpreter prints it
        err.write(f"{code}\n")
        code = 1
    return Ended(int(code or 0), out.getvalue(), err.getvalue())  # type: ignore[call-overload]


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by name; logs grow, and locks are nothing to keep."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".log", ".lock", ".alive")
    }


def copy_of(folder: Path, place: Path) -> Path:
    return Path(shutil.copytree(folder, place))


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own, so small that it fills up; skips where that takes rights."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("needs the right to mount a file system")
    except FileNotFoundError:
        pytest.skip("needs mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Leave no room on a file system: what it returns is to be deleted."""
    with open(place / "big", "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return place / "big"


def bowl(folder: Path, *overrides: str) -> Ended:
    """A sweep of the toy application in this process, its trials too."""
    words = (
        "--multirun",
        "hydra/sweeper=budget",
        "hydra/launcher=basic",
        f"hydra.sweep.dir={folder}",
    )
    script = str(APPS / "bowl.py")
    return _called(lambda: runpy.run_path(script, run_name="__main__"), script, *words, *overrides)
