"""Seeds and intervals, against figures computed elsewhere."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from sweeping import hear_interrupts, wait_for

from budgetsweep import replicate
from budgetsweep.config import Config, to_config
from budgetsweep.errors import UserError
from budgetsweep.runs.comparison import comparison_table
from budgetsweep.runs.confirmation import compose, over_budget, own_network, winner_of
from budgetsweep.runs.seeds import read_runs
from budgetsweep.runs.statistics import interval
from hydra_budget_sweeper import read_sweep


def write_runs(folder: Path, accuracies: list[float | None]) -> None:
    for seed, accuracy in enumerate(accuracies):
        run = folder / str(seed)
        run.mkdir(parents=True)
        summary = {
            "seed": seed,
            "test_accuracy": accuracy,
            "test_loss": 0.02,
            "parameters": 19_668,
            "train_seconds": 60.0,
            "epochs": 20,
        }
        (run / "summary.json").write_text(json.dumps(summary))


def test_the_interval_is_students() -> None:
    # mean 3, sd √2.5, t(0.975, 4) = 2.7764: half width 2.7764 · 1.5811 / √5 = 1.9632
    stats = interval([1, 2, 3, 4, 5])
    assert stats.mean == 3
    assert stats.sd == pytest.approx(math.sqrt(2.5))
    assert (stats.low, stats.high) == pytest.approx((3 - 1.9632, 3 + 1.9632), abs=1e-4)


def test_one_run_has_no_finite_interval() -> None:
    assert interval([0.99]).high == math.inf


def test_the_table_names_every_seed_and_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_runs(tmp_path, [0.995, 0.996, 0.997])
    replicate.main([str(tmp_path), "--published", "0.9945"])
    out = capsys.readouterr().out
    for words in ("| 0 | 99.50%", "| 2 | 99.70%", "mean 99.600%", "sd 0.100", "+0.150 points"):
        assert words in out
    assert json.loads((tmp_path / "replication.json").read_text())["n"] == 3
    assert (tmp_path / "replication.md").read_text().strip() == out.strip()


@pytest.mark.parametrize(
    ("key", "value"),
    [("test_loss", "x"), ("seed", None), ("test_accuracy", math.nan), ("epochs", [20])],
)
def test_a_damaged_summary_is_told_by_its_place(tmp_path: Path, key: str, value: Any) -> None:
    write_runs(tmp_path, [0.99, 0.98])
    path = tmp_path / "1" / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=rf"1/summary\.json is no summary.*{key}"):
        read_runs(tmp_path)


@pytest.mark.parametrize("published", ["nan", "99.45", "much"])
def test_a_published_figure_is_a_share(
    tmp_path: Path, published: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        replicate.main([str(tmp_path), "--published", published])
    assert "share from 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("accuracies", "words"), [([], "no finished runs"), ([0.99, None], "without a test accuracy")]
)
def test_a_folder_without_results_is_refused(
    tmp_path: Path, accuracies: list[float | None], words: str
) -> None:
    write_runs(tmp_path, accuracies)
    with pytest.raises(UserError, match=words):
        read_runs(tmp_path)


@pytest.mark.parametrize(
    ("shift", "words"),
    [(0.0002, "no difference shown"), (0.01, "better"), (-0.01, "worse")],
)
def test_a_difference_is_claimed_only_where_the_interval_excludes_zero(
    shift: float, words: str
) -> None:
    reference = [0.990, 0.991, 0.992, 0.993, 0.994]
    runs = {
        name: [
            {"seed": i, "test_accuracy": a + d, "parameters": 10} for i, a in enumerate(reference)
        ]
        for name, d in (("reference", 0.0), ("trial-3", shift))
    }
    text = comparison_table(runs, ["trial-3: `optimizer.lr=0.1`"])
    assert words in text.splitlines()[3]
    assert "trial-3: `optimizer.lr=0.1`" in text


def test_without_a_reference_finalists_are_compared_with_the_first() -> None:
    runs = {
        name: [{"seed": i, "test_accuracy": a, "parameters": 10} for i, a in enumerate(values)]
        for name, values in (("trial-5", [0.98, 0.981]), ("trial-2", [0.97, 0.971]))
    }
    head, _, first, second, *_ = comparison_table(runs).splitlines()
    assert "against trial-5" in head
    assert "points" not in first
    assert "-1.000 points" in second and "worse" in second


def test_a_reference_over_the_budget_is_told_in_one_line() -> None:
    shared = ["data=digits", "model=reference"]
    assert over_budget(shared) == ""
    assert over_budget([*shared, "budget.max_parameters=8000"]) == (
        "The reference is over budget: 19,668 parameters, 11,668 more than "
        "budget.max_parameters=8,000; it is compared all the same."
    )
    with pytest.raises(UserError, match="epoch"):
        over_budget(["trainer.epoch=3"])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "trainer.epoch=3",
            "trainer.epoch=3: there is no such setting. Did you mean trainer.epochs?",
        ),
        ("lr=3", "lr=3: there is no such setting. Did you mean optimizer.lr?"),
        (
            "optimizer.lr=many",
            "optimizer.lr=many: Value 'many' of type 'str' could not be converted to Float",
        ),
        ("data.mean=few", "data.mean=few: must be a list of numbers"),
        ("data=minst", "Did you mean mnist?"),
    ],
)
def test_what_cannot_be_composed_is_told_as_for_a_run(override: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        compose([override])
    assert told in str(error.value) and "append" not in str(error.value)


SHARED = ["data=digits", "model=tiny", "trainer.epochs=1", "trainer.test=false"]


def write_sweep(folder: Path, states: list[str], *more: str) -> None:
    rows = []
    for number, state in enumerate(states):
        params = {"model.layers.conv1.width": 4 + number, "optimizer.lr": 0.1}
        row = {"trial": number, "state": state, "folder": str(number), "params": params}
        rows.append({**row, "rank": number + 1 if state == "COMPLETE" else None})
        own = [f"{key}={value}" for key, value in params.items()]
        hidden = folder / str(number) / ".hydra"
        hidden.mkdir(parents=True)
        lines = [*own, *SHARED, *more]
        (hidden / "overrides.yaml").write_text("".join(f"- {line}\n" for line in lines))
    (folder / "leaderboard.json").write_text(json.dumps(rows))


def test_winner_and_reference_keep_what_the_whole_sweep_set(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["COMPLETE", "COMPLETE", "PRUNED"])
    shared = [*SHARED, "data.validation=0"]  # nothing is selected any more
    found = winner_of(tmp_path)
    assert (found.name, found.first_seed) == ("trial-0", 1000)
    assert found.reference == shared
    assert found.overrides == ["model.layers.conv1.width=4", "optimizer.lr=0.1", *shared]


def test_a_sweep_without_a_complete_trial_is_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["PRUNED"])
    with pytest.raises(UserError, match="no trial is complete yet"):
        winner_of(tmp_path)


OWN = """\
# @package _global_
defaults:
  - override /optimizer: adamw
model: {layers: {conv1: {width: 3}, extra: {width: 2}}, defaults: {conv: depthwise}}
optimizer: {lr: 0.004}
trainer: {batch_size: 16}
budget: {max_parameters: 50}
"""


def test_an_experiments_own_network_and_budget_are_not_mixed_with_the_reference(
    tmp_path: Path,
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(OWN)
    (tmp_path / ".hydra").mkdir()
    given = [f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", "trainer.epochs=2"]
    (tmp_path / ".hydra" / "overrides.yaml").write_text(json.dumps(given))

    def composed(overrides: list[str]) -> Config:
        config = compose(overrides)
        OmegaConf.set_struct(config, False)
        del config["hydra"]
        return to_config(config)

    reference, published = (
        composed(overrides)
        for overrides in (
            own_network(tmp_path, ["model=reference"]).reference,
            ["budget=none", "optimizer=adamw", "optimizer.lr=0.004", "trainer.batch_size=16", "trainer.epochs=2"],
        )
    )  # fmt: skip
    assert reference == published


@pytest.mark.slow
def test_each_network_is_trained_on_the_sweeps_data_over_the_same_seeds(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my sweep"
    write_sweep(folder, ["COMPLETE"], "search=widths")  # which sets up the sweeper, too
    replicate.main([str(folder), "--seeds", "2", "trainer.epochs=2"])
    runs = json.loads((folder / "replicate/replication.json").read_text())
    assert {name: [r["seed"] for r in told] for name, told in runs.items()} == {
        "reference": [1000, 1001],
        "trial-0": [1000, 1001],
    }
    assert runs["reference"][0]["parameters"] != runs["trial-0"][0]["parameters"]
    for run in runs["reference"] + runs["trial-0"]:
        assert run["epochs"] == 2
        assert run["test_accuracy"] is not None
        assert run["parameters"] < 2_000  # tiny's, not the default network's
    told = capfd.readouterr()
    for name in ("reference/1000", "reference/1001", "trial-0/1000", "trial-0/1001"):
        assert len(re.findall(rf"{name}: test accuracy \d+\.\d\d%, ", told.err)) == 1
    assert "epoch" not in told.err and told.out.startswith("| network |")


@pytest.mark.slow
def test_a_reference_over_the_budget_is_compared_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path, ["COMPLETE", "COMPLETE"])
    # tiny's own first width is 8, the winner's is 4
    replicate.main([str(tmp_path), "--seeds", "2", "budget.max_parameters=1000"])
    told = capsys.readouterr().out
    assert "against the reference" in told and "| trial-0 |" in told
    assert "The reference is over budget: 1,390 parameters" in told


SMALL = ["data=digits", "model=tiny", "data.limit=300", "trainer.batch_size=32"]


@pytest.mark.slow
def test_what_the_finalists_chose_is_confirmed_as_they_trained_it(tmp_path: Path) -> None:
    sweep = tmp_path / "s"
    asked = ["count: 2", "seeds: [2]", "overrides: [trainer.epochs=2]"]
    search = tmp_path / "conf/search/own.yaml"
    search.parent.mkdir(parents=True)
    search.write_text(
        "# @package _global_\nhydra: {sweeper: {n_trials: 2, params: {model.layers.conv1.width: "
        f"'choice(4,6)'}}, finalists: {{{', '.join(asked)}}}}}}}\n"
    )
    words = ["--config-dir", str(tmp_path / "conf"), "search=own", "seed=1200", "trainer.epochs=1"]
    assert start("sweep", *SMALL, *words, f"hydra.sweep.dir={sweep}").wait() == 0
    found = winner_of(sweep)
    assert found.first_seed == 1203  # the finalists had 1201 and 1202
    assert "trainer.epochs=2" in found.overrides and "trainer.epochs=2" in found.reference
    assert not any(o.startswith("seed=") for o in found.overrides)
    assert f"trial-{read_sweep(sweep).winner.number}" == found.name  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_sweep_of_a_folder_of_one_s_own_is_confirmed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    search = tmp_path / "conf/search/own.yaml"
    search.parent.mkdir(parents=True)
    search.write_text(
        "# @package _global_\nhydra: {sweeper: {n_trials: 1, params: {model.layers.conv1.width: "
        "'choice(4,6)'}}}\n"
    )
    sweep = tmp_path / "s"
    words = ["--config-dir", str(tmp_path / "conf"), "search=own", "trainer.epochs=1"]
    assert start("sweep", *SMALL, *words, f"hydra.sweep.dir={sweep}").wait() == 0
    replicate.main([str(sweep), "--seeds", "2"])
    assert "| trial-0 |" in capfd.readouterr().out


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
@pytest.mark.slow
def test_interrupted_it_says_how_to_go_on(tmp_path: Path, sent: signal.Signals) -> None:
    write_sweep(tmp_path, ["COMPLETE"])
    words = [str(tmp_path), "--seeds", "2", "data.limit=300", "trainer.epochs=400"]
    process = subprocess.Popen(
        [sys.executable, "-m", "budgetsweep", "replicate", *words], start_new_session=True,
        preexec_fn=hear_interrupts, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: any((tmp_path / "replicate").glob("*/*/metrics.csv")), 180)
    process.send_signal(sent)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "Interrupted. The same command goes on."
    assert "Traceback" not in told
    wait_for(lambda: not members(process.pid), 30)


@pytest.mark.slow
def test_killed_it_leaves_nothing_running_and_goes_on(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["COMPLETE"])
    words = [str(tmp_path), "--seeds", "3", "data.limit=300"]
    process = start("replicate", *words, "trainer.epochs=40")
    runs = tmp_path / "replicate"
    wait_for(lambda: any(runs.glob("*/*/metrics.csv")), 180)
    process.kill()
    process.wait()
    wait_for(lambda: not members(process.pid), 30)
    assert not any(runs.glob("*/*/summary.json"))
    assert start("replicate", *words, "trainer.epochs=40").wait() == 0
    results = json.loads((runs / "replication.json").read_text())
    assert [len(told) for told in results.values()] == [3, 3]


def start(command: str, *words: str) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "budgetsweep", command, *words], start_new_session=True
    )


def members(group: int) -> list[str]:
    """The processes of a group."""
    found = subprocess.run(["ps", "-eo", "pgid=,pid="], capture_output=True, text=True)
    return [line for line in found.stdout.splitlines() if line.split()[0] == str(group)]
