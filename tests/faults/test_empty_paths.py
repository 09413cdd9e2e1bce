"""A path that is empty, as of a variable that is not set, would be taken for the current folder."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from composing import compose, compose_raw

from budgetsweep.data import load, resolve
from budgetsweep.errors import SettingError
from budgetsweep.network.budget import violations
from budgetsweep.training.before import BeforeRun
from budgetsweep.training.run import run
from hydra_budget_sweeper.errors import SweepError

EMPTY = pytest.mark.parametrize("empty", ["", "'  '"], ids=["empty", "blank"])


@EMPTY
@pytest.mark.parametrize("classes", ["null", "2"])
def test_no_images_are_looked_for_in_the_current_folder(
    empty: str, classes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "  /a", "  /b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "0.png").touch()
    monkeypatch.chdir(tmp_path)
    overrides = (
        "data=image_folder",
        f"data.path={empty}",
        f"data.classes={classes}",
        "data.channels=1",
    )
    with pytest.raises(SettingError, match=r"data\.path=.*must be a folder"):
        load(resolve(compose(*overrides).data))
    if classes == "null":
        with pytest.raises(SweepError, match=r"data\.path=.*must be a folder"):
            violations(compose_raw(*overrides))


@EMPTY
@pytest.mark.parametrize("key", ["data.root", "teacher.run"])
def test_no_other_setting_means_it_either(
    empty: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "summary.json").touch()  # the current folder looks like a run's
    overrides = ("data=digits", "model=tiny", "data.limit=50", f"{key}={empty}")
    with pytest.raises(SettingError, match=rf"{key}='': must name a folder".replace(".", r"\.")):
        run(compose(*overrides), tmp_path / "run", threads=1)
    assert not list(tmp_path.glob("run/*"))
    if key == "teacher.run":  # told before anything is written, too
        config = compose_raw(*overrides, return_hydra_config=True)
        with pytest.raises(SystemExit, match="must name a folder"):
            BeforeRun().on_run_start(config)


@pytest.mark.parametrize(
    "line",
    [
        "report {}", "report x --output {}", "export {}", "export x --output {}", "predict {} x.png",
        "predict x {}", "replicate {}", "dashboard {}", "find --folder {}", "find --config-dir {}",
    ],
)  # fmt: skip
def test_no_command_takes_it_for_its_folder(
    line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *words = line.split()
    module = import_module(
        "budgetsweep.report.__main__" if name == "report" else f"budgetsweep.{name}"
    )
    for empty in ("", "  "):
        with pytest.raises(SystemExit) as caught:
            module.main([empty if word == "{}" else word for word in words])
        assert caught.value.code == 2
        assert "is empty; name a file or folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
