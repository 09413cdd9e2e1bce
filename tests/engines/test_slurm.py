"""Workers as jobs of a real Slurm with one node: time limits, preemption, a lost node, joining."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from slurm import Slurm
from sweeping import FORKSERVER, wait_for
from traces import assert_exact, begin, happened, steps, task

# Jobs and sweeps take their time to start where the machine has other things to do.
PATIENCE = 600.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

SLURM = "hydra/launcher=slurm"
JOIN = "hydra.sweeper.join=true"


def test_a_job_at_its_time_limit_goes_on_with_its_trial(
    slurm: Slurm, tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    """Slurm gives notice up to a minute before the time that was asked for."""
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    limit = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=20"]
    given = [*task(trace, 2, 100), SLURM, *limit, "hydra.sweeper.n_jobs=1"]
    running.append(sweep := begin(folder, *given))

    def is_over() -> bool:
        slurm.start_waiting_jobs()
        return sweep.poll() is not None

    wait_for(is_over, PATIENCE * 2)
    assert sweep.returncode == 0, (tmp_path / "log").read_text()
    assert_exact(folder, trace, 2)
    assert happened(trace, "start").total() > 2  # some job did come to its limit
    assert steps(trace) == dict.fromkeys(steps(trace), 1)  # no step was trained twice
    assert len(steps(trace)) > 195  # one that is cut off after its checkpoint leaves no trace
    assert "worker died" not in (tmp_path / "log").read_text()


def test_preempted_jobs_lose_nothing(
    slurm: Slurm, tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    # One worker, which is training at the moment of its step: a job that starts dies of the signal.
    running.append(sweep := begin(folder, *task(trace, 3, 12), SLURM, "hydra.sweeper.n_jobs=1"))
    for n in (3, 15, 30):
        wait_for(lambda n=n: steps(trace).total() >= n, PATIENCE)
        slurm.ask("scancel", "--signal=USR2", *slurm.jobs())
        wait_for(slurm.start_waiting_jobs, PATIENCE)
    assert sweep.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    assert_exact(folder, trace, 3)
    assert happened(trace, "start").total() == 6
    assert steps(trace) == dict.fromkeys(steps(trace), 1)


def test_a_lost_node_costs_no_trial(
    slurm: Slurm, tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    running.append(sweep := begin(folder, *task(trace, 3, 30), SLURM, "hydra.sweeper.n_jobs=2"))
    # Two workers, a second a step: in its first eleven seconds here, Slurm does not miss a job.
    wait_for(lambda: steps(trace).total() >= 30, PATIENCE)
    slurm.lose_node()

    def is_over() -> bool:
        slurm.start_waiting_jobs()
        return sweep.poll() is not None

    wait_for(is_over, PATIENCE)
    assert sweep.returncode == 0, (tmp_path / "log").read_text()
    assert_exact(folder, trace, 3)
    assert 3 < happened(trace, "start").total() <= 5
    assert all(count <= 2 for count in steps(trace).values())  # the last step of either


def test_jobs_join_a_running_sweep_and_leave_it(
    slurm: Slurm, tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = [*task(trace, 2, 150), "hydra.sweeper.n_jobs=1"]
    running.append(first := begin(folder, *given, FORKSERVER))
    wait_for(lambda: happened(trace, "start").total() == 1, PATIENCE)
    # What the second command has to do at its end leaves the first time to take the trial.
    joined = [*given, SLURM, JOIN, "hydra.sweeper.on_end=[bowl.linger]"]
    running.append(second := begin(folder, *joined, log="second"))
    wait_for(lambda: happened(trace, "end")[0] and steps(trace)[1, "step3"], PATIENCE)
    wait_for(lambda: "waiting for them" in (tmp_path / "log").read_text(), PATIENCE)
    os.killpg(second.pid, signal.SIGTERM)
    assert second.wait(PATIENCE) == 130, (tmp_path / "second").read_text()
    assert first.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    assert_exact(folder, trace, 2)
    assert happened(trace, "start") == {0: 1, 1: 2}
    # It went on from its checkpoint: at most the step that was under way is there twice.
    assert steps(trace).total() <= 2 * 150 + 1
    wait_for(lambda: not slurm.jobs(), PATIENCE)


def test_what_slurm_refuses_is_said_once(slurm: Slurm, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    given = [*task(tmp_path / "trace", 2, 1), SLURM, "hydra.launcher.partition=elsewhere"]
    assert begin(folder, *given).wait(PATIENCE) == 1
    said = (tmp_path / "log").read_text()
    assert "does not take the workers' jobs: invalid partition specified: elsewhere" in said
    assert "Traceback" not in said and "starting the workers again" not in said
