"""The wheel, installed into a fresh environment, works in a folder of its own."""

from __future__ import annotations

import json
import sysconfig
import zipfile
from pathlib import Path

import pytest
from fresh import REPOSITORY, SWEEPER, build, call, environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = build(REPOSITORY, tmp_path_factory.mktemp("wheel"), "--wheel")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with both wheels, and the dependencies installed here."""
    (sweeper,) = build(SWEEPER, tmp_path_factory.mktemp("sweeper"), "--wheel")
    python, packages = environment(tmp_path_factory.mktemp("fresh"), sweeper, wheel)
    # The folder alone: .pth files within it, such as the checkout's own, do not apply.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_holds_the_configuration_and_no_sweeper_or_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    conf = {p.relative_to(REPOSITORY) for p in (REPOSITORY / "conf").rglob("*.yaml")}
    assert {f"budgetsweep/{path.as_posix()}" for path in conf} <= names
    assert "budgetsweep/py.typed" in names
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"budgetsweep"}


def test_an_installed_package_uses_its_own_configuration(python: Path, tmp_path: Path) -> None:
    code = "from budgetsweep.config import CONF_DIR; print(CONF_DIR)"
    told = Path(call(python, "-c", code, cwd=tmp_path).strip())
    assert told.is_relative_to(python.parents[1])
    assert (told / "config.yaml").exists()


def test_an_installed_package_finds_its_sweeper(python: Path, tmp_path: Path) -> None:
    command = [
        python.with_name("budgetsweep"),
        "train",
        "--cfg",
        "hydra",
        "--package",
        "hydra.sweeper",
    ]
    told = call(*command, cwd=tmp_path)
    assert "budgetsweep.network.budget.violations" in told


def test_an_installed_package_trains_in_another_folder(python: Path, tmp_path: Path) -> None:
    overrides = ["data=digits", "model=tiny", "trainer.epochs=1", "hydra.run.dir=here"]
    formats = ["trainer.precision=fp32", "trainer.memory_format=contiguous"]
    call(python, "-m", "budgetsweep.train", *overrides, *formats, cwd=tmp_path)
    summary = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert summary["epochs"] == 1
    assert summary["git_commit"] is None  # no checkout, no commit
