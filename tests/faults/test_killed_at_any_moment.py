"""SIGKILL at random moments of sweeps and of single runs: what is finished is what it would have been.

FAULTS_KILLS says how many kills each of them takes: 20 unless it is set.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import train
from injecting import bowl

KILLS = int(os.environ.get("FAULTS_KILLS", "20"))
SWEEP = (
    "x=interval(-5,5)", "width=range(1,20)", "hydra.sweeper.constraints=bowl.limits", "steps=3",
    "seconds=0.03", "hydra.sweeper.n_trials=12", "hydra.sweeper.sampler.seed=7",
    "hydra.sweeper.max_retries=1000", "hydra.sweeper.feasibility_samples=0",
    "hydra.sweeper.retry_overrides=['resume=true']",
)  # fmt: skip

TOLD = Path(tempfile.gettempdir()) / f"told-by-the-killed-{os.getpid()}"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(14400)]


def begun(function: Callable[[], object]) -> int:
    """A process that is forked from this one, in a group of its own; it is spared the imports."""
    if (child := os.fork()) == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        try:
            ended = function()
            TOLD.write_text(getattr(ended, "err", ""))
            os._exit(getattr(ended, "code", 0))
        finally:
            os._exit(70)
    return child


def killed(function: Callable[[], object], rng: random.Random, longest: float) -> bool:
    """Whether a process was still running at a random moment, and was killed there."""
    child = begun(function)
    until = time.monotonic() + rng.uniform(0, longest)
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 0, TOLD.read_text()
            return False
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL) if os.getpgid(child) == child else os.kill(child, 9)
    os.waitpid(child, 0)
    return True


def told(folder: Path) -> list[tuple[Any, ...]]:
    """All that a sweep came to but its times."""
    rows = json.loads((folder / "leaderboard.json").read_text())
    return [
        (row["rank"], row["trial"], row["state"], row["value"], repr(row["params"])) for row in rows
    ]


@pytest.mark.parametrize("storage", ["journal", "sqlite", "postgresql", "mariadb", "proxy"])
def test_sweeps(storage: str, url: str | None, tmp_path: Path) -> None:
    place = [f"hydra.sweeper.storage='{url}'"] if url else []

    def swept(name: str) -> Any:
        return bowl(tmp_path / name, *SWEEP, f"trace={tmp_path / name}.trace", *place)

    started = time.monotonic()
    assert swept("whole").code == 0
    longest = 1.2 * (time.monotonic() - started)
    rng, kills, sweeps = random.Random(5), 0, 0
    while kills < KILLS:
        name, mine = f"killed{sweeps}", 0
        while killed(lambda name=name: swept(name), rng, longest):  # type: ignore[misc]
            mine += 1
            if kills + mine >= KILLS:
                ended = swept(name)
                assert ended.code == 0, ended.err
                break
        kills, sweeps = kills + mine, sweeps + 1
        assert told(tmp_path / name) == told(tmp_path / "whole")
        lines = (tmp_path / f"{name}.trace").read_text().splitlines()
        ends = Counter(line.split()[1] for line in lines if line.startswith("end"))
        trained = {str(row[1]) for row in told(tmp_path / name) if row[2] == "COMPLETE"}
        assert ends.keys() == trained
        # Killed between a task's end and its record, that one task ends again.
        assert sum(ends.values()) - len(ends) <= mine
        assert not [p for p in (tmp_path / name).rglob("*.half") if p.parent.name not in trained]
    print(f"{storage}: {kills} kills of {sweeps} sweeps, 0 trials lost")


def test_single_runs(finished: Path, tmp_path: Path) -> None:
    whole = torch.load(finished / "model.pt", weights_only=True)
    started = time.monotonic()
    assert train(tmp_path / "timed").code == 0
    longest = 1.2 * (time.monotonic() - started)
    rng, kills, runs = random.Random(6), 0, 0
    while kills < KILLS:
        folder, mine = tmp_path / f"run{runs}", 0
        while killed(lambda folder=folder: train(folder, "resume=true"), rng, longest):  # type: ignore[misc]
            mine += 1
            if kills + mine >= KILLS:
                assert train(folder, "resume=true").code == 0
                break
        kills, runs = kills + mine, runs + 1
        made = torch.load(folder / "model.pt", weights_only=True)
        torch.testing.assert_close(made, whole, rtol=0, atol=0)
        left = {p.name for p in folder.iterdir() if p.name != ".hydra" and p.name.startswith(".")}
        assert len(left) <= mine, left  # of a write that a kill broke off; nobody reads it
    print(f"{kills} kills of {runs} runs, the same weights to the bit")
