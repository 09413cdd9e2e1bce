"""Search spaces from the command line to what the tasks got."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from sweeping import leaderboard, study, summary, sweep, trial_folders


def got(folder: Path, *keys: str) -> list[Any]:
    """What the tasks were given, in the order of the trials."""
    names = sorted((f for f in trial_folders(folder)), key=int)
    configs = [OmegaConf.load(folder / name / ".hydra" / "config.yaml") for name in names]
    return [tuple(OmegaConf.to_object(c)[k] for k in keys) for c in configs]  # type: ignore[call-overload,index]


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
@pytest.mark.by_default("random")
def test_choices_that_python_calls_equal_are_all_tried_once(tmp_path: Path, sampler: str) -> None:
    sweep(
        tmp_path,
        "+v=choice(false,0,0.0,0.1,[0],[false])",
        "hydra.sweeper.n_trials=9",
        f"hydra/sweeper/sampler={sampler}",
    )
    wanted = [False, 0, 0.0, 0.1, [0], [False]]
    assert sorted(repr(v) for (v,) in got(tmp_path, "v")) == sorted(map(repr, wanted))
    told = [row["params"]["+v"] for row in leaderboard(tmp_path) if row["state"] == "COMPLETE"]
    assert sorted(map(repr, told)) == sorted(map(repr, wanted))


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
@pytest.mark.by_default("tpe")
def test_a_stepped_range_ends_with_hydras_own_values(tmp_path: Path, sampler: str) -> None:
    sweep(
        tmp_path,
        "x=range(0.0,0.8,0.1)",
        "hydra.sweeper.n_trials=20",
        "hydra.sweeper.enqueue=['x=0.3']",
        f"hydra/sweeper/sampler={sampler}",
    )
    tried = [x for (x,) in got(tmp_path, "x")]
    assert tried[0] == 0.3
    assert sorted(tried) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_overrides_stand_as_they_were_written(tmp_path: Path) -> None:
    sweep(tmp_path, "+m={a: 1, b: 2}", "m.a=5,6", "x=9", "x=1,2", "y=1,2", "y=3")
    told = sorted((m["a"], m["b"], x, y) for m, x, y in got(tmp_path, "m", "x", "y"))
    assert told == [(5, 2, 1, 3), (5, 2, 2, 3), (6, 2, 1, 3), (6, 2, 2, 3)]


def test_a_glob_searches_the_options_of_a_group(tmp_path: Path) -> None:
    sweep(tmp_path, "shape=glob(*)")
    scales = sorted(shape["scale"] for (shape,) in got(tmp_path, "shape"))
    assert len(scales) == 2
    assert scales[0] < scales[1]


def test_one_key_is_searched_over_other_values_under_another_choice(tmp_path: Path) -> None:
    conf = tmp_path / "conf" / "known"
    conf.mkdir(parents=True)
    (conf / "two.yaml").write_text(
        "# @package hydra.sweeper\nparams:\n  shape: choice(small,big)\n"
        "  shape=small: {x: 'choice(1,2)'}\n  shape=big: {x: 'choice(3,4)'}\n"
        "enqueue: [shape=big x=4]\n"
    )
    folder = tmp_path / "s"
    sweep(folder, "--config-dir", str(tmp_path / "conf"), "+known=two", "hydra.sweeper.n_trials=9")
    rows = [row["params"] for row in leaderboard(folder) if row["state"] == "COMPLETE"]
    assert got(folder, "x")[0] == (4,)
    told = sorted((row["shape"], row["x"]) for row in rows)
    assert told == [("big", 3), ("big", 4), ("small", 1), ("small", 2)]


def test_a_quoted_point_is_tried_first(tmp_path: Path) -> None:
    sweep(
        tmp_path,
        "+name=choice('hello world',x)",
        "layers=choice([8],[1, 2])",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.enqueue=[\"name='hello world' layers=[1, 2]\"]",
    )
    assert got(tmp_path, "name", "layers")[0] == ("hello world", [1, 2])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("widht=3", "sets widht, which is not searched. Did you mean width?"),
        ("width=3", "sets width=3, which is outside range(2,9,2)"),
    ],
)
def test_a_wrong_point_is_told_in_a_sentence(tmp_path: Path, entry: str, words: str) -> None:
    refused = sweep(tmp_path, "width=range(2,9,2)", f"hydra.sweeper.enqueue=['{entry}']", expect=1)
    assert words in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr


def test_limits_that_raise_cost_their_candidates_alone(tmp_path: Path) -> None:
    ended = sweep(
        tmp_path,
        "width=choice(1,2,3,4,6,8)",
        "hydra/sweeper/sampler=grid",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.constraints=bowl.fragile",
        "hydra.sweeper.max_failure_rate=1",
    )
    assert "cannot be judged: hydra.sweeper.constraints=bowl.fragile" in ended.stdout
    assert sorted(got(tmp_path, "width")) == [(2,), (4,), (6,), (8,)]
    assert summary(tmp_path)["trained"] == 4
    failed = [t for t in study(tmp_path).trials if t.state.name == "FAIL"]
    errors = [row["error"] for row in leaderboard(tmp_path) if row["state"] == "FAIL"]
    assert len(failed) == len(errors)
    assert all("feature map vanishes" in error for error in errors)


def test_limits_that_always_raise_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    refused = sweep(tmp_path, "width=range(1,9)", "hydra.sweeper.constraints=bowl.broken", expect=1)
    assert "hydra.sweeper.constraints=bowl.broken: ConfigAttributeError" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert trial_folders(tmp_path) == set()


@pytest.mark.parametrize("entry", ["width=15", "width=11"])
def test_a_space_that_nothing_fits_is_refused_whatever_is_enqueued(
    tmp_path: Path, entry: str
) -> None:
    refused = sweep(
        tmp_path,
        "width=range(11,20)",
        "hydra.sweeper.constraints=bowl.limits",
        f"hydra.sweeper.enqueue=['{entry}']",
        expect=1,
    )
    assert "(width=11) is still over width by 10.0%" in " ".join(refused.stderr.split())
    assert trial_folders(tmp_path) == set()


def test_an_enqueued_point_that_fits_is_enough(tmp_path: Path) -> None:
    # One width in ten thousand fits, and no walk downhill leads there.
    sweep(
        tmp_path,
        "width=range(1,100001)",
        "x=1,2",
        "hydra.sweeper.n_trials=1",
        "hydra.sweeper.constraints=bowl.needle",
        "hydra.sweeper.enqueue=['width=777']",
    )
    assert got(tmp_path, "width") == [(777,)]
