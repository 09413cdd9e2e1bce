"""Run the tiny application as a person would, in a process of its own, and read what it left."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf

from hydra_budget_sweeper.study.journal import SweepJournal

APPS = Path(__file__).parent / "apps"
SOURCE = Path(__file__).parents[2] / "src"
JOBLIB = "hydra/launcher=joblib"
FORKSERVER = "hydra/launcher=forkserver"
SEEDED = "hydra.sweeper.sampler.seed=7"


def command(
    folder: Path, *overrides: str, sweeper: str = "budget", app: str = "bowl.py"
) -> list[str]:
    return [
        sys.executable,
        str(APPS / app),
        "--multirun",
        f"hydra/sweeper={sweeper}",
        f"hydra.sweep.dir={folder}",
        *overrides,
    ]


def environment() -> dict[str, str]:
    paths = [str(SOURCE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "LC_ALL": "C"}


def sweep(
    folder: Path,
    *overrides: str,
    sweeper: str = "budget",
    app: str = "bowl.py",
    expect: int = 0,
    **kwargs: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a sweep to its end and hold it to its exit code."""
    ended = subprocess.run(
        command(folder, *overrides, sweeper=sweeper, app=app),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        **kwargs,
    )
    assert ended.returncode == expect, ended.stdout + ended.stderr
    return ended


def start(folder: Path, *overrides: str, app: str = "bowl.py") -> subprocess.Popen[str]:
    """Start a sweep in a process group of its own."""
    return subprocess.Popen(
        command(folder, *overrides, app=app),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def hear_interrupts() -> None:
    """As in a terminal: what a shell starts in its background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def kill_all(process: subprocess.Popen[str]) -> None:
    """kill -9 for the sweep's whole process group."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def worker_processes(pid: int) -> list[int]:
    """The processes in which a sweep's launcher, joblib or forkserver, runs its workers."""
    found = processes()
    own = [(child, command) for child, parent, command in found if parent == pid]
    servers = [child for child, command in own if "multiprocessing.forkserver" in command]
    loky = [child for child, command in own if "loky" in command and "popen" in command]
    return loky + [child for child, parent, _ in found if parent in servers]


def processes() -> list[tuple[int, int, str]]:
    """Every process that runs here: its number, its parent's, and its whole command line."""
    # ww: without it a COLUMNS in the environment cuts the command lines
    found = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True)
    rows = (line.split(None, 2) for line in found.stdout.splitlines())
    return [(int(pid), int(parent), command) for pid, parent, command in rows]


def wait_for(condition: Any, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def study(folder: Path) -> optuna.Study:
    storage = optuna.storages.JournalStorage(SweepJournal(folder / "study.journal"))
    return optuna.load_study(storage=storage, study_name=None)


def states(folder: Path) -> Counter[str]:
    return Counter(trial.state.name for trial in study(folder).trials)


def leaderboard(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "leaderboard.json").read_text())


def leaderboard_csv(folder: Path) -> list[dict[str, str]]:
    with open(folder / "leaderboard.csv", newline="") as file:
        return list(csv.DictReader(file))


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "sweep.json").read_text())


def results(folder: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(folder / "optimization_results.yaml"))


def traced(path: Path) -> list[tuple[str, int, float]]:
    """What the tasks wrote: what happened, in which trial, with which x."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(what, int(number), float(x)) for what, number, x in lines]


def trial_folders(folder: Path) -> set[str]:
    return {child.name for child in folder.iterdir() if child.name.isdigit()}
