"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import MariaDB, Postgres, Server, started
from sweeping import kill_all

from budgetsweep.config import DataConfig
from budgetsweep.data import torchvision_datasets

# Here who speaks gRPC shares a process with who reads what a subprocess says (study/place.py).
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)  # before -m leaves out what is slow
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as slow what a test's `by_default` does not name; what it names must be there."""
    named: set[str] = set()
    for item in items:
        if chosen := item.get_closest_marker("by_default"):
            test, _, case = item.nodeid.partition("[")
            named |= {f"{test}[{name}]" for name in chosen.args}
            if case.removesuffix("]") not in chosen.args:
                item.add_marker(pytest.mark.slow)
    whole = not any("::" in argument for argument in config.args)
    if whole and (gone := named - {item.nodeid for item in items}):
        raise pytest.UsageError(f"by_default names no case: {', '.join(sorted(gone))}")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a user's cache folder holds decides no test, and no test writes into it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def mnist_files() -> Path:
    """The folder with MNIST's four original files; never written to."""
    folder = _REPOSITORY.parent / "shared" / "data" / "MNIST" / "raw"
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        pytest.skip(f"needs MNIST's original files in {folder}")
    return folder


@pytest.fixture(scope="session")
def mnist_root(mnist_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `data.root` that holds MNIST, extracted."""
    root = tmp_path_factory.mktemp("data")
    torchvision_datasets.prepare("mnist", root, mnist_files.as_uri(), download=True)
    return root


@pytest.fixture
def mnist_config(mnist_root: Path) -> DataConfig:
    """Real MNIST with the default split, from files that are there."""
    return DataConfig(root=str(mnist_root), download=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL of its own; it may hold studies of other tests."""
    with started(Postgres) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """A MariaDB of its own; it may hold studies of other tests."""
    with started(MariaDB) as server:
        yield server


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen]]:
    """Takes the sweeps that a test starts; what still runs at its end is killed with all it started."""
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        if process.poll() is None:
            kill_all(process)
