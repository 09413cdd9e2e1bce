"""Whatever ends the main process, and when: none of the launcher's processes outlives it."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from sweeping import hear_interrupts, wait_for

APPS = Path(__file__).parent / "apps"
SOURCE = Path(__file__).parents[2] / "src"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="needs Linux's /proc"
)


def processes_with(mark: str) -> list[int]:
    """Whoever has inherited the mark in its environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:  # gone, or another user's
            continue
        if mark.encode() in environment:
            found.append(int(process.name))
    return found


def start(folder: Path, moment: str, mark: str, sweeper: str) -> subprocess.Popen[bytes]:
    arguments = ["--multirun", "hydra/launcher=forkserver", f"hydra.sweep.dir={folder}", "+x=1,2"]
    budget = ["hydra/sweeper=budget", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2"]
    basic = ["hydra.launcher.n_jobs=2"]
    return subprocess.Popen(
        [
            *(sys.executable, str(APPS / "sleeper.py"), *arguments),
            *(budget if sweeper == "budget" else basic),
            "hydra.launcher.preload=[slow_import]",
        ],
        env={
            **os.environ,
            "PYTHONPATH": f"{SOURCE}{os.pathsep}{APPS}",
            "MARK": mark,
            "STAY": moment,
            "STAYS": str(folder / "stays"),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("sweeper", ["basic", "budget"])
@pytest.mark.parametrize("moment", ["preload", "start", "script", "job", "end"])
@pytest.mark.by_default(
    "start-budget-15", "script-budget-9", "job-budget-9", "job-basic-15", "end-budget-15"
)
def test_nothing_outlives_the_main_process(
    tmp_path: Path, moment: str, sweeper: str, signal_: signal.Signals
) -> None:
    mark = uuid.uuid4().hex
    process = start(tmp_path, moment, mark, sweeper)
    try:
        wait_for((tmp_path / "stays").exists)
        # The server, the resource tracker and, but for two moments, the jobs' processes.
        assert len(processes_with(mark)) >= (4 if moment in ("script", "job") else 3)
        process.send_signal(signal_)
        process.wait(timeout=20)
        wait_for(lambda: not processes_with(mark), seconds=5)
    finally:
        for pid in processes_with(mark):
            os.kill(pid, signal.SIGKILL)
