"""Runs that train together against the same runs one by one."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import compose
from torch import Tensor

from budgetsweep import together as together_module
from budgetsweep.config import Config
from budgetsweep.errors import DivergedError, SettingError
from budgetsweep.runs.loading import load_run
from budgetsweep.training.run import run, run_together
from budgetsweep.training.trainer import Trainer

SMALL = (
    "data=digits", "model=tiny", "data.size=16", "data.limit=160", "data.validation=50",
    "trainer.batch_size=32", "trainer.precision=fp32", "trainer.memory_format=contiguous",
    "trainer.device=cpu", "trainer.epochs=2",
)  # fmt: skip
MEMBERS = (
    ["seed=0", "optimizer.lr=0.03", "optimizer.weight_decay=0"],
    ["seed=1", "optimizer.lr=0.01"],
    ["seed=2", "optimizer.lr=0.003"],
)
# float32 rounds at 6e-8; a batched convolution sums in another order than a single one, and ten
# steps of training carry that on. Seen over nine seeds with SGD: losses that differ by up to 7e-7,
# weights by 2e-6, momentum by 9e-5; with AdamW in the contiguous format less. A single run in
# another memory format differs as much. On other batches weights come out 0.08 apart and more.
TIGHT = {"rtol": 1e-4, "atol": 2e-5}
TIGHT_OPTIMIZER = {"rtol": 1e-4, "atol": 3e-4}


@pytest.fixture(autouse=True)
def torch_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def configs(*overrides: str) -> list[Config]:
    return [compose(*SMALL, *own, *overrides) for own in MEMBERS]


def folders(parent: Path) -> list[Path]:
    return [parent / str(i) for i in range(len(MEMBERS))]


def one_by_one(parent: Path, *overrides: str) -> list[dict[str, Any]]:
    pairs = zip(configs(*overrides), folders(parent), strict=True)
    return [run(config, folder, threads=1) for config, folder in pairs]


def together(parent: Path, *overrides: str) -> list[dict[str, Any]]:
    return run_together(configs(*overrides), folders(parent), threads=1)


def tensors(folder: Path) -> tuple[dict[str, Any], dict[int, Any]]:
    """Epochs, weights, running statistics and their average; the optimizer's state apart."""
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["trainer"]
    return state, state.pop("optimizer")["state"]


def numbers(folder: Path) -> list[list[float]]:
    """metrics.csv without its timings."""
    keys = "epoch", "lr", "train_loss", "val_loss"
    with (folder / "metrics.csv").open() as file:
        return [[float(row[k]) for k in keys] for row in csv.DictReader(file)]


def assert_same_runs(one: Path, other: Path) -> None:
    for a, b in zip(folders(one), folders(other), strict=True):
        for ours, theirs, tight in zip(
            tensors(a), tensors(b), (TIGHT, TIGHT_OPTIMIZER), strict=True
        ):
            torch.testing.assert_close(ours, theirs, **tight)
        torch.testing.assert_close(
            torch.tensor(numbers(a)).double(), torch.tensor(numbers(b)).double(), **TIGHT
        )


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=sgd"],
        ["optimizer=adamw", "trainer.ema=0.9", "scheduler=cosine"],
        ["optimizer=sgd", "trainer.ema=0.9", "trainer.memory_format=channels_last"],
    ],
    ids=["sgd", "adamw, average", "sgd, average, channels last"],
)  # fmt: skip
def test_each_trains_as_it_would_alone(overrides: list[str], tmp_path: Path) -> None:
    alone = one_by_one(tmp_path / "alone", *overrides)
    ours = together(tmp_path / "ours", *overrides)
    assert_same_runs(tmp_path / "ours", tmp_path / "alone")
    for a, b in zip(ours, alone, strict=True):
        assert a.keys() == b.keys()
        for key in ("seed", "epochs", "parameters", "val_accuracy", "test_accuracy", "precision"):
            assert a[key] == b[key]
        for key in ("train_loss", "val_loss", "test_loss"):
            assert a[key] == pytest.approx(b[key], rel=1e-4)


def test_the_files_are_those_of_runs_alone(tmp_path: Path) -> None:
    one_by_one(tmp_path / "alone")
    together(tmp_path / "ours")
    for a, b in zip(folders(tmp_path / "ours"), folders(tmp_path / "alone"), strict=True):
        assert {path.name for path in a.iterdir()} == {path.name for path in b.iterdir()}
        for name in ("checkpoint.pt", "model.pt"):  # no member brings the others' weights along
            assert (a / name).stat().st_size == pytest.approx((b / name).stat().st_size, rel=0.05)


def test_with_dropout_they_differ_and_train_about_as_well(tmp_path: Path) -> None:
    dropout = ["model.defaults.dropout=0.2", "trainer.epochs=4", "optimizer.lr=0.03"]
    alone = one_by_one(tmp_path / "alone", *dropout)
    ours = together(tmp_path / "ours", *dropout)
    assert len({summary["train_loss"] for summary in ours}) == len(MEMBERS)
    for a, b in zip(ours, alone, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=0.1)


def test_dropouts_masks_are_each_members_own(tmp_path: Path) -> None:
    """Members with one seed have the same weights and batches: all that differs is dropout."""
    same = ["seed=5", "optimizer.lr=0.03", "optimizer.weight_decay=0"]
    members = [compose(*SMALL, *same, "model.defaults.dropout=0.2", "trainer.epochs=1")] * 2
    first, second = run_together(members, [tmp_path / "a", tmp_path / "b"], threads=1)
    assert first["train_loss"] != second["train_loss"]


class Interrupted(Exception):
    pass


def interrupt_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break off in mid-epoch, with steps taken that no checkpoint holds."""
    update, steps = Trainer.update, {}

    def counting(self: Trainer) -> None:
        steps[self] = steps.get(self, 0) + 1
        if steps[self] == epochs * self.steps_per_epoch + 2:
            raise Interrupted
        update(self)

    monkeypatch.setattr(Trainer, "update", counting)


@pytest.mark.parametrize("began", ["alone", "together"])
def test_either_kind_of_run_takes_up_the_others_checkpoint(
    began: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"alone": one_by_one, "together": together}
    alone, broken = tmp_path / "alone", tmp_path / "broken"
    one_by_one(alone)
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        members = zip(configs(), folders(broken), strict=True)
        if began == "together":
            with pytest.raises(Interrupted):
                together(broken)
        else:
            for config, folder in members:
                with pytest.raises(Interrupted):
                    run(config, folder, threads=1)
    assert [len(numbers(folder)) for folder in folders(broken)] == [1, 1, 1]
    other = kinds["together" if began == "alone" else "alone"]
    other(broken, "resume=true")
    assert_same_runs(broken, alone)


def test_interrupted_together_they_end_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropout = "model.defaults.dropout=0.2"
    together(tmp_path / "whole", dropout)
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        with pytest.raises(Interrupted):
            together(tmp_path / "broken", dropout)
    together(tmp_path / "broken", dropout, "resume=true")
    for a, b in zip(folders(tmp_path / "broken"), folders(tmp_path / "whole"), strict=True):
        torch.testing.assert_close(tensors(a), tensors(b), rtol=0, atol=0)


def test_members_at_different_epochs_and_formats_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is finished, the second was begun in another layout, the third is new."""
    one_by_one(tmp_path / "alone")
    first, second, _ = configs("trainer.memory_format=channels_last")
    ours = folders(tmp_path / "ours")
    run(first, ours[0], threads=1)
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        with pytest.raises(Interrupted):
            run(second, ours[1], threads=1)
    before = (ours[0] / "model.pt").stat().st_mtime_ns
    together(tmp_path / "ours", "resume=true")
    assert (ours[0] / "model.pt").stat().st_mtime_ns == before
    assert_same_runs(tmp_path / "ours", tmp_path / "alone")


def test_a_member_that_diverges_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Trainer.update

    def broken(self: Trainer) -> None:
        update(self)
        if self.config.seed == 1:
            weight: Tensor = next(self.network.parameters())
            weight.data.fill_(torch.nan)

    monkeypatch.setattr(Trainer, "update", broken)
    words = r"became nan in epoch 1, step 2 of 5, at a learning rate of \S+ and seed 1;"
    with pytest.raises(DivergedError, match=words):
        together(tmp_path)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.layers.conv1.width=9", "model.layers.conv1.width=8 and 9: "),
        ("data.split_seed=1", "data.split_seed=0 and 1: "),
        ("trainer.batch_size=16", "trainer.batch_size=32 and 16: "),
        ("trainer.epochs=3", "trainer.epochs=2 and 3: "),
    ],
)
def test_what_cannot_train_together_is_refused(override: str, words: str, tmp_path: Path) -> None:
    odd = [compose(*SMALL), compose(*SMALL, "seed=1", override)]
    with pytest.raises(SettingError) as error:
        run_together(odd, [tmp_path / "0", tmp_path / "1"], threads=1)
    assert str(error.value).startswith(words)
    assert "only in seed, optimizer.lr, optimizer.weight_decay. Train" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_compiling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="trainer.compile=true: .* use trainer.compile=false"):
        together(tmp_path, "trainer.compile=true")


COMMAND = [
    sys.executable, "-m", "budgetsweep.together", "data=digits", "data.limit=100", "model=tiny",
    "trainer.epochs=1", "trainer.threads=1",
]  # fmt: skip


def command(*overrides: str) -> subprocess.CompletedProcess[str]:
    line = [*COMMAND, *overrides]
    return subprocess.run(line, capture_output=True, text=True, timeout=240, check=False)


def test_the_command_trains_every_combination_in_its_own_folder(tmp_path: Path) -> None:
    where = f"hydra.run.dir='{tmp_path}/${{seed}} ${{optimizer.lr}}'"
    done = command("seed=range(0,2)", "optimizer.lr=0.05,0.1", where)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"0 0.05", "0 0.1", "1 0.05", "1 0.1"}
    for folder in tmp_path.iterdir():
        config = load_run(folder).config
        assert f"{config.seed} {config.optimizer.lr}" == folder.name
        assert f"{folder.name}: epoch 1/1" in (folder / "train.log").read_text()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["seed=0,1"], "runs would share this folder"),
        (["seed=0,1", "trainer.epochs=0"], "trainer.epochs=0: must be"),
        (["seed=0,1", "data=digit"], "Could not find 'data/digit'"),
        (["trainer.epochs=1,2"], "trainer.epochs=1 and 2: networks that train together"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(
    overrides: list[str], words: str, tmp_path: Path
) -> None:
    apart = "" if "share" in words else "/${seed}${trainer.epochs}"
    with pytest.raises(SystemExit) as error:
        together_module.main([*COMMAND[3:], *overrides, f"hydra.run.dir='{tmp_path}/run{apart}'"])
    assert words in str(error.value)
    assert list(tmp_path.iterdir()) == []
