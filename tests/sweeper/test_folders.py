"""A trial's folder is its own; what the sweep did not make is never touched."""

import json
import os
from pathlib import Path

import pytest
from applications import Application, application

from hydra_budget_sweeper.workers.folders import make_folder

APP = """
import time
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig

@hydra.main(config_path="conf", config_name="config")
def main(cfg):
    folder = Path(HydraConfig.get().runtime.output_dir)
    time.sleep(0.05)
    (folder / "x.txt").write_text(f"{cfg.x!r}")
    return cfg.x

if __name__ == "__main__":
    main()
"""
FILES = {
    "app.py": APP,
    "conf/config.yaml": "defaults:\n  - _self_\n  - override hydra/sweeper: budget\nname: only\n"
    "x: 0.0\nhydra:\n  sweeper: {n_trials: 4}\n",
}
SPACE = "x=interval(0,2)"


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return application(tmp_path, FILES)


def leaderboard(folder: Path) -> list[dict]:
    return json.loads((folder / "leaderboard.json").read_text())


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "subdir",
    ["${name}", ".", "./.", "..", "a/b", "${hydra:job.num}", "${hydra.job.num}-of-it", "t${x}"],
)
@pytest.mark.parametrize("launcher", ["basic", "forkserver"])
@pytest.mark.by_default("forkserver-.", "forkserver-${name}", "basic-t${x}")
def test_each_trial_has_a_folder_with_its_own_files(
    app: Application, subdir: str, launcher: str
) -> None:
    before = snapshot(app.folder)
    app.run("-m", SPACE, "hydra.sweep.dir=out", f"hydra.sweep.subdir='{subdir}'",
            f"hydra/launcher={launcher}")  # fmt: skip
    sweep = app.folder / "out"
    rows = leaderboard(sweep)
    assert len({row["folder"] for row in rows}) == len(rows) == 4
    for row in rows:
        assert float((sweep / row["folder"] / "x.txt").read_text()) == row["value"]
    assert before.items() <= snapshot(app.folder).items()


OWN = [
    "best.yaml", "leaderboard.json", "leaderboard.csv", "sweep.json", "optimization_results.yaml",
    "study.journal", "study.journal.lock", "experiment", "experiment/best.yaml", ".workers",
    ".workers/0", "finalists", "finalists/trial-0", "a/../best.yaml", "./sweep.json/a/b",
]  # fmt: skip


@pytest.mark.parametrize("subdir", OWN)
def test_what_the_sweep_writes_is_no_trials_folder(subdir: str, tmp_path: Path) -> None:
    made = [make_folder(tmp_path, subdir, number, lambda _: False) for number in (0, 1)]
    first = Path(os.path.normpath(subdir)).parts[0]
    assert made == [f"{first}-trial-0", f"{first}-trial-1"]
    assert {path.name for path in tmp_path.iterdir()} == set(made)


@pytest.mark.parametrize(
    "subdir", ["finalists/trial-3/seed-1", "experiment/a", "best", "best.yaml.d"]
)
def test_what_only_resembles_it_may_be_one(subdir: str, tmp_path: Path) -> None:
    assert make_folder(tmp_path, subdir, 0, lambda _: False) == subdir


def test_a_trial_named_as_the_winner_leaves_it_its_file(app: Application) -> None:
    told = app.run("-m", SPACE, "hydra.sweep.dir=out", "hydra.sweep.subdir=best.yaml")
    assert "best.yaml cannot be trial 0's folder" in told
    assert (app.folder / "out" / "best.yaml").is_file()
    names = {row["folder"] for row in leaderboard(app.folder / "out")}
    assert names == {f"best.yaml-trial-{number}" for number in range(4)}


def test_of_two_folders_the_resumed_one_is_taken_and_the_other_told(app: Application) -> None:
    (app.folder / "one").mkdir()
    told = app.run("-m", SPACE, "hydra.sweeper.resume=one", "hydra.sweep.dir=other")
    assert "hydra.sweep.dir=other is left aside" in told
    assert leaderboard(app.folder / "one") and not (app.folder / "other").exists()
    same = f"hydra.sweep.dir={app.folder}/other/../one"
    assert "left aside" not in app.run("-m", SPACE, "hydra.sweeper.resume=one", same)


def test_a_name_that_is_too_long_for_the_disk_becomes_the_trials_number(app: Application) -> None:
    told = app.run("-m", SPACE, "hydra.sweep.dir=out", f"hydra.sweep.subdir={'a' * 300}/b")
    assert {row["folder"] for row in leaderboard(app.folder / "out")} == {"0", "1", "2", "3"}
    assert "300" in told or "302" in told


def test_a_project_folder_as_the_sweeps_own(app: Application) -> None:
    (app.folder / "0").mkdir()
    (app.folder / "0" / "picture.png").write_text("mine")
    (app.folder / "1").write_text("a file of mine")
    before = snapshot(app.folder)
    app.run("-m", SPACE, "hydra.sweep.dir=.", "hydra.sweep.subdir=.")
    assert before.items() <= snapshot(app.folder).items()
    assert {row["folder"] for row in leaderboard(app.folder)} == {
        "0-trial-0",
        "1-trial-1",
        "2",
        "3",
    }


@pytest.mark.parametrize(
    "name", ["best.yaml", "experiment/best.yaml", "leaderboard.csv", "sweep.json"]
)
def test_a_file_of_mine_is_not_written_over(app: Application, name: str) -> None:
    (app.folder / name).parent.mkdir(exist_ok=True)
    (app.folder / name).write_text("mine")
    told = app.run("-m", SPACE, "hydra.sweep.dir=.", expect=1)
    assert told.count("\n") == 1
    assert name in told
    assert "hydra.sweep.dir" in told
    assert (app.folder / name).read_text() == "mine"
    assert not (app.folder / ".workers").exists()


def test_going_on_leaves_finished_folders_as_they_are(app: Application) -> None:
    app.run("-m", SPACE, "hydra.sweep.dir=out", "hydra.sweep.subdir=${name}")
    before = {p: t for p, t in snapshot(app.folder / "out").items() if p.name == "x.txt"}
    app.run(
        "-m", SPACE, "hydra.sweep.dir=out", "hydra.sweep.subdir=${name}", "hydra.sweeper.n_trials=6"
    )
    assert before.items() <= snapshot(app.folder / "out").items()
    assert len({row["folder"] for row in leaderboard(app.folder / "out")}) == 6


def test_the_hint_after_ctrl_c_can_be_pasted(app: Application) -> None:
    """A folder whose name means something to the shell and to Hydra's grammar."""
    from hydra_budget_sweeper.results.command import setting

    folder = app.folder / "out (1), b='x'"
    told = app.shell(f"python app.py -m '{SPACE}' {setting('hydra.sweep.dir', str(folder))}")
    assert "4/4 trained" in told
    assert leaderboard(folder)
