"""Runs as the trials of a real sweep, its space on the command line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAIN = [
    sys.executable, "-m", "budgetsweep.train", "data=digits", "model=tiny", "data.limit=96",
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


def test_no_trial_reads_the_test_set(swept: Path) -> None:
    assert len(summaries(swept)) == 3
    assert {s["test_accuracy"] for s in summaries(swept)} == {None}


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
