"""A finished run, one that was interrupted, and a finished sweep; tests damage copies of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from injecting import budgetsweep, copy_of
from servers import serving

SMALL = (
    "data=digits", "data.limit=64", "data.validation=64", "model=tiny", "trainer.epochs=2",
    "trainer.batch_size=16", "trainer.precision=fp32", "trainer.memory_format=contiguous",
    "trainer.threads=1", "trainer.device=cpu", "trainer.progress=false",
)  # fmt: skip


def train(folder: Path, *overrides: str):
    return budgetsweep("train", *SMALL, f"hydra.run.dir={folder}", *overrides)


@pytest.fixture
def url(storage: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """Where a test's studies are; for tests that are given the kind of `storage`."""
    if storage == "journal":
        yield None
    elif storage == "sqlite":
        yield f"sqlite:///{tmp_path}/study.db"
    else:
        server = request.getfixturevalue("mariadb" if storage == "mariadb" else "postgres")
        with serving(server) if storage == "proxy" else nullcontext(server.url) as address:
            yield address


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    ended = train(folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="session")
def half(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run as a kill leaves it after its last checkpoint."""
    folder = copy_of(finished, tmp_path_factory.mktemp("half") / "run")
    (folder / "summary.json").unlink()
    (folder / "model.pt").unlink()
    return folder
