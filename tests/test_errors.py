"""Bad command lines: one message a person understands, no traceback, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BAD = {
    "wrong key": ("optimizer.lrr=1", ["optimizer.lrr", "lr"]),
    "wrong type": ("trainer.epochs=many", ["trainer.epochs", "many", "Integer"]),
    "negative width": ("model.layers.conv3.width=-1", ["model.layers.conv3.width=-1", "≥ 1"]),
    "dropout above one": ("model.layers.conv4.dropout=1.2", ["dropout=1.2", "≥ 0 and < 1"]),
    "unknown choice": ("model.head=fc", ["model.head", "fc", "conv", "gap"]),
    "vanishing map": ("model.layers.conv4.pool=8", ["model.layers.conv5", "vanishes"]),
    "unknown dataset": ("data=minst", ["data/minst", "mnist"]),
    "over budget": ("model.layers.conv3.width=48", ["26,628", "20,000", "6,628", "conv4"]),
    "hopeless budget": (
        "budget.max_parameters=9 budget.fit=true",
        ["nothing fits", "budget.max_parameters=9"],
    ),
    "no rows": (
        " ".join(f"model.layers.{n}=null" for n in ("stem", "conv1", "squeeze", "conv2"))
        + " model.layers.conv3=null model.layers.conv4=null model.layers.conv5=null",
        ["model.layers", "at least one row"],
    ),
    "validation too large": ("data=digits data.validation=1437", ["data.validation=1437"]),
    "missing data": (
        "data.download=false data.root=nowhere",
        ["train-images-idx3-ubyte.gz", "data.mirror"],
    ),
}


@pytest.mark.parametrize(("line", "words"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_told_in_words(line: str, words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "budgetsweep.train", "hydra.run.dir=run", *line.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in told
    assert [word for word in words if word not in told] == []
    assert not list(tmp_path.glob("run/*.pt")) + list(tmp_path.glob("run/*.json"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --help", ["One run:", "A sweep:", "optimizer: adamw, sgd"]),
        ("train --cfg job", ["conv5:", "max_parameters: 20000"]),
        ("train --info defaults", ["model/reference"]),
        ("summary --help", ["layer table", "model: mobilenetv2, reference", "budget.fit=true"]),
        ("summary --cfg job", ["conv5:", "max_parameters: 20000"]),
    ],
)
def test_what_hydra_users_expect_works(arguments: str, words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, *f"-m budgetsweep.{arguments}".split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [word for word in words if word not in done.stdout] == []


def test_the_layer_table_shows_the_total_against_the_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "budgetsweep.summary", "model.layers.conv3.width=48"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "parameters: 26,628 of 20,000, 6,628 over" in done.stdout
    assert not list(tmp_path.iterdir())  # a look leaves nothing behind
