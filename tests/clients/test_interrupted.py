"""Ctrl-C ends a sweep as ever, whatever the task makes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

APPS = Path(__file__).parent / "apps"


@pytest.mark.parametrize("launcher", ["basic", "forkserver"])
@pytest.mark.parametrize("answer", ["exit", "return"])
@pytest.mark.by_default("exit-forkserver")
def test_a_task_that_takes_it_for_itself_is_interrupted(
    answer: str, launcher: str, tmp_path: Path
) -> None:
    overrides = ["+x=interval(0,1)", f"+answer={answer}", f"hydra/launcher={launcher}"]
    process = subprocess.Popen(
        [sys.executable, str(APPS / "deaf.py"), "--multirun", "hydra/sweeper=budget",
         f"hydra.sweep.dir={tmp_path}", "hydra.sweeper.n_jobs=1", *overrides],
        env={**os.environ, "LC_ALL": "C"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted after 0 of 20 trials. To go on" in errors
    # Neither failed nor, with the value of half a training, complete: it waits to be run again.
    assert json.loads((tmp_path / "leaderboard.json").read_text()) == []
