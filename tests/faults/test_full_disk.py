"""A disk that fills up, a folder that may not be written to, a reader that leaves: nothing is lost."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import SMALL, train
from injecting import bowl, budgetsweep, content, copy_of, fill, slow_but, small_disk
from PIL import Image, ImageDraw
from sweeping import FORKSERVER, environment, summary
from sweeping import command as command_of

from hydra_budget_sweeper.study import journal, patience

SPACE = ("x=interval(-5,5)", "width=range(1,9)", "steps=2", "hydra.sweeper.sampler.seed=3",
         "hydra.sweeper.n_trials=5")  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as place:
        yield place


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def half_written(folder: Path) -> list[str]:
    """What an interrupted write would leave."""
    return [name for name in content(folder) if Path(name).name.startswith((".model", ".check", ".summ", ".metr", ".leader", ".sweep"))]  # fmt: skip


@pytest.mark.parametrize("room", slow_but([8, 40], range(0, 104, 8)))
def test_a_run_ends_with_the_files_name_and_goes_on(room: int, finished: Path, disk: Path) -> None:
    """Whatever the file is at which the room ends."""
    big = fill(disk)
    with open(big, "r+b") as file:
        file.truncate(big.stat().st_size - 1024 * room)
    run = disk / "run"
    ended = train(run)
    if ended.code:
        ended.check_told(str(disk), "No space left on device", "Make room")
        assert half_written(disk) == []
        big.unlink()
        ended = train(run, "resume=true")
    assert ended.code == 0, ended.err
    made, whole = (torch.load(f / "model.pt", weights_only=True) for f in (run, finished))
    torch.testing.assert_close(made, whole, rtol=0, atol=0)


# What logging cannot flush, it leaves to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("room", slow_but([24], [0, 4, 8, 12, 16, 24, 32, 48, 64]))
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_sweep_loses_no_trial(
    storage: str, room: int, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FULL_DISK_SECONDS", 0.0)
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    url = [] if storage == "journal" else [f"hydra.sweeper.storage=sqlite:///{disk}/study.db"]
    trace = tmp_path / "trace"
    folder, big = disk / "sweep", fill(disk)
    with open(big, "r+b") as file:
        file.truncate(big.stat().st_size - 1024 * (room + (100 if url and room else 0)))
    ended = bowl(folder, *SPACE, *url, f"trace={trace}")
    if ended.code:
        assert "Traceback" not in ended.err, ended.err
        ended.check_told(str(disk))
        assert half_written(disk) == []
        big.unlink()
        ended = bowl(
            folder, *SPACE, *url, f"trace={trace}", "hydra.sweeper.retry_overrides=['resume=true']"
        )
    assert ended.code == 0, ended.err
    rows = json.loads((folder / "leaderboard.json").read_text())
    assert [row["state"] for row in rows] == ["COMPLETE"] * 5
    for row in rows:
        assert row["value"] == pytest.approx((row["params"]["x"] - 1) ** 2)
    ends = Counter(line.split()[1] for line in trace.read_text().splitlines() if "end" in line)
    assert set(ends) == {str(row["trial"]) for row in rows}


def test_a_command_says_that_there_is_no_room(finished: Path, disk: Path, tmp_path: Path) -> None:
    run = copy_of(finished, disk / "run")
    before = content(run)
    big = fill(disk)
    ended = budgetsweep("report", run)
    ended.check_told(str(run / "report.html"), "No space left on device")
    ended = budgetsweep("export", run, "--format", "torch")
    ended.check_told(str(run / "export"), "No space left on device")
    assert content(run) == before
    assert not list(run.glob("export/*"))
    big.unlink()


def test_a_folder_that_is_read_only_is_told(finished: Path, disk: Path) -> None:
    run, sweep = copy_of(finished, disk / "run"), disk / "sweep"
    assert bowl(sweep, *SPACE).code == 0
    remount(disk, "ro")
    try:
        for ended in (
            train(disk / "new"),
            train(run, "resume=true", "trainer.epochs=3"),
            budgetsweep("report", run),
            budgetsweep("export", run, "--format", "torch"),
            bowl(sweep, *SPACE, "hydra.sweeper.n_trials=7"),
            bowl(disk / "other", *SPACE),
            budgetsweep("replicate", run, "--seeds", "2"),
        ):
            ended.check_told(str(disk))
        drawing = Image.new("L", (28, 28), 0)
        ImageDraw.Draw(drawing).line([(8, 5), (20, 5), (12, 24)], fill=255, width=3)
        drawing.save(disk.parent / "seven.png")
        assert budgetsweep("predict", run, disk.parent / "seven.png").code == 0  # it only reads
    finally:
        remount(disk, "rw")


def apart(function: Callable[[], object], errors: Path) -> int:
    """The exit code of a function in a process that is forked from this one."""
    if (child := os.fork()) == 0:
        code = 70
        try:
            # As Python begins: a command that was called in this process before may have changed it.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            function()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
        except BaseException as error:
            print("Traceback", repr(error), file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def command(*words: str, output: int | None) -> Callable[[], None]:
    """A command whose standard output is closed, or goes to a descriptor."""

    def call() -> None:
        from budgetsweep.commands import main

        os.close(1)
        sys.stdout = None  # type: ignore[assignment]  # as Python has it then
        if output is not None:
            os.dup2(output, 1)
            sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.argv = ["budgetsweep", *words]
        main()

    return call


def test_a_run_without_an_output_ends_as_any(finished: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    line = ("train", *SMALL, f"hydra.run.dir={tmp_path / 'run'}")
    assert apart(command(*line, output=None), told) == 0, told.read_text()
    made, whole = (
        torch.load(f / "model.pt", weights_only=True) for f in (tmp_path / "run", finished)
    )
    torch.testing.assert_close(made, whole, rtol=0, atol=0)
    assert told.read_text() == ""


@pytest.mark.parametrize("closed", slow_but([">&-"], ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]))
def test_a_sweep_without_its_streams_ends_as_any(closed: str, tmp_path: Path) -> None:
    """A file that took the number of a stream would get what is said."""
    line = shlex.join(
        command_of(tmp_path / "sweep", *SPACE, FORKSERVER, "hydra.sweeper.n_trials=3")
    )
    ended = subprocess.run(
        f"{line} {closed}", shell=True, env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert summary(tmp_path / "sweep")["trained"] == 3


def test_a_run_whose_reader_leaves_ends_as_any(finished: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    reading, writing = os.pipe()
    os.close(reading)
    line = ("train", *SMALL, f"hydra.run.dir={tmp_path / 'run'}")
    apart(command(*line, output=writing), told)
    os.close(writing)
    assert "Traceback" not in told.read_text()
    made, whole = (
        torch.load(f / "model.pt", weights_only=True) for f in (tmp_path / "run", finished)
    )
    torch.testing.assert_close(made, whole, rtol=0, atol=0)


def test_an_output_on_a_full_disk_is_told(tmp_path: Path) -> None:
    told = tmp_path / "told"
    full = os.open("/dev/full", os.O_WRONLY)
    assert apart(command("settings", output=full), told) == 1
    os.close(full)
    assert told.read_text().startswith("The output: No space left on device."), told.read_text()
