from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image, ImageDraw

from budgetsweep.config import (
    BudgetConfig,
    Config,
    DataConfig,
    LayerConfig,
    ModelConfig,
    TrainerConfig,
)
from budgetsweep.data import load
from budgetsweep.data.own_image import prepare
from budgetsweep.errors import DataError, UserError
from budgetsweep.network.cost import cost_of
from budgetsweep.network.saved import load_run
from budgetsweep.predict import main
from budgetsweep.runs.prediction import predict
from budgetsweep.training.run import run

DOCS = Path(__file__).resolve().parents[2] / "docs"
MNIST = DataConfig()
SHAPES = {"circle": 30, "square": 4, "triangle": 3}


def seven(path: Path, mode: str, ink: Any, paper: Any, size: tuple[int, int] = (200, 300)) -> Path:
    """A hand-drawn digit."""
    image = Image.new("L" if mode == "P" else mode, size, paper)
    corners = [(60, 75), (130, 75), (90, 240)]
    ImageDraw.Draw(image).line(corners, fill=ink, width=16, joint="curve")
    image.convert(mode).save(path)
    return path


def train(folder: Path, config: Config) -> Path:
    """A run's folder as the command line leaves it."""
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.structured(config), folder / ".hydra" / "config.yaml")
    run(config, folder, threads=1)
    return folder


def small_model() -> ModelConfig:
    defaults = LayerConfig(
        kernel=3, padding=1, stride=1, conv="standard", activation="relu", norm="batch",
        order="conv_act_norm", pool=2, pool_type="max", dropout=0.0, residual=False,
    )  # fmt: skip
    rows = {"a": LayerConfig(width=8), "b": LayerConfig(width=16)}
    return ModelConfig(name="small", defaults=defaults, layers=dict(rows), head="conv")


def plain_trainer(epochs: int) -> TrainerConfig:
    return TrainerConfig(
        epochs=epochs, batch_size=8, device="cpu", precision="fp32", memory_format="contiguous"
    )


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three drawn classes, under a budget that scales its widths."""
    root = tmp_path_factory.mktemp("shapes")
    rng = np.random.RandomState(0)
    for name, sides in SHAPES.items():
        (root / "images" / name).mkdir(parents=True)
        for i in range(60):
            where = (*rng.randint(40, 60, 2).tolist(), int(rng.randint(22, 32)))
            image = Image.new("RGB", (100, 100), "white")
            ImageDraw.Draw(image).regular_polygon(where, sides, fill="navy")
            image.save(root / "images" / name / f"{i}.png")
    data = DataConfig(
        name="image_folder", path=str(root / "images"), classes=3, mean=[0.5], std=[0.5],
        validation=30,
    )  # fmt: skip
    budget = BudgetConfig(max_parameters=1_500, fit=True)
    config = Config(model=small_model(), data=data, budget=budget, trainer=plain_trainer(3))
    return train(root / "run", config)


def test_own_classes_come_back_by_name_with_the_width_that_was_trained(shapes: Path) -> None:
    saved = load_run(shapes)
    assert saved.class_names == ("circle", "square", "triangle")
    assert saved.config.model.width_multiplier != 1.0
    assert saved.summary["parameters"] == sum(p.numel() for p in saved.network.parameters())
    assert saved.summary["parameters"] == cost_of(saved.config.model, saved.config.data).parameters
    right = 0
    for name in SHAPES:
        for i in range(10):
            result = predict(saved, shapes.parent / "images" / name / f"{i}.png")
            right += result["predictions"][0]["class"] == name
    assert right > 20  # of 30; 10 by chance


def test_predictions_are_those_of_the_training_pixels(shapes: Path) -> None:
    saved = load_run(shapes)
    file = sorted((shapes.parent / "images" / "square").iterdir())[0]
    pixels = prepare(file, saved.config.data).pixels
    full = load(saved.config.data)
    everything = torch.cat([full.train.images, full.validation.images, full.test().images])  # type: ignore[union-attr]
    assert (everything == pixels).flatten(1).all(1).any()
    found = predict(saved, file)["predictions"]
    assert sum(p["probability"] for p in found) == pytest.approx(1, abs=1e-5)
    assert [p["probability"] for p in found] == sorted(
        (p["probability"] for p in found), reverse=True
    )


@pytest.mark.parametrize(
    ("mode", "ink", "paper"),
    [
        ("L", 255, 0),
        ("L", 40, 230),
        ("RGB", (20, 20, 90), (240, 240, 230)),
        ("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
        ("RGBA", (255, 255, 255, 255), (0, 0, 0, 0)),
        ("P", 255, 0),
        ("1", 0, 1),
    ],
    ids=["light", "dark", "colour", "transparent", "light on transparent", "palette", "bits"],
)
def test_a_drawing_is_the_same_in_every_polarity(
    tmp_path: Path, mode: str, ink: Any, paper: Any
) -> None:
    plain = prepare(seven(tmp_path / "plain.png", "L", 0, 255), MNIST).pixels
    other = prepare(seven(tmp_path / "other.png", mode, ink, paper), MNIST).pixels
    assert (plain.int() - other.int()).abs().max() <= 3


def test_size_and_place_on_the_sheet_do_not_matter(tmp_path: Path) -> None:
    plain = prepare(seven(tmp_path / "plain.png", "L", 0, 255), MNIST)
    drawn = Image.open(tmp_path / "plain.png")
    sheet = Image.new("L", (900, 500), 250)
    sheet.paste(drawn.resize((300, 450)), (560, 20))
    sheet.save(tmp_path / "sheet.png")
    other = prepare(tmp_path / "sheet.png", MNIST)
    assert (plain.inverted, plain.centred) == (other.inverted, other.centred) == (True, True)
    assert (plain.pixels.int() - other.pixels.int()).abs().float().mean() < 4
    assert plain.pixels.float().mean() > 10


def test_an_mnist_digit_put_on_a_white_sheet_comes_back(
    tmp_path: Path, mnist_config: DataConfig
) -> None:
    """MNIST's own placing is the truth."""
    digits = load(mnist_config).train.images[:40, 0]
    distances = []
    for i, digit in enumerate(digits):
        sheet = Image.new("L", (400, 300), 255)
        large = Image.fromarray(255 - digit.numpy()).resize((112, 112), Image.Resampling.BICUBIC)
        sheet.paste(large, (13 + 5 * i, 150))
        sheet.save(tmp_path / "sheet.png")
        pixels = prepare(tmp_path / "sheet.png", mnist_config).pixels[0]
        distances.append((pixels.float() - digit.float()).abs().mean())
    ink = digits.float().mean()
    assert torch.stack(distances).median() < 0.25 * ink


def test_an_image_of_the_networks_size_is_left_where_it_is(tmp_path: Path) -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[2:8, 3:5] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    prepared = prepare(tmp_path / "a.png", MNIST)
    assert (prepared.inverted, prepared.centred) == (False, False)
    assert np.array_equal(prepared.pixels[0].numpy(), pixels)
    assert prepare(tmp_path / "a.png", MNIST, invert="yes").pixels[0, 0, 0] == 255
    assert prepare(tmp_path / "a.png", MNIST, centre="yes").pixels[0, 2:8, 3:5].sum() == 0


def test_a_photograph_for_cifar10_is_left_alone(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64), (250, 240, 230))
    image.save(tmp_path / "photo.png")
    data = DataConfig(name="cifar10", channels=3, size=32, mean=[0.5], std=[0.2])
    prepared = prepare(tmp_path / "photo.png", data)
    assert prepared.pixels[:, 0, 0].tolist() == [250, 240, 230]
    assert (prepared.inverted, prepared.centred) == (False, False)


def test_a_blank_image_is_refused_by_name(tmp_path: Path) -> None:
    Image.new("L", (50, 60), 255).save(tmp_path / "blank.png")
    with pytest.raises(DataError, match=r"blank\.png: is blank"):
        prepare(tmp_path / "blank.png", MNIST)


@pytest.mark.parametrize(("ground", "invert"), [(255, "no"), (0, "yes")])
def test_a_drawing_in_the_wrong_polarity_is_refused_by_name(
    tmp_path: Path, ground: int, invert: Literal["yes", "no"]
) -> None:
    image = Image.new("L", (100, 60), ground)
    image.paste(255 - ground, (48, 10, 52, 50))
    image.save(tmp_path / "line.png")
    with pytest.raises(DataError, match=r"line\.png: nothing in it.*--invert at auto"):
        prepare(tmp_path / "line.png", MNIST, invert, "yes")


def test_a_bad_file_is_one_line_and_the_others_are_predicted(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = shapes.parent / "images" / "circle" / "0.png"
    (tmp_path / "bad.png").write_text("no image")
    files = [str(tmp_path / "bad.png"), str(good), str(tmp_path / "none.png")]
    with pytest.raises(SystemExit) as exit:
        main([str(shapes), *files])
    out, err = capsys.readouterr()
    assert exit.value.code == 1
    assert out.startswith(str(good)) and out.count("%") == 3 and out.count("\n") == 1
    assert [line.split(": ")[0] for line in err.splitlines()] == [files[0], files[2]]


def test_json_has_every_file(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = shapes.parent / "images" / "circle" / "0.png"
    with pytest.raises(SystemExit) as exit:
        main([str(shapes), str(good), "missing.png", "--json", "--top", "2"])
    found = json.loads(capsys.readouterr().out)
    assert exit.value.code == 1
    assert found[0]["file"] == str(good) and len(found[0]["predictions"]) == 2
    assert found[1] == {"file": "missing.png", "error": "missing.png: there is no such file."}


def test_a_name_that_is_no_text_can_be_told(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = shapes.parent / "images" / "circle" / "0.png"
    odd = tmp_path / os.fsdecode(b"\xff\n.png")
    odd.write_bytes(good.read_bytes())
    for more in ["--json"], []:
        with suppress(SystemExit):
            main([str(shapes), str(odd), *more])
        out = capsys.readouterr().out
        out.encode()
        if more:
            assert json.loads(out)[0]["file"] == str(odd)
        else:
            assert out.count("\n") == 1 and "\\xff\\n.png" in out


def test_a_sweep_stands_for_its_winner(shapes: Path) -> None:
    rows = [{"rank": 1, "folder": "run"}, {"rank": 2, "folder": "other"}]
    board = shapes.parent / "leaderboard.json"
    board.write_text(json.dumps(rows))
    assert load_run(shapes.parent).folder == shapes
    board.write_text(json.dumps([{"rank": None, "folder": None}]))
    with pytest.raises(UserError, match="no trial of this sweep is complete"):
        load_run(shapes.parent)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (".hydra/config.yaml", None, "is missing: no finished run there"),
        ("summary.json", None, "is missing: no finished run there"),
        ("model.pt", None, "is missing: no finished run there"),
        (".hydra/config.yaml", "a: [", "cannot be read"),
        (".hydra/config.yaml", "unknown: 1", "cannot be read"),
        ("summary.json", "{", "cannot be read"),
        ("summary.json", "{}", "is no summary of a run"),
        ("model.pt", "nothing", "cannot be read"),
    ],
)
def test_a_broken_run_is_told_in_one_line(
    shapes: Path, tmp_path: Path, file: str, content: str | None, words: str
) -> None:
    for name in (".hydra/config.yaml", "summary.json", "model.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((shapes / name).read_bytes())
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=words) as error:
        load_run(tmp_path)
    assert "\n" not in str(error.value) and Path(file).name in str(error.value)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_command_of_the_guide_to_own_data_runs(tmp_path: Path) -> None:
    text = (DOCS / "own-data.md").read_text(encoding="utf-8")
    commands = "\n".join(re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert commands.count("\nbudgetsweep ") == 9
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=tmp_path, env={**os.environ, "PATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("new/one.png  circle") for line in lines)
    assert any(line.startswith("new/two.png  triangle") for line in lines)
    assert (tmp_path / "for-the-phone" / "network.onnx").exists()
