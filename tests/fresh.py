"""Environments of their own for what is built here, without the network."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]
SWEEPER = REPOSITORY / "distributions" / "hydra-budget-sweeper"


def call(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(project: Path, folder: Path, *kinds: str) -> list[Path]:
    """Build `--wheel`, or an sdist and from it a wheel; return the files."""
    command = [sys.executable, "-m", "build", *kinds, "--no-isolation", "--outdir", folder]
    call(*command, project, cwd=folder)
    return sorted(folder.iterdir())


def environment(folder: Path, *wheels: Path) -> tuple[Path, Path]:
    """Make an environment that has these wheels alone; return its interpreter and packages."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", *wheels]
    call(sys.executable, "-m", "pip", "--python", python, *install, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    return python, packages


def link_requirements(name: str, packages: Path, *extras: str) -> None:
    """Bring what the distribution asks for, and nothing else, from the environment of the tests."""
    for found in requirements(distribution(name), set(extras), set()):
        for file in found.files or ():
            source, target = Path(str(found.locate_file(file))), packages / file
            if ".." not in file.parts and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)


def requirements(asking: Distribution, extras: set[str], seen: set[str]) -> Iterator[Distribution]:
    """Yield what a distribution needs, directly or not."""
    for text in asking.requires or ():
        wanted = Requirement(text)
        marker = wanted.marker
        applies = marker is None or any(marker.evaluate({"extra": e}) for e in {"", *extras})
        key = str((wanted.name.lower(), sorted(wanted.extras)))
        if applies and key not in seen:
            seen.add(key)
            found = distribution(wanted.name)
            yield found
            yield from requirements(found, wanted.extras, seen)
