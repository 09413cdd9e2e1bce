"""The leaderboard as a table: each column has a name of its own."""

import csv
from pathlib import Path

from applications import application
from sweeping import leaderboard, sweep

from hydra_budget_sweeper import read_sweep


def test_searched_keys_may_have_the_names_of_the_tables_own_columns(tmp_path: Path) -> None:
    keys = ["value", "n", "rank", "lr"]
    config = "".join(f"{key}: 0\n" for key in keys)
    files = {"conf/config.yaml": f"defaults: [override hydra/sweeper: budget]\n{config}"}
    app = application(tmp_path, files, value="1000 * cfg['value'] + cfg.n")
    space = [f"{key}=range(1,9)" for key in keys]
    app.run("-m", *space, "hydra.sweep.dir=out", "hydra.sweeper.n_trials=2")
    with open(tmp_path / "out" / "leaderboard.csv", newline="") as file:
        first = next(csv.reader(file))
        assert len(set(first)) == len(first)
        rows = list(csv.DictReader(file, first))
    assert {"param:value", "param:n", "param:rank", "lr"} <= set(first)
    for row, told in zip(rows, leaderboard(tmp_path / "out"), strict=True):
        assert float(row["value"]) == 1000 * int(row["param:value"]) + int(row["param:n"])
        assert row["rank"] == str(told["rank"])
        assert told["params"].keys() == set(keys)
    trials = read_sweep(tmp_path / "out").trials
    assert [str(trial.params["rank"]) for trial in trials] == [row["param:rank"] for row in rows]


def test_no_two_objectives_have_one_name(tmp_path: Path) -> None:
    refused = sweep(
        tmp_path,
        "x=interval(-5,5)",
        "hydra.sweeper.direction=[minimize,minimize]",
        "hydra.sweeper.metric_names=[value,value]",
        expect=1,
    )
    told = "hydra.sweeper.metric_names must be different names, but got ['value', 'value']."
    assert refused.stderr.strip() == told
