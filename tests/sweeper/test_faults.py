"""What a user's function does, or a disk, costs one trial at most."""

import json
from pathlib import Path

import pytest
from applications import Application, application

APP = """
import math
import hydra

class Odd:
    def __float__(self):
        raise RuntimeError("a fault that shows late")
    def __repr__(self):
        raise RuntimeError("not even shown")

RETURNS = {
    "none": lambda x: None, "text": lambda x: "good", "huge": lambda x: 10**400, "odd": lambda x: Odd(),
    "not_a_number": lambda x: math.nan, "list": lambda x: [x, x], "complex": lambda x: 1j, "dict": lambda x: {},
}

def raises(cfg):
    if cfg.x < 2:
        raise KeyError("no such layer")
    return {"x": -1.0}

def says(cfg):
    return {"text": "much", "not_a_number": {"x": math.nan}, "list": [1.0], "none": None,
            "late": {"x": Odd()}}[cfg.what] if cfg.x < 2 else {"x": -1}

def suggests(cfg, trial):
    if trial.params["x"] < 2:
        raise LookupError("no more")

def breaks(folder):
    raise SystemExit("I take the sweep with me")

@hydra.main(config_path="conf", config_name="config")
def main(cfg):
    if cfg.x < 2 and cfg.what in RETURNS and cfg.returns:
        return RETURNS[cfg.what](cfg.x)
    return cfg.x

if __name__ == "__main__":
    main()
"""
FILES = {
    "app.py": APP,
    "conf/config.yaml": "defaults:\n  - _self_\n  - override hydra/sweeper: budget\nx: 0\nwhat: null\n"
    "returns: false\nhydra:\n  sweeper: {n_trials: 3, max_failure_rate: 1, sampler: {seed: 1}}\n",
}
SWEEP = ["-m", "x=1,2,3,4", "hydra.sweep.dir=out"]


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return application(tmp_path, FILES)


def rows(app: Application) -> list[dict]:
    return json.loads((app.folder / "out" / "leaderboard.json").read_text())


def check_that_the_others_were_trained(app: Application, told: str) -> list[str]:
    assert "3/3 trained" in told
    assert "Traceback" not in told
    done = [row["params"]["x"] for row in rows(app) if row["state"] == "COMPLETE"]
    assert sorted(done) == [2, 3, 4]
    return [row["error"] for row in rows(app) if row["state"] == "FAIL"]


@pytest.mark.parametrize(
    "what", ["none", "text", "huge", "odd", "not_a_number", "list", "complex", "dict"]
)
@pytest.mark.by_default("dict")
def test_a_strange_return_fails_its_trial(app: Application, what: str) -> None:
    told = app.run(*SWEEP, f"what={what}", "returns=true", "hydra.sweeper.enqueue=['x=1']")
    errors = check_that_the_others_were_trained(app, told)
    assert errors
    assert all(error.startswith("the task ") for error in errors)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("constraints=app.raises", "KeyError: 'no such layer'"),
        (
            "custom_search_space=app.suggests",
            "hydra.sweeper.custom_search_space=app.suggests: LookupError: no more",
        ),
    ],
)
@pytest.mark.parametrize("looks", [0, 50])
def test_a_function_that_raises_fails_its_trial(
    app: Application, setting: str, words: str, looks: int
) -> None:
    told = app.run(*SWEEP, f"hydra.sweeper.{setting}", "hydra.sweeper.enqueue=['x=1']",
                   f"hydra.sweeper.feasibility_samples={looks}")  # fmt: skip
    errors = check_that_the_others_were_trained(app, told)
    assert any(words in error for error in errors)


@pytest.mark.parametrize("what", ["text", "not_a_number", "list", "none", "late"])
def test_a_limit_that_says_nonsense_fails_its_trial(app: Application, what: str) -> None:
    told = app.run(*SWEEP, "hydra.sweeper.constraints=app.says", f"what={what}",
                   "hydra.sweeper.enqueue=['x=1']")  # fmt: skip
    errors = check_that_the_others_were_trained(app, told)
    assert all("hydra.sweeper.constraints=app.says" in error for error in errors)


def test_a_hook_cannot_take_the_results(app: Application) -> None:
    told = app.run(*SWEEP, "hydra.sweeper.on_end=[app.breaks]")
    assert "app.breaks" in told
    assert "3/3 trained" in told
    assert "Best value" in told


@pytest.mark.parametrize("name", ["leaderboard.json", "best.yaml", "experiment"])
@pytest.mark.by_default("leaderboard.json")
def test_a_file_that_cannot_be_written_stops_nothing(app: Application, name: str) -> None:
    """A folder stands where the file belongs."""
    app.run(*SWEEP, "hydra.sweeper.n_trials=1")
    place = app.folder / "out" / name
    if name == "experiment":
        (place / "best.yaml").unlink()
        (place / "best.yaml").mkdir()
    else:
        place.unlink()
        place.mkdir()
    told = app.run(*SWEEP, "hydra.sweeper.n_trials=3")
    assert "3/3 trained" in told
    assert "Best value" in told
    assert "Traceback" not in told
    assert name in told
