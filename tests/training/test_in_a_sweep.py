"""Runs as the trials of a real sweep, its space on the command line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import optuna
import pytest
import torch
from composing import compose_raw
from omegaconf import OmegaConf

from budgetsweep.config import CONF_DIR
from hydra_budget_sweeper import open_sweep

TRAIN = [
    sys.executable, "-m", "budgetsweep", "train", "data=digits", "model=tiny", "data.limit=96",
    "data.validation=40", "trainer.epochs=2", "trainer.batch_size=32", "trainer.threads=1",
    "trainer.device=cpu",
]  # fmt: skip
SWEEP = ["--multirun", "hydra/launcher=basic", "hydra.sweeper.n_jobs=1", "hydra.sweeper.on_end=[]"]


def train(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRAIN, *overrides], cwd=folder, capture_output=True, text=True, timeout=240,
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
    )  # fmt: skip


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    return train(folder, *SWEEP, f"hydra.sweep.dir={folder}", *overrides)


def summaries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    done = sweep(folder, "model.layers.conv1.width=choice(6,9,12)", "hydra.sweeper.n_trials=3",
                 "hydra/sweeper/pruner=median", "trainer.first_look=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_the_study_knows_what_a_trial_has_shown(swept: Path) -> None:
    trials = optuna.load_study(study_name=None, storage=open_sweep(swept)).trials
    for path in swept.glob("*/summary.json"):
        summary, shown = json.loads(path.read_text()), trials[int(path.parent.name)].user_attrs
        names = "parameters", "macs", "epochs", "val_loss", "val_accuracy"
        assert {n: shown[n] for n in names} == {n: summary[n] for n in names}
        assert shown["epoch"] == summary["epochs"]


def test_no_trial_reads_the_test_set(swept: Path) -> None:
    assert len(summaries(swept)) == 3
    assert {s["test_accuracy"] for s in summaries(swept)} == {None}


@pytest.mark.slow
def test_a_multirun_reads_the_test_set_where_it_is_told_to(tmp_path: Path) -> None:
    done = train(tmp_path, "--multirun", "hydra/sweeper=basic", f"hydra.sweep.dir={tmp_path}",
                 "seed=0", "trainer.epochs=1", "trainer.test=true")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [s["test_accuracy"] is not None for s in summaries(tmp_path)] == [True]


def columns(folder: Path, *names: str) -> list[list[str]]:
    with (folder / "metrics.csv").open() as file:
        return [[row[name] for name in names] for row in csv.DictReader(file)]


def test_looks_have_columns_of_their_own(swept: Path) -> None:
    """96 images in batches of 32 are 3 steps an epoch; the last one's end needs no look."""
    rows = columns(swept / "0", "epoch", "val_loss", "look_loss")
    assert [row[0] for row in rows] == ["0.667", "1", "2"]
    assert [[bool(figure) for figure in row[1:]] for row in rows] == [
        [False, True], [True, True], [True, False],
    ]  # fmt: skip


@pytest.mark.slow
def test_nobody_looks_where_nothing_compares(tmp_path: Path) -> None:
    done = sweep(tmp_path, "seed=1,2", "hydra/sweeper/pruner=none", "hydra.sweeper.n_trials=1",
                 "trainer.first_look=1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert columns(tmp_path / "0", "epoch", "look_loss") == [["1", ""], ["2", ""]]


def test_all_trials_compute_alike_and_one_of_them_measured(swept: Path) -> None:
    (chosen,) = json.loads((swept / "number_format.json").read_text()).values()
    assert all(s.items() >= chosen.items() for s in summaries(swept))
    assert len({s["parameters"] for s in summaries(swept)}) == 3
    assert len(json.loads((swept / "cache/budgetsweep/formats.json").read_text())) == 1


@pytest.mark.slow
def test_a_rate_at_which_training_diverges_is_a_bad_value(tmp_path: Path) -> None:
    done = sweep(
        tmp_path, "optimizer.lr=choice(0.05,90,95,100)", "hydra.sweeper.n_trials=4",
        "scheduler=constant", "model.defaults.norm=none", "optimizer.momentum=0.99",
        "optimizer.weight_decay=10", "trainer.precision=fp32", "trainer.epochs=4",
        "hydra.sweeper.on_end=[budgetsweep.report.write_report]",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4/4 trained, 3 pruned, 0 failed" in done.stdout + done.stderr
    assert (tmp_path / "report.html").exists(), done.stdout + done.stderr
    (best,) = (
        row for row in json.loads((tmp_path / "leaderboard.json").read_text()) if row["rank"]
    )
    assert best["params"] == {"optimizer.lr": 0.05}
    reasons = [path.read_text() for path in tmp_path.glob("*/PRUNED")]
    assert len(reasons) == 3 and all("loss became" in reason for reason in reasons)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (["model.layers.conv1.width=choice(9,90)", "budget.max_parameters=3000"], "over budget: "),
        (["optimizer.lr=choice(0.05,100)", "scheduler=constant", "model.defaults.norm=none",
          "optimizer.momentum=0.99", "optimizer.weight_decay=10"], "the loss became "),
    ],
)  # fmt: skip
def test_what_fails_by_its_values_is_the_worst_to_another_sweeper(
    tmp_path: Path, bad: list[str], words: str
) -> None:
    """It knows neither of budgets nor of pruning; an accuracy of infinity would be the best one."""
    done = train(
        tmp_path, "--multirun", "hydra/sweeper=optuna", f"hydra.sweep.dir={tmp_path}", *bad,
        "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=2", "objectives=[val_accuracy]",
        "hydra.sweeper.direction=maximize", "trainer.epochs=1", "trainer.precision=fp32",
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert done.returncode == 0 and "Traceback" not in told, told
    assert any(line.startswith(words) for line in told.splitlines()), told
    best = OmegaConf.load(tmp_path / "optimization_results.yaml")
    assert best.best_params[bad[0].partition("=")[0]] in (9, 0.05)
    assert 0 <= best.best_value <= 1


def test_an_objective_that_no_run_can_give_ends_a_sweep_before_any_training(tmp_path: Path) -> None:
    done = sweep(tmp_path, "optimizer.lr=interval(0.01,0.1)", "data.validation=0")
    assert done.returncode == 1
    for words in ("objectives=[val_loss]", "data.validation"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("0*")) == []


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = train(tmp_path, "trainer.device=cuda", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 1
    assert "trainer.device=cuda: torch" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("search", sorted(p.stem for p in (CONF_DIR / "search").glob("*.yaml")))
def test_a_search_over_the_rate_decides_after_an_epoch_at_the_earliest(search: str) -> None:
    """Early losses favour high rates. An epoch of MNIST: 55,000 images to train on; or a third of a training."""
    cfg = compose_raw(f"search={search}", return_hydra_config=True)
    sweeper = cfg.hydra.sweeper
    searched = str(OmegaConf.to_container(sweeper.params))
    first = sweeper.pruner.get("min_resource")
    if first == "auto":  # hundredths of a training
        assert sweeper.pruner.reduction_factor**sweeper.pruner.min_early_stopping_rate > 30
    elif first and ("optimizer.lr" in searched or "batch_size" in searched):
        assert first >= 55_000 // cfg.trainer.batch_size


@pytest.mark.parametrize("steps", [300, 3_000], ids=["short", "long"])
@pytest.mark.parametrize("search", ["best", "stacks"])
def test_the_worse_are_given_up_after_a_third_of_a_training_however_long(
    search: str, steps: int
) -> None:
    cfg = compose_raw(f"search={search}", return_hydra_config=True)
    made = hydra.utils.instantiate(
        cfg.hydra.sweeper.pruner, _execution_whitelist_=["optuna.pruners.*"]
    )
    study = optuna.create_study(direction="maximize", pruner=made)

    def trained_until(accuracy: float) -> int:
        trial = study.ask()
        for step in range(steps // 100, steps + 1, steps // 100):
            trial.report(accuracy, step)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return step
        study.tell(trial, accuracy)
        return steps

    assert trained_until(0.8) == steps, "nothing to compare with"
    assert trained_until(0.9) == steps
    assert 0.3 * steps <= trained_until(0.7) <= 0.35 * steps
    assert trained_until(0.95) == steps


@pytest.mark.slow
def test_the_smallest_network_that_holds_the_accuracy_wins_and_a_miss_costs_its_share(
    tmp_path: Path,
) -> None:
    done = sweep(tmp_path, "objectives=[size_at_target]", "target=0.05", "hydra.sweeper.n_trials=2",
                 "hydra/sweeper/pruner=none", "model.layers.conv1.width=choice(6,12)")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = summaries(tmp_path)
    assert all(s["size_at_target"] == s["parameters"] for s in found)
    results = OmegaConf.load(tmp_path / "optimization_results.yaml")
    assert results.best_value == min(s["parameters"] for s in found)

    missed = sweep(tmp_path / "missed", "objectives=[size_at_target]", "target=0.99", "seed=0,1",
                   "hydra.sweeper.n_trials=2", "hydra/sweeper/pruner=none")  # fmt: skip
    assert missed.returncode == 0, missed.stderr
    for summary in summaries(tmp_path / "missed"):
        too_many = (1 - summary["val_accuracy"]) - 0.01  # of the errors that the target allows
        expected = summary["parameters"] * (1 + too_many / 0.001)
        assert summary["size_at_target"] == pytest.approx(expected)


@pytest.mark.slow
def test_a_size_at_a_target_needs_one_before_any_training(tmp_path: Path) -> None:
    done = sweep(tmp_path, "objectives=[size_at_target]", "seed=0,1")
    assert done.returncode and "target=null" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not summaries(tmp_path)
