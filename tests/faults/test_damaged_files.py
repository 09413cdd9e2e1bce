"""A file that was cut, emptied, altered or replaced: named in a sentence, or no harm done."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import train
from injecting import DAMAGES, budgetsweep, content, copy_of, damage
from PIL import Image, ImageDraw

from budgetsweep import tensors
from budgetsweep.data import cache
from budgetsweep.errors import UserError

FLIPS = 200
# Of a text a flipped bit may make another that says something, too.
TEXT = {("summary.json", "flipped"), (".hydra/config.yaml", "flipped")}


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    image = Image.new("L", (28, 28), 0)
    ImageDraw.Draw(image).line([(8, 5), (20, 5), (12, 24)], fill=255, width=3)
    image.save(tmp_path / "seven.png")
    return tmp_path / "seven.png"


def saved(state: Any) -> bytes:
    """All that it holds."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def numbers(summary: Path) -> dict[str, Any]:
    """What a run came to, without its times."""
    timed = ("seconds", "images_per_second")
    return {k: v for k, v in json.loads(summary.read_text()).items() if not k.endswith(timed)}


@pytest.mark.parametrize("name", ["model.pt", "checkpoint.pt"])
def test_no_flipped_bit_is_read_as_another_number(
    name: str, finished: Path, tmp_path: Path
) -> None:
    """torch itself reads on: of such bits, most are in a weight."""
    path = tmp_path / name
    whole = saved(torch.load(finished / name, weights_only=True))
    refused = 0
    for seed in range(FLIPS):
        path.write_bytes((finished / name).read_bytes())
        damage(path, "flipped", seed)
        try:
            found = tensors.load(path)
        except UserError as error:
            refused += str(path) in str(error)
        else:  # a bit that nobody reads
            assert saved(found) == whole
    assert refused > FLIPS / 2


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", ["model.pt", "summary.json", ".hydra/config.yaml"])
def test_what_is_read_of_a_run_is_named(
    name: str, kind: str, finished: Path, drawing: Path, tmp_path: Path
) -> None:
    if (name, kind) in TEXT:
        return
    run = copy_of(finished, tmp_path / "run")
    damage(run / name, kind, seed=5)
    before = content(run)
    for command in (["predict", run, drawing], ["export", run, "--format", "torch"]):
        ended = budgetsweep(*command)
        ended.check_told(f"{run / name}")
        assert content(run) == before


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_checkpoint_is_named_and_kept(kind: str, half: Path, tmp_path: Path) -> None:
    run = copy_of(half, tmp_path / "run")
    damage(run / "checkpoint.pt", kind, seed=5)
    before = content(run)
    ended = train(run, "resume=true")
    ended.check_told(str(run / "checkpoint.pt"), "emove it")
    assert content(run) == before | {k: v for k, v in content(run).items() if ".hydra" in k}


@pytest.mark.parametrize("kind", [k for k in DAMAGES if k != "folder"])
@pytest.mark.parametrize("name", ["model.pt", "summary.json"])
def test_results_are_made_again_from_the_checkpoint(
    name: str, kind: str, finished: Path, tmp_path: Path
) -> None:
    run = copy_of(finished, tmp_path / "run")
    damage(run / name, kind, seed=1)
    if (name, kind) in TEXT:
        return
    ended = train(run, "resume=true")
    assert ended.code == 0, ended.err
    assert numbers(run / "summary.json") == numbers(finished / "summary.json")
    made, whole = (torch.load(f / "model.pt", weights_only=True) for f in (run, finished))
    torch.testing.assert_close(made, whole, rtol=0, atol=0)


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize(
    "name", ["summary.json", "metrics.csv", "model.pt", ".hydra/config.yaml", "checkpoint.pt"]
)
def test_a_report_tells_what_there_is(name: str, kind: str, finished: Path, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path / "run")
    damage(run / name, kind, seed=2)
    ended = budgetsweep("report", run)
    assert ended.code == 0 or str(run) in ended.err, ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_kept_dataset_that_was_damaged_is_read_anew(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.pt"
    images = torch.arange(512, dtype=torch.uint8).reshape(8, 1, 8, 8)
    cache.save(path, ["files"], images=images)
    assert torch.equal(cache.load(path, bool)["images"], images)  # type: ignore[index]
    damage(path, kind, seed=4)
    assert cache.load(path, bool) is None
