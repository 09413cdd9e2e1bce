"""Bad command lines: one message a person understands, no traceback, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from budgetsweep.commands import main

BAD = {
    "wrong key": ("optimizer.lrr=1", ["optimizer.lrr=1", "Did you mean optimizer.lr?"]),
    "a key of another group": ("trainer.lr=0.1", ["trainer.lr=0.1", "Did you mean optimizer.lr?"]),
    "a key without its group": ("epochs=3", ["epochs=3", "Did you mean trainer.epochs?"]),
    "a sweep's key": ("n_trials=3", ["n_trials=3", "Did you mean hydra.sweeper.n_trials?"]),
    "a key of another tool": ("gpus=2", ["gpus=2", "`budgetsweep settings` lists every one."]),
    "wrong row": (
        "model.layers.conv9.width=8",
        ["model.layers has no conv9", "conv5", "+model.layers.conv9.width=8"],
    ),
    "no value": ("optimizer", ["optimizer: ", "key=value"]),
    "options that exclude each other": ("--multirun --cfg job", ["Only one of", "--cfg"]),
    "wrong type": ("trainer.epochs=many", ["trainer.epochs", "many", "Integer"]),
    "a group that is null": ("optimizer=null", ["group", "string"]),
    "a group that is removed": ("~scheduler", ["scheduler=???", "missing", "constant, cosine"]),
    "a setting that is removed": ("~budget.max_parameters", ["cannot be removed", "another value"]),
    "an unknown variable": ("optimizer.lr=${nope}", ["optimizer.lr", "nope"]),
    "negative width": ("model.layers.conv3.width=-1", ["model.layers.conv3.width=-1", "≥ 1"]),
    "dropout above one": ("model.layers.conv4.dropout=1.2", ["dropout=1.2", "≥ 0 and < 1"]),
    "unknown choice": ("model.head=fc", ["model.head", "fc", "conv", "gap"]),
    "vanishing map": ("model.layers.conv4.pool=8", ["model.layers.conv5", "vanishes"]),
    "unknown dataset": ("data=minst", ["data/minst", "usps", "Did you mean mnist?"]),
    "a sweep's space": ("search=widths", ["budgetsweep sweep search=widths"]),
    "no such device": ("trainer.device=mps data=digits", ["trainer.device=mps", "auto or cpu"]),
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


SWEEP = {
    "nothing to search": ("", ["nothing to search", "search=best|dropout"]),
    "wrong key": ("optimizer.lrr=0.1,0.2", ["optimizer.lrr", "Did you mean optimizer.lr?"]),
    "a key of another group": ("trainer.lr=0.1,0.2", ["trainer.lr", "Did you mean optimizer.lr?"]),
    "wrong type": ("search=widths trainer.epochs=many", ["trainer.epochs=many", "Integer"]),
    "wrong type in a list": ("trainer.epochs=1,many", ["trainer.epochs", "many", "Integer"]),
    "whole number": ("trainer.epochs=interval(1,3)", ["trainer.epochs=int(interval(1,3))"]),
    "out of range": ("search=widths optimizer.momentum=-1", ["optimizer.momentum=-1.0", "≥ 0"]),
    "a setting that there is not": ("search=widths +data.x=1", ["data.x=1", "no such setting"]),
    "a group that is removed": ("search=optimizer ~scheduler", ["scheduler=???", "missing"]),
    "unknown search": ("search=width", ["search/width", "Did you mean widths?"]),
    "no such device": ("search=widths trainer.device=mps", ["trainer.device=mps", "auto or cpu"]),
    "an accuracy to minimize": (
        "search=widths objectives=[val_accuracy]",
        ["direction=minimize", "hydra.sweeper.direction=maximize"],
    ),
    "one direction for two": (
        "search=widths objectives=[val_accuracy,macs]",
        ["direction=minimize", "hydra.sweeper.direction=[maximize,minimize]"],
    ),
    "missing data": (
        "search=widths data.download=false data.root=nowhere",
        ["mnist: missing train-images-idx3-ubyte.gz", "data.mirror"],
    ),
    "a folder that is not there": (
        "search=widths data=image_folder data.path=nowhere",
        ["data.path=nowhere", "one sub-folder of images for each class"],
    ),
    "validation too large": (
        "search=widths data=digits data.validation=1437",
        ["data.validation=1437", "10 to 1,427"],
    ),
    "nothing fits": (
        "search=widths budget.max_parameters=50 data=digits",
        ["smallest", "model.layers.conv1.width=8", "parameters"],
    ),
}
SUMMARY = {name: BAD[name] for name in ("wrong key", "wrong type", "unknown dataset", "no value")}
NOISE = ("Traceback", "full_key", "object_type", "HYDRA_FULL_ERROR", "use +", "provider=")
NO_MPS = pytest.mark.skipif(torch.backends.mps.is_available(), reason="has such a device")


def cases(*commands: str) -> list[Any]:
    """Each command's mistakes, with ids."""
    listed = {"train": BAD, "summary": SUMMARY, "sweep": SWEEP}
    return [
        pytest.param(
            command, line, words, id=f"{command}: {name}",
            marks=[NO_MPS] if name == "no such device" else [],
        )
        for command in commands
        for name, (line, words) in listed[command].items()
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "line", "words"), cases("train", "summary"))
def test_a_mistake_is_told_in_words(
    command: str, line: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = ["hydra.run.dir=run"] if command == "train" else []
    monkeypatch.setattr("sys.argv", ["budgetsweep", command, *place, *line.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    check_told(str(ended.value.code), words, tmp_path)


@pytest.mark.parametrize(("command", "line", "words"), cases("sweep"))
@pytest.mark.by_default("sweep: nothing to search", "sweep: missing data")
def test_a_mistake_ends_a_sweep_before_it_trains(
    command: str, line: str, words: list[str], tmp_path: Path
) -> None:
    call = [sys.executable, "-m", "budgetsweep", command, "hydra.sweep.dir=run", *line.split()]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    check_told(done.stderr, words, tmp_path)


def check_told(told: str, words: list[str], folder: Path) -> None:
    assert [word for word in NOISE if word in told] == []
    assert [word for word in words if word not in told] == []
    assert not [f for f in folder.rglob("*") if f.name in ("summary.json", "checkpoint.pt")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("data.root=nowhere data.download=false seed=0,1", "mnist: missing train-images-idx3-ubyte.gz"),
        ("data=digits data.validation=5,6", "data.validation=5: must be auto, 0, or 10 to 1,427"),
        ("data=digits model.layers.conv3.width=48,64", "over budget: 26,628 parameters"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_plain_multirun_has_no_traceback(
    mistake: str, words: str, tmp_path: Path
) -> None:
    line = f"hydra/sweeper=basic {mistake} hydra.sweep.dir=out"
    call = [sys.executable, "-m", "budgetsweep", "sweep", *line.split()]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --help", ["One run:", "A sweep:", "optimizer: adamw, sgd"]),
        ("train --cfg job", ["conv5:", "max_parameters: 20000"]),
        ("train --info defaults", ["model/reference"]),
        (
            "summary --help",
            ["layer table", "model: dilated, mobilenetv2, reference", "budget.fit=true"],
        ),
        ("summary --cfg job", ["conv5:", "max_parameters: 20000"]),
    ],
)
def test_what_hydra_users_expect_works(arguments: str, words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, *f"-m budgetsweep {arguments}".split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [word for word in words if word not in done.stdout] == []


def test_the_layer_table_shows_the_total_against_the_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "budgetsweep", "summary", "model.layers.conv3.width=48"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "parameters: 26,628 of 20,000, 6,628 over" in done.stdout
    assert not list(tmp_path.iterdir())  # a look leaves nothing behind
