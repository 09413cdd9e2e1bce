"""A journal of which a line was lost, whichever: what the others tell stands as it was."""

import json
import shutil
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sweeping import FORKSERVER, leaderboard, start, sweep, wait_for

from hydra_budget_sweeper import read_sweep
from hydra_budget_sweeper.mend_journal import main

_BEGINS = (0, 4)  # op codes of a study and a trial

Content = dict[str, list[tuple[str, object, dict]]]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two workers, two points that were enqueued, and finalists in a study of their own."""
    folder = tmp_path_factory.mktemp("sweeps") / "swept"
    sweep(
        folder,
        "x=range(0,100)",
        "hydra.sweeper.enqueue=['x=1','x=2']",
        "hydra.sweeper.n_trials=5",
        "hydra.sweeper.n_jobs=2",
        FORKSERVER,
        "hydra.sweeper.finalists.count=2",
        "hydra.sweeper.finalists.seeds=[1]",
        app="noisy.py",
    )
    return folder


def content(journal: Path) -> Content:
    """Each study's trials, as any tool reads them that knows Optuna's own backend only."""
    storage = JournalStorage(JournalFileBackend(str(journal)))
    studies = [optuna.load_study(study_name=s.study_name, storage=storage)
               for s in storage.get_all_studies()]  # fmt: skip
    return {s.study_name: [(t.state.name, t.values, t.params) for t in s.trials] for s in studies}


def differing(one: Content, other: Content) -> int:
    assert one.keys() == other.keys()
    assert all(len(one[name]) == len(other[name]) for name in one)
    return sum(a != b for name in one for a, b in zip(one[name], other[name], strict=True))


def broken(journal: Path, to: Path, *which: int) -> Path:
    """A copy in which lines are zeros, as a disk leaves them."""
    lines = journal.read_bytes().splitlines()
    for i in which:
        lines[i] = b"\0" * len(lines[i])
    to.write_bytes(b"\n".join([*lines, b""]))
    return to


def test_whichever_line_is_lost_the_trials_keep_number_parameters_and_value(
    swept: Path, tmp_path: Path
) -> None:
    journal = swept / "study.journal"
    whole = content(journal)
    logs = [json.loads(line) for line in journal.read_text().splitlines()]
    (tmp_path / ".workers").mkdir()
    shutil.copy(swept / ".workers" / "study.json", tmp_path / ".workers")
    for i, log in enumerate(logs[:-1]):
        copy = broken(journal, tmp_path / f"{i}.journal", i)
        assert main([str(copy)]) == 0
        lost = differing(content(copy), whole)
        # The parameters of a finalist's run stand where it began only; all else is told again.
        of_finalist = log["op_code"] == 4 and log["study_id"] == 1
        assert lost <= (log["op_code"] not in _BEGINS or of_finalist), (i, log)


def test_lines_lost_in_several_places_are_told_and_kept_as_they_were(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = swept / "study.journal"
    logs = [json.loads(line) for line in journal.read_text().splitlines()]
    begins = [i for i, log in enumerate(logs) if log["op_code"] == 4 and log["study_id"] == 0][2:]
    copy = broken(journal, tmp_path / "study.journal", *begins)
    before = copy.read_bytes()
    (tmp_path / "study.journal.bak").write_text("mine")
    assert main([str(copy)]) == 0
    assert differing(content(copy), content(journal)) == 0
    told = capsys.readouterr().out
    for number, i in enumerate(begins, start=2):
        # Which of several lines began it does not always show, where two workers take turns.
        words = f"began trial {number} of swept; the others keep their numbers"
        assert told.count(words) == 1
        assert main([str(broken(journal, tmp_path / f"{number}.journal", i))]) == 0
        assert f"line {i + 1}: {words}" in capsys.readouterr().out
    assert (tmp_path / "study.journal.bak").read_text() == "mine"
    assert (tmp_path / "study.journal.bak2").read_bytes() == before
    assert main([str(copy)]) == 0
    assert "no line is broken" in capsys.readouterr().out


@pytest.mark.parametrize("left", [b"\0" * 512, b"\0\n\r\n\n\0", b'{"op_code":4,"wor\n{"op_code":4'])
def test_lines_lost_together_are_put_back_one_by_one(
    swept: Path, tmp_path: Path, left: bytes
) -> None:
    """What a disk leaves has the ends of lines where it likes."""
    lines = (swept / "study.journal").read_bytes().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.startswith(b'{"op_code":4,'))
    lines[first : first + 2] = [left + b"\n"]  # the points that were enqueued
    copy = tmp_path / "study.journal"
    copy.write_bytes(b"".join(lines))
    assert main([str(copy)]) == 0
    assert differing(content(copy), content(swept / "study.journal")) == 0


@pytest.mark.parametrize(
    ("left", "told", "states"),
    [
        (b"\0", "whether it began a trial does not show", ["WAITING"]),
        (b'{"op_code":4,"\0', "began trial 0 of s, which has failed by that", ["FAIL", "WAITING"]),
    ],
)
def test_what_does_not_show_in_the_lines_that_follow_is_said(
    left: bytes, told: str, states: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two points that wait, the first of them lost: nothing has been done with either."""
    journal = tmp_path / "study.journal"
    storage = JournalStorage(JournalFileBackend(str(journal)))
    made = optuna.create_study(study_name="s", storage=storage)
    for x in (1, 2):
        made.enqueue_trial({"x": x})
    first, _, *rest = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([first, left, *rest, b""]))
    assert main([str(journal)]) == 0
    assert told in capsys.readouterr().out
    assert [state for state, _, _ in content(journal)["s"]] == states


def test_a_sweep_with_a_broken_line_is_read_from_its_leaderboard(
    swept: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(swept, tmp_path / "copy")
    broken(swept / "study.journal", copy / "study.journal", 12)
    results = read_sweep(copy)
    assert "study.journal: line 13 is broken" in results.unread
    assert {t.number for t in results.trials} == {row["trial"] for row in leaderboard(swept)}
    assert results.status == read_sweep(swept).status


def test_nothing_is_mended_under_a_running_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = start(tmp_path, "x=interval(-5,5)", "seconds=60")
    try:
        wait_for(lambda: (tmp_path / "study.journal").exists())
        assert main([str(tmp_path / "study.journal")]) == 1
    finally:
        running.kill()
        running.wait()
    assert f"A sweep is running in {tmp_path}. End it first." in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "study.journal")]) == 1
    assert "study.journal: No such file" in capsys.readouterr().err
