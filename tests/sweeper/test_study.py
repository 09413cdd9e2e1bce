"""Whose a study is: one sweep's, in one folder, with one space and the same settings."""

import math
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sweeping import states, study, summary, sweep, traced

from hydra_budget_sweeper import read_sweep
from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.study.identity import differences, open_study
from hydra_budget_sweeper.study.place import StudyPlace
from hydra_budget_sweeper.study.trials import NOTE, note_of

X = "x=interval(-5,5)"
SHARED = "hydra.sweeper.study_name=shared"


def n_trials(n: int) -> str:
    return f"hydra.sweeper.n_trials={n}"


def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def stored(tmp_path: Path) -> list[str]:
    return [f"hydra.sweeper.storage={database(tmp_path)}", SHARED]


def in_database(tmp_path: Path) -> optuna.Study:
    return optuna.load_study(study_name="shared", storage=database(tmp_path))


@pytest.mark.slow
def test_a_study_is_not_opened_from_a_second_folder(tmp_path: Path) -> None:
    trace = f"trace={tmp_path / 'trace'}"
    sweep(tmp_path / "a", X, n_trials(2), trace, *stored(tmp_path))
    refused = sweep(tmp_path / "b", X, n_trials(3), trace, *stored(tmp_path), expect=1)
    assert f"belongs to the sweep in {tmp_path / 'a'}" in refused.stderr
    assert f"hydra.sweep.dir={tmp_path / 'a'}" in refused.stderr
    assert "another hydra.sweeper.study_name" in refused.stderr
    assert len(in_database(tmp_path).trials) == 2
    sweep(tmp_path / "a", X, n_trials(3), trace, *stored(tmp_path))
    assert len([what for what, *_ in traced(tmp_path / "trace") if what == "end"]) == 3


@pytest.mark.slow
def test_a_folder_that_moved_goes_on_and_its_copy_does_not(tmp_path: Path) -> None:
    sweep(tmp_path / "a", X, n_trials(1), *stored(tmp_path))
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    refused = sweep(tmp_path / "copy", X, n_trials(2), *stored(tmp_path), expect=1)
    assert f"belongs to the sweep in {tmp_path / 'a'}" in refused.stderr
    shutil.rmtree(tmp_path / "copy")
    (tmp_path / "a").rename(tmp_path / "moved")
    sweep(tmp_path / "moved", X, n_trials(2), *stored(tmp_path))
    refused = sweep(tmp_path / "a", X, n_trials(3), *stored(tmp_path), expect=1)
    assert f"belongs to the sweep in {tmp_path / 'moved'}" in refused.stderr


@pytest.mark.slow
def test_a_folder_copied_with_its_journal_goes_on_by_itself(tmp_path: Path) -> None:
    sweep(tmp_path / "a", X, n_trials(1))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    sweep(tmp_path / "b", X, n_trials(2))
    sweep(tmp_path / "a", X, n_trials(3))
    assert (len(study(tmp_path / "a").trials), len(study(tmp_path / "b").trials)) == (3, 2)


def test_a_folder_holds_one_sweep(tmp_path: Path) -> None:
    sweep(tmp_path / "a", X, n_trials(1), *stored(tmp_path))
    before = (tmp_path / "a" / "leaderboard.json").read_text()
    for other in ([], [*stored(tmp_path), "hydra.sweeper.study_name=other"]):
        refused = sweep(tmp_path / "a", X, n_trials(1), *other, expect=1)
        assert f"its study is shared in {database(tmp_path)}" in refused.stderr
    assert (tmp_path / "a" / "leaderboard.json").read_text() == before
    assert optuna.get_all_study_names(database(tmp_path)) == ["shared"]


def named(name: str) -> str:
    return f"hydra.sweeper.study_name={name}"


@pytest.mark.parametrize("marked", [True, False])
def test_a_folders_own_journal_holds_one_sweep(tmp_path: Path, marked: bool) -> None:
    folder = tmp_path / "a"
    sweep(folder, X, n_trials(1), named("foo"))
    if not marked:  # as where the journal was copied alone
        (folder / ".workers" / "study.json").unlink()
    before = (folder / "leaderboard.json").read_text()
    refused = sweep(folder, X, n_trials(1), named("bar"), expect=1)
    assert "its study is foo in the folder itself" in refused.stderr
    assert "Name that one to go on with it" in refused.stderr
    assert (folder / "leaderboard.json").read_text() == before
    assert optuna.get_all_study_names(StudyPlace(folder, None, "").open_storage()) == ["foo"]
    sweep(folder, X, n_trials(2), *([named("foo")] if marked else []))
    assert len(read_sweep(folder).trials) == 2


def test_of_two_studies_in_a_journal_the_one_that_the_folder_names_is_read(tmp_path: Path) -> None:
    sweep(tmp_path, X, n_trials(2), named("bar"))
    journal, mark = tmp_path / "study.journal", tmp_path / ".workers" / "study.json"
    first, *rest = journal.read_text().splitlines(keepends=True)
    # An older version began a second study beside the first.
    rest = [line.replace('"study_id":0', '"study_id":1') for line in rest]
    journal.write_text("".join([first.replace('"bar"', '"foo"'), first, *rest]))
    assert len(read_sweep(tmp_path).trials) == 2
    mark.unlink()
    assert len(read_sweep(tmp_path).trials) == 0


@pytest.mark.parametrize(
    ("directions", "n_asked", "words"),
    [
        (["maximize"], 0, "was made to maximize, but hydra.sweeper.direction is minimize"),
        (["minimize", "maximize"], 0, "was made to minimize and maximize, but"),
        (["minimize"], 1, "has 1 trials that no sweep of hydra/sweeper=budget made"),
        (["minimize"], 0, None),
    ],
)
@pytest.mark.parametrize("storage", [None, "sqlite"])
def test_a_study_that_something_else_made(
    tmp_path: Path, directions: list[str], n_asked: int, words: str | None, storage: str | None
) -> None:
    (tmp_path / ".workers").mkdir()
    place = StudyPlace(tmp_path, storage and database(tmp_path), "shared")
    made = optuna.create_study(
        storage=place.open_storage(), study_name="shared", directions=directions
    )
    for _ in range(n_asked):
        made.ask()
    told = pytest.raises(SweepError, match=words) if words else nullcontext()
    with told:
        open_study(place, ("minimize",), {})


def test_the_other_direction_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    optuna.create_study(storage=database(tmp_path), study_name="shared", direction="maximize")
    refused = sweep(tmp_path / "s", X, *stored(tmp_path), expect=1)
    assert "made to maximize, but hydra.sweeper.direction is minimize" in refused.stderr
    assert "Traceback" not in refused.stderr and not list((tmp_path / "s").glob("*.csv"))


def test_a_study_that_is_not_there_any_more_is_not_made_anew(tmp_path: Path) -> None:
    place = StudyPlace(tmp_path, database(tmp_path), "shared")
    (tmp_path / ".workers").mkdir()
    open_study(place, ("minimize",), {})
    (tmp_path / "study.db").unlink()
    with pytest.raises(SweepError, match=r"study shared in sqlite.* is not there"):
        open_study(place, ("minimize",), {})


@pytest.mark.slow
def test_settings_that_change_no_result_may_change(tmp_path: Path) -> None:
    sweep(tmp_path, X, n_trials(1))
    free = "hydra.sweeper.free_settings=[seconds,shape]"
    refused = sweep(tmp_path, X, n_trials(2), "seconds=0.01", "steps=2", free, expect=1)
    assert "setting steps: 0 → 2" in refused.stderr and "seconds" not in refused.stderr
    sweep(tmp_path, X, n_trials(2), "seconds=0.01", "shape.scale=1.5", free)
    assert summary(tmp_path)["trained"] == 2


def test_a_mistake_that_cost_nothing_is_mended_in_its_folder(tmp_path: Path) -> None:
    limited = "hydra.sweeper.constraints=bowl.limits"
    point = "hydra.sweeper.enqueue=[{width: 70}]"
    refused = sweep(tmp_path, "width=range(60,90)", limited, point, expect=1)
    assert "No candidate is within the limits" in refused.stderr
    sweep(tmp_path, "width=choice(6,7)", limited, n_trials(2), "steps=1")
    assert {t.params["width"] for t in study(tmp_path).trials} == {6, 7}
    assert summary(tmp_path)["trained"] == 2
    refused = sweep(tmp_path, "width=choice(6,7)", limited, n_trials(3), "steps=2", expect=1)
    assert "setting steps: 1 → 2" in refused.stderr and "free_settings" in refused.stderr


def test_a_sweep_that_only_failed_is_told_how_to_begin_anew(tmp_path: Path) -> None:
    sweep(tmp_path, X, n_trials(2), "trouble=shout", expect=1)
    refused = sweep(tmp_path, X, n_trials(2), expect=1)
    assert "setting trouble: shout → null" in refused.stderr
    assert "All that it began failed: remove that folder" in refused.stderr


STARTED = {NOTE: {"started": "1"}}


@pytest.mark.parametrize(
    ("trial", "binds"),
    [
        pytest.param(None, False, id="none"),
        pytest.param({"state": TrialState.WAITING}, False, id="known point"),
        pytest.param({"state": TrialState.FAIL}, False, id="not composed"),
        pytest.param({"state": TrialState.COMPLETE, "value": math.inf}, False, id="over a limit"),
        pytest.param({"state": TrialState.RUNNING}, True, id="running"),
        pytest.param(
            {"state": TrialState.WAITING, "system_attrs": STARTED}, True, id="interrupted"
        ),
        pytest.param({"state": TrialState.FAIL, "system_attrs": STARTED}, True, id="failed"),
        pytest.param({"state": TrialState.PRUNED, "system_attrs": STARTED}, True, id="pruned"),
    ],
)
@pytest.mark.parametrize("storage", [None, "sqlite"])
def test_a_sweep_is_bound_once_a_candidate_came_to_be_trained(
    tmp_path: Path, trial: dict[str, Any] | None, binds: bool, storage: str | None
) -> None:
    (tmp_path / ".workers").mkdir()
    place = StudyPlace(tmp_path, storage and database(tmp_path), "s")
    before = {"space": {"x": "choice(1,2)"}, "direction": ["minimize"], "setting": {"lr": -1}}
    now = {"space": {"x": "choice(1,3)"}, "direction": ["maximize"], "setting": {"lr": 0.1}}
    store = open_study(place, ("minimize",), before)
    if trial is not None:
        store.create(create_trial(**trial))
    with pytest.raises(SweepError, match="setting lr: -1 → 0.1"):  # who helps takes what there is
        open_study(place, ("maximize",), now, joining=True)
    with pytest.raises(SweepError, match="space x") if binds else nullcontext():
        store = open_study(place, ("maximize",), now)
    known = store.trials(), [direction.name for direction in store.directions]
    assert binds or known == ([], ["MAXIMIZE"])
    open_study(place, ("maximize",), before if binds else now, joining=True)


def test_a_setting_spelled_out_with_its_value_is_no_difference(tmp_path: Path) -> None:
    sweep(tmp_path, X, n_trials(1), "steps=0")
    sweep(tmp_path, X, n_trials(2))
    assert summary(tmp_path)["trained"] == 2


def test_what_an_older_version_did_not_know_is_no_difference() -> None:
    before = {"space": {}, "setting": {"a": 1}, "fixed": {}}
    now = {"space": {}, "setting": {"a": 1, "b": 2}, "fixed": {}, "rung": 3}
    assert list(differences(before, now)) == []
    assert list(differences(now, {**now, "setting": {"a": 1, "b": 3}})) == ["setting b: 2 → 3"]


@pytest.mark.parametrize(
    "written",
    [
        "interval(-5,4.5)",
        "range(1,20)",
        "range(0,9,3)",
        "int(interval(1,9))",
        "tag(log,interval(0.001,0.1))",
        "tag(log,int(interval(1,64)))",
        "range(0.0,1.5,0.5)",
        "choice(null,0.1,true,a)",
        "choice([8,16],[16,32])",
    ],
)
def test_a_changed_space_is_told_in_hydras_grammar(written: str) -> None:
    """What is told, read again, is the same space."""
    from hydra_budget_sweeper.space.parse import parse_space

    old, new = (parse_space({"x": text}, [], {}).describe() for text in ("choice(a,b)", written))
    (line,) = differences({"space": old}, {"space": new})
    before, _, told = line.partition(" → ")
    assert before == "space x: choice(a,b)"
    assert parse_space({"x": told}, [], {}).describe() == new


def test_a_number_that_became_a_text_is_told_apart() -> None:
    from hydra_budget_sweeper.space.parse import parse_space

    old, new = (
        parse_space({"x": text}, [], {}).describe() for text in ("choice(1,2)", "choice('1',2)")
    )
    (line,) = differences({"space": old}, {"space": new})
    before, _, told = line.partition(" → ")
    assert before.removeprefix("space x: ") != told


@pytest.mark.slow
def test_a_note_of_a_newer_version_is_read(tmp_path: Path) -> None:
    sweep(tmp_path, X, n_trials(1))
    made = study(tmp_path)
    trial = made.ask()
    trial.storage.set_trial_system_attr(
        trial._trial_id, NOTE, {"started": "c", "retries": 1, "rung": 3}
    )
    assert note_of(made.trials[-1]).retries == 1
    sweep(tmp_path, X, n_trials(2))
    assert set(states(tmp_path)) == {"COMPLETE"}


@pytest.mark.parametrize(
    ("module", "url", "advice"),
    [
        (
            "psycopg",
            "postgresql+psycopg://me@host/db",
            ": pip install 'hydra-budget-sweeper[postgres]'",
        ),
        ("pymysql", "mysql+pymysql://me@host/db", ": pip install 'hydra-budget-sweeper[mysql]'"),
        ("MySQLdb", "mysql://me:hunter2@host/db", "write mysql+pymysql://..."),
        ("psycopg2", "postgresql+psycopg2://me@host/db", "write postgresql+psycopg://..."),
        ("grpc", "grpc://host:13000", ": pip install 'hydra-budget-sweeper[grpc]'"),
    ],
)
def test_a_driver_that_is_not_installed_is_told_with_how_to_get_it(
    module: str, url: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    proxy = "hydra_budget_sweeper.study.proxy"
    if proxy in sys.modules:  # or what it has loaded would do
        monkeypatch.delitem(sys.modules, proxy)
        monkeypatch.delattr(proxy)
    with pytest.raises(SweepError) as refused:
        StudyPlace(tmp_path, url, "sweep").open_storage()
    told = str(refused.value)
    shown = url.replace("hunter2", "***")
    assert told.startswith(f"hydra.sweeper.storage={shown} needs the module {module}")
    assert told.endswith(advice)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@nowhere.invalid/db",
        "postgresql//me:hunter2@nowhere.invalid/db",
        "nosuch+driver://me:hunter2@nowhere.invalid/db",
        "mysql+pymysql://nowhere.invalid/db?user=me&password=hunter2",
        "postgresql://me:hun%74er2@@nowhere.invalid/db",
    ],
)
def test_passwords_of_a_storage_are_not_shown(tmp_path: Path, url: str) -> None:
    refused = sweep(tmp_path, X, f"hydra.sweeper.storage='{url}'", expect=1)
    assert "Cannot open hydra.sweeper.storage=" in refused.stderr and "***" in refused.stderr
    assert "nowhere.invalid/db" in refused.stderr
    assert "er2" not in refused.stdout + refused.stderr
    assert "er2" not in str(StudyPlace(tmp_path, url, "sweep"))
