"""`hydra-budget-sweeper` installed alone: without torch, and without `budgetsweep`."""

from __future__ import annotations

import re
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fresh import REPOSITORY, SWEEPER, build, call, environment, link_requirements
from omegaconf import OmegaConf

STOCK = Path(__file__).parents[1] / "clients" / "stock"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A wheel, made from an sdist as an installer makes it, and that sdist."""
    return build(SWEEPER, tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def python(built: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what its metadata asks for."""
    (wheel,) = (path for path in built if path.suffix == ".whl")
    python, packages = environment(tmp_path_factory.mktemp("fresh"), wheel)
    link_requirements("hydra-budget-sweeper", packages)
    return python


def project(path: Path) -> dict[str, Any]:
    return tomllib.loads((path / "pyproject.toml").read_text())["project"]


def names(wheel: Path) -> set[str]:
    return {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}


def test_the_versions_agree() -> None:
    version = project(REPOSITORY)["version"]
    assert project(SWEEPER)["version"] == version
    assert f"hydra-budget-sweeper=={version}" in project(REPOSITORY)["dependencies"]


def test_the_wheel_from_the_sdist_is_the_wheel(built: list[Path], tmp_path: Path) -> None:
    (direct,) = build(SWEEPER, tmp_path, "--wheel")
    (through,) = (path for path in built if path.suffix == ".whl")
    assert names(direct) == names(through)
    assert {
        "hydra_budget_sweeper/py.typed",
        "hydra_plugins/hydra_budget_sweeper/py.typed",
    } <= names(direct)
    assert {name.split("/")[0] for name in names(direct)} == {
        "hydra_budget_sweeper",
        "hydra_plugins",
    }
    # A namespace is shared with Hydra's other plugins.
    assert "hydra_plugins/__init__.py" not in names(direct)


def test_it_needs_no_torch(python: Path, tmp_path: Path) -> None:
    for module in ("torch", "budgetsweep"):
        done = subprocess.run(
            [python, "-c", f"import {module}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert f"No module named '{module}'" in done.stderr
    call(python, "-c", "from hydra_budget_sweeper import report; report(1.0, 1)", cwd=tmp_path)


def test_hydra_finds_its_plugins(python: Path, tmp_path: Path) -> None:
    told = call(python, STOCK / "sphere.py", "--info", "plugins", cwd=tmp_path)
    assert "BudgetSweeper" in told
    assert "ForkserverLauncher" in told


@pytest.mark.parametrize("launcher", ["basic", "forkserver"])
@pytest.mark.by_default("forkserver")
def test_the_stock_sweepers_example_runs_with_it(
    python: Path, launcher: str, tmp_path: Path
) -> None:
    changed = ["hydra/sweeper=budget", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep"]
    call(python, STOCK / "sphere.py", "--multirun", *changed, cwd=tmp_path)
    results = OmegaConf.load(tmp_path / "sweep" / "optimization_results.yaml")
    assert results.name == "optuna"
    best = results.best_params
    assert results.best_value == best.x**2 + best.y**2
    assert len(list((tmp_path / "sweep").glob("[0-9]*"))) == 20


def blocks(kind: str) -> list[str]:
    page = (REPOSITORY / "docs/sweeper.md").read_text()
    text = page.split("\n## A whole application\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_its_guide_can_be_walked(python: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(*blocks("python"))
    (tmp_path / "config.yaml").write_text(*blocks("yaml"))
    first, second = (
        [line.replace("python ", f"{python} ", 1) for line in block.splitlines()]
        for block in blocks("bash")
    )
    told = " ".join(call("bash", "-ec", "\n".join(first), cwd=tmp_path).split())
    for line in blocks("text")[-1].splitlines():
        # Which trial is pruned when may change with a sampler; what is said must not.
        likely = re.sub(r"\d+(\\\.\d+)?", r"[\\d.]+", re.escape(" ".join(line.split())))
        assert re.search(likely.replace("sweep/", r"\S*sweep/"), told), line
    assert "30/30 trained" in told
    call("bash", "-ec", "\n".join(second), cwd=tmp_path)
    assert len(list((tmp_path / "sweep").glob("[0-9]*"))) == 40


def test_its_licence_is_the_repositorys() -> None:
    assert (SWEEPER / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
