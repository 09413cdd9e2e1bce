"""A network that learns from another's scores: the loss in closed form, and what it teaches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import compose
from omegaconf import OmegaConf
from scipy.special import log_softmax

from budgetsweep.config import Config
from budgetsweep.data import load
from budgetsweep.data.pixels import normalize, to_unit
from budgetsweep.errors import SettingError
from budgetsweep.network.saved import load_run
from budgetsweep.training.number_format import PLAIN
from budgetsweep.training.run import run
from budgetsweep.training.teacher import load_teacher

SMALL = (
    "data=digits", "data.validation=200", "trainer.batch_size=32", "trainer.precision=fp32",
    "trainer.memory_format=contiguous", "trainer.device=cpu", "augment=none",
)  # fmt: skip
CPU = torch.device("cpu")


def small(*overrides: str) -> Config:
    return compose(*SMALL, *overrides)


def trained(config: Config, folder: Path) -> dict[str, Any]:
    """A run with its configuration beside it, as the command leaves it."""
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.structured(config), folder / ".hydra" / "config.yaml")
    return run(config, folder, threads=1)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    summary = trained(small("model=tiny", "trainer.epochs=8"), folder)
    assert summary["val_accuracy"] > 0.9
    return folder


def asked(folder: Path, *overrides: str) -> Config:
    return small("model=tiny", f"teacher.run={folder}", *overrides)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_is_the_divergence_of_both_softened(teacher: Path, temperature: float) -> None:
    config = asked(teacher, f"teacher.temperature={temperature}")
    taught = load_teacher(config, CPU, PLAIN)
    images = normalize(to_unit(load(config.data).train.images[:20]), config.data)
    scores = torch.randn(20, 10, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = load_run(teacher).network.logits(images).double().numpy()
    of_teacher = log_softmax(wanted / temperature, axis=1)
    of_student = log_softmax(scores.double().numpy() / temperature, axis=1)
    each = (np.exp(of_teacher) * (of_teacher - of_student)).sum(axis=1)
    assert taught is not None
    assert float(taught.loss(scores, images)) == pytest.approx(
        temperature**2 * each.mean(), rel=1e-5
    )


def test_it_sees_images_as_it_was_trained_to(teacher: Path) -> None:
    """Whatever the student's normalization."""
    config = asked(teacher, "data.mean=[0.1]", "data.std=[0.7]")
    taught, known = load_teacher(config, CPU, PLAIN), load_run(teacher)
    images = to_unit(load(config.data).train.images[:20])
    with torch.no_grad():
        own = known.network.logits(normalize(images, known.config.data))
    assert taught is not None
    assert float(taught.loss(own, normalize(images, config.data))) == pytest.approx(0, abs=1e-6)


def test_its_scores_alone_are_enough(teacher: Path, tmp_path: Path) -> None:
    """A student to which labels say nothing, as they are smoothed away, learns the classes."""
    nothing = ["trainer.label_smoothing=0.99", "trainer.epochs=8", "seed=1"]
    taught = trained(asked(teacher, *nothing, "teacher.weight=1"), tmp_path / "taught")
    assert taught["val_accuracy"] > 0.9
    # and learned from it, not beside it: it agrees with the teacher more than one from labels does
    alone = trained(small("model=tiny", "trainer.epochs=8", "seed=1"), tmp_path / "alone")
    assert agreement(tmp_path / "taught", teacher) > agreement(tmp_path / "alone", teacher)
    assert alone["parameters"] == taught["parameters"]


def agreement(folder: Path, teacher: Path) -> float:
    """The mean divergence of two networks' answers on training images, negative."""
    one, other = load_run(folder), load_run(teacher)
    config = one.config
    images = normalize(to_unit(load(config.data).train.images), config.data)
    with torch.no_grad():
        a, b = (r.network.logits(images).softmax(1) for r in (one, other))
    return -float((a - b).abs().mean())


def test_without_weight_it_changes_nothing(teacher: Path, tmp_path: Path) -> None:
    short = ["trainer.epochs=2", "data.limit=200"]
    trained(asked(teacher, *short, "teacher.weight=0"), tmp_path / "asked")
    trained(small("model=tiny", *short), tmp_path / "alone")
    a, b = (load_run(tmp_path / n).network.state_dict() for n in ("asked", "alone"))
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_teacher_for_other_images_is_refused(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"teacher\.run=.* pixels a side"):
        run(asked(teacher, "data.size=20"), tmp_path / "run", threads=1)
    assert not (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_teacher_that_is_not_there_is_refused_before_anything(
    command: str, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "budgetsweep", command, "data=digits", "teacher.run=nowhere"]
    searched = ["search=widths"] if command == "sweep" else []
    done = subprocess.run([*words, *searched], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "teacher.run=nowhere" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*/**/*.csv"))
