"""Samplers: the same draws whatever happened in between, under limits, and refused before training."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sweeping import (
    FORKSERVER,
    SEEDED,
    environment,
    leaderboard,
    results,
    states,
    study,
    summary,
    sweep,
    trial_folders,
)

from hydra_budget_sweeper.space.parse import parse_space
from hydra_budget_sweeper.study.over_budget import told_over_budget
from hydra_budget_sweeper.study.sampler import Recipe, SeededSampler
from hydra_budget_sweeper.study.store import StudyStore
from hydra_budget_sweeper.study.tally import Tally

X, Y, WIDTH = "x=interval(-5,5)", "y=interval(0,1)", "width=range(1,20)"
LIMITS = "hydra.sweeper.constraints=bowl.limits"
EARLY = {
    "tpe": ["hydra.sweeper.sampler.n_startup_trials=3"],
    "random": [],
    "qmc": [],
    "grid": [],
    "gp": ["hydra.sweeper.sampler.n_startup_trials=3"],
    "cmaes": [],
    "nsgaii": ["hydra.sweeper.sampler.population_size=3"],
    "nsgaiii": ["hydra.sweeper.sampler.population_size=3"],
}


def n_trials(n: int) -> str:
    return f"hydra.sweeper.n_trials={n}"


def needs(sampler: str) -> None:
    for package in {"cmaes": ["cmaes"], "gp": ["torch", "scipy"]}.get(sampler, []):
        pytest.importorskip(package)


@pytest.mark.parametrize("sampler", EARLY)
@pytest.mark.slow
def test_one_worker_draws_the_same_to_the_bit_whether_resumed_or_not(
    tmp_path: Path, sampler: str
) -> None:
    needs(sampler)
    space = ["x=choice(0,1,2)", "width=choice(3,7,11,15)"] if sampler == "grid" else [X, Y, WIDTH]
    command = [*space, LIMITS, f"hydra/sweeper/sampler={sampler}", SEEDED, *EARLY[sampler]]
    sweep(tmp_path / "whole", *command, n_trials(6))
    sweep(tmp_path / "resumed", *command, n_trials(3))
    sweep(tmp_path / "resumed", *command, n_trials(6), "hydra.sweeper.trust_study=true")

    def told(folder: str) -> list[Any]:
        return [(t.params, t.state, t.values) for t in study(tmp_path / folder).trials]

    assert told("whole") == told("resumed")
    assert summary(tmp_path / "whole")["trained"] == 6


SPACE = parse_space({"a": "interval(0,1)", "b": "range(1,1001)"}, [], {})


def in_memory(sampler: type[BaseSampler], **arguments: Any) -> StudyStore:
    storage = InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s")
    return worker_on(storage, sampler, **arguments)


def worker_on(storage: InMemoryStorage, sampler: type[BaseSampler], **arguments: Any) -> StudyStore:
    seeded = SeededSampler(Recipe(sampler, arguments, {}), 5, SPACE)
    return StudyStore(storage, "s", seeded, optuna.pruners.NopPruner())


def draw(store: StudyStore, number: int) -> tuple[float, int]:
    trial = store.ask("me", "run")
    a, b = trial.suggest_float("a", 0, 1), trial.suggest_int("b", 1, 1000)
    store.tell("me", trial.number, TrialState.COMPLETE, [a + b])
    assert trial.number == number
    return a, b


@pytest.mark.parametrize(
    ("sampler", "arguments"),
    [
        (RandomSampler, {}),
        (TPESampler, {"n_startup_trials": 2, "multivariate": False}),
        (TPESampler, {"n_startup_trials": 2, "multivariate": True}),
        (NSGAIISampler, {"population_size": 2}),
    ],
)
def test_a_proposal_that_was_cut_off_half_way_is_drawn_the_same_by_who_takes_it_up(
    sampler: type[BaseSampler], arguments: dict[str, Any]
) -> None:
    whole, cut = in_memory(sampler, **arguments), in_memory(sampler, **arguments)
    for number in range(5):
        assert draw(whole, number) == draw(cut, number)
    expected = draw(whole, 5)
    killed = cut.ask("dead", "run")
    a = killed.suggest_float("a", 0, 1)
    cut.put_back("dead", 5)
    again = cut.claim(5, "me", "run")
    assert again is not None
    assert (a, again.suggest_int("b", 1, 1000)) == expected


@pytest.mark.parametrize("sampler", [RandomSampler, TPESampler, QMCSampler])
def test_workers_never_repeat_each_other(sampler: type[BaseSampler]) -> None:
    storage = InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s")
    stores = [worker_on(storage, sampler), worker_on(storage, sampler)]
    drawn = [draw(stores[number % 2], number) for number in range(12)]
    assert len(set(drawn)) == 12


def test_two_processes_that_draw_at_once_draw_different_candidates(tmp_path: Path) -> None:
    sweep(tmp_path / "s", X, "hydra/sweeper/sampler=random", SEEDED, n_trials(8), FORKSERVER)
    trials = study(tmp_path / "s").trials
    assert sum(trial.state.name == "COMPLETE" for trial in trials) == 8
    # One that a worker drew while the other trained the last of them waits for a next start.
    drawn = [trial.params["x"] for trial in trials]
    assert len(drawn) == len(set(drawn))


@pytest.mark.parametrize(
    ("sampler", "package", "install"),
    [
        ("cmaes", "cmaes", "pip install 'hydra-budget-sweeper[cmaes]'"),
        ("gp", "torch", "pip install torch"),
    ],
)
def test_a_missing_package_is_named_before_anything_is_trained(
    tmp_path: Path, sampler: str, package: str, install: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules['{package}'] = None\n")
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    app = Path(__file__).parent / "apps" / "bowl.py"
    ended = subprocess.run(
        [sys.executable, str(app), "-m", "hydra/sweeper=budget", f"hydra.sweep.dir={tmp_path / 's'}",
         X, Y, f"hydra/sweeper/sampler={sampler}"],
        env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 1
    assert f"hydra/sweeper/sampler={sampler} needs the package {package}" in ended.stderr
    assert install in ended.stderr and "Traceback" not in ended.stderr
    assert trial_folders(tmp_path / "s") == set()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["hydra/sweeper/sampler=nsgaii", "hydra.sweeper.sampler.population_size=1"],
         "hydra/sweeper/sampler=nsgaii cannot be used here: `population_size` must be"),
        (["hydra/sweeper/sampler=motpe"], "Use 'hydra/sweeper/sampler=tpe'"),
        (["hydra/sweeper/sampler=qmc", "hydra.sweeper.sampler.qmc_type=dice"], "qmc_type='dice'"),
        (["hydra/sweeper/pruner=hyperband", "hydra.sweeper.pruner.min_resource=0"],
         "hydra.sweeper.pruner (min_resource=0, "),
        (["hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=-1"],
         "hydra.sweeper.pruner (n_startup_trials=-1, "),
        (["hydra.sweeper.sampler._target_=os.system"], "hydra.sweeper.sampler=os.system"),
        (["hydra.sweeper.sampler._target_=bowl.limits"], "hydra/sweeper/sampler=tpe cannot be used"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_in_a_sentence(
    tmp_path: Path, overrides: list[str], told: str
) -> None:
    ended = sweep(tmp_path / "s", X, *overrides, expect=1)
    assert told in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "s" / "study.journal").exists()


@pytest.mark.slow
def test_the_application_brings_a_sampler_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        textwrap.dedent("""
        import hydra
        from optuna.samplers import RandomSampler

        class Low(RandomSampler):
            def __init__(self, seed=None, share=1.0):
                super().__init__(seed)
                self.share = share

            def sample_independent(self, study, trial, name, distribution):
                return self.share * super().sample_independent(study, trial, name, distribution)

        @hydra.main(config_path="conf", config_name="config")
        def main(cfg):
            return cfg.x

        if __name__ == "__main__":
            main()
        """)
    )
    groups = tmp_path / "conf" / "hydra" / "sweeper" / "sampler"
    groups.mkdir(parents=True)
    (tmp_path / "conf" / "config.yaml").write_text("x: 0\n")
    (groups / "low.yaml").write_text("_target_: app.Low\nshare: 0.01\n")
    for number, option in enumerate(
        ["hydra/sweeper/sampler=low", "hydra.sweeper.sampler._target_=app.Low"]
    ):
        folder = tmp_path / str(number)
        ended = subprocess.run(
            [sys.executable, "app.py", "-m", "hydra/sweeper=budget", f"hydra.sweep.dir={folder}",
             "x=interval(0,100)", option, n_trials(4), "hydra/launcher=forkserver"],
            env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        drawn = [row["params"]["x"] for row in leaderboard(folder)]
        assert len(set(drawn)) == 4 and (max(drawn) <= 1) == (number == 0)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii", "nsgaiii"])
@pytest.mark.by_default("tpe")
def test_every_sampler_learns_where_the_limits_are(tmp_path: Path, sampler: str) -> None:
    needs(sampler)
    sweep(tmp_path / "s", X, Y, "width=range(1,101)", LIMITS, f"hydra/sweeper/sampler={sampler}",
          SEEDED, *EARLY[sampler], n_trials(15))  # fmt: skip
    told = summary(tmp_path / "s")
    assert told["trained"] == 15
    # By chance, nine of ten are over.
    assert told["over_budget"] < 100
    assert {row["state"] for row in leaderboard(tmp_path / "s")} <= {"COMPLETE", "DUPLICATE"}
    assert results(tmp_path / "s")["best_params"]["width"] <= 10


@pytest.mark.parametrize(
    ("rate", "width", "kind", "expected"),
    [(3e-3, 4, "a", 1.0), (3e-2, 15, "a", 2.0), (3e-3, 19, "b", 2.0), (3e-3, 4, "b", 2.0)],
)
def test_gp_is_told_the_value_of_the_nearest_candidate(
    rate: float, width: int, kind: str, expected: float
) -> None:
    space: dict[str, BaseDistribution] = {
        "rate": FloatDistribution(1e-3, 1e-1, log=True),
        "width": IntDistribution(1, 19),
        "kind": CategoricalDistribution(["a", "b"]),
    }

    def trial(rate: float, width: int, kind: str, **ended: Any) -> FrozenTrial:
        params = {"rate": rate, "width": width, "kind": kind}
        return create_trial(params=params, distributions=space, **ended)

    candidate = trial(rate, width, kind, state=TrialState.RUNNING)
    trained = [
        trial(1e-3, 1, "a", value=1.0),
        trial(1e-1, 15, "b", value=2.0),
        trial(rate, width, kind, state=TrialState.PRUNED),
    ]
    gp, minimize = Recipe(GPSampler, {}, {}), [StudyDirection.MINIMIZE]
    told = told_over_budget(gp, minimize, candidate, 0.5, trained)
    assert told == (TrialState.COMPLETE, [expected])
    assert told_over_budget(gp, minimize, candidate, 0.5, trained[2:])[0] is TrialState.PRUNED


def test_over_the_limits_is_neither_trained_nor_best_for_us_and_for_optuna(tmp_path: Path) -> None:
    sweep(tmp_path / "s", X, WIDTH, LIMITS, SEEDED, n_trials(6), "hydra.sweeper.direction=maximize",
          "hydra/sweeper/pruner=median", "steps=2")  # fmt: skip
    ended = study(tmp_path / "s")
    over = {t.number for t in ended.trials if t.params["width"] > 10}
    assert over and states(tmp_path / "s")["FAIL"] == 0
    tally = Tally(ended)
    tally.refresh()
    assert tally.counts["over_budget"] == len(over) and tally.trained == 6
    assert over.isdisjoint({row["trial"] for row in leaderboard(tmp_path / "s")})
    best = tally.best()
    assert best is not None and best.number == ended.best_trial.number and best.number not in over
    assert trial_folders(tmp_path / "s").isdisjoint(map(str, over))


def test_over_the_limits_does_not_count_as_a_start_of_the_median_pruner(tmp_path: Path) -> None:
    """Ten are to finish before the first is pruned; of five that train none may be."""
    sweep(tmp_path / "s", X, "width=range(1,101)", LIMITS, SEEDED, n_trials(5), "steps=3",
          "hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=10",
          "hydra/sweeper/sampler=random")  # fmt: skip
    assert summary(tmp_path / "s")["over_budget"] > 10
    assert summary(tmp_path / "s")["pruned"] == 0


@pytest.mark.slow
def test_a_study_with_pickles_is_not_resumed_unless_it_is_said_to_be_ones_own(
    tmp_path: Path,
) -> None:
    pytest.importorskip("cmaes")
    cmaes = [X, Y, "hydra/sweeper/sampler=cmaes", "hydra.sweeper.sampler.popsize=3", SEEDED]
    sweep(tmp_path / "s", *cmaes, n_trials(8))
    written = [t.system_attrs for t in study(tmp_path / "s").trials]
    assert any(key.startswith("cma:optimizer") for attrs in written for key in attrs)
    poison(tmp_path / "s" / "study.journal", tmp_path / "pwned")
    ended = sweep(tmp_path / "s", *cmaes, n_trials(10), expect=1)
    assert "hydra.sweeper.trust_study=true" in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "pwned").exists()
    # Another sampler reads none of it.
    sweep(tmp_path / "s", X, Y, "hydra/sweeper/sampler=tpe", n_trials(9))
    assert not (tmp_path / "pwned").exists()


class Command:
    """What a stranger would put there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str, str], Any], tuple[str, str]]:
        return open, (str(self.path), "w")


def poison(journal: Path, touched: Path) -> None:
    import pickle

    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        for key in line.get("system_attr", {}):
            if key.startswith("cma:optimizer"):
                line["system_attr"][key] = pickle.dumps(Command(touched)).hex()
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_grid_is_drawn_whole_and_once(tmp_path: Path) -> None:
    sweep(tmp_path / "s", "x=choice(0,1,2)", "width=choice(3,7,11)", LIMITS, SEEDED, n_trials(100),
          "hydra/sweeper/sampler=grid")  # fmt: skip
    drawn = [(t.params["x"], t.params["width"]) for t in study(tmp_path / "s").trials]
    assert sorted(drawn) == sorted(product([0, 1, 2], [3, 7, 11]))
