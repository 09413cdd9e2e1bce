"""The sweeper as its users meet it: one promise a test, on a problem with a known answer."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import pytest
from sweeping import (
    APPS,
    FORKSERVER,
    JOBLIB,
    SEEDED,
    environment,
    leaderboard,
    leaderboard_csv,
    results,
    start,
    states,
    study,
    summary,
    sweep,
    traced,
    trial_folders,
    wait_for,
)

from hydra_budget_sweeper.limits import Limits
from hydra_budget_sweeper.workers.worker import Worker

X = "x=interval(-5,5)"
WIDTH = "width=range(1,20)"
LIMITS = "hydra.sweeper.constraints=bowl.limits"


def n_trials(n: int) -> str:
    return f"hydra.sweeper.n_trials={n}"


@pytest.mark.parametrize("launcher", ["hydra/launcher=basic", FORKSERVER, JOBLIB])
@pytest.mark.by_default("hydra/launcher=forkserver")
def test_exactly_n_trials_are_trained_and_none_over_its_limit(
    tmp_path: Path, launcher: str
) -> None:
    trace = tmp_path / "trace"
    sweep(tmp_path / "s", X, WIDTH, LIMITS, n_trials(12), launcher, f"trace={trace}")
    ended = [number for what, number, _ in traced(trace) if what == "end"]
    assert len(ended) == len(set(ended)) == summary(tmp_path / "s")["trained"] == 12
    # A candidate that the other worker made superfluous goes back to the queue, untrained.
    done = [t for t in study(tmp_path / "s").trials if t.state.name != "WAITING"]
    assert {t.number for t in done if t.params["width"] <= 10} == set(ended)
    assert trial_folders(tmp_path / "s") == {str(number) for number in ended}
    assert summary(tmp_path / "s")["over_budget"] == len(done) - 12 > 0


def test_best_value_is_that_of_the_closed_form(tmp_path: Path) -> None:
    sweep(tmp_path, "x=choice(-1,0,1,2)", "y=choice(0,1)", "shape=small,big", n_trials(100))
    assert results(tmp_path)["best_value"] == 0.0
    assert results(tmp_path)["best_params"]["x"] == 1
    assert summary(tmp_path)["trained"] == 16


def test_results_are_those_of_the_stock_sweeper(tmp_path: Path) -> None:
    arguments = [
        "x=range(-2,3)",
        "y=choice(0,1)",
        "+z=tag(log,interval(1,9))",
        "shape=big",
        n_trials(6),
        SEEDED,
        "width=3",
    ]
    for sweeper in ("optuna", "budget"):
        sweep(tmp_path / sweeper, *arguments, sweeper=sweeper)
    stock, ours = results(tmp_path / "optuna"), results(tmp_path / "budget")
    assert list(ours) == list(stock) == ["name", "best_params", "best_value"]
    assert ours["best_params"].keys() == stock["best_params"].keys()
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        assert (tmp_path / "budget" / "0" / ".hydra" / name).exists()
    lines = (tmp_path / "budget/0/.hydra/overrides.yaml").read_text().splitlines()
    expected = (tmp_path / "optuna/0/.hydra/overrides.yaml").read_text().splitlines()
    assert [line.split("=")[0] for line in lines] == [line.split("=")[0] for line in expected]


def test_several_objectives_give_the_pareto_front(tmp_path: Path) -> None:
    sweep(
        tmp_path,
        "x=choice(0,1)",
        "y=choice(0,1)",
        "trouble=two",
        n_trials(9),
        "hydra.sweeper.direction=[minimize,minimize]",
    )
    assert results(tmp_path)["solutions"] == [{"params": {"x": 1, "y": 0}, "values": [0.0, 0.0]}]
    assert [row["rank"] for row in leaderboard(tmp_path)][0] == 1


def test_custom_search_space_and_fixed_values(tmp_path: Path) -> None:
    sweep(
        tmp_path,
        "x=interval(1,2)",
        "hydra.sweeper.custom_search_space=bowl.more",
        "width=4",
        n_trials(5),
    )
    for trial in study(tmp_path).trials:
        assert 0 <= trial.params["y"] <= trial.params["x"] + 1
        assert trial.user_attrs["width"] == "4"


def test_grid_covers_every_point_once(tmp_path: Path) -> None:
    sweep(tmp_path, "x=choice(1,2,3)", "y=choice(1,2)", "hydra/sweeper/sampler=grid", FORKSERVER)
    # Two workers may propose the same point at once; the second proposal replays the first's value.
    rows = [row for row in leaderboard(tmp_path) if row["duplicate_of"] is None]
    points = [(row["params"]["x"], row["params"]["y"]) for row in rows]
    assert summary(tmp_path)["trained"] == 6
    assert sorted(points) == [(x, y) for x in (1, 2, 3) for y in (1, 2)]


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "nsgaii", "nsgaiii", "gp", "qmc"])
@pytest.mark.by_default("tpe", "cmaes")
def test_every_sampler_group_works(tmp_path: Path, sampler: str) -> None:
    if sampler == "gp":
        pytest.importorskip("torch")
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    sweep(tmp_path, X, "y=interval(0,1)", f"hydra/sweeper/sampler={sampler}", n_trials(4), SEEDED)
    assert summary(tmp_path)["trained"] == 4


def test_null_and_lists_arrive_as_such(tmp_path: Path) -> None:
    sweep(tmp_path, "dropout=null,0.5", "layers=choice([8,16],[16,[4]])", n_trials(4))
    seen = {
        (row["params"]["dropout"], json.dumps(row["params"]["layers"]))
        for row in leaderboard(tmp_path)
    }
    assert seen == {(d, s) for d in (None, 0.5) for s in ("[8, 16]", "[16, [4]]")}
    for row in leaderboard(tmp_path):
        if row["state"] == "DUPLICATE":
            continue
        config = (tmp_path / row["folder"] / ".hydra" / "config.yaml").read_text()
        assert ("dropout: null" in config) == (row["params"]["dropout"] is None)
        assert "- 16" in config


def test_conditional_parameters_exist_only_under_their_choice(tmp_path: Path) -> None:
    conf = tmp_path / "conf" / "space"
    conf.mkdir(parents=True)
    (conf / "nested.yaml").write_text(
        "# @package hydra.sweeper\n"
        "params:\n  shape: choice(small,big)\n  dropout: choice(null,0.1)\n"
        "  shape=big:\n    shape.slack: interval(1,2)\n"
    )
    nested = "--config-dir", str(tmp_path / "conf"), "+space=nested"
    sweep(tmp_path / "s", *nested, n_trials(8), SEEDED)
    shapes = {t.params["shape"] for t in study(tmp_path / "s").trials}
    assert shapes == {"small", "big"}
    for trial in study(tmp_path / "s").trials:
        assert ("shape.slack" in trial.params) == (trial.params["shape"] == "big")


def test_pruned_trials_count_and_say_so(tmp_path: Path) -> None:
    sweep(
        tmp_path,
        X,
        "steps=4",
        n_trials(16),
        SEEDED,
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=2",
    )
    pruned = [t for t in study(tmp_path).trials if t.state.name == "PRUNED"]
    assert summary(tmp_path)["pruned"] == len(pruned) > 0
    assert summary(tmp_path)["trained"] == 16
    for trial in pruned:
        log = (tmp_path / str(trial.number) / "bowl.log").read_text()
        assert f"PRUNED at step {trial.last_step}" in log
        assert "Job failed" not in log and "Traceback" not in log
        marker = (tmp_path / str(trial.number) / "PRUNED").read_text()
        assert marker == f"at step {trial.last_step}\n"


def test_report_does_nothing_outside_a_sweep_and_loads_no_optuna() -> None:
    code = (
        "import sys; from hydra_budget_sweeper import report; report(1.0, 0);"
        "from hydra_plugins.hydra_budget_sweeper import budget_sweeper;"
        "sys.exit('optuna' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=environment()).returncode == 0


def test_one_worker_with_a_seed_repeats_itself_to_the_bit_resumed_or_not(tmp_path: Path) -> None:
    space = [X, "y=interval(-1,1)", WIDTH, LIMITS, SEEDED]
    sweep(tmp_path / "whole", *space, n_trials(14))
    for n in (3, 9, 14):
        sweep(tmp_path / "parts", *space, n_trials(n))
    whole, parts = study(tmp_path / "whole").trials, study(tmp_path / "parts").trials
    assert [t.params for t in whole] == [t.params for t in parts]
    assert [t.values for t in whole] == [t.values for t in parts]


def test_workers_with_the_same_seed_never_draw_the_same(tmp_path: Path) -> None:
    sweep(tmp_path, X, SEEDED, FORKSERVER, n_trials(8))
    trials = study(tmp_path).trials
    assert len({t.params["x"] for t in trials}) == len(trials) >= 8


def test_resume_goes_on_and_keeps_what_is_done(tmp_path: Path) -> None:
    sweep(tmp_path, X, n_trials(3))
    before = {f: (tmp_path / f / "bowl.log").stat().st_mtime_ns for f in ("0", "1", "2")}
    sweep(tmp_path / "elsewhere", X, n_trials(5), f"hydra.sweeper.resume={tmp_path}")
    assert trial_folders(tmp_path) == {"0", "1", "2", "3", "4"}
    assert before == {f: (tmp_path / f / "bowl.log").stat().st_mtime_ns for f in before}
    assert summary(tmp_path)["trained"] == 5
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["x=interval(-5,6)"], ["space x: interval(-5,5) → interval(-5,6)"]),
        ([X, "y=interval(0,1)"], ["space y: (absent) → interval(0,1)"]),
        ([X, "hydra.sweeper.direction=maximize"], ["direction: [minimize] → [maximize]"]),
        ([X, LIMITS], ["constraints: null → bowl.limits"]),
        ([X, "width=5"], ["setting width: 1 → 5"]),
    ],
    ids=["range", "parameter", "direction", "constraints", "fixed"],
)
@pytest.mark.by_default("range")
def test_a_changed_sweep_is_refused_with_the_difference(
    tmp_path: Path, change: list[str], words: list[str]
) -> None:
    sweep(tmp_path, X, n_trials(1))
    refused = sweep(tmp_path, *change, n_trials(2), expect=1)
    assert all(word in refused.stderr for word in words), refused.stderr
    assert refused.stderr.count(" → ") == 1  # each difference is told once
    assert "Traceback" not in refused.stderr
    assert len(study(tmp_path).trials) == 1


def test_a_space_that_nothing_fits_is_refused_before_training(tmp_path: Path) -> None:
    refused = sweep(
        tmp_path, X, "width=range(3,20)", "hydra.sweeper.constraints=bowl.never", expect=1
    )
    assert "width=3" in refused.stderr and "width costs most" in refused.stderr
    assert "depth by 50.0%" in refused.stderr and "Traceback" not in refused.stderr
    assert trial_folders(tmp_path) == set()


def test_too_many_infeasible_in_a_row_end_the_sweep(tmp_path: Path) -> None:
    ended = sweep(
        tmp_path,
        X,
        "width=range(11,90)",
        "hydra.sweeper.constraints=bowl.never",
        "hydra.sweeper.feasibility_samples=0",
        "hydra.sweeper.max_infeasible=15",
        expect=1,
    )
    assert "15 proposals in a row were over the limits" in ended.stderr
    assert "width=11" in ended.stderr
    assert summary(tmp_path)["over_budget"] == 15


@pytest.mark.slow
def test_without_a_number_a_sweep_ends_with_its_time_or_its_space(tmp_path: Path) -> None:
    ended = sweep(tmp_path / "all", "x=choice(1,2,3)", "hydra.sweeper.n_trials=null", FORKSERVER)
    assert "All 3 candidates of the space have been tried" in ended.stdout
    assert summary(tmp_path / "all")["trained"] == 3
    timed = ["seconds=0.2", "hydra.sweeper.timeout=4", "hydra.sweeper.n_trials=null"]
    ended = sweep(tmp_path / "timed", X, *timed, FORKSERVER)
    assert "hydra.sweeper.timeout=4 s is over" in ended.stdout
    known = summary(tmp_path / "timed")
    assert known["state"] == "finished" and known["n_trials"] is None and known["trained"] > 2


def test_duplicates_replay_their_value_and_do_not_count(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    out = sweep(tmp_path / "s", "x=choice(0,1,2)", SEEDED, n_trials(20), f"trace={trace}")
    assert sorted(x for what, _, x in traced(trace) if what == "end") == [0.0, 1.0, 2.0]
    assert "All 3 candidates of the space have been tried" in out.stdout
    replayed = [r for r in leaderboard(tmp_path / "s") if r["state"] == "DUPLICATE"]
    values = {t.number: t.value for t in study(tmp_path / "s").trials}
    assert all(values[r["trial"]] == values[r["duplicate_of"]] for r in replayed)


@pytest.mark.parametrize(
    "entry", ["x=1 y=0", "[x=1,y=0]", "{x: 1, y: 0}"], ids=["string", "list", "mapping"]
)
@pytest.mark.by_default("list")
def test_known_points_come_first_and_once(tmp_path: Path, entry: str) -> None:
    conf = tmp_path / "conf" / "known"
    conf.mkdir(parents=True)
    (conf / "point.yaml").write_text(f"# @package hydra.sweeper\nenqueue:\n  - {entry}\n")
    for n in (2, 4):
        sweep(
            tmp_path / "s",
            "--config-dir",
            str(tmp_path / "conf"),
            "+known=point",
            X,
            "y=interval(-1,1)",
            n_trials(n),
        )
    found = [t.params for t in study(tmp_path / "s").trials]
    assert found[0] == {"x": 1, "y": 0} and found.count({"x": 1, "y": 0}) == 1
    assert results(tmp_path / "s")["best_value"] == 0.0


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("raise", "ValueError: the loss exploded"),
        ("diverge", "the task returned nan"),
        ("text", "the task must return a number, but returned 'good'"),
        ("exit", "the task ended itself by sys.exit('goodbye')"),
    ],
)
def test_a_failure_ends_the_sweep_with_results(tmp_path: Path, trouble: str, words: str) -> None:
    ended = sweep(tmp_path, X, f"trouble={trouble}", expect=1)
    assert words in ended.stderr and "max_failure_rate" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert leaderboard(tmp_path)[0]["error"].endswith(words)
    assert results(tmp_path) == {"name": "optuna", "best_params": {}, "best_value": None}


def test_tolerated_failures_are_shown_kept_and_not_counted(tmp_path: Path) -> None:
    out = sweep(
        tmp_path,
        X,
        "trouble=raise_if_high",
        n_trials(4),
        SEEDED,
        "hydra.sweeper.max_failure_rate=0.99",
        "hydra.sweeper.max_repeated_errors=50",
    )
    failed = [t for t in study(tmp_path).trials if t.state.name == "FAIL"]
    assert summary(tmp_path)["trained"] == 4 and summary(tmp_path)["failed"] == len(failed) > 0
    assert f"Trial {failed[0].number} failed: ValueError: the loss exploded" in out.stdout
    assert f"x={failed[0].params['x']}" in out.stdout
    assert "Traceback" in (tmp_path / str(failed[0].number) / "bowl.log").read_text()


def test_the_same_error_again_and_again_ends_the_sweep(tmp_path: Path) -> None:
    ended = sweep(
        tmp_path, X, "trouble=raise", n_trials(50), "hydra.sweeper.max_failure_rate=0.9", expect=1
    )
    why = "3 trials in a row failed with the same error"
    assert why in ended.stderr and why in summary(tmp_path)["reason"]
    assert "max_repeated_errors=3" in ended.stderr and "max_failure_rate=1" in ended.stderr
    assert states(tmp_path) == {"FAIL": 3}


def test_a_trial_over_its_time_fails(tmp_path: Path) -> None:
    ended = sweep(tmp_path, X, "trouble=hang", "hydra.sweeper.trial_timeout=0.3", expect=1)
    assert "not finished after trial_timeout=0.3 s" in ended.stderr


def test_a_worker_that_always_dies_fails_its_trial(tmp_path: Path) -> None:
    ended = sweep(
        tmp_path,
        X,
        "trouble=kill",
        FORKSERVER,
        "hydra.sweeper.n_jobs=1",  # of two, either's proposal may be the one that is trained
        n_trials(1),
        "hydra.sweeper.max_retries=1",
        expect=1,
    )
    assert "its worker died 2 times without progress" in ended.stderr
    assert states(tmp_path)["FAIL"] == 1 and trial_folders(tmp_path) == {"0"}


@pytest.mark.slow
def test_timeout_ends_the_sweep_in_order(tmp_path: Path) -> None:
    out = sweep(tmp_path, X, "seconds=0.2", n_trials(1000), "hydra.sweeper.timeout=6")
    assert "hydra.sweeper.timeout=6 s is over" in out.stdout
    assert set(states(tmp_path)) == {"COMPLETE"} and results(tmp_path)["best_value"] >= 0


@pytest.mark.parametrize("launcher", ["hydra/launcher=basic", FORKSERVER, JOBLIB])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.by_default("2-hydra/launcher=forkserver")
def test_an_interrupted_sweep_ends_cleanly_and_goes_on(
    tmp_path: Path, launcher: str, how: signal.Signals
) -> None:
    trace = tmp_path / "trace"
    arguments = [
        X,
        "seconds=0.4",
        "steps=4",
        launcher,
        n_trials(6),
        f"trace={trace}",
        "hydra.sweeper.retry_overrides=['resume=true']",
    ]
    process = start(tmp_path / "s", *arguments)
    wait_for(lambda: trace.exists() and trace.read_text().count("end") >= 2)
    if "basic" not in launcher:
        time.sleep(0.1)  # these kill their workers: let them write down what has just ended
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        os.kill(process.pid, how)
    assert process.wait(timeout=30) == 130
    assert states(tmp_path / "s")["RUNNING"] == 0
    assert summary(tmp_path / "s")["state"] == "interrupted"
    sweep(tmp_path / "s", *arguments)
    ended = [n for what, n, _ in traced(trace) if what == "end"]
    assert len(ended) == len(set(ended)) == 6
    assert summary(tmp_path / "s")["retried"] == 0


def test_a_trial_whose_worker_ended_while_it_took_it_is_not_left_running(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    process = start(tmp_path / "s", X, "seconds=60", FORKSERVER, n_trials(6), f"trace={trace}")
    wait_for(lambda: trace.exists() and trace.read_text().count("start") >= 2)
    study(tmp_path / "s").ask()  # RUNNING, as a worker's is for a moment before it has an owner
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert states(tmp_path / "s")["RUNNING"] == 0


def test_a_second_sweep_on_the_folder_leaves_or_joins(tmp_path: Path) -> None:
    arguments = [X, "seconds=0.2", n_trials(10_000)]
    first = start(tmp_path, *arguments)
    wait_for(lambda: (tmp_path / "0").exists())
    refused = sweep(tmp_path, *arguments, expect=1)
    assert "A sweep is already running" in refused.stderr and "join=true" in refused.stderr
    second = start(tmp_path, *arguments, "hydra.sweeper.join=true")
    wait_for(lambda: len(workers_of(tmp_path)) == 2)
    for process in (second, first):
        process.terminate()
        assert process.wait(timeout=60) == 130
    assert set(states(tmp_path)) <= {"COMPLETE", "WAITING"}


def workers_of(folder: Path) -> set[str]:
    done = [t for t in study(folder).trials if t.state.name == "COMPLETE"]
    return {trial.system_attrs["budget_sweep"]["worker"] for trial in done}


@pytest.mark.parametrize("cut", [1, 7, 40])
@pytest.mark.by_default("7")
def test_a_journal_cut_short_is_mended(tmp_path: Path, cut: int) -> None:
    sweep(tmp_path, X, n_trials(3))
    journal = tmp_path / "study.journal"
    journal.write_bytes(journal.read_bytes()[:-cut])
    sweep(tmp_path, X, n_trials(5))
    assert summary(tmp_path)["trained"] == 5
    assert states(tmp_path) == {"COMPLETE": 5}


def test_the_winner_runs_as_one_run(tmp_path: Path) -> None:
    sweep(
        tmp_path / "s",
        "shape=small,big",
        "x=interval(0,2)",
        "layers=choice([1,2],[3])",
        "+extra=choice(a,b)",
        "width=6",
        n_trials(6),
    )
    text = (tmp_path / "s" / "best.yaml").read_text()
    assert text.startswith("# @package _global_\n# Run it: python ")
    winner = leaderboard(tmp_path / "s")[0]
    subprocess.run(
        [
            sys.executable,
            str(APPS / "bowl.py"),
            "--config-dir",
            str(tmp_path / "s"),
            "+experiment=best",
            f"hydra.run.dir={tmp_path / 'run'}",
        ],
        env=environment(),
        check=True,
    )
    again = (tmp_path / "run" / ".hydra" / "config.yaml").read_text()
    once = (tmp_path / "s" / winner["folder"] / ".hydra" / "config.yaml").read_text()
    assert sorted(again.splitlines()) == sorted(once.splitlines())


def test_leaderboard_is_ranked_and_tells_where(tmp_path: Path) -> None:
    sweep(tmp_path, X, WIDTH, LIMITS, n_trials(6))
    rows = leaderboard_csv(tmp_path)
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values) == [(float(row["x"]) - 1) ** 2 for row in rows]
    for row in rows:
        config = (tmp_path / row["folder"] / ".hydra" / "overrides.yaml").read_text()
        assert f"x={row['x']}" in config
        assert float(row["violation:width"]) == (int(row["width"]) - 10) / 10


@pytest.mark.parametrize(
    ("function", "words", "traceback"),
    [
        ("bowl.decline", "bowl.decline: nothing to celebrate: open a bottle first", False),
        ("bowl.break_down", "RuntimeError: no report today", True),
    ],
    ids=["a mistake is one line", "a bug shows where"],
)
def test_functions_at_the_end_are_called_and_cannot_hurt(
    tmp_path: Path, function: str, words: str, traceback: bool
) -> None:
    ended = sweep(tmp_path, X, n_trials(1), f"hydra.sweeper.on_end=[{function},bowl.celebrate]")
    assert (tmp_path / "ended").read_text() == "yes"
    told = ended.stdout + ended.stderr
    assert words in told
    assert ("Traceback" in told) == traceback


def test_a_function_at_the_start_may_refuse_the_sweep(tmp_path: Path) -> None:
    ends = "hydra.sweeper.on_end=[bowl.celebrate]"
    refused = sweep(
        tmp_path, X, n_trials(1), "hydra.sweeper.on_start=[bowl.refuse]", ends, expect=1
    )
    assert refused.stderr.splitlines()[-1] == "a bowl of width 1 holds nothing"
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "s" / "study.journal").exists() and not (tmp_path / "ended").exists()


def test_a_sweep_that_came_to_train_nothing_has_no_end_to_call_functions_at(tmp_path: Path) -> None:
    ends = "hydra.sweeper.on_end=[bowl.celebrate]"
    none = "hydra.sweeper.constraints=bowl.never"
    refused = sweep(tmp_path, X, none, n_trials(1), ends, expect=1)
    assert "No candidate is within the limits" in refused.stderr
    assert not (tmp_path / "ended").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["nothing=choice(1,2)"], "nothing"),
        ([X, "hydra.sweeper.constraints=bowl.nothing"], "bowl.nothing"),
        ([X, "hydra.sweeper.n_jobs=0"], "n_jobs must be 1 or more, but got 0"),
        ([X, "hydra.sweeper.enqueue=['z=1']"], "z, which is not searched. Searched are: x"),
        ([X, "hydra.sweeper.enqueue=['x=7']"], "x=7, which is outside"),
        ([X, "hydra.sweeper.resume=nowhere"], "no such sweep folder"),
        ([X, "hydra/sweeper/sampler=grid"], "x is a range"),
        ([X, "hydra.sweeper.direction=up"], "minimize or maximize, but got up"),
        (["shape=small,bgi"], "shape has big, small. Did you mean big?"),
    ],
)
def test_a_mistake_is_one_message_and_no_traceback(
    tmp_path: Path, overrides: list[str], words: str
) -> None:
    ended = sweep(tmp_path, *overrides, n_trials(2), expect=1)
    assert words in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_any_optuna_storage(tmp_path: Path) -> None:
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db"
    for n in (2, 4):
        sweep(tmp_path / "s", X, storage, n_trials(n))
    assert summary(tmp_path / "s")["trained"] == 4
    assert not (tmp_path / "s" / "study.journal").exists()


def test_a_worker_finds_the_applications_modules_in_a_bare_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a cluster's launcher starts it: Python without the script's folder on its path."""
    monkeypatch.syspath_prepend(str(APPS))
    limits = importlib.import_module("bowl").limits
    worker = Worker(None, None)  # type: ignore[arg-type]
    worker.plan = Limits(limits)  # type: ignore[assignment]
    packed = cloudpickle.dumps(worker)
    program = """
import pickle, sys, types
worker = pickle.loads(sys.stdin.buffer.read())
print(worker.plan.violations(types.SimpleNamespace(width=15)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=packed, env=environment(), capture_output=True,
        cwd="/",
    )  # fmt: skip
    assert done.stdout.decode().strip() == "{'width': 0.5}", done.stderr.decode()
