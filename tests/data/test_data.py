"""Datasets: read as torchvision reads them, split once, refused when something is wrong."""

from __future__ import annotations

import bz2
import dataclasses
import functools
import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from PIL import Image
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from budgetsweep import data
from budgetsweep.config import CONF_DIR, DataConfig
from budgetsweep.data import dataset, torchvision_datasets
from budgetsweep.data.image_file import read_image
from budgetsweep.data.split import stratified
from budgetsweep.errors import DataError, SettingError

DIGITS = DataConfig(name="digits", size=8, validation=287)


# --- Small datasets in their original formats -----------------------------------------------------


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def idx(array: np.ndarray) -> bytes:
    kind = {"uint8": 8, "int32": 12}[array.dtype.name]
    header = struct.pack(f">4B{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def pixels(seed: int, n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def labels(n: int, classes: int = 10) -> np.ndarray:
    return (np.arange(n) * 7 % classes).astype(np.uint8)


@dataclasses.dataclass
class Small:
    """What a small dataset holds, and the folder with its original files."""

    config: DataConfig
    files: Path
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


class OldPickler(pickle.Pickler):
    """Spells dtypes as the numpy did that wrote CIFAR-10."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.dtype):
            return np.dtype, (obj.str[1:], 0, 1), (3, "|", None, None, None, -1, -1, 0)
        return NotImplemented


def old_pickle(content: Any) -> bytes:
    file = io.BytesIO()
    OldPickler(file, protocol=2).dump(content)
    return file.getvalue()


def tar_gz(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def mnist_like(name: str, patch: pytest.MonkeyPatch, train: Any, test: Any) -> dict[str, bytes]:
    parts = [("train", train), ("t10k", test)]
    files = {
        f"{part}-{kind}-ubyte.gz": gzip.compress(idx(array))
        for part, arrays in parts
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True)
    }
    dataset = {"fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}[name]
    resources = [(file, md5(content)) for file, content in files.items()]
    patch.setattr(getattr(torchvision.datasets, dataset), "resources", resources)
    return files


def qmnist(patch: pytest.MonkeyPatch, train: Any, test: Any) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    resources = {}
    for part, (images, classes) in {"train": train, "test": test}.items():
        about = np.stack([classes.astype(np.int32), *np.full((7, len(classes)), 3, np.int32)], 1)
        new = {
            f"qmnist-{part}-images-idx3-ubyte.gz": gzip.compress(idx(images)),
            f"qmnist-{part}-labels-idx2-int.gz": gzip.compress(idx(about)),
        }
        resources[part] = [(f"http://127.0.0.1:9/{f}", md5(c)) for f, c in new.items()]
        files |= new
    patch.setattr(torchvision.datasets.QMNIST, "resources", resources)
    return files


def emnist(patch: pytest.MonkeyPatch, train: Any, test: Any) -> dict[str, bytes]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for part, (images, classes) in {"train": train, "test": test}.items():
            prefix = f"gzip/emnist-balanced-{part}"
            columns_first = np.ascontiguousarray(images.transpose(0, 2, 1))
            zipped.writestr(f"{prefix}-images-idx3-ubyte.gz", gzip.compress(idx(columns_first)))
            zipped.writestr(f"{prefix}-labels-idx1-ubyte.gz", gzip.compress(idx(classes)))
    patch.setattr(torchvision.datasets.EMNIST, "md5", md5(packed.getvalue()))
    return {"gzip.zip": packed.getvalue()}


def usps(patch: pytest.MonkeyPatch, train: Any, test: Any) -> dict[str, bytes]:
    files, splits = {}, {}
    for part, name, (images, classes) in [
        ("train", "usps.bz2", train),
        ("test", "usps.t.bz2", test),
    ]:
        lines = [
            # Half a step up, since torchvision rounds down.
            " ".join(
                [str(c + 1), *(f"{i + 1}:{(p + 0.5) / 255 * 2 - 1:.6f}" for i, p in enumerate(x))]
            )
            for x, c in zip(images.reshape(len(images), -1), classes, strict=True)
        ]
        files[name] = bz2.compress("\n".join(lines).encode())
        splits[part] = [f"http://127.0.0.1:9/{name}", name, md5(files[name])]
    patch.setattr(torchvision.datasets.USPS, "split_list", splits)
    return files


def cifar10(patch: pytest.MonkeyPatch, train: Any, test: Any) -> dict[str, bytes]:
    dataset = torchvision.datasets.CIFAR10
    batches = {
        name: old_pickle(
            {"data": x.transpose(0, 3, 1, 2).reshape(len(x), -1), "labels": y.tolist()}
        )
        for name, (x, y) in {"data_batch_1": train, "test_batch": test}.items()
    }
    batches["batches.meta"] = old_pickle({"label_names": []})
    packed = tar_gz({f"{dataset.base_folder}/{name}": c for name, c in batches.items()})
    patch.setattr(dataset, "train_list", [["data_batch_1", md5(batches["data_batch_1"])]])
    patch.setattr(dataset, "test_list", [["test_batch", md5(batches["test_batch"])]])
    patch.setitem(dataset.meta, "md5", md5(batches["batches.meta"]))
    patch.setattr(dataset, "tgz_md5", md5(packed))
    return {dataset.filename: packed}


FORMATS: dict[str, Any] = {
    "fashion_mnist": functools.partial(mnist_like, "fashion_mnist"),
    "kmnist": functools.partial(mnist_like, "kmnist"),
    "qmnist": qmnist,
    "emnist": emnist,
    "usps": usps,
    "cifar10": cifar10,
}


def small(name: Any, tmp_path: Path, patch: pytest.MonkeyPatch, n: int = 100) -> Small:
    shape = {"usps": (16, 16), "cifar10": (32, 32, 3)}.get(name, (28, 28))
    classes = 47 if name == "emnist" else 10
    train = pixels(1, n, *shape), labels(n, classes)
    test = pixels(2, n // 2, *shape), labels(n // 2, classes)
    folder = tmp_path / "original files"
    folder.mkdir()
    for file, content in FORMATS[name](patch, train, test).items():
        (folder / file).write_bytes(content)
    config = DataConfig(
        name=name,
        classes=classes,
        channels=3 if name == "cifar10" else 1,
        size=shape[0],
        validation=0,
        root=str(tmp_path / "root"),
        mirror=folder.as_uri(),
    )
    return Small(config, folder, train, test)


@pytest.fixture
def fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    return small("fashion_mnist", tmp_path, monkeypatch)


def change(config: DataConfig, **values: Any) -> DataConfig:
    return dataclasses.replace(config, **values)


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: md5(p.read_bytes()) for p in folder.iterdir()}


# --- Reading --------------------------------------------------------------------------------------


def test_mnist_is_what_torchvision_reads(mnist_config: DataConfig) -> None:
    loaded = data.load(change(mnist_config, validation=0))
    for part, train in ((loaded.train, True), (loaded.test(), False)):
        truth = torchvision.datasets.MNIST(mnist_config.root, train=train)
        assert part.images.dtype == torch.uint8 and part.images.is_contiguous()
        assert torch.equal(part.images, truth.data[:, None])
        assert torch.equal(part.labels, truth.targets)
    assert loaded.validation is None
    assert loaded.class_names == tuple("0123456789")


@pytest.mark.parametrize("name", FORMATS)
def test_original_files_give_the_images_that_were_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = small(name, tmp_path, monkeypatch)
    before = hashes(written.files)
    loaded = data.load(written.config)
    for part, (x, y) in ((loaded.train, written.train), (loaded.test(), written.test)):
        expected = x.transpose(0, 3, 1, 2) if name == "cifar10" else x[:, None]
        assert np.array_equal(part.images.numpy(), expected)
        assert part.images.is_contiguous() and part.labels.dtype == torch.int64
        assert np.array_equal(part.labels.numpy(), y)
    assert hashes(written.files) == before  # nothing is written into the mirror
    # A second start, in a new process, needs neither the mirror nor the original files.
    if name != "usps":
        dataset._load.cache_clear()
        again = data.load(change(written.config, mirror=None, download=False))
        assert torch.equal(again.train.images, loaded.train.images)


def test_the_test_set_is_read_only_when_called(
    mnist_config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls, source = [], torchvision_datasets.SOURCES["mnist"]

    def read(root: Path, train: bool) -> Any:
        calls.append(train)
        return source.read(root, train)

    monkeypatch.setitem(
        torchvision_datasets.SOURCES, "mnist", dataclasses.replace(source, read=read)
    )
    loaded = data.load(change(mnist_config, split_seed=12))
    assert calls == [True]
    assert len(loaded.test()) == 10_000
    assert calls == [True, False]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["fashion_mnist", "emnist", "cifar10"])
def test_a_second_start_gives_the_same_without_reading_the_files_again(
    name: str, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = small(name, tmp_path, monkeypatch)
    first = data.load(written.config)
    first_test = first.test()
    dataset._load.cache_clear()
    source = torchvision_datasets.SOURCES[name]
    monkeypatch.setitem(
        torchvision_datasets.SOURCES, name, dataclasses.replace(source, read=pytest.fail)
    )
    second = data.load(change(written.config, mirror=None, download=False))
    for ours, theirs in ((second.train, first.train), (second.test(), first_test)):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels)
    assert second.class_names == first.class_names


@pytest.mark.parametrize("harm", ["altered", "gone"])
def test_what_was_kept_does_not_stand_in_for_files_that_changed(
    harm: str, own_cache: Path, fashion: Small
) -> None:
    data.load(fashion.config)
    dataset._load.cache_clear()
    for file in (Path(fashion.config.root) / "FashionMNIST" / "raw").iterdir():
        if harm == "gone":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="missing" if harm == "gone" else "altered"):
        data.load(change(fashion.config, mirror=None, download=False))


@pytest.mark.parametrize("harm", ["broken", "not writable"])
def test_a_cache_that_cannot_be_used_is_done_without(
    harm: str, own_cache: Path, fashion: Small
) -> None:
    if harm == "not writable":
        own_cache.write_text("a file where the folder should be")
    first = data.load(fashion.config)
    dataset._load.cache_clear()
    for file in own_cache.rglob("*.pt"):
        file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(data.load(fashion.config).train.images, first.train.images)


def test_digits_are_scikit_learns_in_0_to_255() -> None:
    loaded = data.load(DIGITS)
    x, y = load_digits(return_X_y=True)
    assert loaded.validation is not None
    parts = [loaded.train, loaded.validation, loaded.test()]
    assert [len(p) for p in parts] == [1437 - 287, 287, 360]
    ours = torch.cat([p.images.flatten(1) for p in parts]).numpy()
    theirs = np.rint(x * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))
    expected = np.bincount(y) * 360 / 1797
    assert np.abs(loaded.test().labels.bincount().numpy() - expected).max() < 1


def test_images_take_the_configured_size_and_channels(fashion: Small) -> None:
    loaded = data.load(change(fashion.config, size=14, channels=3))
    assert loaded.train.images.shape == (100, 3, 14, 14)
    truth = Image.fromarray(fashion.train[0][5]).resize((14, 14), Image.Resampling.BILINEAR)
    for channel in loaded.train.images[5]:
        assert np.abs(channel.numpy().astype(int) - np.asarray(truth)).max() <= 1


def test_colour_turns_to_grey_as_pillow_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = small("cifar10", tmp_path, monkeypatch)
    loaded = data.load(change(written.config, channels=1, mean=[0.5], std=[0.5]))
    truth = np.asarray(Image.fromarray(written.train[0][3]).convert("L")).astype(int)
    assert np.abs(loaded.train.images[3, 0].numpy() - truth).max() <= 1


@pytest.mark.parametrize("path", sorted((CONF_DIR / "data").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_agree_with_the_datasets(
    path: Path, request: pytest.FixtureRequest
) -> None:
    config = OmegaConf.merge(OmegaConf.structured(DataConfig), OmegaConf.load(path))
    if path.stem in torchvision_datasets.SOURCES:
        assert config.classes == len(torchvision_datasets.SOURCES[path.stem].class_names)
    if path.stem == "image_folder":
        assert (config.channels, config.classes, config.mean, config.std) == (
            None,
            None,
            "auto",
            "auto",
        )
    else:
        assert len(config.mean) == len(config.std) and len(config.mean) in (1, config.channels)
    if path.stem in ("mnist", "digits"):
        root = str(request.getfixturevalue("mnist_root")) if path.stem == "mnist" else "unused"
        loaded = data.load(change(DataConfig(root=root, validation=0), name=path.stem))
        values = loaded.train.images / 255
        assert [float(values.mean()), float(values.std())] == pytest.approx(
            [config.mean[0], config.std[0]], abs=6e-5
        )


def test_the_same_settings_give_the_same_object() -> None:
    assert data.load(DIGITS) is data.load(change(DIGITS, mean=[0.5], std=[0.5]))
    assert data.load(DIGITS) is not data.load(change(DIGITS, split_seed=1))


# --- Splitting ------------------------------------------------------------------------------------


def rows(part: data.Images) -> list[bytes]:
    return [bytes(row) for row in part.images.flatten(1).numpy()]


@pytest.mark.parametrize("n", [10, 287, 1000, 1427])
def test_validation_is_exact_stratified_and_apart(n: int) -> None:
    full = data.load(change(DIGITS, validation=0)).train
    loaded = data.load(change(DIGITS, validation=n))
    assert loaded.validation is not None and len(loaded.validation) == n
    counts = full.labels.bincount()
    assert (loaded.validation.labels.bincount() - counts * n / len(full)).abs().max() < 1
    assert sorted(rows(loaded.train) + rows(loaded.validation)) == sorted(rows(full))


def test_mnist_holds_out_5000_by_default(mnist_config: DataConfig) -> None:
    loaded = data.load(mnist_config)
    assert loaded.validation is not None
    assert (len(loaded.train), len(loaded.validation)) == (55_000, 5_000)
    shares = torch.tensor([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]) / 12
    assert (loaded.validation.labels.bincount() - shares).abs().max() < 1


def test_the_split_depends_on_its_seed_only() -> None:
    def held_out(**values: Any) -> list[bytes]:
        validation = data.load(change(DIGITS, **values)).validation
        assert validation is not None
        return rows(validation)

    assert held_out() == held_out(limit=100) == held_out(size=8, root="elsewhere")
    assert held_out() != held_out(split_seed=1)


@pytest.mark.parametrize("limit", [1, 7, 10, 333])
def test_limit_keeps_a_stratified_part_of_the_training_images(limit: int) -> None:
    full = data.load(DIGITS).train
    limited = data.load(change(DIGITS, limit=limit)).train
    assert len(limited) == limit
    assert set(rows(limited)) <= set(rows(full))
    expected = full.labels.bincount(minlength=10) * limit / len(full)
    assert (limited.labels.bincount(minlength=10) - expected).abs().max() < 1


def test_a_limit_above_all_images_keeps_all() -> None:
    assert len(data.load(change(DIGITS, limit=10_000)).train) == 1437 - 287


def test_validation_auto_is_a_fifth_and_at_most_5000(mnist_config: DataConfig) -> None:
    for config, n in ((DIGITS, 287), (mnist_config, 5_000)):
        validation = data.load(change(config, validation="auto")).validation
        assert validation is not None and len(validation) == n


def test_mean_and_std_auto_are_of_the_training_images_alone() -> None:
    loaded = data.load(DIGITS)
    settled = data.normalization(change(DIGITS, mean="auto", std="auto"), loaded.train.images)
    values = loaded.train.images.double() / 255
    truth = [float(values.mean()), float(values.std(correction=0))]
    assert [*settled.mean, *settled.std] == pytest.approx(truth, abs=6e-5)
    assert data.normalization(DIGITS, loaded.train.images) is DIGITS
    colour = torch.stack([torch.full((4, 4), v, dtype=torch.uint8) for v in (0, 51, 255)])[None]
    settled = data.normalization(change(DIGITS, mean="auto", std=[0.5]), colour)
    assert (settled.mean, settled.std) == ([0.0, 0.2, 1.0], [0.5])


def test_unbalanced_classes_are_all_on_both_sides() -> None:
    y = torch.tensor([0] * 1000 + [1] * 2 + [2] * 30)
    for n in (3, 10, 100, 1029):
        taken = y[stratified(y, n, seed=0)].bincount(minlength=3)
        assert taken.sum() == n
        assert (taken >= 1).all() and (taken <= torch.tensor([999, 1, 29])).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"validation": 1437}, ["data.validation=1437", "auto, 0, or 10 to 1,427"]),
        ({"validation": 1428}, ["data.validation=1428", "1,437 training images"]),
        ({"validation": 9}, ["data.validation=9", "each of the 10 classes"]),
        ({"classes": 9}, ["data.classes=9", "must be 10"]),
        ({"channels": 2}, ["data.channels=2", "1 (grey) or 3 (colour)"]),
        ({"mean": [0.1, 0.2]}, ["data.mean=[0.1, 0.2]", "one value"]),
        ({"std": [0.0]}, ["data.std=[0.0]", "> 0"]),
        ({"classes": None}, ["data.classes=null", "digits", "data=image_folder"]),
        ({"name": "mnist", "mirror": "/folder"}, ["data.mirror=/folder", "file:///folder"]),
        ({"name": "mnist", "mirror": "file://a/b"}, ["data.mirror=file://a/b", "absolute"]),
        ({"name": "mnist", "mirror": "file:///no/such"}, ["data.mirror", "no such folder"]),
        ({"name": "mnist", "root": "/dev/null/data"}, ["data.root", "cannot be written"]),
        ({"name": "image_folder", "path": None}, ["data.path=null", "one sub-folder"]),
        ({"name": "image_folder", "path": "/no/such"}, ["data.path=/no/such", "must be a folder"]),
    ],
)
def test_a_setting_that_does_not_fit_is_named(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SettingError) as caught:
        data.load(change(DIGITS, **values))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


# --- Fetching and checking ------------------------------------------------------------------------


def refusal(config: DataConfig) -> str:
    dataset._load.cache_clear()  # a new process would not remember what was read before
    with pytest.raises(DataError) as caught:
        data.load(config)
    return str(caught.value)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-7])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_missing_files_without_download(fashion: Small) -> None:
    message = refusal(change(fashion.config, mirror=None, download=False))
    folder = Path(fashion.config.root) / "FashionMNIST" / "raw"
    for word in [
        *hashes(fashion.files),
        str(folder),
        "data.mirror=file:///folder",
        "data.download",
    ]:
        assert word in message
    assert "\n" not in message
    assert not Path(fashion.config.root).exists()


def test_offline(fashion: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors = ["http://127.0.0.1:9/", "http://127.0.0.1:9/other/"]  # nothing listens there
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", mirrors)
    message = refusal(change(fashion.config, mirror=None))
    folder = Path(fashion.config.root) / "FashionMNIST" / "raw"
    for word in [*hashes(fashion.files), *mirrors, str(folder), "data.mirror", "refused"]:
        assert word in message


def test_only_what_the_mirror_lacks_is_called_missing(fashion: Small) -> None:
    (fashion.files / "t10k-images-idx3-ubyte.gz").unlink()
    message = refusal(fashion.config)
    assert "missing t10k-images-idx3-ubyte.gz." in message
    assert "train-images" not in message


@pytest.mark.parametrize("damage", [cut, alter])
def test_a_damaged_file_in_the_mirror_is_refused(fashion: Small, damage: Any) -> None:
    file = fashion.files / "train-labels-idx1-ubyte.gz"
    expected = md5(file.read_bytes())
    damage(file)
    message = refusal(fashion.config)
    for word in (file.name, expected, md5(file.read_bytes()), "truncated or altered"):
        assert word in message
    raw = Path(fashion.config.root) / "FashionMNIST" / "raw"
    assert file.name not in hashes(raw)


@pytest.mark.parametrize("damage", [cut, alter])
def test_a_damaged_file_in_root_is_refused(fashion: Small, damage: Any) -> None:
    data.load(fashion.config)
    raw = Path(fashion.config.root) / "FashionMNIST" / "raw"
    packed = raw / "t10k-images-idx3-ubyte.gz"
    expected = md5(packed.read_bytes())
    damage(packed)
    damage(raw / "train-images-idx3-ubyte")
    message = refusal(fashion.config)
    for word in (str(packed), expected, md5(packed.read_bytes()), "Delete"):
        assert word in message
    assert str(raw / "train-images-idx3-ubyte") + ":" in message


def test_extracted_files_do_without_their_archives(mnist_root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (mnist_root / "MNIST" / "raw").glob("*ubyte"):
        (raw / file.name).symlink_to(file)
    config = DataConfig(root=str(tmp_path), download=False)
    assert len(data.load(config).train) == 55_000
    cut(raw / "train-labels-idx1-ubyte")
    assert "train-labels-idx1-ubyte: it has 60,001 bytes but should have 60,008" in refusal(config)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(labels(59_999)))
    assert "59,999 entries instead of 60,000" in refusal(config)


@pytest.fixture
def server(fashion: Small) -> Iterator[tuple[str, list[str]]]:
    """The address of the small dataset over HTTP, and what was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            asked.append(os.path.basename(self.path))

    handler = functools.partial(Handler, directory=str(fashion.files))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/", asked
        http.shutdown()
        thread.join()


def test_workers_that_start_at_once_fetch_each_file_once(
    fashion: Small, server: tuple[str, list[str]]
) -> None:
    address, asked = server

    def prepare(_: int) -> None:
        torchvision_datasets.prepare(
            "fashion_mnist", Path(fashion.config.root), address, download=True
        )

    with ThreadPoolExecutor(4) as pool:  # the lock holds between threads as between processes
        list(pool.map(prepare, range(4)))
    assert sorted(asked) == sorted(hashes(fashion.files))
    loaded = data.load(change(fashion.config, mirror=address))
    assert np.array_equal(loaded.train.images[:, 0].numpy(), fashion.train[0])


def test_an_http_mirror_without_the_files(fashion: Small, server: tuple[str, list[str]]) -> None:
    message = refusal(change(fashion.config, mirror=server[0] + "nothing/here"))
    assert "nothing/here/train-images-idx3-ubyte.gz" in message and "404" in message


# --- One image ------------------------------------------------------------------------------------


def read_saved(tmp_path: Path, image: Image.Image, channels: int, size: int, **save: Any) -> Any:
    path = tmp_path / "image.png"
    image.save(path, **save)
    pixels = read_image(path, channels, size)
    assert pixels.dtype == torch.uint8 and pixels.is_contiguous()
    assert pixels.shape == (channels, size, size)
    return pixels.numpy()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_grey_or_colour(tmp_path: Path, mode: str, channels: int) -> None:
    image = Image.new("RGB", (9, 9), (255, 255, 255)).convert(mode)
    assert (read_saved(tmp_path, image, channels, 9) == 255).all()


def test_colours_stay_in_order(tmp_path: Path) -> None:
    found = read_saved(tmp_path, Image.new("RGB", (5, 5), (10, 20, 30)), 3, 7)
    assert found.reshape(3, -1).mean(axis=1).tolist() == [10, 20, 30]


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    assert (read_saved(tmp_path, Image.new("RGBA", (4, 4), (0, 0, 0, 0)), 1, 4) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((4, 4), 100 * 257, dtype=np.uint16))
    assert (read_saved(tmp_path, image, 1, 4) == 100).all()


def test_a_photograph_stands_upright(tmp_path: Path) -> None:
    image = Image.new("L", (4, 4), 0)
    image.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to view
    assert read_saved(tmp_path, image, 1, 4, exif=exif)[0, 0, 3] == 255


def test_a_wide_image_is_padded_with_its_border(tmp_path: Path) -> None:
    image = Image.new("L", (12, 4), 200)
    image.paste(0, (5, 1, 7, 3))
    square = read_saved(tmp_path, image, 1, 12)[0]
    expected = np.full((12, 12), 200)
    expected[5:7, 5:7] = 0
    assert np.array_equal(square, expected)


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    small_image = read_saved(tmp_path, Image.fromarray(stripes), 1, 8)
    assert np.abs(small_image.astype(int) - 127).max() < 10


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), (b"text", "unknown format"), (b"", "readable")]
)
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "my image.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_image(path, 1, 28)
    assert str(path) in str(caught.value)
