"""What a person sees of a sweep: drawn by rich into a file, and by real sweeps on a pseudo-terminal."""

import io
import logging
import os
import re
import signal
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, create_trial
from pseudo_terminal import HIDE_CURSOR, SHOW_CURSOR, Terminal, on_screen, plain
from rich.console import Console
from sweeping import FORKSERVER, command, environment, summary, sweep

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.results.columns import Columns, TrialTable
from hydra_budget_sweeper.results.screen import VOICE, Screen

X = "x=interval(-5,5)"
SHOWN = '+hydra.sweeper.columns={size: "{wide:,} m", step: "{step}", value: "{value:.3f}"}'


def terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=30)


def written(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def trial(number: int, value: float, **shown: float) -> FrozenTrial:
    done = create_trial(
        value=value, params={"x": 1.0}, distributions={"x": FloatDistribution(0, 1)},
        user_attrs=shown, system_attrs={"budget_sweep": {"seconds": 3725.0}},
    )  # fmt: skip
    done.number = number
    return done


def test_messages_stay_and_what_goes_on_is_redrawn_and_then_gone() -> None:
    console = terminal()
    with Screen(console) as screen:
        VOICE.addHandler(logging.NullHandler())  # pytest sets no stream handler up
        screen.phase("training")
        screen.show("the trials")
        screen.print("a message")
        screen.phase("finalists")
    text = written(console)
    assert text.count("a message") == 1 and "getting ready" in text and "finalists" in text
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    assert [line for line in on_screen(text) if line] == ["a message"]


def test_words_are_not_broken_and_paths_stay_whole() -> None:
    console = terminal(40)
    path = "/a/folder/" + "x" * 60
    with Screen(console) as screen:
        screen.print(f"with conv1.width=16 conv2.width=24 conv3.width=32, see {path}")
    lines = plain(written(console)).splitlines()
    assert any("conv3.width=32," in line for line in lines) and any(path in line for line in lines)
    assert max(len(line) for line in lines if path not in line) <= 40


@pytest.mark.parametrize(("width", "macs"), [(110, True), (80, True), (60, False)])
def test_a_narrow_terminal_leaves_the_last_columns_out(width: int, macs: bool) -> None:
    templates = {"parameters": "{parameters:,}", "epoch": "{epoch:.1f}/{epochs}",
                 "loss": "{value:.4f}", "accuracy": "{accuracy:.2%}", "MACs": "{macs:,}"}  # fmt: skip
    columns = Columns(templates, 1)
    rows = [
        columns.cells(trial(1234, 0.05, parameters=19_668, epoch=1.25, epochs=20,
                            accuracy=0.9812, macs=2_212_836_000)),
        columns.cells(trial(5, 0.06)),
    ]  # fmt: skip
    console = terminal(width)
    console.print(TrialTable(columns.headings, [("running", rows[1:]), ("best", rows[:1])]))
    heading, running, best = plain(written(console)).splitlines()
    assert heading.split()[-1] == "time" and ("MACs" in heading) == macs
    assert best.split()[:5] == ["best", "1234", "19,668", "1.2/20", "0.0500"]
    assert running.split() == ["running", "5", "0.0600", "1:02:05"]
    assert all(len(line) <= width for line in (heading, running, best))


@pytest.mark.parametrize("template", ["", "loss", "{}", "{0}", "{loss", "{loss.real}", "{loss[0]}"])
def test_a_column_that_names_nothing_is_refused(template: str) -> None:
    with pytest.raises(SweepError, match=re.escape(f"columns.loss={template}: ")):
        Columns({"loss": template}, 1)


def test_without_columns_the_objectives_are_shown() -> None:
    columns = Columns({}, 2)
    assert columns.headings == ("trial", "step", "value", "value_2", "time")
    two = create_trial(values=[0.5, 1234567.0])
    assert columns.cells(two)[1:4] == ("", "0.5", "1.23457e+06")


def test_a_log_has_a_line_for_each_trial(tmp_path: Path) -> None:
    ended = sweep(tmp_path, "x=range(-4,2)", "width=5", "steps=2", SHOWN, "trouble=raise_if_high",
                  "hydra.sweeper.enqueue=['x=1']", "hydra.sweeper.max_failure_rate=1", FORKSERVER,
                  "hydra.sweeper.n_trials=5")  # fmt: skip
    counts = summary(tmp_path)
    lines = ended.stdout.splitlines()
    trained = [line for line in lines if re.search(r" \d/5 Trial \d+ trained: ", line)]
    failed = [line for line in lines if re.search(r" Trial \d+ failed: ", line)]
    assert len(trained) == 5 and len(failed) == counts["failed"] > 0
    assert [line.split()[2] for line in trained] == [f"{i}/5" for i in range(1, 6)]
    assert all(re.search(r": size 5 m, step 1, value \d+\.\d{3}, time 0:0", t) for t in trained)
    assert "\x1b" not in ended.stdout + ended.stderr
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S", line) for line in trained + failed)


@pytest.mark.slow
def test_a_trials_log_is_its_own(tmp_path: Path) -> None:
    """The basic launcher runs trials in the sweep's process, whose messages are none of theirs."""
    ended = sweep(tmp_path, X, "seconds=1.2", "hydra.sweeper.n_trials=3")
    assert len(re.findall(r"/3 Trial \d trained", ended.stdout)) == 3
    assert "3/3 trained, 0 pruned" in ended.stdout
    assert not any("trained" in (tmp_path / str(i) / "bowl.log").read_text() for i in range(3))


def on_terminal(folder: Path, *overrides: str) -> Terminal:
    return Terminal(command(folder, *overrides), environment() | {"LC_ALL": "C.UTF-8"})


@pytest.mark.parametrize("launcher", ["basic", "forkserver"])
@pytest.mark.by_default("forkserver")
def test_a_sweep_on_a_terminal_shows_its_trials_and_leaves_it_clean(
    tmp_path: Path, launcher: str
) -> None:
    sweep = on_terminal(tmp_path, X, "width=5", "steps=20", "seconds=2", SHOWN, "hydra.sweeper.n_trials=2",
                     f"hydra/launcher={launcher}")  # fmt: skip
    sweep.read_until(r"getting ready, \d+ s")
    sweep.read_until(r"running +\d +5 m +\d+ +\d+\.\d{3} +0:0\d")
    sweep.read_until(r"best +\d +5 m +19 +\d+\.\d{3} +0:0\d")
    text = sweep.end(expect=0)
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    *lines, end = on_screen(text)
    assert end == "" and lines[0].startswith("Sweep folder:")
    assert "2/2 trained, 0 pruned, 0 failed, 0 over budget, 2 proposed" in lines
    _, best, best_file = re.split("Best value: |Run it again: see", " ".join(lines))
    assert "with x=" in best and best_file.strip().endswith(f"{tmp_path.name}/best.yaml")
    assert not any(re.search("running|training|getting|HYDRA", line) for line in lines)
    assert all(len(line) <= 80 for line in lines if tmp_path.name not in line)


def test_ctrl_c_on_a_terminal_ends_with_how_to_go_on(tmp_path: Path) -> None:
    sweep = on_terminal(tmp_path, X, "steps=600", "seconds=60", FORKSERVER)
    sweep.read_until(r"running +\d+ +\d+")
    os.killpg(sweep.process.pid, signal.SIGINT)
    text = sweep.end(expect=130)
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    *_, last, end = on_screen(text)
    assert last == "Interrupted after 0 of 20 trials. To go on: the same command" and end == ""
    assert "Traceback" not in text


def test_a_failure_is_told_above_what_goes_on(tmp_path: Path) -> None:
    sweep = on_terminal(tmp_path, X, "trouble=raise", "hydra.sweeper.n_trials=2", FORKSERVER)
    text = plain(sweep.end(expect=1))
    assert text.count("Trial 0 failed: ValueError: the loss exploded") == 1
    assert re.search(rf"folder:\s+\S*{tmp_path.name}/0", text)
