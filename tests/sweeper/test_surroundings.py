"""What a task does to its process is for itself alone: the next trial, and the sweep, find all as it was."""

from pathlib import Path

import pytest
from applications import application

from hydra_budget_sweeper import read_sweep

APP = """
import contextvars, os, sys, tempfile, threading
import hydra
from hydra_budget_sweeper import report

@hydra.main(config_path=None)
def main(cfg):
    if cfg.get("threads"):
        for call in (report, contextvars.copy_context().run):
            words = (1.0, 1) if call is report else (report, 2.0, 2)
            thread = threading.Thread(target=call, args=words)
            thread.start()
            thread.join()
        return cfg.x
    print("the task of", cfg.x)
    with tempfile.TemporaryDirectory() as gone:
        os.chdir(gone)
        open("own.txt", "w").close()
    sys.argv.clear()
    sys.stdout.close()
    return cfg.x

if __name__ == "__main__":
    main()
"""
SWEEP = [
    "-m",
    "+x=1,2,3",
    "hydra/sweeper=budget",
    "hydra.sweeper.n_trials=3",
    "hydra.sweep.dir=out",
]


@pytest.mark.parametrize("launcher", ["basic", "forkserver"])
def test_a_task_that_leaves_its_process_in_disorder(tmp_path: Path, launcher: str) -> None:
    """It goes to a directory that is removed, takes the arguments away and closes its output."""
    app = application(tmp_path, {"app.py": APP})
    told = app.run(*SWEEP, f"hydra/launcher={launcher}", "hydra.sweeper.storage=sqlite:///study.db")
    assert "Traceback" not in told and "Best value: 1" in told
    trained = [t for t in read_sweep(app.folder / "out").trials if t.state == "complete"]
    assert {trial.values for trial in trained} == {(1.0,), (2.0,), (3.0,)}
    assert all(t.folder and (t.folder / ".hydra/overrides.yaml").exists() for t in trained)
    assert app.best_command("out") == "python app.py +x=1"
    assert sorted(p.name for p in app.folder.iterdir()) == ["app.py", "out", "study.db"]


def test_a_thread_is_heard_where_it_has_the_tasks_context(tmp_path: Path) -> None:
    app = application(tmp_path, {"app.py": APP})
    app.run(*SWEEP, "+threads=true", "hydra/launcher=basic")
    trained = [t for t in read_sweep(app.folder / "out").trials if t.state == "complete"]
    assert [trial.reports for trial in trained] == [{2: 2.0}] * 3
    assert (app.folder / "out/0/app.log").read_text().count("belongs to no trial") == 1


def test_a_command_given_as_code_is_not_repeated(tmp_path: Path) -> None:
    app = application(tmp_path, {})
    code = APP.replace('if __name__ == "__main__":\n    main()', "main()")
    (app.folder / "code.txt").write_text(code)
    words = " ".join(f"'{word}'" for word in [*SWEEP, "+threads=true", "hydra/launcher=basic"])
    app.shell(f'python -c "$(cat code.txt)" {words}')
    assert app.best_command("out") == "python -c ... +x=1 +threads=True"
