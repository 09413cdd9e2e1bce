"""A sweep is of one application, which may be started in many ways and from many places."""

import importlib.util
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
from applications import application

from hydra_budget_sweeper import read_sweep
from hydra_budget_sweeper.study.application import application_of
from hydra_budget_sweeper.study.identity import differences

CONFIG = "defaults: [override hydra/sweeper: budget]\nlr: 0.0\nhydra: {sweep: {dir: out}}\n"
SPACE = "lr=interval(0,1)"
TASK = "def main(cfg): return 0.0\n"


def test_another_application_does_not_go_on_with_a_sweep(tmp_path: Path) -> None:
    files = {"conf/config.yaml": CONFIG, "conf/__init__.py": ""}
    app = application(tmp_path / "here", files)
    app.run("-m", SPACE, "hydra.sweeper.n_trials=1")
    other = (app.folder / "app.py").read_text().replace("return cfg.lr", "return 1 - cfg.lr")
    (app.folder / "other.py").write_text(other)
    command = f"python other.py -m '{SPACE}' hydra.sweeper.n_trials=2"
    told = app.shell(command, expect=1)
    assert "application: app → other" in told and "Traceback" not in told
    assert "add application to hydra.sweeper.free_settings" in told
    assert len(read_sweep(app.folder / "out").trials) == 1
    app.shell(f"{command} hydra.sweeper.free_settings=[application]")
    # Moved, and started as a command does that pip has made for it.
    moved = shutil.move(app.folder, tmp_path / "there")
    (moved / "command").write_text("import sys, app\nsys.exit(app.main())\n")
    app.folder = moved
    app.shell(f"python command -m '{SPACE}' hydra.sweeper.n_trials=3")
    assert len(read_sweep(moved / "out").trials) == 3


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("app.py", "app"),
        ("package/train.py", "train"),
        ("package/__init__.py", "package"),
        ("package/__main__.py", "package"),
        ("folder/__main__.py", None),  # another one where it is checked out elsewhere
    ],
)
def test_an_application_has_one_name_as_a_script_and_as_a_module(
    file: str, name: str | None, tmp_path: Path
) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(TASK)
    assert application_of(runpy.run_path(str(path), run_name="__main__")["main"]) == name
    spec = importlib.util.spec_from_file_location("package.module", path)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    assert application_of(module.main) == name


def test_what_has_no_file_has_no_name() -> None:
    typed: dict = {}
    exec(compile(TASK, "/tmp/ipykernel_1/2.py", "exec"), typed)  # as in a notebook
    assert application_of(typed["main"]) is None
    assert application_of(print) is None
    assert application_of(subprocess.run) == "subprocess"


def test_an_application_that_is_not_known_is_no_difference() -> None:
    known, unknown = {"space": {}, "application": "app"}, {"space": {}}
    assert not [*differences(known, unknown), *differences(unknown, known)]
    (told,) = differences(known, {**known, "application": "other"})
    assert told.startswith("application: app → other")
    assert not [*differences(known, {**known, "application": "other"}, ["application"])]
