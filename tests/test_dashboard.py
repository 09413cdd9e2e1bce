"""`budgetsweep dashboard` on small studies: what it serves, to whom, and the page in a real browser."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from browsing import dom
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sweeping import hear_interrupts, sweep

TOP = Path(__file__).resolve().parents[1]
READY = Path(sys.prefix, ".ready")
COMMAND = [sys.executable, "-m", "budgetsweep", "dashboard"]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    study = optuna.create_study(storage=storage, study_name="sweep")
    study.optimize(lambda trial: (trial.suggest_float("lr", 0, 1) - 0.3) ** 2, n_trials=4)
    return tmp_path


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a dashboard on a sweep's folder, and its process."""
    pytest.importorskip("optuna_dashboard", reason="needs the dashboard extra")
    server = subprocess.Popen(
        [*COMMAND, str(folder), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=hear_interrupts,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line, f"it ended before it said its address: {server.communicate()[1]}"
        yield line.split()[0], server
    finally:
        server.kill()
        server.communicate()


def study_names(address: str) -> list[str]:
    with urllib.request.urlopen(f"{address}api/studies", timeout=60) as answer:
        summaries: list[dict[str, Any]] = json.load(answer)["study_summaries"]
    return [summary["study_name"] for summary in summaries]


def test_it_lists_the_sweeps_study_here_alone_and_ends_with_ctrl_c(journal: Path) -> None:
    with served(journal) as (address, server):
        assert study_names(address) == ["sweep"]
        port = int(address.rstrip("/").rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):  # a server for everybody would answer there
            socket.create_connection(("127.0.0.2", port), timeout=10)
        server.send_signal(signal.SIGINT)
        _, told = server.communicate(timeout=60)
        assert (server.returncode, told) == (0, "")


@pytest.mark.slow
def test_a_sweep_in_a_database_is_shown_too(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    few = "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1", "hydra.sweeper.study_name=mine"
    sweep(tmp_path / "swept", "x=interval(-5,5)", *few, f"hydra.sweeper.storage='{storage}'")
    with served(tmp_path / "swept") as (address, _):
        assert study_names(address) == ["mine"]


@pytest.mark.slow
def test_a_browser_draws_it_and_the_study_stays_as_it_was(journal: Path, tmp_path: Path) -> None:
    file = journal / "study.journal"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    with served(journal) as (address, _):
        page = dom(f"{address}dashboard/studies/0", tmp_path / "profile")
    storage = JournalStorage(JournalFileBackend(str(file)))
    best = optuna.load_study(study_name="sweep", storage=storage).best_trial
    assert f"Best Trial (number={best.number})" in page
    assert "Hyperparameter Importance" in page
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_a_port_that_is_taken_is_told_in_a_sentence(journal: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="needs the dashboard extra")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(*COMMAND, str(journal), "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"--port {port}: ") and done.stderr.count("\n") == 1


def test_a_folder_without_a_sweep_is_told_in_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="needs the dashboard extra")
    done = run(*COMMAND, str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path}: no sweep there (study.journal).\n"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
class TestMake:
    """The targets that show the newest sweep."""

    @pytest.mark.parametrize("target", ["report", "dashboard"])
    def test_without_a_sweep_there_is_one_clear_line(self, target: str) -> None:
        done = make(target, "DIR=")
        assert done.returncode != 0
        assert done.stdout.startswith("No sweep in multirun/ yet")
        assert done.stdout.count("\n") == 1

    @pytest.mark.parametrize("target", ["report", "dashboard"])
    def test_the_newest_sweep_is_shown(self, target: str, tmp_path: Path) -> None:
        for name, when in (("old", 1_000_000_000), ("day/new", 1_700_000_000)):
            board = tmp_path / "multirun" / name / "leaderboard.json"
            board.parent.mkdir(parents=True)
            board.touch()
            os.utime(board, (when, when))
        done = make("-n", "-f", str(TOP / "Makefile"), target, cwd=tmp_path)
        assert f'budgetsweep {target} "multirun/day/new"' in done.stdout


def make(*arguments: str, cwd: Path = TOP) -> subprocess.CompletedProcess[str]:
    """A target of the Makefile, with the environment that runs the tests as it is."""
    return run("make", "-s", "-o", str(READY), f"VENV={sys.prefix}", *arguments, cwd=cwd)


def run(*command: str, cwd: Path = TOP) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
