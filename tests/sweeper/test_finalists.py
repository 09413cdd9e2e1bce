"""Finalists: the best candidates again under other seeds, on an objective whose noise is known."""

import random
import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import optuna
import pytest
import sweeping
from apps.noisy import objective
from sweeping import (
    FORKSERVER,
    kill_all,
    leaderboard,
    leaderboard_csv,
    results,
    summary,
    trial_folders,
    wait_for,
)

from hydra_budget_sweeper import SweepResults, read_sweep
from hydra_budget_sweeper.study.finalists import Finalist, Rules, Standing
from hydra_budget_sweeper.study.journal import SweepJournal

SPACE = ["x=choice(0,1,2,3,4,5,6,7)", "hydra.sweeper.n_trials=8", "hydra.sweeper.sampler.seed=3"]
COUNT = "hydra.sweeper.finalists.count=8"
RATE = "hydra.sweeper.max_failure_rate"

sweep = partial(sweeping.sweep, app="noisy.py")
start = partial(sweeping.start, app="noisy.py")

Run = tuple[int, int]  # x, seed


def seeds_of(n: dict[int, int]) -> set[Run]:
    """The runs of candidates that have had so many seeds each, from 1 on."""
    return {(x, seed) for x, n_seeds in n.items() for seed in range(1, n_seeds + 1)}


# Means under seeds 1 and 2: .5, 1.25, 2, 2.75, 3.5, 6, 5, 7.5; then 0 to 3 go on to seeds 3 and 4.
DEFAULT = seeds_of({x: 4 if x < 4 else 2 for x in range(8)})


def ran(trace: Path, what: str = "end") -> Counter[Run]:
    """How often the finalists' tasks started or ended."""
    lines = [line.split() for line in trace.read_text().splitlines()]
    return Counter((int(x), int(s)) for w, x, s in lines if w == what and s != "0")


def finalists(folder: Path) -> dict[int, dict[str, Any]]:
    """The leaderboard's finalists by x, the best first."""
    return {r["params"]["x"]: r for r in leaderboard(folder) if r["single_run_rank"]}


def finalists_study(folder: Path) -> optuna.Study:
    storage = optuna.storages.JournalStorage(SweepJournal(folder / "study.journal"))
    return optuna.load_study(storage=storage, study_name=f"{folder.name}-finalists")


@pytest.mark.parametrize(
    "workers", [["hydra/launcher=basic"], [FORKSERVER, "hydra.sweeper.n_jobs=2"]]
)
@pytest.mark.by_default("workers1")
def test_the_best_mean_wins_where_one_run_would_have_chosen_the_worst(
    tmp_path: Path, workers: list[str]
) -> None:
    folder, trace = tmp_path / "s", tmp_path / "trace"
    out = sweep(folder, *SPACE, COUNT, *workers, f"trace={trace}").stdout
    assert ran(trace) == Counter(DEFAULT)
    found = finalists(folder)
    assert list(found) == [0, 1, 2, 3, 4, 6, 5, 7]
    assert [found[x]["rank"] for x in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [found[x]["single_run_rank"] for x in found] == [2, 3, 4, 5, 6, 8, 7, 1]
    for x, row in found.items():
        values = [objective(x, seed) for a, seed in sorted(DEFAULT) if a == x]
        assert row["n"] == len(values) == (4 if x < 4 else 2)
        assert row["mean"] == pytest.approx(fmean(values))
        assert row["sd"] == pytest.approx(stdev(values))
        assert row["value"] == objective(x, 0)
    assert leaderboard_csv(folder)[0]["mean"] == "0.375"
    assert results(folder)["best_params"] == {"x": 0}
    assert (results(folder)["best_mean"], results(folder)["best_n"]) == (0.375, 4)
    best = (folder / "best.yaml").read_text()
    assert "x=0" in best and "mean 0.375, sd 1.11 over 4 seeds" in best
    # Under seeds 1 and 4 x=1 is the best, under 2 and 3 x=0, which wins.
    assert "another would have won in 2 of 4 cases" in out
    assert "the best single run, comes to place 8: mean 7.5" in out
    assert len(trial_folders(folder)) == 8


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["count=3", "seeds=[2]"], {7: 2, 0: 2, 1: 2}),
        (["count=1", "seeds=[1,3]"], {7: 1}),
        (["count=100", "seeds=[1,2,3]"], {0: 3, 1: 3, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1, 7: 1}),
    ],
    ids=["one round", "one finalist", "more than there are, three rounds"],
)
@pytest.mark.by_default("more than there are, three rounds")
def test_half_go_on_to_more_seeds(
    tmp_path: Path, overrides: list[str], expected: dict[int, int]
) -> None:
    trace = tmp_path / "trace"
    asked = [f"hydra.sweeper.finalists.{override}" for override in overrides]
    sweep(tmp_path / "s", *SPACE, *asked, f"trace={trace}")
    assert ran(trace) == Counter(seeds_of(expected))
    assert {x: row["n"] for x, row in finalists(tmp_path / "s").items()} == expected


def test_the_only_seed_is_not_said_to_have_chosen_rightly(tmp_path: Path) -> None:
    out = sweep(tmp_path / "s", *SPACE, COUNT, "hydra.sweeper.finalists.seeds=[1]").stdout
    assert "is the best of 8 finalists" in out and "Rank correlation of the single runs" in out
    assert "By one seed alone" not in out


def test_a_search_file_may_ask_for_them(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    sweep(
        tmp_path / "s",
        "search=final",
        f"trace={trace}",
        "sign=-1",
        "hydra.sweeper.direction=maximize",
        "seed=10",
    )
    # Of -x, the best under seed 10 (noise: (3x + 50) % 7) and then under 11, 12 and 13.
    by_ten = sorted(range(8), key=lambda x: (objective(x, 10), x))[:4]
    assert ran(trace) >= Counter({(x, seed): 1 for x in by_ten for seed in (11, 12, 13)})
    means = {x: fmean(-objective(x, seed) for seed in (11, 12, 13)) for x in by_ten}
    assert list(finalists(tmp_path / "s")) == sorted(means, key=lambda x: -means[x])
    run = tmp_path / "s" / "finalists"
    configs = [p.read_text() for p in run.glob("*/*/.hydra/config.yaml")]
    assert len(configs) == 12 and all("steps: 2" in text for text in configs)
    assert "steps=2" in (tmp_path / "s" / "best.yaml").read_text().splitlines()[1]


def test_without_finalists_nothing_of_them_is_there(tmp_path: Path) -> None:
    sweep(tmp_path, *SPACE)
    storage = optuna.storages.JournalStorage(SweepJournal(tmp_path / "study.journal"))
    assert [s.study_name for s in storage.get_all_studies()] == [tmp_path.name]
    assert leaderboard(tmp_path)[0]["params"] == {"x": 7}
    assert not {"mean", "n", "single_run_rank"} & leaderboard_csv(tmp_path)[0].keys()
    assert "finalists" not in summary(tmp_path) and not (tmp_path / "finalists").exists()


def test_finalists_are_never_pruned(tmp_path: Path) -> None:
    hard = ["hydra/sweeper/pruner=percentile", "hydra.sweeper.pruner.percentile=1", "hydra.sweeper.pruner.n_startup_trials=3"]  # fmt: skip
    sweep(tmp_path, *SPACE, COUNT, *hard, "steps=3", "hydra/launcher=basic")
    assert summary(tmp_path)["pruned"] > 0
    assert {t.state.name for t in finalists_study(tmp_path).trials} == {"COMPLETE"}


@pytest.mark.slow
def test_the_search_learns_nothing_from_them_and_goes_on(tmp_path: Path) -> None:
    wide = ["x=range(0,100)", "hydra.sweeper.sampler.seed=1", "hydra/launcher=basic"]
    wide += ["hydra.sweeper.finalists.count=2", "hydra.sweeper.finalists.seeds=[2]"]
    trace = tmp_path / "trace"
    for n in (4, 16):
        sweep(tmp_path / "s", *wide, f"hydra.sweeper.n_trials={n}", f"trace={trace}")
    sweep(tmp_path / "once", *wide, "hydra.sweeper.n_trials=16")
    drawn = [
        {r["trial"]: r["params"]["x"] for r in leaderboard(tmp_path / n)} for n in ("s", "once")
    ]
    assert drawn[0] == drawn[1]
    # The better ones that came later are finalists now; who had run did not run again.
    assert list(finalists(tmp_path / "s")) == list(finalists(tmp_path / "once"))
    assert set(ran(trace).values()) == {1}


def test_a_finalist_that_fails_under_a_seed_cannot_win(tmp_path: Path) -> None:
    folder, trace = tmp_path / "s", tmp_path / "trace"
    asked = [*SPACE, COUNT, "trouble='0 under 2'", f"trace={trace}"]
    out = sweep(folder, *asked, f"{RATE}=0.5").stdout
    assert "as a finalist under seed 2, failed: ValueError: the loss exploded" in out
    assert results(folder)["best_params"] == {"x": 1}
    assert finalists(folder)[0]["n"] == 0 and list(finalists(folder))[-1] == 0
    assert ran(trace) == Counter(seeds_of({1: 4, 2: 4, 3: 4, 4: 4, 5: 2, 6: 2, 7: 2}) | {(0, 1)})


@pytest.mark.slow
def test_the_order_has_a_place_for_who_failed_under_a_seed() -> None:
    """The best single run diverged: what is left of the order must not look as if it had held."""
    trial = optuna.trial.create_trial(value=0.0)
    second, third = (Finalist(trial, rank, (float(rank), 1.0)) for rank in (2, 3))
    standing = Standing(
        Rules("seed", 1, (), count=3, seeds=(2,)),
        1.0,
        (second, third, Finalist(trial, 1, failed=True)),
    )
    assert standing.rank_correlation == -0.5


def test_a_failure_that_is_not_tolerated_ends_the_sweep_which_goes_on(tmp_path: Path) -> None:
    folder, trace = tmp_path / "s", tmp_path / "trace"
    asked = [*SPACE, COUNT, "trouble='0 under 2'", f"trace={trace}"]
    ended = sweep(folder, *asked, expect=1)
    assert "the loss exploded" in ended.stderr and "max_failure_rate" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert results(folder)["best_params"] == {"x": 7}  # no round is over
    sweep(folder, *asked)
    assert results(folder)["best_params"] == {"x": 1}
    assert (
        ran(trace)[0, 2] == 0 and ran(trace, "start")[0, 2] == 1 and set(ran(trace).values()) == {1}
    )


def test_how_long_they_will_take() -> None:
    rules = Rules("seed", 1, (), count=8, seeds=(2, 4))
    trials = [complete(seconds) for seconds in [10.0, 20.0, 30.0] * 4]
    # 16 runs and then 8, three at a time: 6 and 3 rounds of 20 s, and one that is under way before.
    assert rules.seconds(trials, 3, 0) == 200
    assert rules.seconds(trials, 3, 7) == 214  # with seven seconds until a round begins
    assert rules.seconds(trials[:1], 3, 0) == 20  # one candidate, two seeds at once; one before
    assert rules.seconds([], 3, 7) == 0
    assert rules.seconds(trials, 3, 0, n_done=7) == 160  # two rounds are over, one run of a third
    assert replace(rules, cost=2.5).seconds(trials, 3, 0) == 9 * 50 + 20


@pytest.mark.slow
def test_fewer_are_taken_where_the_time_is_short(tmp_path: Path) -> None:
    """Half of a round ranks nobody. Before them all wait, as each is said to take a thousand trials."""
    folder, trace = tmp_path / "s", tmp_path / "trace"
    short = ["hydra.sweeper.timeout=300", "hydra.sweeper.finalists.cost=1000"]
    asked = [*SPACE, COUNT, "hydra/launcher=basic", f"trace={trace}", "seconds=0.05"]
    out = sweep(folder, *asked, *short).stdout
    said = re.search(r"There is time for (\d) of 8 finalists", out)
    assert said, out
    taken = int(said[1])
    assert 2 <= taken < 8 and len({x for x, _ in ran(trace)}) == taken
    assert summary(folder)["finalists"]["count"] == taken
    assert all(row["n"] >= 2 for row in finalists(folder).values())
    before = ran(trace)
    sweep(folder, *asked)  # with time for all, what there is is not trained again
    assert ran(trace) == Counter(DEFAULT) and before <= ran(trace)


def complete(seconds: float) -> optuna.trial.FrozenTrial:
    note = {"started": "yes", "seconds": seconds}
    return optuna.trial.create_trial(value=0.0, system_attrs={"budget_sweep": note})


@pytest.mark.slow
def test_the_search_leaves_them_time(tmp_path: Path) -> None:
    out = sweep(
        tmp_path,
        "x=range(0,1000000)",
        "hydra.sweeper.n_trials=100000",
        "hydra.sweeper.finalists.count=2",
        "hydra.sweeper.finalists.seeds=[1]",
        "hydra.sweeper.timeout=40",
        "seconds=2",
        FORKSERVER,
    ).stdout
    assert "hydra.sweeper.timeout=40 s is over but for the" in out
    assert len(finalists_study(tmp_path).trials) > 0


@pytest.mark.slow
def test_the_timeout_ends_them_and_the_last_whole_round_counts(tmp_path: Path) -> None:
    """The first round is short; the second, of which nothing can be done in time, is not."""
    sweep(tmp_path, *SPACE, COUNT, "hydra.sweeper.finalists.seeds=[2]")
    more = [*SPACE, COUNT, "hydra.sweeper.finalists.seeds=[2,4]"]
    out = sweep(tmp_path, *more, "hydra.sweeper.timeout=0.001").stdout
    assert "8 runs of the finalists are still to be done" in out
    assert {row["n"] for row in finalists(tmp_path).values()} == {2}
    assert results(tmp_path)["best_mean"] == 0.5
    sweep(tmp_path, *more)
    assert results(tmp_path)["best_mean"] == 0.375


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    folder, trace = tmp_path / "s", tmp_path / "trace"
    asked = [*SPACE, COUNT, FORKSERVER, f"trace={trace}", "steps=4", "seconds=0.2", "hydra.sweeper.retry_overrides=['resume=true']"]  # fmt: skip
    process = start(folder, *asked)
    wait_for(lambda: trace.exists() and ran(trace).total() >= 5)
    kill_all(process)
    trials = finalists_study(folder).trials
    recorded = [run_of(trial) for trial in trials if trial.state.name == "COMPLETE"]
    sweep(folder, *asked)
    assert_exact(folder, trace)
    assert recorded
    assert all(ran(trace, "start")[run] == 1 for run in recorded)


def run_of(trial: optuna.trial.FrozenTrial) -> Run:
    return trial.params["x"], trial.user_attrs["under seed"]


def assert_exact(folder: Path, trace: Path) -> None:
    """Each run that was asked for is recorded once, in its own folder, and counted right."""
    trials = finalists_study(folder).trials
    assert Counter(t.state.name for t in trials) == {"COMPLETE": len(DEFAULT)}
    assert Counter(map(run_of, trials)) == Counter(DEFAULT)
    # A kill between a task's end and its record may repeat that one task; a recorded one, never.
    assert ran(trace).keys() == DEFAULT
    runs = [path.parent for path in (folder / "finalists").glob("*/*/.hydra")]
    assert len(runs) == len(DEFAULT)
    assert summary(folder)["trained"] == 8
    assert results(folder)["best_mean"] == 0.375


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments(tmp_path: Path, seed: int) -> None:
    folder, trace, rng = tmp_path / "s", tmp_path / "trace", random.Random(seed)
    asked = [*SPACE, COUNT, FORKSERVER, f"trace={trace}", "steps=4", "seconds=0.3", "hydra.sweeper.retry_overrides=['resume=true']", "hydra.sweeper.max_retries=100"]  # fmt: skip
    for _ in range(12):
        process = start(folder, *asked)
        seen = len(trace.read_text()) if trace.exists() else 0
        grown = partial(has_grown, process, trace, seen)
        wait_for(grown)
        time.sleep(rng.uniform(0.0, 1.0))
        if process.poll() is not None:
            break
        kill_all(process)
    sweep(folder, *asked)
    assert_exact(folder, trace)


def has_grown(process: subprocess.Popen[str], trace: Path, seen: int) -> bool:
    return process.poll() is not None or (trace.exists() and len(trace.read_text()) > seen)


@pytest.mark.slow
def test_interrupted_it_says_how_to_go_on(tmp_path: Path) -> None:
    folder, trace = tmp_path / "s", tmp_path / "trace"
    asked = [*SPACE, COUNT, "hydra/launcher=basic", f"trace={trace}", "seconds=0.2"]
    process = subprocess.Popen(
        sweeping.command(folder, *asked, app="noisy.py"),
        env=sweeping.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=sweeping.hear_interrupts,
    )
    wait_for(lambda: trace.exists() and ran(trace).total() >= 3)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert re.search(r"after 8 of 8 trials and \d+ of 24 runs of finalists. To go on:", said)
    assert summary(folder)["state"] == "interrupted"
    assert "RUNNING" not in {t.state.name for t in finalists_study(folder).trials}
    sweep(folder, *asked)
    assert_exact(folder, trace)


@pytest.mark.slow
def test_a_second_sweep_helps_with_them(tmp_path: Path) -> None:
    folder, trace = tmp_path / "s", tmp_path / "trace"
    asked = [*SPACE, COUNT, FORKSERVER, f"trace={trace}", "seconds=0.5"]
    first = start(folder, *asked)
    wait_for(lambda: trace.exists() and ran(trace).total() >= 1)
    sweep(folder, *asked, "hydra.sweeper.join=true")
    assert first.wait(timeout=120) == 0
    assert_exact(folder, trace)
    assert set(ran(trace).values()) == {1}


def told(found: SweepResults) -> list[tuple[Any, ...]]:
    finals = [(t, t.finalist) for t in found.finalists if t.finalist]
    return [(t.params["x"], f.mean, f.sd, f.n, f.single_run_rank) for t, f in finals]


@pytest.mark.parametrize("storage", [None, "sqlite"])
@pytest.mark.by_default("None")
def test_a_sweeps_folder_tells_of_its_finalists(tmp_path: Path, storage: str | None) -> None:
    url = [f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db"] if storage else []
    folder = tmp_path / "s"
    sweep(folder, *SPACE, COUNT, *url, "hydra/launcher=basic")
    found = read_sweep(folder)
    assert found.winner is not None and found.winner.finalist is not None
    runs = found.winner.finalist.runs
    assert [(r.seed, r.state, r.value) for r in runs] == [
        (seed, "complete", objective(0, seed)) for seed in (1, 2, 3, 4)
    ]
    assert all(r.folder and (r.folder / "noisy.log").exists() for r in runs)
    assert [x for x, *_ in told(found)] == [0, 1, 2, 3, 4, 6, 5, 7]
    # Without the study, the leaderboard tells it.
    for path in (folder / "study.journal", folder / ".workers/study.json"):
        path.unlink(missing_ok=True)
    assert told(read_sweep(folder)) == told(found)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["finalists.key=sede"], "no such setting. Did you mean seed?"),
        (["finalists.key=x"], "x is searched, so finalists cannot have it set"),
        (["finalists.key=trace"], "must hold a whole number"),
        (["finalists.overrides=['x=1']"], "x is searched, so finalists cannot have it set"),
        (["finalists.overrides=['setps=1']"], "setps=1: the configuration has no setps"),
        (["finalists.overrides=['seed=3']"], "each run has a seed of its own"),
        (["finalists.overrides=['steps=1,2']"], "one value each"),
        (["finalists.seeds=[4,2]"], "rising from 1 or more, such as [2,4], but got [4, 2]"),
        (["finalists.count=-1"], "must be 0 (none) or more, but got -1"),
        (["direction=[minimize,minimize]"], "of several objectives no mean is the best"),
    ],
)
def test_a_mistake_is_told_before_the_first_trial(
    tmp_path: Path, overrides: list[str], words: str
) -> None:
    given = [f"hydra.sweeper.{override}" for override in overrides]
    ended = sweep(tmp_path / "s", *SPACE, COUNT, *given, "trace=no", expect=1)
    assert words in ended.stderr and "Traceback" not in ended.stderr, ended.stderr
    assert not (tmp_path / "s" / "study.journal").exists()


@pytest.mark.slow
def test_other_runs_than_those_that_are_there_are_refused(tmp_path: Path) -> None:
    sweep(tmp_path, *SPACE, COUNT)
    changed = sweep(
        tmp_path, *SPACE, COUNT, "hydra.sweeper.finalists.overrides=['steps=9']", expect=1
    )
    assert "begun with overrides=[], not ['steps=9']" in changed.stderr
    # None asked for any more: those that are there stand.
    sweep(tmp_path, *SPACE)
    assert results(tmp_path)["best_params"] == {"x": 0}
