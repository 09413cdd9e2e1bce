"""The loop in one process: same seed, same numbers; what an interruption may not change."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from composing import compose
from torch import Tensor, nn

from budgetsweep import tensors
from budgetsweep.config import Config
from budgetsweep.data import Dataset, Images, load
from budgetsweep.data.pixels import normalize, to_unit
from budgetsweep.errors import BudgetError, DivergedError, UserError
from budgetsweep.network.factory import build_model
from budgetsweep.network.modules import Network
from budgetsweep.training import checkpoint, number_format
from budgetsweep.training import run as run_module
from budgetsweep.training.device import seed_everything
from budgetsweep.training.early_looks import look, sample
from budgetsweep.training.evaluation import evaluate
from budgetsweep.training.number_format import PLAIN, Format, choose_format
from budgetsweep.training.run import run
from budgetsweep.training.shared import share
from budgetsweep.training.tracking import apart
from budgetsweep.training.trainer import Trainer

SMALL = (
    "data=digits", "model=tiny", "data.size=16", "data.limit=200", "data.validation=50",
    "trainer.batch_size=32", "trainer.precision=fp32", "trainer.memory_format=contiguous",
    "trainer.device=cpu", "trainer.epochs=3",
)  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def torch_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def small(*overrides: str) -> Config:
    return compose(*SMALL, *overrides)


def trainer_of(config: Config) -> Trainer:
    seed_everything(config.seed, -1)
    network = build_model(config.model, config.data)
    return Trainer(network, config, load(config.data).train, CPU, PLAIN)


def weights(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "model.pt", weights_only=True)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def losses(folder: Path) -> list[tuple[str, ...]]:
    with (folder / "metrics.csv").open() as file:
        return [
            tuple(r[k] for k in ("epoch", "lr", "train_loss", "val_loss", "val_accuracy"))
            for r in csv.DictReader(file)
        ]


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(small(), tmp_path / name, threads=1)
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_another_seed_gives_other_numbers(tmp_path: Path) -> None:
    for seed in (0, 1):
        run(small(f"seed={seed}"), tmp_path / str(seed), threads=1)
    assert losses(tmp_path / "0") != losses(tmp_path / "1")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optimizer=adamw"],
        ["optimizer=adamw", "scheduler=cosine"],
        ["scheduler=step", "scheduler.step_epochs=1"],
        ["scheduler=constant", "trainer.ema=0.9"],
        ["data.validation=0", "augment=none"],
        ["augment=strong", "augment.crop=0.1", "augment.until=0.3"],
    ],
    ids=["one-cycle", "adamw", "cosine", "step", "average", "no validation", "augmentation"],
)
@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupted_run_ends_with_the_same_bits(
    overrides: list[str], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(small(*overrides), whole, threads=1)

    class Interrupted(Exception):
        pass

    train_epoch = Trainer.train_epoch

    def interrupt(self: Trainer, on_step: Any) -> float:
        def advance(step: int) -> None:
            if self.epoch == at and step == 3:
                raise Interrupted  # in mid-epoch, with steps taken that no checkpoint holds

        return train_epoch(self, advance)

    monkeypatch.setattr(Trainer, "train_epoch", interrupt)
    with pytest.raises(Interrupted):
        run(small(*overrides), broken, threads=1)
    monkeypatch.undo()
    assert not (broken / "summary.json").exists()

    torch.manual_seed(99)  # whatever went before does not matter
    run(small(*overrides, "resume=true"), broken, threads=1)
    assert losses(broken) == losses(whole)
    assert same(weights(broken), weights(whole))


def test_resume_in_an_empty_folder_starts_at_the_beginning(tmp_path: Path) -> None:
    run(small(), tmp_path / "whole", threads=1)
    run(small("resume=true"), tmp_path / "new", threads=1)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "new"))


def test_the_summary_holds_what_was_promised(tmp_path: Path) -> None:
    returned = run(small(), tmp_path, threads=1)
    kept = json.loads((tmp_path / "summary.json").read_text())
    assert kept == returned
    promised = """parameters macs epochs seed val_loss val_accuracy test_loss test_accuracy
    train_seconds images_per_second device precision threads versions git_commit""".split()
    assert [key for key in promised if key not in kept] == []
    assert (kept["epochs"], kept["seed"], kept["threads"]) == (3, 0, 1)
    assert (kept["device"], kept["precision"]) == ("cpu", "fp32")
    assert 0 < kept["test_accuracy"] <= 1
    assert kept["train_images"] == 200
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"metrics.csv", "checkpoint.pt", "model.pt", "summary.json"}
    assert [row[0] for row in losses(tmp_path)] == ["1", "2", "3"]
    assert losses(tmp_path)[-1][3] == str(kept["val_loss"])


def test_the_kept_weights_have_the_accuracy_that_is_told(tmp_path: Path) -> None:
    config = small("trainer.ema=0.8")
    summary = run(config, tmp_path, threads=1)
    network = build_model(config.model, config.data)
    network.load_state_dict(weights(tmp_path))
    test = evaluate(network, load(config.data).test(), config, PLAIN)
    assert (test.loss, test.accuracy) == (summary["test_loss"], summary["test_accuracy"])


@pytest.mark.parametrize(
    ("setting", "sweeping", "reads"),
    [
        ("true", False, 1),
        ("false", False, 0),
        ("null", False, 1),
        ("null", True, 0),
        ("true", True, 1),
    ],
)
def test_the_test_set_is_read_once_at_the_end_or_never(
    setting: str, sweeping: bool, reads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def counting(config: Any) -> Dataset:
        dataset = load(config)

        def test() -> Images:
            seen.append((tmp_path / "metrics.csv").read_text().count("\n") - 1)
            return dataset.test()

        return dataclasses.replace(dataset, test=test)

    monkeypatch.setattr(run_module, "load", counting)
    config = small(f"trainer.test={setting}")
    summary = run(config, tmp_path, threads=1, sweeping=sweeping)
    assert seen == [3] * reads
    assert (summary["test_accuracy"] is not None) == bool(reads)


def test_the_test_set_can_be_read_afterwards_without_training_again(tmp_path: Path) -> None:
    first = run(small("trainer.test=false"), tmp_path, threads=1)
    before = weights(tmp_path)
    second = run(small("trainer.test=true", "resume=true"), tmp_path, threads=1)
    assert first["test_accuracy"] is None and second["test_accuracy"] > 0
    assert second["train_seconds"] == first["train_seconds"]
    assert same(before, weights(tmp_path))


def test_without_validation_there_is_no_validation_loss(tmp_path: Path) -> None:
    summary = run(small("data.validation=0"), tmp_path, threads=1)
    assert summary["val_loss"] is None
    assert [row[3:] for row in losses(tmp_path)] == [("", "")] * 3


def looked_at(folder: Path, *overrides: str) -> list[tuple[float, int]]:
    """What a run tells a sweep; 200 images in batches of 32 are 6 steps an epoch."""
    seen: list[tuple[float, int]] = []
    run(small(*overrides), folder, threads=1, report=lambda v, step: seen.append((v, step)))
    return seen


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["trainer.first_look=1"], [1, 3, 6, 9, 12]),
        (["trainer.first_look=2"], [2, 6, 12]),  # an epoch's last step is looked at once
        (["trainer.first_look=5"], [5, 6, 12, 15]),
        (["trainer.first_look=100"], [6, 12]),
        (["trainer.first_look=null"], [6, 12]),
        (["objectives=[val_accuracy]"], [6, 12, 15]),
        (["objectives=[val_accuracy,macs]"], []),
        (["objectives=[macs]"], []),
        (["data.validation=0"], []),
    ],
)
def test_a_sweep_hears_of_a_trial_early_and_after_each_epoch_but_the_last(
    overrides: list[str], steps: list[int], tmp_path: Path
) -> None:
    """A trial that has been trained to its end is not given up any more."""
    assert [step for _, step in looked_at(tmp_path, *overrides)] == steps


def test_looking_changes_no_number(tmp_path: Path) -> None:
    looked_at(tmp_path / "looked at", "trainer.first_look=1")
    run(small(), tmp_path / "alone", threads=1)
    ours, alone = losses(tmp_path / "looked at"), losses(tmp_path / "alone")
    assert [float(row[0]) for row in ours] == [0.167, 0.5, 1, 1.5, 2, 3]
    assert [row for row in ours if row[2]] == alone
    assert {row[3] for row in ours if not row[2]} == {""}  # val_loss is of epochs alone
    assert same(weights(tmp_path / "looked at"), weights(tmp_path / "alone"))


def test_a_look_is_by_the_statistics_of_its_images(tmp_path: Path) -> None:
    """The same as a batch norm in training gives, whatever its running averages are."""
    config = small("model.defaults.dropout=0")
    trainer = trainer_of(config)
    trainer.train_epoch()
    images = load(config.data).validation
    assert images is not None
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    found = look(trainer.network, images, config, trainer.fmt)
    assert same(before, trainer.network.state_dict())
    assert trainer.network.training
    with torch.no_grad():
        scores = trainer.network(normalize(to_unit(images.images), config.data))
    assert found.loss == pytest.approx(float(F.nll_loss(scores, images.labels)), rel=1e-5)
    assert found.loss != pytest.approx(
        evaluate(trainer.network, images, config, trainer.fmt).loss, rel=1e-2
    )


@pytest.mark.parametrize("objective", ["val_loss", "val_accuracy"])
def test_what_is_told_is_the_objective(objective: str, tmp_path: Path) -> None:
    (first, _), *_ = looked_at(tmp_path, f"objectives=[{objective}]", "trainer.first_look=3")
    with (tmp_path / "metrics.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row[objective.replace("val", "look")]) == first


def test_a_look_is_at_the_network_not_at_its_average(tmp_path: Path) -> None:
    """After a few steps the average is little but the first weights."""
    plain = looked_at(tmp_path / "plain", "trainer.first_look=2")
    averaged = looked_at(tmp_path / "averaged", "trainer.first_look=2", "trainer.ema=0.999")
    assert averaged == plain


def test_a_look_may_be_at_an_average_of_its_own(tmp_path: Path) -> None:
    plain = looked_at(tmp_path / "plain", "trainer.first_look=2")
    averaged = looked_at(tmp_path / "averaged", "trainer.first_look=2", "trainer.look_ema=0.9")
    assert [step for _, step in averaged] == [step for _, step in plain]
    assert all(a != b for (a, _), (b, _) in zip(averaged, plain, strict=True))
    assert same(weights(tmp_path / "averaged"), weights(tmp_path / "plain"))


def test_an_interruption_changes_nothing_that_looks_tell(tmp_path: Path) -> None:
    overrides = ["trainer.first_look=1", "trainer.look_ema=0.9"]
    whole = looked_at(tmp_path / "whole", *overrides)

    def interrupt(_: float, step: int) -> None:
        if step == 9:  # in mid-epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small(*overrides), tmp_path / "broken", threads=1, report=interrupt)
    resumed = looked_at(tmp_path / "broken", *overrides, "resume=true")
    assert resumed == [(value, step) for value, step in whole if step > 6]


def test_a_look_of_an_older_release_goes_on_in_the_columns_of_looks() -> None:
    epoch = {"epoch": 1, "train_loss": 0.5, "val_loss": 0.4, "val_accuracy": 0.9}
    look = {"epoch": 0.3, "train_loss": None, "val_loss": 0.7, "val_accuracy": 0.8}
    assert apart(epoch) == epoch | {"look_loss": None, "look_accuracy": None}
    moved = {"val_loss": None, "val_accuracy": None, "look_loss": 0.7, "look_accuracy": 0.8}
    assert apart(look) == look | moved


def test_a_sample_is_of_full_batches_in_an_order_of_its_own() -> None:
    many = Images(torch.arange(1234)[:, None, None, None].byte(), torch.arange(1234))
    drawn = sample(many, 1100, seed=0)
    assert len(drawn) == 1000 and len(set(drawn.labels.tolist())) == 1000
    assert drawn.labels.tolist() != sorted(drawn.labels.tolist())
    assert torch.equal(drawn.labels, sample(many, 1100, seed=0).labels)
    assert not torch.equal(drawn.labels, sample(many, 1100, seed=1).labels)
    assert len(sample(many, 400, seed=0)) == 400
    assert len(sample(many, 5000, seed=0)) == 1000


@pytest.mark.slow
def test_a_compiled_network_trains_to_about_the_same_loss(tmp_path: Path) -> None:
    plain = run(small(), tmp_path / "plain", threads=1)
    compiled = run(small("trainer.compile=true"), tmp_path / "compiled", threads=1)
    assert compiled["val_loss"] == pytest.approx(plain["val_loss"], abs=1e-3)
    assert weights(tmp_path / "compiled").keys() == weights(tmp_path / "plain").keys()


@pytest.mark.slow
def test_memory_of_freed_tensors_is_kept() -> None:
    """Counted by the system: how often a process had to be given a new page."""
    program = """
import resource, sys
import torch
from budgetsweep.training.device import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    torch.ones(8, 2**20).mul(2)  # two of 32 MB each
for _ in range(4):
    step()
before = pages()
for _ in range(100):  # the heap may still grow once or twice
    step()
print(pages() - before)
"""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("needs glibc")
    faults = {
        how: int(subprocess.run([sys.executable, "-c", program, how], check=True, text=True,
                                capture_output=True).stdout)
        for how in ("kept", "returned")
    }  # fmt: skip
    assert faults["kept"] * 10 < faults["returned"]


def test_over_budget_reads_no_data_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: Any) -> Dataset:
        raise AssertionError("data was read")

    monkeypatch.setattr(run_module, "load", never)
    with pytest.raises(BudgetError, match="over budget"):
        run(small("model.width_multiplier=20"), tmp_path, threads=1)
    assert list(tmp_path.iterdir()) == []


def test_the_average_of_the_weights_is_kept_and_leaves_the_training_alone(tmp_path: Path) -> None:
    for ema in (0, 0.9):
        run(small(f"trainer.ema={ema}"), tmp_path / str(ema), threads=1)
    trained = [[row[2] for row in losses(tmp_path / name)] for name in ("0", "0.9")]
    assert trained[0] == trained[1]
    assert not same(weights(tmp_path / "0"), weights(tmp_path / "0.9"))


@pytest.mark.parametrize("setting", ["ema", "look_ema"])
def test_an_average_is_exponential(setting: str) -> None:
    trainer = trainer_of(small(f"trainer.{setting}=0.9"))
    network: Network = trainer.network  # type: ignore[assignment]
    seen: list[Tensor] = []
    trainer.train_epoch(lambda _: seen.append(network.head[1].weight.detach().clone()))  # type: ignore[index]
    expected = seen[0]
    for n, value in enumerate(seen[1:], start=1):
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    average = trainer.result if setting == "ema" else trainer.looked_at
    assert average is not network
    averaged = average.head[1].weight.detach()  # type: ignore[index,union-attr]
    torch.testing.assert_close(averaged, expected)


def test_a_loss_that_is_not_a_number_names_epoch_step_and_rate() -> None:
    trainer = trainer_of(small("scheduler=constant", "optimizer.lr=0.07"))
    trainer.train_epoch()
    next(trainer.network.parameters()).data.fill_(torch.nan)
    with pytest.raises(DivergedError) as error:
        trainer.train_epoch()
    told = str(error.value)
    for words in ("became nan", "epoch 2", "step 1 of 6", "learning rate of 0.07", "optimizer.lr"):
        assert words in told


@pytest.mark.parametrize(("first", "step"), [("null", 6), ("2", 2)])
def test_a_last_update_that_breaks_the_network_is_told_too(
    first: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_epoch = Trainer.train_epoch

    def broken(self: Trainer, on_step: Any) -> float:
        def breaking(at: int) -> None:
            if at == step:
                next(self.network.parameters()).data.fill_(torch.nan)
            on_step(at)

        return train_epoch(self, breaking)

    monkeypatch.setattr(Trainer, "train_epoch", broken)
    words = f"validation loss became nan in epoch 1, step {step} of 6"
    with pytest.raises(DivergedError, match=words):
        looked_at(tmp_path, f"trainer.first_look={first}")
    assert list(tmp_path.iterdir()) == []


def test_an_epoch_brings_each_image_at_most_once_in_full_batches() -> None:
    config = small("augment=none")
    trainer = trainer_of(config)
    seed_everything(0, 0)
    batches = [(x.clone(), y) for x, y in trainer.batches()]
    assert [len(y) for _, y in batches] == [32] * 6  # of 200
    known = normalize(to_unit(trainer.train_images), config.data).flatten(1)
    order = torch.cat([torch.cdist(x.flatten(1), known).argmin(1) for x, _ in batches])
    assert len(order.unique()) > 185  # the few equal digits aside
    assert torch.equal(trainer.train_labels[order], torch.cat([y for _, y in batches]))


def test_the_training_loss_is_the_smoothed_cross_entropy() -> None:
    config = small("augment=none", "data.limit=32", "trainer.label_smoothing=0.2")
    for row in config.model.layers.values():
        assert row is not None
        row.dropout = 0.0
    trainer = trainer_of(config)
    with torch.no_grad():
        x = normalize(to_unit(trainer.train_images), config.data)
        log_p = trainer.network.train()(x)
        own = log_p.gather(1, trainer.train_labels[:, None]).squeeze(1)
        expected = -(0.8 * own + 0.2 * log_p.mean(1)).mean()
    assert trainer.train_epoch() == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("clip", [0.01, 1e9])
def test_a_gradient_is_clipped_to_its_norm(clip: float) -> None:
    trainer = trainer_of(small(f"optimizer.clip={clip}"))
    norms = []

    def measure(_: int) -> None:
        grads = [p.grad for p in trainer.network.parameters() if p.grad is not None]
        norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))

    trainer.train_epoch(measure)
    free = trainer_of(small())
    assert (max(norms) <= clip * 1.001) and (clip > 1 or min(norms) > clip * 0.99)
    if clip > 1:
        assert free.train_epoch() == trainer_of(small(f"optimizer.clip={clip}")).train_epoch()


def unbalanced() -> tuple[Config, Trainer]:
    """Three classes in twelve images: 8, 3, 1."""
    config = small(
        "augment=none", "data.classes=3", "trainer.class_weights=balanced",
        "trainer.batch_size=12", "model.defaults.dropout=0",
    )  # fmt: skip
    labels = torch.tensor([0] * 8 + [1] * 3 + [2])
    images = Images(torch.randint(0, 256, (12, 1, 16, 16), dtype=torch.uint8), labels)
    network = build_model(config.model, config.data)
    return config, Trainer(network, config, images, CPU, PLAIN)


def test_balanced_classes_count_alike_in_the_training_loss() -> None:
    """Without smoothing: the mean over classes of each class's mean."""
    config, trainer = unbalanced()
    config.trainer.label_smoothing = 0.0
    labels = trainer.train_labels
    with torch.no_grad():
        log_p = trainer.network.train()(normalize(to_unit(trainer.train_images), config.data))
        own = -log_p.gather(1, labels[:, None]).squeeze(1)
        expected = sum(float(own[labels == c].mean()) for c in range(3)) / 3
    assert trainer.train_epoch() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_targets_that_are_shares_of_classes_are_those_of_the_labels_where_they_are_whole(
    weights: str,
) -> None:
    config, trainer = unbalanced()
    if weights == "none":
        trainer.class_weights = None
    x = normalize(to_unit(trainer.train_images), config.data)
    shares = F.one_hot(trainer.train_labels, 3).float()
    with torch.no_grad():
        by_labels, by_shares = (trainer._loss(x, y) for y in (trainer.train_labels, shares))
    assert float(by_shares) == pytest.approx(float(by_labels), rel=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 50, 500])
def test_evaluation_is_the_plain_loss_in_any_batch_size(batch: int) -> None:
    config = small(f"trainer.eval_batch_size={batch}", "model.defaults.dropout=0.5")
    network = trainer_of(config).network
    split = load(config.data).validation
    assert split is not None
    result = evaluate(network.train(), split, config, PLAIN)
    with torch.no_grad():
        scores = network.eval()(normalize(to_unit(split.images), config.data))
    assert result.loss == pytest.approx(float(F.nll_loss(scores, split.labels)), rel=1e-5)
    assert result.accuracy == pytest.approx(
        float((scores.argmax(1) == split.labels).float().mean())
    )
    assert torch.equal(result.predictions, scores.argmax(1))


@pytest.mark.parametrize("damage", ["cut short", "not a checkpoint", "empty"])
def test_a_checkpoint_that_cannot_be_read_is_named(damage: str, tmp_path: Path) -> None:
    run(small("trainer.epochs=1"), tmp_path, threads=1)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    path.write_bytes(
        {"cut short": whole[: len(whole) // 2], "not a checkpoint": b"x" * 99, "empty": b""}[damage]
    )
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read"):
        run(small("trainer.epochs=1", "resume=true"), tmp_path, threads=1)


def test_a_folder_of_other_settings_is_refused_with_the_difference(tmp_path: Path) -> None:
    run(small(), tmp_path, threads=1)
    with pytest.raises(UserError) as error:
        run(small("resume=true", "seed=3", "model.layers.stem.width=5"), tmp_path, threads=1)
    for words in ("seed: 0 then, 3 now", "model.layers.stem.width: 4 then, 5 now"):
        assert words in str(error.value)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a checkpoint in place, or put what is returned there instead."""
    path = folder / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    instead = change(state)
    torch.save(state if instead is None else instead, path)


def test_a_checkpoint_from_before_there_was_a_setting_goes_on_with_its_default(
    tmp_path: Path,
) -> None:
    run(small("trainer.epochs=1"), tmp_path, threads=1)

    def forget(state: dict[str, Any]) -> None:
        names = "optimizer.clip", "trainer.class_weights", "augment.shear"
        rows = [k for k in state["identity"] if k.endswith(".residual") and "layers" in k]
        for key in (*names, *rows):
            del state["identity"][key]

    rewritten(tmp_path, forget)
    assert run(small("trainer.epochs=1", "resume=true"), tmp_path, threads=1)["epochs"] == 1
    rewritten(tmp_path, lambda state: state["identity"].__delitem__("trainer.ema"))
    with pytest.raises(UserError, match=r"trainer\.ema: 0\.0 then, 0\.9 now"):
        run(small("trainer.epochs=1", "trainer.ema=0.9", "resume=true"), tmp_path, threads=1)


@pytest.mark.parametrize(
    "others",
    [
        {"state_dict": {"w": torch.zeros(3)}, "epoch": 3},
        {"identity": 3, "format": 1, "trainer": 1, "clock": 1, "rows": 1},
        [1, 2],
        torch.zeros(2),
    ],
    ids=["of another trainer", "of our keys", "a list", "a tensor"],
)
def test_a_checkpoint_of_another_program_is_named_as_such(others: Any, tmp_path: Path) -> None:
    run(small("trainer.epochs=1"), tmp_path, threads=1)
    rewritten(tmp_path, lambda _: others)
    with pytest.raises(UserError, match=r"no checkpoint of budgetsweep; remove it"):
        run(small("trainer.epochs=1", "resume=true"), tmp_path, threads=1)


@pytest.mark.parametrize("change", ["reversed", "dropped"])
def test_the_same_rows_in_another_order_or_number_are_other_settings(
    change: str, tmp_path: Path
) -> None:
    run(small("trainer.epochs=1"), tmp_path, threads=1)
    config = small("trainer.epochs=1", "resume=true")
    rows = list(config.model.layers.items())
    if change == "dropped":
        name, _ = rows[-1]
        config.model.layers[name] = None
    else:
        config.model.layers = dict(reversed(rows))
    with pytest.raises(UserError, match=r"model\.layers: \["):
        checkpoint.refuse_other(checkpoint.load(tmp_path) or {}, config, tmp_path)


def test_no_two_seeds_are_one_run() -> None:
    """A CPU's generator takes 32 bits of a seed."""
    with pytest.raises(UserError, match=r"seed=4294967296: must be"):
        small(f"seed={2**32}")


@pytest.mark.parametrize(
    "free",
    [
        "trainer.progress=false",
        "data.download=false",
        "data.root=elsewhere",
        "trainer.look_ema=0.9",
    ],
)
def test_settings_that_change_no_number_may_change(free: str, tmp_path: Path) -> None:
    first = run(small(), tmp_path, threads=1)
    assert run(small("resume=true", free), tmp_path, threads=1) == first


def test_a_checkpoint_whose_writing_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    tensors.save(path, {"epoch": 1})
    before = path.read_bytes()

    def full(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        tensors.save(path, {"epoch": 2})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "overrides",
    [["trainer.precision=bf16"], ["trainer.memory_format=channels_last"]],
    ids=["bf16", "channels last"],
)
def test_every_format_trains_to_about_the_same_loss(overrides: list[str], tmp_path: Path) -> None:
    plain = run(small(), tmp_path / "plain", threads=1)
    other = run(small(*overrides), tmp_path / "other", threads=1)
    assert other["val_loss"] == pytest.approx(plain["val_loss"], abs=0.1)


def test_the_fastest_format_is_measured_once_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = small("trainer.precision=auto", "trainer.memory_format=auto")
    network = build_model(config.model, config.data)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(5)
    chosen = choose_format(network, config, CPU)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)
    assert same(before, network.state_dict())
    monkeypatch.setattr(number_format, "measure", None)  # a second measurement would fail
    assert choose_format(network, config, CPU) == chosen


@pytest.mark.parametrize(
    ("plain", "bf16", "chosen"),
    [
        ([9, 8, 9, 9], [4, 4, 4, 4], "bf16"),
        ([9, 8, 9, 9], [7.9, 7.9, 7.9, 7.9], "fp32"),
        ([40, 8, 60, 50], [30, 30, 30, 30], "fp32"),  # what else runs adds to most steps
    ],
    ids=["clearly faster", "hardly faster", "a busy machine"],
)
def test_plain_float32_stays_unless_bfloat16_is_clearly_faster(
    plain: list[float], bf16: list[float], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # each candidate's warming step comes on top
    monkeypatch.setattr(number_format, "ROUNDS", 3)
    seconds = {"fp32": iter([9, *plain]), "bf16": iter([9, *bf16])}
    monkeypatch.setattr(
        number_format, "_step_seconds", lambda *args: next(seconds[args[-1].precision])
    )
    config = small()
    network = build_model(config.model, config.data)
    candidates = [Format("fp32", "contiguous"), Format("bf16", "contiguous")]
    assert number_format.measure(network, config, CPU, candidates).precision == chosen


class Uneven(nn.Module):
    """Takes a third longer in one of the layouts."""

    def __init__(self, slow: torch.memory_format) -> None:
        super().__init__()
        self.slow, self.weight = slow, nn.Parameter(torch.eye(256))

    def forward(self, images: Tensor) -> Tensor:
        product = self.weight
        for _ in range(39 if images.is_contiguous(memory_format=self.slow) else 30):
            product = product @ self.weight
        return product[: len(images), :10].log_softmax(1)


@pytest.fixture
def load_beside() -> Iterator[None]:
    busy = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(busy) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("load_beside")
@pytest.mark.parametrize("best", ["contiguous", "channels_last"])
@pytest.mark.slow
def test_load_beside_it_does_not_change_the_choice(best: str) -> None:
    torch.set_num_threads(1)
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    (slow,) = (layout for name, layout in layouts.items() if name != best)
    config = small("data.channels=3")
    candidates = [Format("fp32", name) for name in layouts]
    for _ in range(3):
        chosen = number_format.measure(Uneven(slow), config, CPU, candidates)
        assert chosen.memory_format == best


def formats_of(folder: Path) -> set[str]:
    return set(json.loads((folder / "budgetsweep/formats.json").read_text()))


def test_another_width_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fastest for a small network need not be so for a large one of the same rows."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for width in (4, 5, 5):
        config = small("trainer.memory_format=auto", f"model.layers.stem.width={width}")
        choose_format(build_model(config.model, config.data), config, CPU)
    assert len(formats_of(tmp_path)) == 2


def test_runs_below_a_shared_folder_compute_as_the_first_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([Format("bf16", "channels_last")])  # a second measurement would fail
    monkeypatch.setattr(number_format, "measure", lambda *args: next(answers))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    share(tmp_path / "sweep")

    def chosen(run: str, *overrides: str) -> Format:
        config = small("trainer.precision=auto", "trainer.memory_format=auto", *overrides)
        network = build_model(config.model, config.data)
        return choose_format(network, config, CPU, tmp_path / "sweep" / run)

    assert chosen("0") == Format("bf16", "channels_last")
    assert chosen("1", "model.layers.stem.width=9") == Format("bf16", "channels_last")
    assert chosen("2/3", "trainer.precision=fp32") == Format("fp32", "channels_last")


@pytest.mark.slow
def test_formats_chosen_at_once_are_all_kept(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from budgetsweep.training.number_format import PLAIN, _remembered
for n in range(20):
    _remembered(Path(sys.argv[1]), sys.argv[2] + str(n), lambda: PLAIN)
"""
    path = tmp_path / "formats.json"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in "ab"
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(json.loads(path.read_text())) == 40


def test_bfloat16_is_not_tried_on_a_processor_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for has in "_is_avx512_bf16_supported", "_is_amx_tile_supported":
        monkeypatch.setattr(torch.cpu, has, lambda: False)
    tried = set()
    monkeypatch.setattr(
        number_format, "_step_seconds", lambda *args: tried.add(args[-1].precision) or 1.0
    )
    config = small("trainer.precision=auto", "trainer.memory_format=auto")
    choose_format(build_model(config.model, config.data), config, CPU)
    assert tried == {"fp32"}


def test_one_is_told_that_bfloat16_is_emulated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    config = small("trainer.precision=bf16", "trainer.memory_format=contiguous")
    network = build_model(config.model, config.data)
    for has, told in (True, False), (False, True):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        choose_format(network, config, CPU)
        assert ("trainer.precision=auto" in caplog.text) == told


def test_a_format_that_is_named_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_format, "measure", None)
    config = small("trainer.precision=bf16", "trainer.memory_format=channels_last")
    network = build_model(config.model, config.data)
    assert choose_format(network, config, CPU) == Format("bf16", "channels_last")


def test_a_damaged_cache_of_formats_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "budgetsweep").mkdir()
    (tmp_path / "budgetsweep" / "formats.json").write_text("{not json")
    config = small("trainer.precision=auto")
    network = build_model(config.model, config.data)
    assert choose_format(network, config, CPU).memory_format == "contiguous"
