"""Sweeps that share a folder, or should: who waits, who takes over, who is told what."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from sweeping import (
    FORKSERVER,
    SEEDED,
    command,
    environment,
    hear_interrupts,
    kill_all,
    start,
    summary,
    sweep,
    traced,
    wait_for,
)

X = "x=interval(-5,5)"
JOIN = "hydra.sweeper.join=true"
PLUGINS = Path(__file__).parent / "plugins"


def joined(folder: Path, log: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Start a sweep that comes to help; what it says goes to `log`."""
    with open(log, "wb") as file:
        return subprocess.Popen(
            command(folder, *overrides, JOIN),
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=hear_interrupts,
        )


def starts(trace: Path) -> int:
    return sum(what == "start" for what, _, _ in traced(trace)) if trace.exists() else 0


@pytest.mark.slow
def test_a_joined_sweep_waits_without_workers_and_takes_over_from_the_dead(
    tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, log, trace = tmp_path / "sweep", tmp_path / "log", tmp_path / "trace"
    long = [X, "seconds=60", "hydra.sweeper.n_trials=1", f"trace={trace}"]
    running.append(first := start(folder, *long))
    wait_for(lambda: starts(trace) == 1)
    running.append(second := joined(folder, log, *long, FORKSERVER))
    wait_for(lambda: "waiting for them" in log.read_text())
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=2)
    assert "Launching" not in log.read_text()
    kill_all(first)
    wait_for(lambda: starts(trace) == 2)
    assert log.read_text().count("Launching 1 jobs") == 1
    os.killpg(second.pid, signal.SIGINT)
    assert second.wait(timeout=30) == 130


@pytest.mark.slow
def test_the_last_trial_of_a_dead_machine_is_taken_over_after_the_lease(tmp_path: Path) -> None:
    """A worker elsewhere shows no lock here: only its beats count, and they have stopped."""
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    last = [X, "seconds=3", "hydra.sweeper.n_trials=1", f"trace={trace}"]
    process = start(folder, *last)
    wait_for(lambda: starts(trace) == 1)
    kill_all(process)
    (sign,) = (folder / ".workers").glob("worker-*.alive")
    sign.write_text(json.dumps({**json.loads(sign.read_text()), "host": "elsewhere"}))
    ended = sweep(folder, *last, "hydra.sweeper.lease=2")
    assert starts(trace) == 2 and summary(folder)["trained"] == 1
    assert "waiting for them" in ended.stdout and ended.stdout.count("Launching") == 1


@pytest.mark.parametrize("ending", ["interrupt", "timeout"])
@pytest.mark.by_default("interrupt")
def test_who_waits_can_be_told_to_stop(
    tmp_path: Path, running: list[subprocess.Popen], ending: str
) -> None:
    folder, log, trace = tmp_path / "sweep", tmp_path / "log", tmp_path / "trace"
    long = [X, "seconds=60", "hydra.sweeper.n_trials=1", f"trace={trace}"]
    running.append(first := start(folder, *long))
    wait_for(lambda: starts(trace) == 1)
    patience = ["hydra.sweeper.timeout=4"] if ending == "timeout" else []
    running.append(second := joined(folder, log, *long, *patience))
    wait_for(lambda: "waiting for them" in log.read_text())
    if ending == "interrupt":
        os.killpg(second.pid, signal.SIGINT)
    assert second.wait(timeout=30) == (130 if ending == "interrupt" else 1)
    assert "Traceback" not in log.read_text()
    assert first.poll() is None


@pytest.mark.slow
def test_the_last_trial_of_a_finite_space_is_waited_for(
    tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, log, trace = tmp_path / "sweep", tmp_path / "log", tmp_path / "trace"
    finite = ["x=1,2", "seconds=3", f"trace={trace}"]
    running.append(first := start(folder, *finite))
    wait_for(lambda: starts(trace) == 1)
    running.append(second := joined(folder, log, *finite))
    assert first.wait(timeout=60) == second.wait(timeout=60) == 0
    assert starts(trace) == summary(folder)["trained"] == 2
    assert log.read_text().count("Launching") <= 3


def test_as_many_workers_as_there_are_trials_to_take(tmp_path: Path) -> None:
    ended = sweep(
        tmp_path,
        *(X, "width=7", "trouble=kill_once", FORKSERVER),
        *("hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=2"),
    )
    assert ended.stdout.count("Launching 1 jobs in 1 processes") == 2
    assert "Launching 2 jobs" not in ended.stdout
    assert summary(tmp_path)["trained"] == 1


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_folder_says_so_once(tmp_path: Path) -> None:
    can = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"mount -t tmpfs none {tmp_path}"], capture_output=True
    )
    if can.returncode:
        pytest.skip("needs the right to mount: " + can.stderr.decode())
    folder = tmp_path / "sweep"
    paths = {"PYTHONPATH": os.pathsep.join([environment()["PYTHONPATH"], str(PLUGINS)])}
    ended = subprocess.run(
        command(
            folder,
            *(X, "hydra/launcher=elsewhere", "hydra.sweeper.n_trials=2", SEEDED),
            f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db",
        ),
        env={**environment(), **paths},
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert f"does not see the sweep in {folder}" in ended.stderr
    assert "Traceback" not in said and "Error executing" not in said
    assert said.count("Launching") == 1


def test_a_fork_of_a_job_that_outlives_a_killed_sweep_does_not_keep_its_folder(
    tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    forking = [X, "hydra.sweeper.n_trials=1", f"trace={trace}", "trouble=fork", "seconds=60"]
    orphans: set[int] = set()

    def orphan() -> int:
        child = folder / "0" / "fork"
        return int(wait_for(lambda: child.exists() and child.read_text()))

    try:
        running.append(first := start(folder, *forking))
        orphans.add(orphan())
        first.kill()
        first.wait()
        os.kill(orphan(), 0)  # it lives
        running.append(again := start(folder, *forking))
        wait_for(lambda: starts(trace) == 2 or again.poll() is not None)
        assert again.poll() is None
        wait_for(lambda: orphans != {orphan()})
        orphans.add(orphan())
    finally:
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
