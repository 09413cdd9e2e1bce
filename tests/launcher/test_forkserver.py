"""The forkserver launcher: Hydra's own tests of a launcher, and what is its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from sweeping import hear_interrupts

from hydra_plugins.hydra_forkserver_launcher.forkserver_launcher import ForkserverLauncher

# Hydra's fixture puts the registered configurations back to what they were when a test began.
Plugins.instance()
TWO = "hydra.launcher.n_jobs=2"
APPS = Path(__file__).parent / "apps"
SOURCE = Path(__file__).parents[2] / "src"
PRELOAD = "hydra.launcher.preload=[heavy,numpy]"


def start(folder: Path, *overrides: str, **environment: str) -> subprocess.Popen[str]:
    """Run the task for each x, in a process group of its own."""
    arguments = ["--multirun", "hydra/launcher=forkserver", f"hydra.sweep.dir={folder}"]
    unset = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    paths = {"PYTHONPATH": f"{SOURCE}{os.pathsep}{APPS}", "IMPORTS": str(folder / "imports")}
    return subprocess.Popen(
        [sys.executable, str(APPS / "jobs.py"), *arguments, *overrides],
        env={**unset, **paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def rows(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


def test_hydra_finds_the_launcher() -> None:
    found = [x.__name__ for x in Plugins.instance().discover(Launcher)]
    assert ForkserverLauncher.__name__ in found


@pytest.mark.parametrize(("launcher_name", "overrides"), [("forkserver", [TWO])])
class TestLauncher(LauncherTestSuite):
    """Hydra's tests of every launcher."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [("forkserver", [TWO, "hydra.sweeper.max_batch_size=2"])]
)
class TestBatches(BatchedSweeperTestSuite):
    """Hydra's tests of a launcher that gets one batch after another."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=forkserver", TWO])]
)
class TestApplications(IntegrationTestSuite):
    """Hydra's tests with real applications."""


def test_modules_are_imported_once_for_all_processes(tmp_path: Path) -> None:
    process = start(tmp_path, "+x=1,2,3,4", "hydra.launcher.n_jobs=4", PRELOAD)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    ((imported_in,),) = rows(tmp_path / "imports")
    jobs = rows(tmp_path / "jobs")
    processes = {pid for pid, _, _ in jobs}
    assert len(jobs) == 4
    assert not processes & {imported_in, str(process.pid)}
    # Forked processes would otherwise share a state of numpy's generator.
    assert len({number for _, number, _ in jobs}) == 4


@pytest.mark.parametrize(("environment", "threads"), [({}, "1"), ({"OMP_NUM_THREADS": "3"}, "3")])
def test_processes_share_the_cores(
    tmp_path: Path, environment: dict[str, str], threads: str
) -> None:
    process = start(tmp_path, "+x=1", "hydra.launcher.n_jobs=-1", PRELOAD, **environment)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert [row[2] for row in rows(tmp_path / "jobs")] == [threads]


def test_a_killed_process_is_reported_and_nothing_hangs(tmp_path: Path) -> None:
    process = start(tmp_path, "+x=1,2,3", "+kill=2", TWO, PRELOAD)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "terminated abruptly" in output


def test_an_interrupt_while_modules_load_ends_it_without_a_word_of_theirs(tmp_path: Path) -> None:
    process = start(tmp_path, "+x=1,2", TWO, PRELOAD, IMPORT_SECONDS="5")
    while not (tmp_path / "imports").exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "heavy.py" not in output
    assert not (tmp_path / "jobs").exists()
