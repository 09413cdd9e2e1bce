"""The engine, started once for all tests."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from slurm import Slurm, why_not


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
