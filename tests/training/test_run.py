"""A run from the command line: its folder, and going on after kill -9."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pseudo_terminal import HIDE_CURSOR, SHOW_CURSOR, Terminal, on_screen, plain

RUN = [
    sys.executable, "-m", "budgetsweep", "train", "data=digits", "model=tiny", "trainer.epochs=4",
    "trainer.batch_size=16", "trainer.threads=1", "trainer.precision=fp32",
    "trainer.memory_format=contiguous", "trainer.ema=0.9",
]  # fmt: skip


def train(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [*RUN, f"hydra.run.dir={folder}", *overrides]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, timeout=240)


def numbers(folder: Path) -> list[list[str]]:
    """metrics.csv without its timings."""
    rows = (folder / "metrics.csv").read_text().splitlines()
    return [row.split(",")[:5] for row in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "whole"
    done = train(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_finished_run_holds_its_results(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {".hydra", "train.log", "metrics.csv", "checkpoint.pt", "model.pt"} <= names
    summary = json.loads((finished / "summary.json").read_text())
    keys = """parameters macs epochs seed val_loss val_accuracy test_loss test_accuracy
    train_seconds images_per_second device precision threads versions git_commit""".split()
    assert set(keys) <= summary.keys()
    assert summary["epochs"] == 4
    assert 0 < summary["test_accuracy"] <= 1
    assert len(numbers(finished)) == 1 + 4


@pytest.mark.slow
def test_a_start_does_without_what_takes_longer_to_import_than_torch(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A run on a dataset that was read before; `torch._dynamo` is torch's compiler."""
    root = request.getfixturevalue("mnist_root")
    program = f"""
import sys
from budgetsweep.train import main
sys.argv += ["data.root={root}", "data.limit=100", "data.validation=100", "model=tiny"]
sys.argv += ["trainer.epochs=1", "trainer.memory_format=contiguous", "trainer.test=false"]
main()
print([name for name in ("torch._dynamo", "torchvision", "sympy") if name in sys.modules])
"""
    for folder in ("first", "second"):
        command = [sys.executable, "-c", program, f"hydra.run.dir={folder}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_run_killed_in_mid_epoch_ends_with_the_same_bits(finished: Path) -> None:
    folder = finished.parent / "killed"
    process = subprocess.Popen(
        [*RUN, f"hydra.run.dir={folder}"], cwd=finished.parent, stdout=subprocess.DEVNULL
    )
    while not (folder / "checkpoint.pt").exists():  # an epoch is done, the next has begun
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "summary.json").exists()
    done = train(folder, "resume=true")
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in done.stdout
    assert numbers(folder) == numbers(finished)
    ours, whole = (torch.load(f / "model.pt", weights_only=True) for f in (folder, finished))
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


def test_a_finished_run_is_not_trained_again(finished: Path) -> None:
    before = (finished / "model.pt").stat().st_mtime_ns
    done = train(finished, "resume=true")
    assert "finished before" in done.stdout
    assert (finished / "model.pt").stat().st_mtime_ns == before


def test_a_folder_of_another_run_is_not_continued(finished: Path) -> None:
    done = train(finished, "resume=true", "optimizer.lr=0.02")
    assert done.returncode == 1
    assert "optimizer.lr: 0.1 then, 0.02 now" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    done = train(
        tmp_path / "run", "optimizer.lr=100", "scheduler=constant", "model.defaults.norm=none",
        "optimizer.momentum=0.99", "trainer.ema=0",
    )  # fmt: skip
    assert done.returncode == 1
    for words in ("the loss became", "in epoch 1, step", "learning rate of 100"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.slow
def test_ctrl_c_is_one_sentence_that_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    process = subprocess.Popen(
        [*RUN, "trainer.epochs=500", f"hydra.run.dir='{folder}'"], cwd=tmp_path, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while not (folder / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(told.splitlines()) == 1, told
    start, _, command = told.partition(": budgetsweep train ")
    assert start == "Interrupted. To go on after the last whole epoch"
    again = [
        sys.executable,
        "-m",
        "budgetsweep",
        "train",
        *shlex.split(command),
        "trainer.epochs=500",
    ]
    epochs = torch.load(folder / "checkpoint.pt", weights_only=True)["trainer"]["epoch"]
    going = subprocess.Popen(again, cwd=tmp_path, text=True, stdout=subprocess.PIPE)
    assert going.stdout
    lines = iter(going.stdout.readline, "")
    assert any(f"going on after epoch {epochs} of 500" in line for line in lines)
    going.kill()
    going.communicate()


def test_a_finished_run_is_not_written_over(finished: Path) -> None:
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}

    before = state()
    done = train(finished, "optimizer.lr=0.02")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for words in ("whole holds a finished run (tiny, seed 0, 4 epochs)", "resume=true"):
        assert words in done.stderr
    assert state() == before


@pytest.mark.slow
def test_the_log_and_the_bar_do_not_write_over_each_other(tmp_path: Path) -> None:
    """A line of the log is a line of a narrow terminal, without prefix; the bar is gone in the end."""
    run = Terminal([*RUN, "hydra.run.dir=run"], dict(os.environ), tmp_path)
    text = run.end(expect=0, seconds=240)
    lines = [line for line in on_screen(text) if line]
    assert len(re.findall(r"training [━╸╺ ]+ +\d+/\d+", plain(text))) > 1
    assert [line.split("  ")[0] for line in lines if line.startswith("epoch")] == [
        f"epoch {i}/4" for i in range(1, 5)
    ]
    assert not any("training ━" in line for line in lines) and "[20" not in plain(text)
    assert all(len(line) <= 80 for line in lines)
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    (kept, *_) = (tmp_path / "run/train.log").read_text().splitlines()
    assert re.match(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+\]", kept)
