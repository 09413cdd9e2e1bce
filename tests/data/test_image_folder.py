"""Folders of a person's own images: what is a class, a part, an image; read once, and kept."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import compose, compose_raw
from omegaconf import OmegaConf
from PIL import Image

from budgetsweep import data
from budgetsweep.config import DataConfig
from budgetsweep.data import dataset, decode, image_folder
from budgetsweep.errors import DataError, SettingError
from budgetsweep.network.budget import violations
from budgetsweep.network.saved import load_run
from budgetsweep.runs.prediction import predict
from budgetsweep.training.run import run


def draw(folder: Path, counts: dict[str, int], size: tuple[int, int] = (12, 12)) -> None:
    """Images whose grey value tells their class and number."""
    for label, (name, n) in enumerate(sorted(counts.items())):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.new("L", size, 60 * label + i).save(folder / name / f"{i}.png")


def own(path: Path, **values: Any) -> DataConfig:
    config = DataConfig(
        "image_folder",
        classes=None,
        channels=None,
        size=8,
        validation=0,
        path=str(path),  # type: ignore[arg-type]
    )
    return dataclasses.replace(config, **values)


def load(path: Path, **values: Any) -> data.Dataset:
    """As a new process does."""
    image_folder.find.cache_clear()
    dataset._load.cache_clear()
    return data.load(own(path, **values))


def refusal(path: Path, **values: Any) -> str:
    with pytest.raises((DataError, SettingError)) as caught:
        load(path, **values)
    return str(caught.value)


def greys(part: data.Images | None) -> list[int]:
    """The grey values of a part's images, which tell class and number."""
    assert part is not None
    return sorted(part.images[:, 0, 0, 0].tolist())


def of(*numbers: int, label: int = 0) -> list[int]:
    return [60 * label + n for n in numbers]


# --- Layouts --------------------------------------------------------------------------------------


def test_a_fifth_of_each_class_becomes_the_test_set(tmp_path: Path) -> None:
    draw(tmp_path, {"cat": 50, "ant": 10, "bee": 5})
    loaded = load(tmp_path, validation=10)
    assert loaded.class_names == ("ant", "bee", "cat")
    parts = [loaded.train, loaded.validation, loaded.test()]
    assert [part.labels.bincount().tolist() for part in parts if part] == [
        [7, 3, 32], [1, 1, 8], [2, 1, 10],
    ]  # fmt: skip
    seen = sorted(grey for part in parts for grey in greys(part))
    assert seen == sorted(60 * c + i for c, n in enumerate((10, 5, 50)) for i in range(n))
    for part in (loaded.train, loaded.test()):
        assert torch.equal(part.images[:, 0, 0, 0] // 60, part.labels)


def test_no_setting_moves_the_test_set(tmp_path: Path) -> None:
    draw(tmp_path, {"a": 30, "b": 30})
    first = greys(load(tmp_path).test())
    for values in ({"split_seed": 1}, {"validation": 10}, {"limit": 20, "validation": "auto"}):
        loaded = load(tmp_path, **values)
        assert greys(loaded.test()) == first
        assert not set(greys(loaded.train)) & set(first)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("train", "valid", "test"),
        ("training", "validation", "testing"),
        ("Training Set", "Validation Set", "Test Set"),
        ("TRAIN", "DEV", "EVAL"),
        ("train2017", "val2017", "test2017"),
        ("seg_train/seg_train", "seg_val", "seg_test/seg_test"),
        ("pets/train_images", "pets/val_images", "pets/test_images"),
    ],
)
def test_parts_are_known_by_their_folders(
    train: str, validation: str, test: str, tmp_path: Path
) -> None:
    draw(tmp_path / train, {"a": 6, "b": 6})
    draw(tmp_path / validation, {"a": 20, "b": 3})
    draw(tmp_path / test, {"a": 1, "b": 4})
    (tmp_path / "labels.csv").write_text("loose files are no classes")
    loaded = load(tmp_path, validation="auto")
    assert loaded.class_names == ("a", "b")
    counts = [part.labels.bincount().tolist() for part in (loaded.train, loaded.test())]
    assert counts == [[6, 6], [1, 4]]
    assert loaded.validation is not None
    assert loaded.validation.labels.bincount().tolist() == [20, 3]


def test_train_and_val_alone_leave_the_test_set_to_be_cut_from_train(tmp_path: Path) -> None:
    draw(tmp_path / "train", {"ants": 30, "bees": 30})
    draw(tmp_path / "val", {"ants": 10, "bees": 10})
    loaded = load(tmp_path, validation="auto")
    assert loaded.class_names == ("ants", "bees")
    assert (len(loaded.train), len(loaded.test())) == (48, 12)
    assert loaded.validation is not None and len(loaded.validation) == 20
    assert len(load(tmp_path, validation=0).train) == 68  # nothing held out


@pytest.mark.parametrize("name", ["", "a-picture.png", "unknown/1.png"])
def test_a_test_folder_without_classes_is_left_out_with_a_word(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw(tmp_path / "train", {"a": 20, "b": 20})
    picture = tmp_path / "test" / (name or "x")
    picture.parent.mkdir(parents=True)
    if name:
        Image.new("L", (9, 9)).save(picture)
    loaded = load(tmp_path)
    assert (len(loaded.train), len(loaded.test())) == (32, 8)
    assert "test/ holds no images in class folders" in caplog.text


def test_a_class_that_is_called_like_a_part_is_a_class(tmp_path: Path) -> None:
    draw(tmp_path / "road", {"bus": 5, "car": 5, "train": 5})
    assert load(tmp_path / "road").class_names == ("bus", "car", "train")
    draw(tmp_path / "parts" / "train", {"test": 5, "train": 5, "val": 5})
    assert load(tmp_path / "parts").class_names == ("test", "train", "val")
    draw(tmp_path / "words", {"test tube": 5, "training shoe": 5, "valley": 5})
    assert load(tmp_path / "words").class_names == ("test tube", "training shoe", "valley")


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["a", "b", "test"], ["a/ (5 images)", "test/ (5 images)", "rename a class"]),
        (["train", "test"], ["train/ (5 images)", "train/CLASS/"]),
        (["train", "val", "test"], ["val/ (5 images)"]),
        (["val/a", "val/b", "test/a", "test/b"], ["test/ (10 images in a, b)"]),
        (["train/a", "train/b", "c", "d"], ["c/ (5 images)", "train/ (10 images in a, b)"]),
        (["train/a", "train/b", "val/a", "valid/a"], ["val/ (5", "valid/ (5"]),
        (["a/train", "a/test", "b/train", "b/test"], ["holds test, train", "train/CLASS/"]),
        (["a"], ["at least 2; has 1"]),
        (["."], ["at least 2; has 0", "5 images that lie in no such folder"]),
    ],
    ids=lambda value: " ".join(value) if "images" not in str(value) else "",
)
def test_what_cannot_be_told_is_refused_with_what_was_found(
    folders: list[str], words: list[str], tmp_path: Path
) -> None:
    for folder in folders:
        draw(tmp_path, {folder: 5})
    message = refusal(tmp_path)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message


def test_a_class_that_only_test_has_is_refused_and_one_that_test_lacks_is_not(
    tmp_path: Path,
) -> None:
    draw(tmp_path / "train", {"a": 4, "b": 2})
    draw(tmp_path / "test", {"b": 3})
    loaded = load(tmp_path, validation=2)
    assert loaded.validation is not None
    assert loaded.validation.labels.tolist() == [0, 1]
    assert loaded.train.labels.tolist() == [0, 0, 0, 1]
    assert loaded.test().labels.tolist() == [1, 1, 1]
    (tmp_path / "test" / "c").mkdir()
    assert "lacks: c." in refusal(tmp_path)


# --- Files, folders and links ---------------------------------------------------------------------

DEBRIS = (
    "@eaDir/0.png/SYNOPHOTO_THUMB_M.png", ".thumbnails/0.png", "thumbs/0.png", "#recycle/0.png",
    ".ipynb_checkpoints/0-checkpoint.png", "._0.png", "Thumbs.db", ".DS_Store", "desktop.ini",
)  # fmt: skip


def test_what_systems_leave_behind_is_no_image_and_no_class(tmp_path: Path) -> None:
    draw(tmp_path, {"a": 10, "b": 10})
    for place in (tmp_path / "a", tmp_path / "b", tmp_path):
        for name in (*DEBRIS, "__MACOSX/._0.png", "__MACOSX/0.png"):
            if place != tmp_path or not name.startswith("thumbs/"):
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (5, 5)).save(place / name, "PNG")
    loaded = load(tmp_path)
    assert loaded.class_names == ("a", "b")
    assert len(loaded.train) + len(loaded.test()) == 20


def test_nested_folders_and_endings_of_any_case_belong_to_their_class(tmp_path: Path) -> None:
    draw(tmp_path, {"a": 4, "b": 8})
    draw(tmp_path, {"a/deep/er": 4})
    for i, name in enumerate(("X.PNG", "Y.Jpeg", "no ending")):
        Image.new("L", (8, 8), 50 + i).save(tmp_path / "a" / name, "PNG")
    for name in ("about.txt", "boxes.XML", "meta.json", "clip.mp4", "more.zip"):
        (tmp_path / "a" / name).write_text("no image, and not named so")
    loaded = load(tmp_path)
    seen = greys(loaded.train) + greys(loaded.test())
    assert sorted(seen) == sorted([*of(0, 1, 2, 3) * 2, 50, 51, 52, *of(*range(8), label=1)])


def test_links_are_followed_once(tmp_path: Path) -> None:
    top = tmp_path / "images"
    draw(top, {"a": 3, "b": 6})
    draw(tmp_path, {"elsewhere": 12})
    (top / "a" / "batch").symlink_to(tmp_path / "elsewhere")
    (top / "a" / "again").symlink_to(tmp_path / "elsewhere")
    (top / "a" / "self").symlink_to(top / "a")
    (top / "a" / "up").symlink_to("..")
    (top / "a" / "copy.png").symlink_to("0.png")
    (tmp_path / "elsewhere" / "round").symlink_to(top / "a")
    (top / "c").symlink_to(tmp_path / "linked class")
    draw(tmp_path, {"linked class": 5})
    loaded = load(top)
    whole = sum(
        part.labels.bincount(minlength=3)
        for part in (loaded.train, loaded.validation, loaded.test())
        if part
    )
    assert (loaded.class_names, whole.tolist()) == (("a", "b", "c"), [15, 6, 5])


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    draw(tmp_path, {"a": 10, "b": 10})
    (tmp_path / "a" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "b" / "round.png").symlink_to("round.png")
    message = refusal(tmp_path)
    assert "2 of the 22 files" in message and "gone.png (there is no such file)" in message
    assert "round.png" in message and "None" not in message


def test_one_file_in_two_parts_or_classes_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "train", {"a": 4, "b": 4})
    draw(tmp_path / "test", {"a": 1})
    (tmp_path / "test" / "b").symlink_to("../train/b")
    assert "one file, in two parts" in refusal(tmp_path)
    (tmp_path / "test" / "b").unlink()
    (tmp_path / "train" / "b" / "more").symlink_to("../a")
    (tmp_path / "train" / "a" / "more").symlink_to("../b")
    assert "one file, in two classes" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9", "caf\\xe9"),
        (b"<script>alert(1)", None),
        (b"$\\price$", None),
        (b"two\nlines", "two\\nlines"),
        ("größe × 2".encode(), None),
        (b"n" * 255, None),
    ],
)
def test_a_class_may_be_called_anything(name: bytes, shown: str | None, tmp_path: Path) -> None:
    draw(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a").rename(tmp_path / os.fsdecode(name))
    loaded = load(tmp_path)
    expected = shown or name.decode()
    assert set(loaded.class_names) == {expected, "b"}
    assert all(text.encode().decode().isprintable() for text in loaded.class_names)


def test_two_unreadable_names_stay_apart(tmp_path: Path) -> None:
    draw(tmp_path, {"a": 5, "b": 5})
    for old, new in (("a", b"caf\xe9"), ("b", b"caf\xe8")):
        (tmp_path / old).rename(tmp_path / os.fsdecode(new))
    assert load(tmp_path).class_names == ("caf\\xe8", "caf\\xe9")


# --- Reading --------------------------------------------------------------------------------------


def test_all_bad_files_are_named_at_once(tmp_path: Path) -> None:
    draw(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "notes.jpg").write_text("no image")
    cut_file = tmp_path / "b" / "0.png"
    cut_file.write_bytes(cut_file.read_bytes()[:50])
    message = refusal(tmp_path)
    assert "2 of the 11 files" in message
    assert f"{Path('a', 'notes.jpg')} (unknown format)" in message
    assert str(Path("b", "0.png")) in message
    for i in range(30):
        (tmp_path / "a" / f"bad{i:02}.jpg").touch()
    message = refusal(tmp_path)
    assert message.count(".jpg") == 20 and "and 12 more" in message


@pytest.mark.parametrize(
    ("counts", "validation", "words"),
    [
        ({"a": 5, "b": 1}, 0, ["b (1)", "at least 2: one to train, one to test"]),
        ({"a": 5, "b": 2, "c": 0}, 3, ["b (2), c (0)", "at least 3"]),
        ({"a": 5, "b": 2, "c": 0}, "auto", ["b (2), c (0)", "at least 3"]),
    ],
)
def test_too_few_images(
    tmp_path: Path, counts: dict[str, int], validation: Any, words: list[str]
) -> None:
    draw(tmp_path, counts)
    message = refusal(tmp_path, validation=validation)
    assert all(word in message for word in words), message


def test_the_number_of_classes_must_be_that_of_the_folders(tmp_path: Path) -> None:
    draw(tmp_path, {"a": 2, "b": 2, "c": 2})
    assert "data.classes=10: must be 3" in refusal(tmp_path, classes=10)


def test_classes_and_channels_are_read_off_the_folder(tmp_path: Path) -> None:
    draw(tmp_path, {"a": 5, "b": 5, "c": 5})
    settled = data.resolve(own(tmp_path))
    assert (settled.classes, settled.channels) == (3, 1)
    Image.new("RGB", (5, 5)).save(tmp_path / "b" / "0.png")
    image_folder.find.cache_clear()
    assert data.resolve(own(tmp_path)).channels == 3
    assert data.resolve(own(tmp_path, channels=1)).channels == 1


def no_reading(*_: Any) -> None:
    raise AssertionError("an image was decoded")


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path, {"a": 20, "b": 20})
    first = load(tmp_path)
    tested = greys(first.test())
    monkeypatch.setattr(decode, "read_image", no_reading)
    again = load(tmp_path, split_seed=3)
    assert greys(again.train) == greys(first.train)
    assert greys(again.test()) == tested


def test_the_test_images_are_decoded_when_called_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path, {"a": 20, "b": 20})
    loaded = load(tmp_path)
    monkeypatch.setattr(decode, "read_image", no_reading)
    with pytest.raises(AssertionError):
        loaded.test()


def add(folder: Path) -> None:
    Image.new("L", (9, 9), 200).save(folder / "a" / "new.png")


def remove(folder: Path) -> None:
    for file in (folder / "a").glob("1*.png"):
        file.unlink()


def repaint(folder: Path) -> None:
    for file in (folder / "a").glob("*.png"):
        Image.new("L", (12, 12), 210).save(file)


@pytest.mark.parametrize("change", [add, remove, repaint])
def test_a_changed_folder_is_read_anew(change: Callable[[Path], None], tmp_path: Path) -> None:
    draw(tmp_path, {"a": 20, "b": 20})
    load(tmp_path).test()
    change(tmp_path)
    loaded = load(tmp_path)
    expected = sorted(
        Image.open(file).getpixel((0, 0))
        for file in tmp_path.glob("*/*.png")  # type: ignore[type-var]
    )
    assert sorted(greys(loaded.train) + greys(loaded.test())) == expected


@pytest.mark.parametrize(
    "harm", [lambda content: content[:100], lambda _: b"", lambda _: b"x" * 99]
)
def test_a_damaged_cache_is_no_error(
    harm: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draw(tmp_path / "images", {"a": 20, "b": 20})
    first = greys(load(tmp_path / "images").train)
    for file in (tmp_path / "cache").rglob("*.pt"):
        file.write_bytes(harm(file.read_bytes()))
    assert greys(load(tmp_path / "images").train) == first


# --- What the rest of the application sees --------------------------------------------------------


def test_a_sweeps_limits_are_asked_with_the_folders_own_numbers(tmp_path: Path) -> None:
    draw(tmp_path, dict.fromkeys("abcdefghijklmnop", 3))
    image_folder.find.cache_clear()
    wide = ("budget.max_parameters=19668", f"data.path={tmp_path}", "data=image_folder")
    # The reference has 19,668 parameters for ten classes, and more for sixteen.
    assert violations(compose_raw(*wide))["parameters"] > 0
    assert violations(compose_raw(*wide, "data.classes=10"))["parameters"] == 0


def test_a_run_on_a_folder_goes_on_and_predicts_without_it(tmp_path: Path) -> None:
    images, folder = tmp_path / "images", tmp_path / "run"
    draw(images, {"a": 20, "b": 20})
    overrides = [
        "data=image_folder", f"data.path={images}", "data.size=16", "model=tiny",
        "trainer.batch_size=8", "trainer.epochs=1",
    ]  # fmt: skip
    image_folder.find.cache_clear()
    summary = run(compose(*overrides), folder, threads=1)
    assert (summary["channels"], summary["class_names"]) == (1, ["a", "b"])
    assert run(compose(*overrides, "resume=true"), folder, threads=1) == summary
    (folder / ".hydra").mkdir()
    OmegaConf.save(compose_raw(*overrides), folder / ".hydra" / "config.yaml")
    image = tmp_path / "new.png"
    (images / "a" / "0.png").rename(image)
    shutil.rmtree(images)
    saved = load_run(folder)
    assert saved.config.data.mean == summary["mean"] and saved.config.data.classes == 2
    assert {p["class"] for p in predict(saved, image)["predictions"]} == {"a", "b"}
