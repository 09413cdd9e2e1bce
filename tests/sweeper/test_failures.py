"""What failures and fruitless proposals do to the sweep: who decides is a setting."""

from pathlib import Path

import optuna
import pytest
from sweeping import SEEDED, states, summary, sweep

from hydra_budget_sweeper.study.stopping import reason_to_stop
from hydra_budget_sweeper.study.tally import Tally
from hydra_budget_sweeper.study.trials import NOTE

X = "x=interval(-5,5)"
TOLERANT = "hydra.sweeper.max_failure_rate=1"


def test_a_rate_of_one_tolerates_every_failure(tmp_path: Path) -> None:
    """Seven in ten fail, all with one error, in rows longer than `max_repeated_errors`."""
    sweep(tmp_path, X, SEEDED, "trouble=raise_if_high", "hydra.sweeper.n_trials=8", TOLERANT,
          "hydra.sweeper.sampler.n_startup_trials=100", "hydra.sweeper.max_repeated_errors=2")  # fmt: skip
    assert summary(tmp_path)["trained"] == 8
    assert summary(tmp_path)["failed"] >= 4


@pytest.mark.parametrize("launcher", ["basic", "forkserver"])
@pytest.mark.by_default("forkserver")
def test_an_exception_that_is_no_exception_ends_its_trial_alone(
    tmp_path: Path, launcher: str
) -> None:
    """Such as asyncio's, which whoever catches `Exception` lets pass."""
    sweep(tmp_path, "x=range(-1,2)", "trouble=cancel", "hydra.sweeper.n_trials=null", TOLERANT,
          f"hydra/launcher={launcher}")  # fmt: skip
    assert summary(tmp_path)["trained"] == 2 and summary(tmp_path)["failed"] == 1
    assert "CancelledError: no time" in (tmp_path / "leaderboard.json").read_text()


def test_a_message_is_told_in_a_line_that_a_terminal_can_take(tmp_path: Path) -> None:
    ended = sweep(tmp_path, X, "trouble=shout", "hydra.sweeper.n_trials=1", expect=1)
    assert "ValueError: \\x1b[31mno\\x00 \\x1b[31mno" in ended.stderr
    assert "\x1b[31m" not in ended.stderr and "\0" not in ended.stderr
    assert (tmp_path / "leaderboard.json").stat().st_size < 50_000


def test_steps_are_whole_numbers(tmp_path: Path) -> None:
    ended = sweep(tmp_path, X, "trouble=half_step", "hydra.sweeper.n_trials=1", expect=1)
    assert "step must be a whole number, but got 0.5" in ended.stderr


def test_a_mapping_with_what_the_setting_lacks_is_told_before_the_first_trial(
    tmp_path: Path,
) -> None:
    listed = "shape=choice({scale:1},{scael:2})"
    ended = sweep(tmp_path / "s", listed, "hydra.sweeper.n_trials=4", expect=1)
    assert "shape has no scael" in ended.stderr and "Trial 0" not in ended.stdout


def test_digits_in_a_text_are_no_two_values(tmp_path: Path) -> None:
    ended = sweep(tmp_path, X, "trouble=digits", "hydra.sweeper.n_trials=1", TOLERANT,
                  "hydra.sweeper.direction=[minimize,minimize]", expect=1)  # fmt: skip
    assert "must return 2 numbers, but returned '12'" in ended.stdout + ended.stderr


def test_what_failed_is_not_tried_again_before_the_rest(tmp_path: Path) -> None:
    """Under this seed the sampler proposes x=1, which fails, twice before x=0."""
    ended = sweep(tmp_path, "x=range(0,2)", "trouble=raise_if_high", "hydra.sweeper.n_trials=2",
                  "hydra.sweeper.sampler.seed=1", TOLERANT)  # fmt: skip
    assert summary(tmp_path)["trained"] == summary(tmp_path)["failed"] == 1
    assert "All 2 candidates of the space have been tried" in ended.stdout
    again = sweep(tmp_path, "x=range(0,2)", "trouble=raise_if_high", "hydra.sweeper.n_trials=2",
                  "hydra.sweeper.sampler.seed=1", TOLERANT)  # fmt: skip
    assert "Going on" in again.stdout and summary(tmp_path)["trained"] == 1


def test_where_nothing_ever_succeeds_the_sweep_ends_after_n_trials(tmp_path: Path) -> None:
    ended = sweep(tmp_path, X, "trouble=raise", "hydra.sweeper.n_trials=4", TOLERANT, expect=1)
    assert "4 trials in a row failed, as many as hydra.sweeper.n_trials=4" in ended.stderr
    assert states(tmp_path) == {"FAIL": 4}


def test_what_was_trained_before_a_row_of_failures_is_a_result(tmp_path: Path) -> None:
    sweep(tmp_path, X, "hydra.sweeper.n_trials=1")
    out = sweep(
        tmp_path, X, "trouble=raise", "hydra.sweeper.n_trials=3", TOLERANT,
        "hydra.sweeper.free_settings=[trouble]",
    )  # fmt: skip
    assert "3 trials in a row failed" in out.stdout
    assert summary(tmp_path)["trained"] == 1 and summary(tmp_path)["state"] == "finished"


def told(study: optuna.Study, state: optuna.trial.TrialState, over: float, **note: object) -> None:
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    trial.set_constraint("size", over)
    trial.storage.set_trial_system_attr(trial._trial_id, NOTE, {"run": "now", **note})
    study.tell(trial, 1.0 if state.name == "COMPLETE" else None, state)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("ooooo", "5 proposals in a row were over the limits"),
        ("ddddd", "5 proposals in a row repeated what had been tried"),
        ("odood", "brought nothing to train: 3 were over the limits, 2 repeated"),
        ("ooooc", None),
        ("ooocoo", None),
        ("coofoo", None),
    ],
)
def test_proposals_that_bring_nothing_to_train_end_it_whatever_the_mix(
    pattern: str, words: str | None, settings: object
) -> None:
    study = optuna.create_study()
    for kind in pattern:
        if kind == "o":
            told(study, optuna.trial.TrialState.PRUNED, 0.5)
        elif kind == "d":
            told(study, optuna.trial.TrialState.COMPLETE, -0.5, duplicate_of=0)
        elif kind == "c":
            told(study, optuna.trial.TrialState.COMPLETE, -0.5, started="config")
        else:
            told(study, optuna.trial.TrialState.FAIL, -0.5, started="other", error="bang")
    tally = Tally(study)
    tally.refresh()
    stop = reason_to_stop(settings, tally, "another")  # type: ignore[arg-type]
    assert (stop is None) if words is None else (stop is not None and words in stop.reason)
    if stop is not None:
        assert stop.error == ("over the limits" in stop.reason)


@pytest.fixture
def settings() -> object:
    from types import SimpleNamespace

    return SimpleNamespace(
        max_failure_rate=0.5, n_trials=10, max_repeated_errors=3, max_infeasible=5
    )
