"""From images to an answer, by one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from budgetsweep.find import seconds

FIND = [
    sys.executable, "-m", "budgetsweep", "find", "--search", "shapes", "--epochs", "1", "--seeds", "2",
    "data=digits", "model=tiny", "data.validation=40", "trainer.epochs=1",
    "trainer.batch_size=32", "budget.max_parameters=1200", "trainer.progress=false",
]  # fmt: skip


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FIND, "--folder", str(folder / "found"), *arguments], cwd=folder, text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def find(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = begin(folder, *arguments)
    out, err = process.communicate(timeout=400)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def table(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("|")]


def test_a_time_is_written_as_people_write_it() -> None:
    assert [seconds(t) for t in ("90", "90s", "1.5min", "2 h", "1d")] == [90, 90, 90, 7200, 86400]


@pytest.mark.parametrize("time", ["soon", "0h", "-1h", "3 weeks"])
def test_what_is_no_time_is_a_sentence(tmp_path: Path, time: str) -> None:
    done = find(tmp_path, f"--time={time}")
    assert done.returncode and "write 90min, 2h or 1d" in done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.glob("found/*"))


@pytest.mark.parametrize(
    ("override", "option"),
    [("hydra.sweep.dir=x", "--folder"), ("hydra.sweeper.n_trials=4", "--time"), ("search=widths", "--search")],
)  # fmt: skip
def test_what_find_says_itself_is_asked_for_by_its_options(
    tmp_path: Path, override: str, option: str
) -> None:
    done = find(tmp_path, override)
    assert done.returncode == 1 and override in done.stderr and option in done.stderr
    assert not list(tmp_path.glob("found/*"))


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    done = find(tmp_path, "--config-dir", "mine")
    assert done.returncode and done.stderr == "--config-dir mine is no folder.\n"
    assert not list(tmp_path.glob("found/*"))


def test_what_the_sweep_asks_for_is_asked_for_by_finds_options(tmp_path: Path) -> None:
    theirs = tmp_path / "found" / "leaderboard.csv"
    theirs.parent.mkdir()
    theirs.write_text("of another tool")
    done = find(tmp_path)
    assert done.returncode == 1 and "Choose another folder (--folder)" in done.stderr
    assert theirs.read_text() == "of another tool"


@pytest.mark.slow
def test_images_become_an_answer_and_nothing_of_it_is_done_twice(tmp_path: Path) -> None:
    own = tmp_path / "mine" / "experiment" / "own.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# @package _global_\ndata: {limit: 96}\n")
    finalists = ["hydra.sweeper.finalists.count=2", "hydra.sweeper.finalists.seeds=[1]"]
    swept = "trainer.label_smoothing=0.0,0.05,0.1"  # which the confirmation takes from the winner
    given = [
        "--time=40s",
        "--epochs=2",
        "--config-dir",
        "mine",
        "experiment=own",
        swept,
        *finalists,
    ]
    done = find(tmp_path, *given)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "found"
    assert any(line.startswith("| trial-") for line in table(done))
    _, _, confirmation = done.stderr.partition("2 of 3")
    assert "runs, each with its log" in confirmation and "Launching" not in confirmation
    runs = sorted((folder / "replicate").glob("*/*/summary.json"))
    assert len(runs) in (2, 4)  # the winner alone where it is the reference itself
    told = [json.loads(path.read_text()) for path in runs]
    assert all(t["test_accuracy"] is not None and t["parameters"] <= 1200 for t in told)
    assert all(t["val_accuracy"] is None for t in told)  # nothing is held out any more
    searched = [json.loads(p.read_text()) for p in folder.glob("[0-9]*/summary.json")]
    assert searched and all(s["test_accuracy"] is None for s in searched)
    assert {s["epochs"] for s in searched} == {1}
    again = [json.loads(p.read_text()) for p in folder.glob("finalists/*/*/summary.json")]
    assert {s["epochs"] for s in again + told} == {2}  # as long as they are confirmed
    assert (folder / "report.html").exists() and (folder / "export" / "network.onnx").exists()

    before = {path: path.stat().st_mtime_ns for path in folder.glob("**/summary.json")}
    again = find(tmp_path, *given)
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in folder.glob("**/summary.json")} == before
    assert table(again) == table(done)

    process = begin(tmp_path, *given)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("3 of 3"):
        assert process.poll() is None
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "Interrupted. The same command goes on."
    assert "Traceback" not in told
