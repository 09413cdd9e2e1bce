"""A folder of images that is no longer what a run saw: every later look says so, and nothing is lost."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from composing import compose, compose_raw
from omegaconf import OmegaConf
from PIL import Image

from budgetsweep import data, tensors
from budgetsweep.config import Config
from budgetsweep.data import dataset, image_folder
from budgetsweep.errors import UserError
from budgetsweep.exporting.exported import describe
from budgetsweep.exporting.exporter import export
from budgetsweep.network.saved import load_run
from budgetsweep.report.network import look_at
from budgetsweep.training import epochs
from budgetsweep.training.run import run
from budgetsweep.training.shared import share

OVERRIDES = (
    "data=image_folder", "data.path=images", "data.size=16", "model=tiny", "trainer.batch_size=8",
    "trainer.epochs=2", "trainer.test=false", "trainer.precision=fp32", "trainer.memory_format=contiguous",
    "trainer.device=cpu",
)  # fmt: skip


class Killed(Exception):
    """In place of a process that ends."""


def draw(path: Path, grey: int, side: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side), grey).save(path)


def new_process() -> None:
    image_folder.find.cache_clear()
    dataset._load.cache_clear()


def train(folder: str = "run", *more: str, **settings: Any) -> dict[str, Any]:
    new_process()
    config: Config = compose(*OVERRIDES, *more)
    for key, value in settings.items():
        setattr(config.data, key, value)
    return run(config, Path(folder), threads=1)


def kill_after_an_epoch(monkeypatch: pytest.MonkeyPatch, folder: str = "run") -> None:
    """Leaves a folder as a process does that was killed between its epochs."""

    def save_and_die(self: epochs.Run) -> None:
        saved(self)
        raise Killed

    saved = epochs.Run._save
    with monkeypatch.context() as patch:
        patch.setattr(epochs.Run, "_save", save_and_die)
        with pytest.raises(Killed):
            train(folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and a finished run on them that did not read the test set."""
    place = tmp_path_factory.mktemp("finished")
    for label, name in enumerate(("ant", "bee")):
        for i in range(20):
            draw(place / "images" / name / f"{i:02}.png", 100 * label + i)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        train()
    (place / "run" / ".hydra").mkdir()
    OmegaConf.save(compose_raw(*OVERRIDES), place / "run" / ".hydra" / "config.yaml")
    return place


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same elsewhere, and there the current folder."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add(images: Path) -> None:
    draw(images / "ant" / "new.png", 50)


def remove(images: Path) -> None:
    (images / "ant" / "07.png").unlink()


def swap(images: Path) -> None:
    """As many as before, one of them another: larger, as the content's size tells it."""
    for i in range(20):
        draw(images / "bee" / f"{i:02}.png", 100 + i, side=30)


def rename(images: Path) -> None:
    (images / "ant").rename(images / "cow")


CHANGES = {
    # 40 images: a fifth of each class is tested on, the rest trained or validated on.
    add: ["train: 32 images then, 33 now"],
    remove: ["train: 32 images then, 31 now"],
    swap: ["train: 32 images then, 32 others now", "test: 8 images then, 8 others now"],
    rename: ["classes: ant gone, cow new"],
}
EVERY = pytest.mark.parametrize(
    ("change", "words"), CHANGES.items(), ids=[change.__name__ for change in CHANGES]
)


def told(call: Callable[[], Any]) -> str:
    new_process()
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@EVERY
@pytest.mark.by_default("add", "rename")
def test_the_test_set_is_not_read_late_of_other_images(
    change: Callable[[Path], None], words: list[str], place: Path
) -> None:
    change(place / "images")
    before = everything(place / "run")
    message = told(lambda: train("run", "resume=true", "trainer.test=true"))
    for word in ("data.path=images", *words, "hydra.run.dir"):
        assert word in message
    assert everything(place / "run") == before


def test_a_run_that_was_killed_does_not_go_on_with_other_images(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after_an_epoch(monkeypatch, "killed")
    held = (place / "images" / "bee" / "03.png").read_bytes()
    (place / "images" / "bee" / "03.png").unlink()
    before = everything(place / "killed")
    assert "31 now" in told(lambda: train("killed", "resume=true"))
    assert everything(place / "killed") == before
    (place / "images" / "bee" / "03.png").write_bytes(held)
    expected = json.loads((place / "run" / "summary.json").read_text())
    assert train("killed", "resume=true")["val_loss"] == expected["val_loss"]


def test_another_class_is_told_as_such_where_it_makes_another_network(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after_an_epoch(monkeypatch, "killed")
    for i in range(9):
        draw(place / "images" / "cow" / f"{i}.png", 200 + i)
    assert "classes: cow new" in told(lambda: train("killed", "resume=true"))


def test_a_folder_that_was_moved_or_copied_is_the_same(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "images").rename(place / "elsewhere")
    shutil.copytree(place / "elsewhere", place / "images", copy_function=shutil.copyfile)
    assert train("run", "resume=true", "trainer.test=true")["test_accuracy"] is not None


def test_a_checkpoint_of_before_there_was_a_note_goes_on(place: Path) -> None:
    state = tensors.load(place / "run" / "checkpoint.pt")
    del state["contents"]
    tensors.save(place / "run" / "checkpoint.pt", state)
    add(place / "images")
    assert train("run", "resume=true", "trainer.test=true")["test_accuracy"] is not None


def test_a_finished_run_has_its_results_whatever_became_of_the_images(place: Path) -> None:
    add(place / "images")
    summary = json.loads((place / "run" / "summary.json").read_text())
    assert train("run", "resume=true") == summary


# --- Runs that are compared -----------------------------------------------------------------------


@EVERY
@pytest.mark.by_default("add", "rename")
def test_runs_of_one_sweep_see_the_same_images(
    change: Callable[[Path], None], words: list[str], place: Path
) -> None:
    share(place / "sweep")
    train("sweep/0", "trainer.epochs=1")
    train("sweep/1", "trainer.epochs=1", "data.split_seed=3", "data.validation=8", "data.limit=20")
    shutil.copytree(place / "images", place / "others")
    change(place / "images")
    message = told(lambda: train("sweep/2", "trainer.epochs=1"))
    for word in ("data.path=images", *words, "hydra.sweep.dir"):
        assert word in message
    assert not (place / "sweep" / "2" / "checkpoint.pt").exists()
    # A sweep over folders is one of each.
    train("sweep/3", "trainer.epochs=1", path="others")
    change(place / "others")
    assert "data.path=others" in told(lambda: train("sweep/4", "trainer.epochs=1", path="others"))


def test_a_sweep_below_another_has_images_of_its_own(place: Path) -> None:
    share(place / "sweep")
    train("sweep/0", "trainer.epochs=1")
    add(place / "images")
    share(place / "sweep" / "replicate")
    train("sweep/replicate/reference/1", "trainer.epochs=1")
    remove(place / "images")
    message = told(lambda: train("sweep/replicate/reference/2", "trainer.epochs=1"))
    assert re.search(r"move \S+/sweep/replicate away", message)


def test_a_damaged_note_is_made_anew(place: Path) -> None:
    share(place / "sweep")
    train("sweep/0", "trainer.epochs=1")
    (place / "sweep" / "images.json").write_text("[")
    train("sweep/1", "trainer.epochs=1")
    add(place / "images")
    assert "33 now" in told(lambda: train("sweep/2", "trainer.epochs=1"))


# --- Looks at a finished run ----------------------------------------------------------------------


@EVERY
@pytest.mark.by_default("add", "rename")
def test_a_report_shows_what_the_run_itself_counted(
    change: Callable[[Path], None], words: list[str], place: Path
) -> None:
    new_process()
    seen = look_at(place / "run", test=False)
    assert seen.mistakes is not None and seen.why_not == ""
    change(place / "images")
    new_process()
    looked = look_at(place / "run", test=False)
    assert "have changed since the run" in looked.why_not and words[0] in looked.why_not
    assert looked.mistakes is not None and looked.mistakes.worst == []
    assert (looked.mistakes.confusion == seen.mistakes.confusion).all()


@EVERY
@pytest.mark.by_default("add", "rename")
def test_an_export_says_so_and_refuses_other_classes(
    change: Callable[[Path], None], words: list[str], place: Path
) -> None:
    change(place / "images")
    new_process()
    saved = load_run(place / "run")
    if change is rename:
        message = told(lambda: export(saved, ["torch"], place / "out"))
        assert words[0] in message and not (place / "out").exists()
        # Of a run that kept no note, the names of its classes are known all the same.
        del saved.summary["contents"]
        assert words[0] in told(lambda: export(saved, ["torch"], place / "out"))
        return
    text = describe(saved, export(saved, ["torch"], place / "out"), place / "out")
    assert [w for w in words if w in text] == words and "have changed since the run" in text
    assert words[0] in json.loads((place / "out" / "export.json").read_text())["images_changed"]


def test_an_export_of_unchanged_images_says_nothing(place: Path) -> None:
    new_process()
    saved = load_run(place / "run")
    assert "have changed" not in describe(saved, export(saved, ["torch"], Path("out")), Path("out"))


# --- The note -------------------------------------------------------------------------------------


def test_the_note_names_the_parts_and_no_setting_changes_it(place: Path) -> None:
    config = data.resolve(compose(*OVERRIDES).data)
    new_process()
    note = data.held(config)
    assert note["classes"] == "ant\nbee"
    assert {k: v.partition(",")[0] for k, v in note.items() if k != "classes"} == {
        "train": "32 images", "test": "8 images"
    }  # fmt: skip
    others = replace(config, split_seed=4, validation=0, limit=9, size=28, channels=3)
    assert data.held(others) == note == data.load(others).contents
    (place / "images").rename(place / "train")
    (place / "images").mkdir()
    (place / "train").rename(place / "images" / "train")
    for name in ("ant", "bee"):
        draw(place / "images" / "val" / name / "0.png", 9)
    new_process()
    parts = data.held(config)
    assert parts["train"] == note["train"] and parts["validation"].startswith("2 images")


def test_other_datasets_need_no_note() -> None:
    config = compose("data=digits", "model=tiny").data
    assert data.held(config) == {} == data.load(config).contents
