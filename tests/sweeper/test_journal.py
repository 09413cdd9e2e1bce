"""The study's file beside other writers, on a full disk, and after somebody broke a line."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sweeping import environment, sweep

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.study import journal as module
from hydra_budget_sweeper.study.journal import journal_storage

FOREIGN = """
import sys, optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(sys.argv[1])))
print("ready", flush=True)
for i in range(int(sys.argv[2])):
    study.set_user_attr(f"note{i}", "x" * (i % 300))
"""


def new_study(path: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(study_name="s", storage=journal_storage(path))


def read(path: Path) -> optuna.Study:
    """As any tool does that knows Optuna's own backend only."""
    return optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))


def test_another_program_may_write_to_the_study_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = new_study(path)
    with subprocess.Popen(
        [sys.executable, "-c", FOREIGN, str(path), "200"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as foreign:
        assert foreign.stdout is not None and foreign.stdout.readline() == "ready\n"
        n_trials = 0
        while foreign.poll() is None:
            study.enqueue_trial({"x": n_trials})
            n_trials += 1
    assert foreign.returncode == 0
    for line in path.read_text().splitlines():
        json.loads(line)
    for seen in (study, read(path)):
        assert len(seen.trials) == n_trials
        assert {f"note{i}" for i in range(200)} <= seen.user_attrs.keys()


def test_a_line_that_another_program_still_writes_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    new_study(path)
    line = {"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"note": "kept"}}
    text = json.dumps(line).encode() + b"\n"
    lock = optuna.storages.journal.JournalFileSymlinkLock(str(path))
    lock.acquire()
    with open(path, "ab", buffering=0) as file:
        file.write(text[:20])
        opened: list[optuna.storages.JournalStorage] = []
        opening = threading.Thread(target=lambda: opened.append(journal_storage(path)))
        opening.start()
        time.sleep(0.2)
        file.write(text[20:])
    lock.release()
    opening.join()
    assert read(path).user_attrs == {"note": "kept"}


@pytest.mark.parametrize("tail", [b'{"op_code": 4, "cut', b"\0\0\0\0", b"\0\0\n\0\0\0\n"])
def test_a_broken_end_is_dropped(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "study.journal"
    new_study(path).enqueue_trial({"x": 1})
    with open(path, "ab") as file:
        file.write(tail)
    study = optuna.load_study(study_name="s", storage=journal_storage(path))
    study.enqueue_trial({"x": 2})
    assert len(read(path).trials) == 2


def test_a_broken_line_in_the_middle_is_named_with_the_way_out(tmp_path: Path) -> None:
    sweep(tmp_path, "x=interval(-5,5)", "hydra.sweeper.n_trials=1")
    path = tmp_path / "study.journal"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], '{"op_code": 2, "cu{"op_code": 2}\n', *lines[4:]]))
    refused = sweep(tmp_path, "x=interval(-5,5)", "hydra.sweeper.n_trials=2", expect=1)
    assert f"{path}: line 5 is broken" in refused.stderr and "Traceback" not in refused.stderr
    way_out = refused.stderr.strip().rpartition("without it: ")[2]
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(way_out, shell=True, check=True, env={**environment(), "PATH": paths})
    sweep(tmp_path, "x=interval(-5,5)", "hydra.sweeper.n_trials=2")


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.journal").write_text("[1]\n")
    refused = sweep(tmp_path, "x=interval(-5,5)", expect=1)
    assert "study.journal cannot be read as a study" in refused.stderr
    assert (tmp_path / "study.journal").read_text() == "[1]\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a small file system here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all room of the disk but what is left of the last page of each file."""
    with open(place / "big", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return place / "big"


def test_an_append_waits_until_the_disk_has_room(small_disk: Path) -> None:
    path = small_disk / "study.journal"
    study = new_study(path)
    trial = study.ask()
    big = fill(small_disk)
    told = threading.Thread(target=lambda: study.tell(trial, 0.25))
    holding = threading.Thread(target=lambda: study.set_user_attr("long", "x" * 8000))
    holding.start()
    time.sleep(0.3)
    told.start()
    time.sleep(0.5)
    assert holding.is_alive() and told.is_alive()
    assert path.read_bytes().endswith(b"\n"), "half a line was left"
    big.unlink()
    holding.join()
    told.join()
    seen = read(path)
    assert seen.best_value == 0.25 and len(seen.user_attrs["long"]) == 8000


def test_a_disk_that_stays_full_is_told_and_loses_nothing(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FULL_DISK_SECONDS", 0.0)
    path = small_disk / "study.journal"
    study = new_study(path)
    study.enqueue_trial({"x": 1})
    big = fill(small_disk)
    before = path.read_bytes()
    with pytest.raises(SweepError, match=r"study\.journal: No space left on device.*goes on"):
        study.set_user_attr("long", "x" * 8000)
    assert path.read_bytes() == before
    big.unlink()
    study.set_user_attr("long", "x" * 8000)
    assert len(read(path).user_attrs["long"]) == 8000
