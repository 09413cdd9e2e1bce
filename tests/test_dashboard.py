"""`make dashboard` on a small study: its interface, and the page in a real browser."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from browsing import dom
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

TOP = Path(__file__).resolve().parents[1]
READY = Path(sys.prefix, ".ready")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments: str) -> list[str]:
    """A target of the Makefile, with the environment that runs the tests as it is."""
    return ["make", "-s", "-o", str(READY), f"VENV={sys.prefix}", *arguments]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    study = optuna.create_study(storage=storage, study_name="sweep")
    study.optimize(lambda trial: (trial.suggest_float("lr", 0, 1) - 0.3) ** 2, n_trials=4)
    return tmp_path


@pytest.fixture
def dashboard(sweep: Path) -> Iterator[str]:
    """The address of a dashboard on the sweep."""
    if not Path(sys.prefix, "bin/optuna-dashboard").exists():
        pytest.skip("needs optuna-dashboard")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        make("dashboard", f"DIR={sweep}", f"PORT={port}"),
        cwd=TOP, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, server)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "the dashboard ended"
        try:
            get(address)
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the dashboard does not answer")


def get(address: str) -> Any:
    with urllib.request.urlopen(f"{address}/api/studies", timeout=10) as answer:
        return json.load(answer)


def test_the_dashboard_lists_the_sweeps_study(dashboard: str) -> None:
    assert [s["study_name"] for s in get(dashboard)["study_summaries"]] == ["sweep"]


@pytest.mark.slow
def test_a_browser_draws_the_dashboard_and_the_study_stays_as_it_was(
    dashboard: str, sweep: Path, tmp_path: Path
) -> None:
    journal = sweep / "study.journal"
    before = hashlib.sha256(journal.read_bytes()).hexdigest()
    page = dom(f"{dashboard}/dashboard/studies/0", tmp_path / "profile")
    storage = JournalStorage(JournalFileBackend(str(journal)))
    best = optuna.load_study(study_name="sweep", storage=storage).best_trial
    assert f"Best Trial (number={best.number})" in page
    assert "Hyperparameter Importance" in page
    assert hashlib.sha256(journal.read_bytes()).hexdigest() == before


@pytest.mark.parametrize(
    ("target", "folder", "words"),
    [
        ("report", "", "No sweep in multirun/ yet"),
        ("dashboard", "", "No sweep in multirun/ yet"),
        ("dashboard", "docs", "docs has no study.journal"),
    ],
)
def test_without_a_sweep_there_is_one_clear_line(target: str, folder: str, words: str) -> None:
    done = subprocess.run(
        make(target, f"DIR={folder}"), cwd=TOP, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert done.stdout.startswith(words)
    assert done.stdout.count("\n") == 1


def test_the_newest_sweep_is_shown(tmp_path: Path) -> None:
    for name, when in (("old", 1_000_000_000), ("day/new", 1_700_000_000)):
        board = tmp_path / "multirun" / name / "leaderboard.json"
        board.parent.mkdir(parents=True)
        board.touch()
        os.utime(board, (when, when))
    command = make("-n", "-f", str(TOP / "Makefile"), "report")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert 'budgetsweep report "multirun/day/new"' in done.stdout
