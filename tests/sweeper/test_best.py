"""The command that a sweep ends with runs its winner, however it was started."""

from pathlib import Path

import pytest
from applications import application
from sweeping import kill_all, wait_for

BUDGET = "  - override hydra/sweeper: budget\n"
TWO = "hydra.sweeper.n_trials=2"

FILES = {
    "conf/config.yaml": "defaults:\n  - opt: sgd\n  - _self_\n" + BUDGET + "lr: 0.5\ntag: none\n",
    "conf/other.yaml": "defaults:\n  - opt: sgd\n  - _self_\n" + BUDGET + "lr: 0.5\ntag: other\n",
    "conf/many.yaml": "defaults:\n  - config\n  - _self_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n"
    "    params: {lr: 'choice(0.1,0.3)'}\n",
    "conf/opt/sgd.yaml": "m: 0.9\n",
    "conf/opt/adam.yaml": "m: 0.8\nbeta: 0.1\n",
    "conf/search/wide.yaml": "# @package _global_\ntag: wide\n",
    "conf/experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /opt: adam\ntag: mine\n",
    "conf/experiment/best.yaml": "# @package _global_\nlr: 0.9\ntag: my own best\n",
    "extra/opt/mine.yaml": "m: 0.1\n",
}
SLOW = """
import pathlib, time

def value(lr):
    if pathlib.Path("slow").exists():
        pathlib.Path("running").touch()
        time.sleep(100)
    return lr
"""


@pytest.mark.parametrize(
    ("start", "got"),
    [
        pytest.param("-m lr=0.1,0.3", "'m': 0.9}, 'lr': 0.1, 'tag': 'none'", id="own best"),
        pytest.param("-m +search=wide opt=adam,sgd lr=0.2", "'tag': 'wide'", id="group added"),
        pytest.param("-m opt=adam,sgd +search=wide lr=0.2", "'tag': 'wide'", id="added last"),
        pytest.param("--config-name other -m lr=0.1,0.3", "'tag': 'other'", id="config name"),
        pytest.param("-cn=other --multirun lr=0.1,0.3", "'tag': 'other'", id="short flags"),
        pytest.param("--config-dir extra -m opt=mine lr=0.1,0.3", "'m': 0.1", id="config dir"),
        pytest.param(
            "'hydra.searchpath=[file://extra]' -m opt=mine lr=0.1,0.3", "'m': 0.1", id="searchpath"
        ),
        pytest.param("-m +experiment=mine lr=0.1,0.3", "'beta': 0.1}, 'lr': 0.1, 'tag': 'mine'",
                     id="added experiment"),
        pytest.param("-m '+opt@second=adam,sgd' lr=0.1", "'second': {'m':", id="package"),
        pytest.param("-m '~tag' lr=0.1,0.3", "{'opt': {'m': 0.9}, 'lr': 0.1}", id="deletion"),
        pytest.param("-m '~opt' lr=0.1,0.3", "{'lr': 0.1, 'tag': 'none'}", id="group deleted"),
        pytest.param("-m '+x={a: 1, b: [1, 2]}' x.a=3,4 lr=0.1", "'b': [1, 2]", id="nested"),
        pytest.param("""-m "tag='it''s, a=b'" lr=0.1,0.3""".replace("''s", "\\'s"),
                     "it's, a=b", id="quotes"),
        pytest.param("-m 'tag=${oc.env:HOME},x y' lr=0.1", "'lr': 0.1", id="interpolation"),
        pytest.param("-m '+list=[1]' '+deep.er=1,2' '++list=[2, 3]' lr=0.1", "[2, 3]", id="twice"),
        pytest.param("-cn many", "'lr': 0.1", id="mode in the configuration"),
    ],
)  # fmt: skip
@pytest.mark.by_default("group added", "config name", "quotes")
def test_the_command_runs_the_winner(tmp_path: Path, start: str, got: str) -> None:
    app = application(tmp_path, FILES)
    told = app.shell(f"python app.py {start} hydra.sweep.dir=out {TWO}")
    trained = [line for line in told.splitlines() if line.startswith("got")]
    again = app.shell(app.best_command("out"))
    winner = next(line for line in again.splitlines() if line.startswith("got"))
    assert winner in trained  # the very configuration of a trial
    assert got in winner
    assert "'lr': 0.3" not in winner


@pytest.mark.parametrize(
    "start",
    ["-m lr=0.1,0.3", "-m +search=wide opt=adam,sgd lr=0.1", "-m +experiment=mine lr=0.1,0.3"],
)
@pytest.mark.by_default("-m +experiment=mine lr=0.1,0.3")
def test_the_winner_is_an_experiment_too(tmp_path: Path, start: str) -> None:
    files = {name: text for name, text in FILES.items() if name != "conf/experiment/best.yaml"}
    app = application(tmp_path, files)
    app.shell(f"python app.py {start} hydra.sweep.dir=out {TWO}")
    as_experiment = app.run("--config-dir", "out", "+experiment=best")
    assert as_experiment == app.shell(app.best_command("out"))


def test_no_experiment_is_written_that_would_run_something_else(tmp_path: Path) -> None:
    app = application(tmp_path, FILES)  # has an experiment=best of its own, which Hydra finds first
    app.run("-m", "lr=0.1,0.3", "hydra.sweep.dir=out", TWO)
    text = (tmp_path / "out" / "best.yaml").read_text()
    assert "An experiment file cannot say all of it" in text
    assert not [line for line in text.splitlines() if not line.startswith("#")]
    assert not (tmp_path / "out" / "experiment" / "best.yaml").exists()


def test_there_is_no_experiment_while_the_sweep_goes_on(tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if name != "conf/experiment/best.yaml"}
    files["conf/experiment/mine.yaml"] = "# @package _global_\ntag: mine\n"
    files["slow.py"] = SLOW
    app = application(tmp_path, files, value="__import__('slow').value(cfg.lr)")
    sweep = ["-m", "+experiment=mine", "lr=interval(0.1,0.3)", "hydra.sweep.dir=out"]
    app.run(*sweep, TWO)
    assert "'tag': 'mine'" in app.run("--config-dir", "out", "+experiment=best")
    (tmp_path / "slow").touch()
    started = app.start(*sweep, "hydra.sweeper.n_trials=3")
    wait_for((tmp_path / "running").exists)
    wait_for(lambda: not (tmp_path / "out" / "experiment" / "best.yaml").exists())
    kill_all(started)
    (tmp_path / "slow").unlink()
    # Hydra's own word for a file that is not there, where comments alone would run the default
    assert "experiment/best" in app.run("--config-dir", "out", "+experiment=best", expect=1)
    assert "'tag': 'mine'" in app.shell(app.best_command("out"))
    app.run(*sweep, "hydra.sweeper.n_trials=3")
    assert "'tag': 'mine'" in app.run("--config-dir", "out", "+experiment=best")


def test_two_objectives_end_with_the_first_of_the_front(tmp_path: Path) -> None:
    app = application(tmp_path, FILES, value="[cfg.lr, -cfg.lr]")
    directions = "hydra.sweeper.direction=[minimize,minimize]"
    app.run("-m", "lr=0.1,0.3", "hydra.sweep.dir=out", TWO, directions)
    assert "'lr': 0.1" in app.shell(app.best_command("out"))
