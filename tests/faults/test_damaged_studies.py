"""A study, or what lies beside it, that was cut, altered or replaced: told, or gone on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from injecting import DAMAGES, Ended, bowl, content, copy_of, damage, slow_but

from hydra_budget_sweeper import SweepError, read_sweep

SPACE = ("x=interval(-5,5)", "width=range(1,9)", "hydra.sweeper.sampler.seed=3")
FLIPS = 60


def swept(folder: Path, n_trials: int, *more: str) -> Ended:
    return bowl(folder, *SPACE, f"hydra.sweeper.n_trials={n_trials}", *more)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    ended = swept(folder, 4)
    assert ended.code == 0, ended.err
    return folder


def database(folder: Path) -> str:
    return f"hydra.sweeper.storage=sqlite:///{folder}/study.db"


def check_right(folder: Path, n_trials: int) -> None:
    """All trials are there once, each with the value of its own parameters."""
    rows = json.loads((folder / "leaderboard.json").read_text())
    trained = [row for row in rows if row["state"] == "COMPLETE"]
    assert len({row["trial"] for row in trained}) == len(trained) == n_trials
    for row in trained:
        assert row["value"] == pytest.approx((row["params"]["x"] - 1) ** 2)


@pytest.mark.parametrize(
    "kind", slow_but(["emptied", "cut", "text"], [k for k in DAMAGES if k != "flipped"])
)
def test_a_damaged_journal_is_told_or_mended(kind: str, whole: Path, tmp_path: Path) -> None:
    folder = copy_of(whole, tmp_path / "sweep")
    journal = folder / "study.journal"
    damage(journal, kind, seed=2)
    before = content(folder)
    ended = swept(folder, 6)
    if ended.code == 0:  # a line that was cut short is run again
        assert kind in ("cut", "tail lost")
        check_right(folder, 6)
    else:
        ended.check_told(str(journal))
        assert {k: v for k, v in content(folder).items() if k != "study.journal"} == {
            k: v for k, v in before.items() if k != "study.journal"
        }


def test_a_flipped_bit_in_a_journal_raises_nothing(whole: Path, tmp_path: Path) -> None:
    """In text a bit may make of a letter another: that is read as it stands."""
    told = 0
    for seed in range(FLIPS):
        folder = copy_of(whole, tmp_path / f"{seed}")
        damage(folder / "study.journal", "flipped", seed)
        try:
            read_sweep(folder)
        except SweepError as error:
            told += str(folder) in str(error)
        if seed < 2:
            ended = swept(folder, 5)
            if ended.code:
                ended.check_told(str(folder))
            else:
                assert "Traceback" not in ended.err
    assert told > 0


def test_a_date_in_a_journal_that_is_none_is_told(whole: Path, tmp_path: Path) -> None:
    """The line is JSON still: what cannot be read shows only where Optuna reads it."""
    folder = copy_of(whole, tmp_path / "sweep")
    journal = folder / "study.journal"
    journal.write_text(journal.read_text().replace('"datetime_start":"', '"datetime_start":"x'))
    swept(folder, 5).check_told(str(journal))


@pytest.fixture(scope="session")
def with_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("database") / "sweep"
    ended = swept(folder, 3, database(folder))
    assert ended.code == 0, ended.err
    copy_of(folder, folder.with_name("kept"))
    return folder


@pytest.mark.parametrize(
    "fault",
    slow_but(
        [("text", 0), ("cut", 0), ("flipped", 1)],
        [*((kind, 0) for kind in DAMAGES), *(("flipped", n) for n in range(1, 6))],
    ),
)
def test_a_damaged_database_is_told(fault: tuple[str, int], with_database: Path) -> None:
    """A study belongs to its folder, so that it is put back there and not copied."""
    kind, seed = fault
    folder = with_database
    shutil.rmtree(folder)
    copy_of(folder.with_name("kept"), folder)
    damage(folder / "study.db", kind, seed)
    ended = swept(folder, 4, database(folder))
    if ended.code == 0:  # a page that nobody reads
        assert kind in ("flipped", "cut", "tail lost")
        check_right(folder, 4)
    else:
        ended.check_told(str(folder))
    try:
        assert len(read_sweep(folder).trials) >= 3  # at least by its leaderboard
    except SweepError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("kind", slow_but(["cut"], DAMAGES))
@pytest.mark.parametrize(
    "name",
    ["leaderboard.json", "leaderboard.csv", "sweep.json", "best.yaml", ".workers/study.json",
     "optimization_results.yaml"],
)  # fmt: skip
def test_what_is_written_from_the_study_is_written_anew(
    name: str, kind: str, whole: Path, tmp_path: Path
) -> None:
    folder = copy_of(whole, tmp_path / "sweep")
    damage(folder / name, kind, seed=3)
    ended = swept(folder, 5)
    assert "Traceback" not in ended.err
    if ended.code:
        ended.check_told(str(folder))
    elif (kind, name) != ("folder", "leaderboard.json"):
        check_right(folder, 5)
