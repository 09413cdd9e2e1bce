"""The engines, started once for all tests of a module, and sweeps that a test may leave running."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from slurm import Slurm, why_not
from sweeping import kill_all


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    if find_spec("submitit") is None:
        pytest.skip("needs submitit: pip install 'hydra-budget-sweeper[slurm]'")
    if reason := why_not():
        pytest.skip(reason)
    folder = Path("/tmp") / f"slurm-{os.getpid()}"  # short: the path of a socket has a limit
    engine = Slurm(folder)
    try:
        engine.start()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in engine.environment.items():
                patch.setenv(name, value)
            yield engine
    finally:
        engine.stop()
        shutil.rmtree(folder)


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen]]:
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        if process.poll() is None:
            kill_all(process)
