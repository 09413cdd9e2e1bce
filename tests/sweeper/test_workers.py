"""Workers in processes of any launcher: what they are sent, where they start, what they count."""

import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import APPS, environment, states, summary

LAUNCHERS = [
    ["hydra/launcher=basic"],
    ["hydra/launcher=forkserver"],
    ["hydra/launcher=joblib"],
    ["hydra/launcher=joblib", "hydra.launcher.backend=multiprocessing"],
]


def name_of(launcher: list[str]) -> str:
    return "-".join(setting.split("=")[1] for setting in launcher)


def run(folder: Path, *command: str, expect: int = 0) -> str:
    """Run an application in `folder`, two workers if the launcher has them; return its words."""
    ended = subprocess.run(
        [sys.executable, *command, "--multirun", "hydra.sweep.dir=out"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == expect, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


SWEEP = ["hydra/sweeper=budget", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=5"]
SPACE = ["x=interval(0,2)", "colour=red,blue", "part=small,large"]


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=name_of)
@pytest.mark.by_default("forkserver")
def test_an_application_in_one_file_runs(tmp_path: Path, launcher: list[str]) -> None:
    """Its structured config, enums, resolvers, closures and task are in `__main__` alone."""
    run(tmp_path, str(APPS / "scripted.py"), *SWEEP, *SPACE, *launcher)
    assert summary(tmp_path / "out")["trained"] == 5
    assert states(tmp_path / "out")["COMPLETE"] == 5
    done = (tmp_path / "done").read_text().splitlines()
    assert len(done) == len(set(done)) == 5


@pytest.mark.parametrize("launcher", LAUNCHERS[1:3], ids=name_of)
def test_it_runs_under_the_basic_sweeper_too(tmp_path: Path, launcher: list[str]) -> None:
    # Under joblib alone, a script's `_target_: __main__.Net` is not found by Hydra.
    jobs = ["x=1,2", "colour=red,blue", "part=large", f"make_net={'joblib' not in launcher[0]}"]
    run(tmp_path, str(APPS / "scripted.py"), *jobs, *launcher)
    done = (tmp_path / "done").read_text().splitlines()
    assert sorted(done) == ["1.0 blue 9", "1.0 red 9", "2.0 blue 9", "2.0 red 9"]


@pytest.mark.parametrize("launcher", LAUNCHERS[:3], ids=name_of)
@pytest.mark.by_default("forkserver")
def test_a_module_in_a_folder_of_any_name_runs(tmp_path: Path, launcher: list[str]) -> None:
    folder = tmp_path / "Größe = 1, „2“ $x"
    package = folder / "my_app"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text((APPS / "scripted.py").read_text())
    run(folder, "-m", "my_app.train", *SWEEP, *SPACE, *launcher)
    assert summary(folder / "out")["trained"] == 5
    assert len((folder / "done").read_text().splitlines()) == 5
