"""The one command: what it lists, what it refuses, and how each command is reached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from budgetsweep.commands import COMMANDS

SCRIPT = str(Path(sys.executable).with_name("budgetsweep"))


def call(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("start", [(SCRIPT,), (sys.executable, "-m", "budgetsweep")], ids=str)
def test_bare_it_lists_its_commands(start: tuple[str, ...], tmp_path: Path) -> None:
    done = call(*start, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert set(COMMANDS) <= listed


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_command_and_waits_for_no_torch(name: str, tmp_path: Path) -> None:
    asked = f"import sys; sys.argv = ['budgetsweep', '{name}', '--help']"
    code = f"""
import atexit
{asked}
atexit.register(lambda: print([m for m in ("torch", "optuna", "plotly") if m in sys.modules]))
from budgetsweep.commands import main
main()
"""
    done = call(sys.executable, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"budgetsweep {name}" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", ["train --help", "train --cfg job", "train --info", "settings"])
def test_a_reader_may_leave_before_the_end(words: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` when it has enough
    done = subprocess.run(
        [SCRIPT, *words.split()], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, timeout=120
    )
    os.close(writer)
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("exprot runs/1", "There is no command exprot. Did you mean export?"),
        ("optimizer.lr=0.1", "budgetsweep train optimizer.lr=0.1"),
    ],
)
def test_what_is_no_command_is_told_in_a_line(words: str, told: str, tmp_path: Path) -> None:
    done = call(SCRIPT, *words.split(), cwd=tmp_path)
    assert done.returncode != 0
    assert told in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_sweep_is_train_with_multirun(tmp_path: Path) -> None:
    tiny = [
        "data=digits",
        "model=tiny",
        "data.limit=96",
        "trainer.epochs=1",
        "optimizer.lr=0.1,0.2",
    ]
    basic = ["hydra/sweeper=basic", "hydra/launcher=basic", "hydra.sweep.dir=out"]
    done = call(SCRIPT, "sweep", *tiny, *basic, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(p.parent.name for p in tmp_path.glob("out/*/summary.json")) == ["0", "1"]


def test_a_sweep_can_be_looked_at_first(tmp_path: Path) -> None:
    done = call(SCRIPT, "sweep", "search=widths", "--cfg", "job", "--package", "seed", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.mark.slow
def test_the_winner_is_run_again_by_the_command_that_found_it(tmp_path: Path) -> None:
    tiny = ["data=digits", "model=tiny", "data.limit=96", "trainer.epochs=1", "seed=choice(1,2)"]
    few = ["hydra.sweeper.n_trials=1", "hydra.sweeper.on_end=[]", "hydra.sweep.dir=out"]
    done = call(SCRIPT, "sweep", *tiny, *few, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    head = (tmp_path / "out" / "best.yaml").read_text().splitlines()
    (told,) = [line for line in head if line.startswith("# Run it: ")]
    assert told.startswith("# Run it: budgetsweep train ") and "--multirun" not in told
