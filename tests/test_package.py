"""The wheel, installed into a fresh environment, works in a folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def call(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    call(*build, folder, REPOSITORY, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and the dependencies installed here."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", wheel]
    call(sys.executable, "-m", "pip", "--python", python, *install, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # The folder alone: .pth files within it, such as the checkout's own, do not apply.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_holds_the_configuration_the_plugin_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    conf = {p.relative_to(REPOSITORY) for p in (REPOSITORY / "conf").rglob("*.yaml")}
    assert {f"budgetsweep/{path.as_posix()}" for path in conf} <= names
    assert "budgetsweep/py.typed" in names
    assert "hydra_plugins/hydra_budget_sweeper/budget_sweeper.py" in names
    assert "hydra_plugins/__init__.py" not in names
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"budgetsweep", "hydra_plugins"}


def test_an_installed_package_uses_its_own_configuration(python: Path, tmp_path: Path) -> None:
    code = "from budgetsweep.config import CONF_DIR; print(CONF_DIR)"
    told = Path(call(python, "-c", code, cwd=tmp_path).strip())
    assert told.is_relative_to(python.parents[1])
    assert (told / "config.yaml").exists()


def test_an_installed_package_finds_its_sweeper(python: Path, tmp_path: Path) -> None:
    command = [python.with_name("budgetsweep"), "--cfg", "hydra", "--package", "hydra.sweeper"]
    told = call(*command, cwd=tmp_path)
    assert "budgetsweep.network.budget.violations" in told


def test_an_installed_package_trains_in_another_folder(python: Path, tmp_path: Path) -> None:
    overrides = ["data=digits", "model=tiny", "trainer.epochs=1", "hydra.run.dir=here"]
    formats = ["trainer.precision=fp32", "trainer.memory_format=contiguous"]
    call(python, "-m", "budgetsweep.train", *overrides, *formats, cwd=tmp_path)
    summary = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert summary["epochs"] == 1
    assert summary["git_commit"] is None  # no checkout, no commit
