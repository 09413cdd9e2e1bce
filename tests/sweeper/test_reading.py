"""A sweep's folder read back: from its study, from a database, from its leaderboard."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sweeping import study, sweep

from hydra_budget_sweeper import read_sweep
from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.results.reading import SweepResults


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps") / "swept"
    sweep(folder, "x=interval(-5,5)", "y=choice(1,2)", "hydra.sweeper.n_trials=4")
    return folder


def without_study(of: Path, to: Path, **changes: Any) -> Path:
    """A folder that has but the tables, its first row changed."""
    to.mkdir()
    rows = json.loads((of / "leaderboard.json").read_text())
    rows[0] |= changes
    (to / "leaderboard.json").write_text(json.dumps(rows))
    (to / "sweep.json").write_text((of / "sweep.json").read_text())
    return to


def test_importing_the_package_loads_no_optuna() -> None:
    code = "import sys, hydra_budget_sweeper; assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_tells_what_its_tables_tell_and_stays_as_it_is(swept: Path) -> None:
    before = {p: hashlib.sha256(p.read_bytes()).digest() for p in swept.rglob("*") if p.is_file()}
    results = read_sweep(swept)
    rows = json.loads((swept / "leaderboard.json").read_text())
    assert [t.number for t in results.trials] == [row["trial"] for row in rows]
    assert [t.rank for t in results.trials] == [row["rank"] for row in rows]
    assert [t.params for t in results.trials] == [row["params"] for row in rows]
    assert [t.values[0] for t in results.trials if t.rank] == [
        r["value"] for r in rows if r["rank"]
    ]
    assert results.counts["complete"] == 4
    assert results.directions == ("minimize",)
    assert results.status["state"] == "finished"
    best = results.winner
    assert best is not None and best.folder is not None and best.folder.is_dir()
    assert any(o.startswith("x=") for o in best.overrides)
    assert before == {
        p: hashlib.sha256(p.read_bytes()).digest() for p in swept.rglob("*") if p.is_file()
    }


def test_only_known_points_are_enqueued_not_those_that_a_finite_space_has_left(
    tmp_path: Path,
) -> None:
    known = ["hydra.sweeper.enqueue=['x=5']", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=1"]
    sweep(
        tmp_path,
        "x=range(0,6)",
        *known,
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=1",
    )
    trials = read_sweep(tmp_path).trials
    assert {t.params["x"] for t in trials} == set(range(6))
    assert any(t.user_attrs.get("walked") for t in study(tmp_path).trials)
    assert [(t.number, t.enqueued) for t in trials if t.enqueued] == [(0, ("x",))]


def test_without_its_study_a_sweep_is_told_from_its_leaderboard(
    swept: Path, tmp_path: Path
) -> None:
    def shape(results: SweepResults) -> Any:
        return [(t.number, t.state, t.rank, t.values, t.params) for t in results.trials]

    copy = without_study(swept, tmp_path / "copy")
    assert shape(read_sweep(copy)) == shape(read_sweep(swept))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trial": "<script>"}, "trial must be int, but got '<script>'"),
        ({"rank": "1"}, "rank must be int or null"),
        ({"value": "best"}, "value must be int or float"),
        ({"params": [1]}, "params must be dict"),
        ({"violations": {"macs": "many"}}, "violations.macs must be int or float"),
        ({"error": {}}, "error must be str or null"),
    ],
)
def test_a_leaderboard_of_other_types_is_refused(
    swept: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(SweepError, match="leaderboard.json: entry 0 is no trial") as refused:
        read_sweep(without_study(swept, tmp_path / "copy", **change))
    assert told in str(refused.value)


def test_a_trials_folder_lies_below_its_sweeps(swept: Path, tmp_path: Path) -> None:
    copy = without_study(swept, tmp_path / "copy", folder="../../etc")
    assert read_sweep(copy).trials[0].folder is None


def test_a_study_in_a_database_is_read_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    folder = tmp_path / "swept"
    sweep(folder, "x=interval(-5,5)", "hydra.sweeper.n_trials=2", f"hydra.sweeper.storage={url}")
    results = read_sweep(folder)
    assert not results.unread
    assert all(t.reports or t.overrides for t in results.trials)
    (tmp_path / "study.db").unlink()
    results = read_sweep(folder)
    assert "no such file" in results.unread
    assert len(results.trials) == 2
    assert not (tmp_path / "study.db").exists()


def test_no_password_is_shown(swept: Path, tmp_path: Path) -> None:
    copy = without_study(swept, tmp_path / "copy")
    url = "postgresql://me:hunter2@127.0.0.1:1/x"
    with pytest.raises(SweepError, match=r"postgresql://me:\*\*\*@127.0.0.1") as refused:
        read_sweep(copy, storage=url)
    assert "hunter2" not in str(refused.value)


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="no sweep there"):
        read_sweep(tmp_path)
