"""What a person sees of the forkserver launcher when a job or a setting is not as it should be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import hear_interrupts, wait_for

APPS = Path(__file__).parent / "apps"
SOURCE = Path(__file__).parents[2] / "src"


def start(folder: Path, *overrides: str, app: str = "manners.py") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(APPS / app), "--multirun", "hydra/launcher=forkserver", *overrides],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def run(folder: Path, *overrides: str, app: str = "manners.py") -> tuple[int, str, str]:
    process = start(folder, *overrides, app=app)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def ran(folder: Path) -> set[str]:
    return {path.name.removeprefix("ran-") for path in folder.glob("ran-*")}


JOBS = ["+x=1,2,3,4", "hydra.launcher.n_jobs=2"]


def test_an_exception_is_reported_as_hydra_does_and_the_other_jobs_run(tmp_path: Path) -> None:
    code, _, err = run(tmp_path, *JOBS, "+how=raise")
    assert code == 1 and ran(tmp_path) == {"1", "3", "4"}
    assert err.startswith("Error executing job with overrides: ['+x=2', '+how=raise']")
    assert err.rstrip().endswith("ValueError: the loss exploded")


def test_a_value_that_cannot_be_sent_back_fails_its_job_alone(tmp_path: Path) -> None:
    code, _, err = run(tmp_path, *JOBS, "+how=return_lock")
    assert code == 1 and ran(tmp_path) == {"1", "3", "4"}
    assert "what the task returned cannot be sent to another process" in err


def test_an_exception_that_hydra_lets_pass_ends_all_at_once(tmp_path: Path) -> None:
    code, _, err = run(tmp_path, *JOBS, "+how=cancel")
    assert code == 1 and "CancelledError" in err


def test_a_job_that_exits_ends_all_with_its_message_as_under_the_basic_launcher(
    tmp_path: Path,
) -> None:
    code, _, err = run(tmp_path, *JOBS, "+how=exit")
    assert (code, err.strip()) == (1, "told to go")


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_the_applications_own_processes_are_left_alone(tmp_path: Path, how: str) -> None:
    code, out, err = run(tmp_path, *JOBS, f"+how={how}")
    assert code == 1 and "own process alive: True" in out
    assert "Traceback" not in err


@pytest.mark.parametrize("n_jobs", [0, -2])
def test_a_number_of_jobs_that_means_nothing_is_refused(tmp_path: Path, n_jobs: int) -> None:
    code, _, err = run(tmp_path, "+x=1,2", "+how=run", f"hydra.launcher.n_jobs={n_jobs}")
    assert code == 1 and not ran(tmp_path)
    assert err.startswith(f"hydra.launcher.n_jobs={n_jobs}: ") and len(err.splitlines()) == 1


@pytest.mark.parametrize("sweeper", ["basic", "budget"])
def test_a_task_that_cannot_be_sent_is_one_sentence(tmp_path: Path, sweeper: str) -> None:
    code, out, err = run(tmp_path, "+x=1,2", "+how=needs_lock", f"hydra/sweeper={sweeper}")
    assert code == 1 and len(err.splitlines()) == 1
    assert "cannot be sent to another process" in err and "lock" in err
    assert out.count("Launching") == 1


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    code, _, err = run(tmp_path, "x=1,2", "hydra.launcher.n_jobs=2", app="unguarded.py")
    assert code == 1 and "Traceback" not in err
    assert 'if __name__ == "__main__":' in err


@pytest.mark.parametrize("how", ["sleep", pytest.param("deaf", marks=pytest.mark.slow)])
def test_ctrl_c_is_one_end_also_of_a_job_that_ignores_being_told(tmp_path: Path, how: str) -> None:
    process = start(tmp_path, "+x=2,2", "hydra.launcher.n_jobs=2", f"+how={how}")
    wait_for((tmp_path / "asleep").exists)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1 and err.rstrip().endswith("KeyboardInterrupt")
