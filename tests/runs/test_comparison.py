"""Networks over seeds: what is compared, what is pooled, and what is said about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import dunnett

from budgetsweep import replicate
from budgetsweep.report.collect import Runs, collect
from budgetsweep.report.run import runs_page
from budgetsweep.runs.comparison import comparison, comparison_table, differing
from budgetsweep.runs.confirmation import compose, is_at, own_network
from budgetsweep.runs.statistics import differences, interval


def write_run(folder: Path, model: str, seed: int, accuracy: float, **changes: Any) -> None:
    (folder / ".hydra").mkdir(parents=True)
    config = (
        f"seed: {seed}\nmodel: {{name: {model}}}\ntrainer: {{threads: {seed % 3}, epochs: 3}}\n"
    )
    (folder / ".hydra/config.yaml").write_text(config)
    (folder / ".hydra/overrides.yaml").write_text(f"- model={model}\n- seed={seed}\n")
    summary = {"seed": seed, "test_accuracy": accuracy, "parameters": 19_668, "epochs": 3}
    summary |= {"test_loss": 0.1, "train_seconds": 1.0, "device": "cpu", "precision": "fp32"}
    (folder / "summary.json").write_text(json.dumps(summary | changes))


def two_networks(folder: Path, **changes: Any) -> Path:
    for seed, (one, other) in enumerate([(0.90, 0.70), (0.91, 0.72), (0.92, 0.71)]):
        write_run(folder / f"a{seed}", "wide", seed, one)
        write_run(folder / f"b{seed}", "narrow", seed, other, **changes)
    return folder


def test_different_networks_in_one_folder_are_compared_not_pooled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replicate.main([str(two_networks(tmp_path))])
    out = capsys.readouterr().out
    assert "| model.name=wide | 19,668 | 3 | 91.000% |" in out
    assert "| model.name=narrow | 19,668 | 3 | 71.000% |" in out
    assert "-20.000 points" in out and "worse" in out
    assert "mean 81" not in out
    found = collect(tmp_path)
    assert isinstance(found, Runs)
    page = runs_page(found, tmp_path)
    assert "compared, not pooled" in page
    assert "-20.000 points" in page


def test_runs_that_were_not_made_alike_are_not_compared_without_a_word(tmp_path: Path) -> None:
    folder = two_networks(tmp_path, precision="bf16", device="NVIDIA H100")
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))]
    told = differing(runs)
    assert told == [
        "device NVIDIA H100 (3 runs), cpu (3 runs)",
        "precision bf16 (3 runs), fp32 (3 runs)",
    ]
    assert "NOT MADE ALIKE" in comparison_table({"a": runs[:3], "b": runs[3:]})


def test_several_finalists_get_simultaneous_intervals() -> None:
    control, one, two = [0.990, 0.991, 0.992], [0.993, 0.994, 0.996], [0.989, 0.992, 0.990]
    found = differences([one, two], control)
    expected = dunnett(one, two, control=control, random_state=3).confidence_interval(0.95)
    assert found is not None
    assert [low for low, _ in found] == pytest.approx(list(expected.low), abs=2e-5)
    alone = differences([one], control)
    assert alone is not None
    assert found == differences([one, two], control)  # the same table each time


def test_a_network_with_one_figure_from_every_seed_is_compared_quietly() -> None:
    # Welch with one degree of freedom: 12.7062 · 0.7071 / √2 = 6.353 points about −3.167
    found = differences([[0.93, 0.94]], [0.966667, 0.966667])
    assert found == [(pytest.approx(-0.09520, abs=1e-5), pytest.approx(0.03186, abs=1e-5))]


def test_an_interval_beyond_a_hundred_per_cent_is_too_few_seeds() -> None:
    assert interval([0.999, 0.95]).of_share == "too few seeds"
    assert interval([0.99, 0.991, 0.992]).of_share == "98.852% to 99.348%"
    rows = comparison(
        {n: [{"seed": 0, "test_accuracy": a, "parameters": 1}] for n, a in (("a", 0.9), ("b", 0.8))}
    )[1]
    assert rows[1][-1] == "-10.000 points: too few seeds"


def test_a_run_is_compared_with_the_published_network_in_every_other_way_alike(
    tmp_path: Path,
) -> None:
    (tmp_path / ".hydra").mkdir()
    lines = ["data=digits", "model=separable", "model.layers.block3.width=40", "budget.fit=true"]
    lines += ["trainer.epochs=3"]
    (tmp_path / ".hydra/overrides.yaml").write_text("".join(f"- {line}\n" for line in lines))
    pair = own_network(tmp_path, ["model=reference"])
    assert pair.overrides == lines
    config = compose(pair.reference)
    assert (config.model.name, config.data.name, config.trainer.epochs) == (
        "reference",
        "digits",
        3,
    )
    assert not config.budget.fit and config.budget.max_parameters is None


def test_a_candidate_is_the_reference_where_all_its_settings_are() -> None:
    config = compose(["model=tiny"])
    assert is_at(config, {"model": "tiny", "optimizer.lr": 0.1})
    assert not is_at(config, {"model": "tiny", "optimizer.lr": 0.2})
    assert not is_at(config, {})
