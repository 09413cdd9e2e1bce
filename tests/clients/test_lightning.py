"""The Lightning callback, in a real training of a line; slow, since Lightning takes long to start."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from sweeping import study

APP = Path(__file__).parent / "lightning_app"


def run(app: Path, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Sweep four learning rates, the best of them first, so that the others are pruned."""
    command = [sys.executable, str(app / "app.py"), "--multirun", f"hydra.sweep.dir={folder}"]
    return subprocess.run(
        [*command, *overrides], env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_what_is_logged_is_reported_and_prunes(package: str, tmp_path: Path) -> None:
    app, folder = shutil.copytree(APP, tmp_path / "app"), tmp_path / "sweep"
    script = app / "app.py"
    script.write_text(script.read_text().replace("lightning.pytorch as", f"{package} as"))
    done = run(app, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    trials = study(folder).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    with open(folder / "0/lightning_logs/version_0/metrics.csv", newline="") as file:
        logged = [float(row["val/loss"]) for row in csv.DictReader(file)]
    # One report an epoch, counted from 1; none of the sanity check.
    assert trials[0].intermediate_values == pytest.approx(dict(enumerate(logged, start=1)))
    assert [(folder / str(n) / "logger-ended").exists() for n in range(4)] == [True] * 4
    ranked = json.loads((folder / "leaderboard.json").read_text())
    assert ranked[0]["value"] == pytest.approx(logged[-1])


@pytest.mark.slow
def test_reports_may_be_of_steps(tmp_path: Path) -> None:
    steps = ["+callbacks.report.by_step=true", "val_check_interval=0.5", "hydra.sweeper.n_trials=1"]
    done = run(APP, tmp_path, *steps)
    assert done.returncode == 0, done.stdout + done.stderr
    # Four batches an epoch, validated twice.
    (trial,) = (t for t in study(tmp_path).trials if t.state is optuna.trial.TrialState.COMPLETE)
    assert sorted(trial.intermediate_values) == [2, 4, 6, 8, 10, 12, 14, 16]


@pytest.mark.slow
def test_a_metric_that_is_not_logged_is_named(tmp_path: Path) -> None:
    done = run(APP, tmp_path, "callbacks.report.monitor=val_loss")
    assert done.returncode == 1
    assert "monitor='val_loss'): no such metric is logged" in done.stderr
    assert "logged are: val/loss." in done.stderr


def test_without_lightning_it_says_what_to_install() -> None:
    hide = "import sys; sys.modules.update({'lightning': None, 'pytorch_lightning': None}); "
    done = subprocess.run(
        [sys.executable, "-c", hide + "import hydra_budget_sweeper.lightning"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "hydra_budget_sweeper.lightning needs Lightning: pip install lightning" in done.stderr
    assert "During handling" not in done.stderr
