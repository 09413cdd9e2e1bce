"""What the machine does: memory that runs out, a worker that stands still, a clock that jumps."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from applications import Application, application
from conftest import SMALL
from injecting import bowl
from sweeping import FORKSERVER, leaderboard, start, summary, traced, wait_for, worker_processes
from test_full_disk import apart

from hydra_budget_sweeper.limits import excess
from hydra_budget_sweeper.study.place import StudyPlace
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.workers import loop

APP = """
import hydra
import resource

@hydra.main(config_path="conf", config_name="config")
def main(cfg):
    if cfg.x == 2:
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (2**33, before[1]))
        try:
            bytearray(2**35)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    return cfg.x

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [_self_, override hydra/sweeper: budget]
x: 0
hydra: {sweeper: {n_trials: 3, max_failure_rate: 1, sampler: {seed: 1}}}
"""


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return application(tmp_path, {"app.py": APP, "conf/config.yaml": CONFIG})


def test_memory_that_runs_out_costs_its_trial(app: Application) -> None:
    told = app.run("-m", "x=1,2,3,4", "hydra.sweep.dir=out")
    assert "Traceback" not in told
    rows = json.loads((app.folder / "out" / "leaderboard.json").read_text())
    assert {row["params"]["x"]: row["state"] for row in rows} == {
        1: "COMPLETE", 2: "FAIL", 3: "COMPLETE", 4: "COMPLETE",
    }  # fmt: skip
    assert [row["error"] for row in rows if row["state"] == "FAIL"] == ["MemoryError"]


def test_a_run_without_the_memory_says_what_takes_it(tmp_path: Path) -> None:
    from budgetsweep.commands import main

    def call() -> None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, -1))
        line = [*SMALL, "model.layers.conv1.width=20000", "budget=none", "trainer.batch_size=64"]
        import sys

        sys.argv = ["budgetsweep", "train", *line, f"hydra.run.dir={tmp_path / 'run'}"]
        main()

    told = tmp_path / "told"
    assert apart(call, told) == 1, told.read_text()
    assert "Traceback" not in told.read_text()
    assert "trainer.batch_size=64" in told.read_text()
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_worker_that_stands_still_longer_than_its_lease_goes_on(tmp_path: Path) -> None:
    """As under a machine that sleeps: its trial is nobody else's meanwhile."""
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    sweep = start(folder, "x=interval(-5,5)", FORKSERVER, "hydra.sweeper.n_jobs=2", "steps=4", "seconds=0.4",
                  "hydra.sweeper.n_trials=8", "hydra.sweeper.lease=1", f"trace={trace}")  # fmt: skip
    wait_for(lambda: trace.exists() and len(traced(trace)) > 3, seconds=240)
    still = worker_processes(sweep.pid)[0]
    os.kill(still, signal.SIGSTOP)
    time.sleep(4)
    os.kill(still, signal.SIGCONT)
    assert sweep.wait(timeout=600) == 0
    rows = leaderboard(folder)
    assert summary(folder)["trained"] == len(rows) == 8
    ends = [number for what, number, _ in traced(trace) if what == "end"]
    assert sorted(ends) == sorted(row["trial"] for row in rows)


def test_a_trial_cut_off_after_it_was_judged_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limits are in the study already, and are not told anew: Optuna warns of that."""
    line = ("x=interval(-5,5)", "width=range(1,9)", "hydra.sweeper.constraints=bowl.limits",
            "hydra.sweeper.n_trials=2")  # fmt: skip

    def full(folder: Path, *_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(loop, "make_folder", full)
        bowl(tmp_path / "sweep", *line).check_told(str(tmp_path), "Make room")
    ended = bowl(tmp_path / "sweep", *line)
    assert ended.code == 0, ended.err
    assert [row["state"] for row in leaderboard(tmp_path / "sweep")] == ["COMPLETE"] * 2


def test_a_trial_that_was_taken_away_before_it_began_is_not_begun_here_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker stood still while it judged its candidate, until others took it for dead."""
    taken: list[int] = []

    def taken_away(violations: Mapping[str, float]) -> float:
        if not taken:
            place = StudyPlace(tmp_path / "sweep", None, "sweep")
            taken.append(0)
            StudyStore(place.open_storage(), place.name).update_note(0, worker="another")
        return excess(violations)

    monkeypatch.setattr(loop, "excess", taken_away)
    ended = bowl(tmp_path / "sweep", "x=interval(-5,5)", "hydra.sweeper.n_trials=3",
                 f"trace={tmp_path / 'trace'}")  # fmt: skip
    assert ended.code == 0, ended.err
    starts = [number for what, number, _ in traced(tmp_path / "trace") if what == "start"]
    assert taken and sorted(starts) == [0, 1, 2]
    assert [row["state"] for row in leaderboard(tmp_path / "sweep")] == ["COMPLETE"] * 3


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day back or forth at each look at it, as after a battery's end; time limits are by another."""
    rng, true = random.Random(1), time.time
    monkeypatch.setattr(time, "time", lambda: true() + rng.uniform(-86400, 86400))
    ended = bowl(tmp_path / "sweep", "x=interval(-5,5)", "steps=2", "hydra.sweeper.n_trials=6",
                 "hydra.sweeper.timeout=600", "hydra.sweeper.trial_timeout=60", "hydra.sweeper.lease=5")  # fmt: skip
    assert ended.code == 0, ended.err
    rows = leaderboard(tmp_path / "sweep")
    assert [row["state"] for row in rows] == ["COMPLETE"] * 6
    assert all(0 <= row["seconds"] < 60 for row in rows)
