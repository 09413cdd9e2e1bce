"""kill -9 at any moment: nothing finished is lost or run twice, and the sweep gets there."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sweeping import (
    FORKSERVER,
    JOBLIB,
    SEEDED,
    kill_all,
    leaderboard,
    start,
    states,
    summary,
    sweep,
    traced,
    trial_folders,
    wait_for,
    worker_processes,
)

SPACE = ["x=interval(-5,5)", "width=range(1,20)"]
LIMITS = "hydra.sweeper.constraints=bowl.limits"


def assert_exact(folder: Path, trace: Path, n_trials: int) -> None:
    """Exactly `n_trials` were trained, each ended once, none over its limit, none left open."""
    assert summary(folder)["trained"] == n_trials
    assert states(folder)["RUNNING"] == 0
    rows = [row for row in leaderboard(folder) if row["state"] in ("COMPLETE", "PRUNED")]
    assert len(rows) == n_trials
    assert len({row["trial"] for row in rows}) == n_trials
    assert all(value <= 0 for row in rows for value in row["violations"].values())
    # A kill between a task's end and its record may repeat that one task; a recorded one, never.
    events = traced(trace)
    ran = {number for _, number, _ in events}
    trained = {row["trial"] for row in rows}
    assert trained == ran
    assert trial_folders(folder) == {str(number) for number in ran}
    for number in ran:
        assert len({x for _, n, x in events if n == number}) == 1


def killed_sweep(folder: Path, kills: int, seed: int, who: str, launcher: str) -> None:
    n_trials = kills + 8
    trace = folder.with_name("trace")
    overrides = [
        *SPACE,
        LIMITS,
        SEEDED,
        launcher,
        f"hydra.sweeper.n_trials={n_trials}",
        "hydra.sweeper.max_retries=1000",
        "hydra.sweeper.feasibility_samples=0",
        "hydra.sweeper.retry_overrides=['resume=true']",
        f"trace={trace}",
        "steps=4",
        "seconds=0.2",
    ]
    rng = random.Random(seed)
    done = 0
    while done < kills:
        process = start(folder, *overrides)
        seen = len(traced(trace)) if trace.exists() else 0
        # Not before it works, then at any moment of it.
        wait_until_it_works(process, trace, seen)
        while process.poll() is None and done < kills:
            time.sleep(rng.uniform(0.0, 0.5))
            victims = worker_processes(process.pid)
            if process.poll() is not None:
                break
            if who == "worker" or (who == "any" and rng.random() < 0.5):
                if not victims:
                    continue
                with suppress(ProcessLookupError):  # it ended by itself in between
                    os.kill(rng.choice(victims), signal.SIGKILL)
                    done += 1
                continue
            if who == "sweeper":
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            else:
                kill_all(process)
            done += 1
            break
        else:
            process.wait(timeout=60)
            break
    sweep(folder, *overrides)
    assert_exact(folder, trace, n_trials)


def wait_until_it_works(process: subprocess.Popen[str], trace: Path, seen: int) -> None:
    """Not before it works, then at any moment of it."""
    wait_for(lambda: process.poll() is not None or (trace.exists() and len(traced(trace)) > seen))


@pytest.mark.parametrize(
    ("who", "kills", "launcher"),
    [
        ("worker", 8, FORKSERVER),
        ("worker", 4, JOBLIB),
        ("everything", 6, FORKSERVER),
        ("sweeper", 6, FORKSERVER),
    ],
)
@pytest.mark.by_default("worker-8-hydra/launcher=forkserver")
def test_killed_at_random_moments(tmp_path: Path, who: str, kills: int, launcher: str) -> None:
    killed_sweep(tmp_path / "sweep", kills, seed=kills, who=who, launcher=launcher)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "launcher"), [(0, FORKSERVER), (1, FORKSERVER), (2, JOBLIB)])
def test_killed_many_more_times(tmp_path: Path, seed: int, launcher: str) -> None:
    killed_sweep(tmp_path / "sweep", kills=40, seed=seed, who="any", launcher=launcher)
