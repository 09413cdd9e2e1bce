"""Workers whose jobs a scheduler ends and starts again: submitit's own, on this machine."""

import os
import signal
import subprocess
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from sweeping import (
    FORKSERVER,
    leaderboard,
    processes,
    start,
    states,
    summary,
    sweep,
    traced,
    wait_for,
    worker_processes,
)

X = "x=interval(-5,5)"
RESUME = "hydra.sweeper.retry_overrides=['resume=true']"
LOCAL = "hydra/launcher=submitit_local"
submitit = pytest.mark.skipif(
    find_spec("submitit") is None, reason="needs submitit: pip install 'budgetsweep[slurm]'"
)


def happened(trace: Path) -> Counter[str]:
    return Counter(what for what, *_ in traced(trace)) if trace.exists() else Counter()


def trained(trace: Path) -> int:
    return sum(n for what, n in happened(trace).items() if what.startswith("step"))


def jobs(folder: Path) -> list[int]:
    """The processes of submitit's jobs for a sweep, which it starts by their folder."""
    return [
        pid
        for pid, _, command in processes()
        if "submitit.core._submit" in command and str(folder) in command
    ]


def give_notice(folder: Path) -> None:
    """Tell a sweep's jobs, as Slurm does, that their time is over."""
    for job in jobs(folder):
        os.kill(job, signal.SIGUSR2)


@submitit
@pytest.mark.slow
def test_a_worker_whose_job_is_queued_again_goes_on_with_its_trial(
    tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = [X, "steps=12", "seconds=12", f"trace={trace}", "hydra.sweeper.n_trials=1"]
    running.append(ended := start(folder, *given, LOCAL, RESUME, "hydra.sweeper.n_jobs=1"))
    for step in ("step2", "step6"):
        wait_for(lambda step=step: happened(trace)[step], 120)
        give_notice(folder)
    assert ended.wait(240) == 0
    assert states(folder) == {"COMPLETE": 1}
    seen = happened(trace)
    assert seen["start"] == 3 and seen["end"] == 1
    assert all(seen[f"step{i}"] <= 1 for i in range(12))


@submitit
@pytest.mark.slow
def test_a_trial_that_no_job_has_time_for_fails(
    tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = [X, "seconds=60", f"trace={trace}", "hydra.sweeper.n_trials=1"]
    once = ["hydra.sweeper.max_retries=1", "hydra.sweeper.n_jobs=1"]
    running.append(ended := start(folder, *given, LOCAL, RESUME, *once))
    for n in (1, 2):
        wait_for(lambda n=n: happened(trace)["start"] == n, 120)
        give_notice(folder)
    assert ended.wait(240) == 1
    (row,) = leaderboard(folder)
    assert row["state"] == "FAIL" and "hydra.launcher.timeout_min" in row["error"]


@pytest.mark.slow
def test_workers_that_only_get_further_may_die_often(
    tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = [X, "steps=60", "seconds=15", f"trace={trace}", "hydra.sweeper.n_trials=1"]
    running.append(ended := start(folder, *given, FORKSERVER, RESUME, "hydra.sweeper.n_jobs=1"))
    seen = 0
    for _ in range(6):
        wait_for(lambda seen=seen: trained(trace) > seen + 1 or ended.poll() is not None, 120)
        for worker in worker_processes(ended.pid):
            os.kill(worker, signal.SIGKILL)
        seen = trained(trace)
    assert ended.wait(240) == 0
    assert summary(folder)["trained"] == 1 and happened(trace)["start"] == 7


@pytest.mark.skipif(
    find_spec("hydra_plugins.hydra_ray_launcher") is not None, reason="for where Ray is missing"
)
def test_a_launcher_that_is_not_installed_is_named(tmp_path: Path) -> None:
    given = [X, "hydra/launcher=ray_cluster", "hydra.launcher.ray.remote.num_cpus=2"]
    said = sweep(tmp_path / "sweep", *given, expect=1).stderr
    assert "pip install 'hydra-budget-sweeper[ray]'" in said and "Traceback" not in said
