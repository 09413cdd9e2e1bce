"""In whose hands a trial is: one worker's at a time, whatever others do in between."""

import sqlite3
import threading
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from hydra_budget_sweeper.study.journal import journal_storage
from hydra_budget_sweeper.study.place import StudyPlace
from hydra_budget_sweeper.study.store import Stop, StudyStore
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import Note, note_of


@pytest.fixture(params=["journal", "sqlite"])
def stores(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[StudyStore, StudyStore]:
    """One study, opened twice."""

    def open_storage() -> optuna.storages.BaseStorage:
        if request.param == "journal":
            return journal_storage(tmp_path / "study.journal")
        return optuna.storages.get_storage(f"sqlite:///{tmp_path / 's.db'}")

    optuna.create_study(study_name="s", storage=open_storage())
    return StudyStore(open_storage(), "s"), StudyStore(open_storage(), "s")


@pytest.mark.slow
def test_a_sqlite_file_that_another_program_holds_is_waited_for(tmp_path: Path) -> None:
    """For longer than sqlite itself waits, at the opening and later."""
    place = StudyPlace(tmp_path, f"sqlite:///{tmp_path / 's.db'}", "s")
    optuna.create_study(study_name="s", storage=place.open_storage())
    for waiting in (
        lambda: StudyStore(place.open_storage(), "s"),
        lambda: StudyStore(place.open_storage(), "s").set_attribute("kept", 1),
    ):
        holding = sqlite3.connect(tmp_path / "s.db", check_same_thread=False, isolation_level=None)
        holding.execute("BEGIN EXCLUSIVE")
        threading.Timer(7.0, holding.close).start()
        waiting()
    assert StudyStore(place.open_storage(), "s").attribute("kept") == 1


Stores = tuple[StudyStore, StudyStore]


def test_a_trial_that_waits_is_claimed_once(stores: Stores) -> None:
    one, other = stores
    one.study().enqueue_trial({"x": 1.0})
    trial = one.claim(0, "a", "run")
    assert trial is not None and trial.number == 0 and trial.suggest_float("x", 0, 2) == 1.0
    assert other.claim(0, "b", "run") is None
    assert other.own_note("a", 0) and not other.own_note("b", 0)
    assert one.tell("a", trial.number, TrialState.COMPLETE, [1.0])
    assert other.claim(0, "b", "run") is None


def test_a_trial_keeps_its_values_and_its_note_when_put_back(stores: Stores) -> None:
    one, other = stores
    trial = one.ask("a", "run")
    trial.suggest_float("x", 0, 1)
    one.update_note(0, started="c", folder="0")
    assert one.put_back("a", 0, retries=1)
    frozen = other.trial(0)
    assert frozen.state is TrialState.WAITING and frozen.params == trial.params
    assert note_of(frozen) == Note(started="c", folder="0", retries=1)
    assert other.claim(0, "b", "run") is not None


def test_what_is_in_other_hands_by_now_is_left_alone(stores: Stores) -> None:
    """A worker was thought dead; its trial was put back and another took it."""
    one, other = stores
    late = one.ask("a", "run")
    assert other.put_back("a", 0)
    again = other.claim(0, "b", "run")
    assert again is not None
    assert not one.put_back("a", 0)
    assert not one.tell("a", late.number, TrialState.COMPLETE, [1.0], seconds=1.0)
    one.fail("a", 0, "too late")
    assert other.trial(0).state is TrialState.RUNNING and note_of(other.trial(0)).worker == "b"
    assert other.tell("b", again.number, TrialState.COMPLETE, [2.0], seconds=2.0)
    assert one.trial(0).values == [2.0] and note_of(one.trial(0)).seconds == 2.0


def test_each_run_has_a_stop_of_its_own_and_the_first_reason_stands(stores: Stores) -> None:
    one, other = stores
    one.stop("first", Stop("timeout", error=False))
    other.stop("second", Stop("too many failures"))
    one.stop("first", Stop("another"))
    assert other.stopped("first") == Stop("timeout", error=False)
    assert one.stopped("second") == Stop("too many failures")
    assert one.stopped("third") is None


def finished(store: StudyStore, value: float, x: float, over: float = -1.0) -> None:
    trial = store.ask("a", "run")
    trial.suggest_float("x", x, x)
    trial.set_constraint("size", over)
    store.tell("a", trial.number, TrialState.COMPLETE, [value])


@pytest.mark.parametrize(("direction", "number"), [("minimize", 2), ("maximize", 0)])
def test_the_best_is_the_first_of_the_best_within_the_limits(direction: str, number: int) -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage, direction=direction)
    store = StudyStore(storage, "s")
    tally = Tally(store.study())
    tally.refresh()
    assert tally.best() is None
    for value, over in ((5.0, -1.0), (0.0, 0.5), (1.0, -1.0), (1.0, -1.0), (5.0, -1.0), (9.0, 1.0)):
        finished(store, value, 0.5, over)
        tally.refresh()
    best = tally.best()
    assert best is not None and best.number == number == store.study().best_trial.number


class GrowingStudy:
    """Stands for a study to which trials are added one by one."""

    def __init__(self) -> None:
        self.directions = [optuna.study.StudyDirection.MINIMIZE]
        self.trials: list[FrozenTrial] = []

    def get_trials(self, deepcopy: bool = True) -> list[FrozenTrial]:
        assert not deepcopy
        return list(self.trials)


def test_a_success_between_two_failures_counts_by_when_it_ended() -> None:
    """Trial 0 took long: by number it comes before all failures, by time between them."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage)
    store = StudyStore(storage, "s")
    long, first, second = (store.ask("a", "run") for _ in range(3))
    store.fail("a", first.number, "bang")
    store.tell("a", long.number, TrialState.COMPLETE, [1.0])
    store.fail("a", second.number, "bang")
    tally = Tally(store.study())
    tally.refresh()
    assert [failure.error for failure in tally.failures_in_a_row] == ["bang"]


def test_each_finished_trial_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra_budget_sweeper.study import tally as module

    looked_at = 0

    def count(trial: FrozenTrial) -> str:
        nonlocal looked_at
        looked_at += 1
        return kind_of(trial)

    kind_of = module.kind_of
    monkeypatch.setattr(module, "kind_of", count)
    study = GrowingStudy()
    tally = Tally(study)  # type: ignore[arg-type]
    for n in range(1000):
        made = optuna.trial.create_trial(value=float(n), system_attrs={"constraints": [n % 3 - 1]})
        made.number = n
        study.trials.append(made)
        tally.refresh()
        assert tally.best() is study.trials[0]
    assert looked_at == 1000
