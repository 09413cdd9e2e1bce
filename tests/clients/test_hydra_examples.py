"""Every form of application in Hydra's own tutorials and examples runs under ours, as under Hydra's.

Each line of the table is a sweep over a few values. Hydra's basic sweeper runs it one job after the
other; `hydra/sweeper=budget`, through each launcher, must run the same jobs: the same overrides,
configurations, logs and files.
"""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from omegaconf import OmegaConf

APPS = Path(__file__).parent / "apps"
Jobs = dict[tuple[str, ...], dict[str, Any]]

FORMS = {
    "no configuration": "command_line_only.py +db.port=1,2 +db.driver=mysql",
    "a file with interpolations": "config_file/app.py node.lr=1,2",
    "a job that works in its folder": "config_file/app.py node.lr=1,2 hydra.job.chdir=true write=true",
    "no folder for Hydra": "config_file/app.py node.lr=1,2 hydra.output_subdir=null",
    "verbose": "config_file/app.py node.lr=1,2 hydra.verbose=true",
    "groups with defaults": "groups/app.py db=mysql,postgresql server=apache,nginx",
    "a value of a group": "groups/app.py db=postgresql db.port=1,2",
    "a deleted group": "groups/app.py ~server_db server=apache,nginx",
    "a group without a default": "groups/app.py --config-name mandatory db=mysql,postgresql",
    "an added group": "groups/app.py --config-name bare +db=mysql,postgresql",
    "an added group in a package": "groups/app.py --config-name bare +db@a.b=mysql,postgresql",
    "a group in two packages": "groups/app.py --config-name packages db@source=mysql,postgresql",
    "another search path": "groups/app.py --config-name searching db=sqlite,mysql",
    "another configuration folder": "groups/app.py --config-dir groups/more db=sqlite,mysql",
    "experiments": "groups/app.py +experiment=small,large",
    "several choices of a group": "groups/app.py server/site=[one],[one,two]",
    "dataclasses": "structured.py db=mysql,postgresql split=TRAIN,TEST",
    "dataclasses that must be chosen": "structured.py --config-name choosing db=mysql,postgresql",
    "a value of a dataclass": "structured.py db.port=1,2 window.height=2.5",
    "a list in a dataclass": "structured.py layers=[1],[2,3]",
    "keys of an enum": "structured.py sizes.TRAIN=1,2",
    "schemas of files": "schema/app.py db=mysql,postgresql",
    "objects": "objects/app.py trainer=short,partial,long",
    "Hydra configured, with callbacks": "job/app.py x=1,2 seed=3",
    "no log": "config_file/app.py node.lr=1,2 hydra/job_logging=disabled",
    "decorators": "decorated.py +x=1,2",
    "composing in the task": "composing.py +target=mysql,postgresql",
    "a plugin in the script": "registered.py db=sqlite,mysql",
    "a package": "-m package x=1,2",
    "a module of a package": "-m package.main x=1,2",
    "a configuration of another package": "another-package.py x=1,2",
}
LAUNCHERS = [
    pytest.param("basic", marks=pytest.mark.slow),
    "forkserver",
    pytest.param("joblib", marks=pytest.mark.slow),
]


def run(folder: Path, line: str, *overrides: str) -> str:
    """Run an application from the folder of all, as a person would."""
    done = subprocess.run(
        [sys.executable, *line.split(), "--multirun", f"hydra.sweep.dir={folder}", *overrides],
        cwd=APPS,
        env={**os.environ, "LC_ALL": "C", "MORE_CONFIGURATIONS": str(APPS / "groups" / "more")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    return done.stdout


def jobs(folder: Path) -> Jobs:
    """What each job, known by its overrides, left: the configuration and the files in its folder."""
    found = {}
    for path in folder.rglob("overrides.yaml"):
        job = path.parents[1]
        files = {
            str(file.relative_to(job)): plain(file.read_text(), job)
            for file in job.rglob("*")
            if file.is_file() and file.parent != path.parent and file.suffix != ".pickle"
        }
        config = OmegaConf.to_container(OmegaConf.load(path.with_name("config.yaml")))
        assert isinstance(config, dict)
        # Hydra's basic sweeper writes a deletion so, and the stock Optuna sweeper as it was given.
        overrides = (text.removesuffix("=null") for text in OmegaConf.load(path))
        found[tuple(sorted(overrides))] = {"config": config, **files}
    return found


def plain(text: str, job: Path) -> str:
    """Leave out what differs from job to job: the time, its folder, the name of the main module.

    Under Hydra's basic launcher the sweep itself speaks in the job's process, into the job's log.
    """
    text = re.sub(r"^.*\[hydra_budget_sweeper\.results\..*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\[[-\d :,]+\]", "", text, flags=re.MULTILINE)
    return text.replace(str(job), "FOLDER").replace("__mp_main__", "__main__")


@pytest.fixture(scope="module")
def by_hydra(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the jobs as Hydra's basic sweeper runs them, each form once."""
    known: dict[str, Jobs] = {}

    def expected(line: str) -> Jobs:
        if line not in known:
            folder = tmp_path_factory.mktemp("basic")
            run(folder, line, "hydra/sweeper=basic", "hydra/launcher=basic")
            known[line] = jobs(folder)
        return known[line]

    return expected


@pytest.mark.parametrize("launcher", ["basic", "forkserver", "joblib"])
@pytest.mark.parametrize("form", FORMS)
# With the launcher that differs most from Hydra's own.
@pytest.mark.by_default("dataclasses-forkserver", "a module of a package-forkserver")
def test_runs_as_under_hydras_own_sweeper(
    form: str, launcher: str, by_hydra: Any, tmp_path: Path
) -> None:
    if (form, launcher) == ("processes of its own", "joblib"):
        pytest.skip(
            "Hydra's joblib launcher cannot, under any sweeper: the script has no name there"
        )
    same_jobs(FORMS[form], launcher, by_hydra, tmp_path)


def test_a_target_may_be_of_the_script(by_hydra: Any, tmp_path: Path) -> None:
    line = "objects/app.py trainer=short,own"
    same_jobs(line, "forkserver", by_hydra, tmp_path / "budget")
    run(tmp_path / "basic", line, "hydra/sweeper=basic", "hydra/launcher=forkserver")
    assert jobs(tmp_path / "basic") == by_hydra(line)


# With joblib a script's functions cannot be found by the processes that a task starts.
@pytest.mark.parametrize("launcher", LAUNCHERS[:2])
@pytest.mark.slow
def test_a_task_may_start_processes_of_its_own(
    launcher: str, by_hydra: Any, tmp_path: Path
) -> None:
    same_jobs("processes.py +n=3,4", launcher, by_hydra, tmp_path)


def same_jobs(line: str, launcher: str, by_hydra: Any, folder: Path) -> None:
    few = ["hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=10"]
    run(folder, line, "hydra/sweeper=budget", f"hydra/launcher={launcher}", *few)
    got, expected = jobs(folder), by_hydra(line)
    assert got == expected
    ranked = json.loads((folder / "leaderboard.json").read_text())
    n_jobs = len(expected) or 2  # without Hydra's folder, nothing tells what a job was
    assert len([trial for trial in ranked if trial["state"] == "COMPLETE"]) == n_jobs


@pytest.mark.slow
def test_a_sweep_may_be_what_the_configuration_asks_for(tmp_path: Path) -> None:
    command = "groups/app.py --config-name always".split()
    environment = {**os.environ, "LC_ALL": "C"}
    subprocess.run(
        [sys.executable, *command, f"hydra.sweep.dir={tmp_path}", "hydra/launcher=forkserver"],
        cwd=APPS, env=environment, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert {(job["config"]["db"]["driver"], job["config"]["db"]["port"]) for job in jobs(tmp_path).values()} == {
        ("mysql", 1), ("mysql", 2), ("postgresql", 1), ("postgresql", 2)
    }  # fmt: skip


def test_a_callback_is_given_the_task_itself(tmp_path: Path) -> None:
    run(tmp_path, FORMS["Hydra configured, with callbacks"], "hydra/sweeper=budget")
    pickled = sorted(tmp_path.rglob("job.pickle"))
    assert len(pickled) == 2
    for path in pickled:
        task, config = cloudpickle.loads(path.read_bytes())
        assert inspect.isfunction(task)
        assert (task.__name__, config.x) == ("main", int(path.parents[1].name.removeprefix("x-")))
