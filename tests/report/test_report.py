"""The report's facts against folders made by hand, and the page in a real browser."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import optuna
import pytest
from browsing import browse, dom
from composing import compose
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from budgetsweep.errors import UserError
from budgetsweep.network.cost import cost_of
from budgetsweep.network.factory import build_model
from budgetsweep.network.saved import SavedRun, load_run
from budgetsweep.report import write_report
from budgetsweep.report.__main__ import main
from budgetsweep.report.collect import Sweep, collect
from budgetsweep.report.common import common, comparable
from budgetsweep.report.costs import cost
from budgetsweep.report.drawing import log_ticks
from budgetsweep.report.mistakes import counted_by_the_run, find_mistakes
from budgetsweep.report.network import look_at
from budgetsweep.report.page import Plot, Table
from budgetsweep.report.reference import reference, reference_cost
from budgetsweep.report.sections import failures, front, layers, parallel, timing
from budgetsweep.report.sections import headline as top

LIMIT = 1_000
# number: (state, width, value, validation accuracy, parameters, epochs trained)
TRIALS: dict[int, tuple[str, int, float | None, float | None, int, int]] = {
    0: ("complete", 4, 0.50, 0.80, 400, 4),
    1: ("over budget", 16, None, None, 1_500, 0),
    2: ("complete", 8, 0.30, 0.90, 800, 4),
    3: ("pruned", 6, 0.90, 0.60, 600, 1),
    4: ("complete", 7, 0.40, 0.78, 700, 4),
    5: ("failed", 5, None, None, 500, 0),
    6: ("complete", 9, 0.31, 0.89, 900, 4),
}
NASTY = "<script>alert('x')</script>"


class Page(HTMLParser):
    """What a browser would see of tags: addresses, links and the trial table's rows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.links: list[str] = []
        self.unnamed: list[str] = []
        self.states: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._silent = self._is_trials = False
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._silent = tag in ("script", "style")
        self.ids += [given["id"] or ""] if "id" in given else []
        self.addresses += [v for k in ("src", "data", "action") if (v := given.get(k))]
        if tag == "link":
            self.addresses.append(given["href"] or "")
        if tag == "a":
            self.links.append(given["href"] or "")
        self._is_trials = given.get("id") == "trial-data"
        if tag == "img" and not given.get("alt"):
            self.unnamed.append(tag)
        if given.get("role") == "img" and not given.get("aria-labelledby"):
            self.unnamed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data + " "
        elif self._is_trials:
            for number, href, state, _, cells, remark in json.loads(data):
                self.states.append(state)
                self.links += [href] * bool(href)
                cells = [cell[0] if isinstance(cell, list) else cell for cell in cells]
                # A lone surrogate is shown as a substitute.
                told = " ".join([number, *cells, remark]).encode("utf-16", "surrogatepass")
                self.text += told.decode("utf-16", "replace") + " "


def write_run(folder: Path, accuracy: float, loss: float, epochs: int, **summary: Any) -> None:
    folder.mkdir(parents=True)
    rows = "".join(f"{e},{loss + epochs - e},{accuracy},{e * 2.0}\n" for e in range(1, epochs + 1))
    (folder / "metrics.csv").write_text("epoch,val_loss,val_accuracy,seconds\n" + rows)
    (folder / ".hydra").mkdir()
    config = (
        f"budget: {{max_parameters: {LIMIT}}}\ntrainer: {{epochs: 4}}\nobjectives: [val_loss]\n"
    )
    (folder / ".hydra/config.yaml").write_text(config)
    (folder / ".hydra/overrides.yaml").write_text("- seed=0\n- data=digits\n")
    if summary:
        told = {"val_loss": loss, "val_accuracy": accuracy, "test_accuracy": None, "seed": 0}
        told |= {"train_seconds": 8.0, "evaluate_seconds": 1.0, "setup_seconds": 0.5}
        (folder / "summary.json").write_text(json.dumps(told | summary))


def make_trial(number: int) -> optuna.trial.FrozenTrial:
    state, width, value, _, size, epochs = TRIALS[number]
    note: dict[str, Any] = {}
    if state != "over budget":
        note = {"started": f"config-{number}", "folder": f"{number} a", "seconds": 10.0}
    if state == "failed":
        note["error"] = NASTY
    # Over budget is told to the sampler as complete, with a value that stands in for none.
    told = {"complete": TrialState.COMPLETE, "over budget": TrialState.COMPLETE}
    trial = create_trial(
        state=told.get(state, TrialState.FAIL if state == "failed" else TrialState.PRUNED),
        value=math.inf if state == "over budget" else value,
        params={"model.layers.conv1.width": width, "optimizer.lr": 0.1 + 0.01 * number},
        distributions={
            "model.layers.conv1.width": IntDistribution(1, 32),
            "optimizer.lr": FloatDistribution(0.01, 1.0),
        },
        intermediate_values=dict.fromkeys(range(epochs), value or 0.0),
        system_attrs={"budget_sweep": note},
    )
    trial.set_constraint("parameters", (size - LIMIT) / LIMIT)
    return trial


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep's folder with every kind of trial."""
    folder = tmp_path / "my sweep"
    folder.mkdir()
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.create_study(storage=storage, study_name="sweep")
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["val_loss"])
    for number, (state, _, value, accuracy, size, epochs) in TRIALS.items():
        study.add_trial(make_trial(number))
        if state == "complete":
            assert accuracy is not None and value is not None
            write_run(folder / f"{number} a", accuracy, value, epochs, parameters=size)
        elif state == "pruned":
            assert accuracy is not None and value is not None
            write_run(folder / f"{number} a", accuracy, value, epochs)
        elif state == "failed":
            (folder / f"{number} a").mkdir()
    status = {"state": "finished", "n_trials": 5, "workers": 2, "seconds": 40.0}
    (folder / "sweep.json").write_text(json.dumps(status))
    return folder


def read(folder: Path) -> Sweep:
    found = collect(folder)
    assert isinstance(found, Sweep)
    return found


def headline(folder: Path) -> dict[str, tuple[str, str]]:
    return {name: (value, remark) for name, value, remark in top.facts(read(folder))}


def test_the_headline_counts_every_kind_of_trial_once(sweep: Path) -> None:
    told = headline(sweep)
    assert {k: told[k][0] for k in ("proposed", "over budget", "trained", "pruned", "failed")} == {
        "proposed": "7",
        "over budget": "1",
        "trained": "5",
        "pruned": "1",
        "failed": "1",
    }
    assert told["validation loss"][0] == "0.3"
    assert told["its parameters"] == ("800", "80 % of 1,000 allowed")
    # The pruned trial trained 1 of its 4 epochs; 5 trials would have taken 20.
    assert told["epochs saved by pruning"] == ("3", "of 20")


def test_over_budget_says_over_which_limit_and_by_how_much(sweep: Path) -> None:
    assert headline(sweep)["over budget"] == ("1", "not trained; by limit: 1 parameters")
    assert "parameters: 1,500 of 1,000, 500 over (50 %)" in Page(write_report(sweep)).text


def test_a_candidate_over_budget_has_no_value(sweep: Path) -> None:
    over = read(sweep).trials[1]
    assert (over.state, over.value, over.told.values) == ("over budget", None, ())
    assert "inf" not in Page(write_report(sweep)).text.split()


def test_a_reference_over_budget_is_named_and_its_lead_unknown(sweep: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(sweep / "study.journal")))
    study = optuna.load_study(study_name="sweep", storage=storage)
    study.enqueue_trial({"model.layers.conv1.width": 20, "optimizer.lr": 0.3})
    trial = study.ask()
    assert trial.suggest_int("model.layers.conv1.width", 1, 32) == 20
    trial.set_constraint("parameters", 0.5)
    study.tell(trial, math.inf)
    assert headline(sweep)["against the reference"] == ("unknown", "trial 7: over budget")
    assert "The reference is trial 7, over budget." in Page(write_report(sweep)).text


def test_failures_are_counted_by_their_cause(sweep: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(sweep / "study.journal")))
    study = optuna.load_study(study_name="sweep", storage=storage)
    for loss in (17.5, 20.0):
        note = {"started": f"{loss}", "error": f"DivergedError: loss {loss} after 3 epochs"}
        study.add_trial(create_trial(state=TrialState.FAIL, system_attrs={"budget_sweep": note}))
    found = failures.causes(read(sweep))
    assert [(cause, [t.told.number for t in trials]) for cause, trials in found] == [
        ("DivergedError: loss … after … epochs", [7, 8]),
        (NASTY, [5]),
    ]


def test_trials_are_compared_at_a_step_that_all_reached(sweep: Path) -> None:
    # Four complete trials reported steps 0 to 3, the pruned one step 0 alone.
    values, name = comparable(read(sweep))
    assert name == "validation loss at step 0"
    assert values == {0: 0.5, 2: 0.3, 3: 0.9, 4: 0.4, 6: 0.31}


def test_the_page_tells_what_replicate_found(sweep: Path) -> None:
    assert "Nothing is known over fresh seeds yet" in Page(write_report(sweep)).text
    runs = {
        name: [{"seed": i, "parameters": 800, "test_accuracy": a + i / 1000} for i in range(3)]
        for name, a in (("reference", 0.90), ("trial-2", 0.95))
    }
    (sweep / "replicate").mkdir()
    (sweep / "replicate/replication.json").write_text(json.dumps(runs))
    text = Page(write_report(sweep)).text
    assert "+5.000 points" in text and ": better" in text
    mean, lead = headline(sweep)["over 3 fresh seeds, test accuracy"]
    assert mean == "95.100%" and lead.startswith("+5.000 points") and "reference" in lead


def test_parallel_coordinates_have_a_line_a_trial_and_the_best_on_top(sweep: Path) -> None:
    assert common(read(sweep)) is None  # five trained trials say nothing
    storage = JournalStorage(JournalFileBackend(str(sweep / "study.journal")))
    study = optuna.load_study(study_name="sweep", storage=storage)
    for i in range(8):
        trial = create_trial(
            value=0.6 + i / 10,
            params={"model.layers.conv1.width": 10 + i, "optimizer.lr": 0.2},
            distributions={
                "model.layers.conv1.width": IntDistribution(1, 32),
                "optimizer.lr": FloatDistribution(0.01, 1.0),
            },
            intermediate_values={0: 0.6 + i / 10},
            system_attrs={"budget_sweep": {"started": f"more-{i}"}},
        )
        study.add_trial(trial)
    shared = common(read(sweep))
    assert shared is not None and len(shared.trials) == 13
    lines = parallel.figure(shared).data
    assert [line.customdata[0][1] for line in (lines[0], lines[-1])] == ["1.3", "0.3"]
    assert lines[-1].line.width > lines[0].line.width


@pytest.mark.parametrize("limit", ["max_parameters=2000", "max_macs=90000"])
def test_the_winner_is_drawn_beside_the_reference_row_by_row(limit: str) -> None:
    own, other = compose("model=tiny", "data=digits", "budget=none", f"budget.{limit}"), compose()
    saved = SavedRun(Path(), own, build_model(own.model, own.data), (), {})
    costs = [cost_of(config.model, config.data) for config in (own, other)]
    plot, table, _ = layers.blocks(saved, costs[0], costs[1], "the winner")
    assert isinstance(plot, Plot) and isinstance(table, Table)
    bars = {bar.name: dict(zip(bar.y, bar.x, strict=True)) for bar in plot.figure.data}
    by = "macs" if "macs" in limit else "parameters"
    for name, known in zip(("the winner", "reference"), costs, strict=True):
        assert bars[name] == {layer.name: getattr(layer, by) for layer in known.layers}
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == list(dict.fromkeys([*bars["the winner"], *bars["reference"]]))
    assert rows["conv5"][1].text == "none"  # the reference has it, tiny has not


def test_a_stopped_sweep_says_why(sweep: Path) -> None:
    status = json.loads((sweep / "sweep.json").read_text())
    status |= {"state": "stopped", "reason": "3 trials in a row failed with the same error."}
    (sweep / "sweep.json").write_text(json.dumps(status))
    words = "State: stopped (3 trials in a row failed with the same error). 5 of 5 trials trained"
    assert words in Page(write_report(sweep)).text


def test_the_front_is_what_no_other_beats(sweep: Path) -> None:
    candidates = front.points(read(sweep), "complete")
    unbeaten = {
        (p.x, p.y)
        for p in candidates
        if not any(q.x <= p.x and q.y >= p.y and q != p for q in candidates)
    }
    drawn = front.front(read(sweep), candidates)
    assert [(p.x, p.y) for p in drawn] == sorted(unbeaten) == [(400, 0.8), (800, 0.9)]


def test_sizes_of_untrained_candidates_follow_from_the_limit(sweep: Path) -> None:
    found = read(sweep)
    sizes = {t.told.number: cost(found, t, "parameters") for t in found.trials}
    assert sizes == {number: row[4] for number, row in TRIALS.items()}


def test_time_adds_up_to_what_the_workers_had(sweep: Path) -> None:
    spent = timing.of_sweep(read(sweep))
    # Four complete trials at 8 s, and 2 s of the pruned one.
    assert spent["training"] == pytest.approx(4 * 8 + 2)
    assert spent["evaluating"] == pytest.approx(4)
    assert sum(spent.values()) == pytest.approx(2 * 40)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.08, 0.9, [0.1, 0.2, 0.5]),
        (0.04, 12, [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]),
        (0.04, 150, [0.1, 1, 10, 100]),
        (0.5, 2e18, [1e2, 1e5, 1e8, 1e11, 1e14, 1e17]),
    ],
)
def test_a_log_axis_has_few_round_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)


def test_pruned_trials_do_not_press_the_complete_ones_together(sweep: Path) -> None:
    # Complete from 0.78 to 0.90, the pruned one at 0.60: all in view.
    assert front.score_view(read(sweep)) is None
    for trial, accuracy in ((0, 0.89), (2, 0.90), (4, 0.88), (6, 0.89)):
        shutil.rmtree(sweep / f"{trial} a")
        write_run(sweep / f"{trial} a", accuracy, 0.3, 4, parameters=TRIALS[trial][4])
    low, high = front.score_view(read(sweep)) or (0, 0)
    assert 0.60 < low < 0.88 and 0.90 < high < 1
    assert "Outside the view: 1 pruned" in Page(write_report(sweep)).text


def test_the_reference_is_what_the_sweep_would_train_without_its_search(sweep: Path) -> None:
    assert reference(read(sweep)) is None
    for number in (0, 2, 3, 4, 6):
        # tiny's conv1 has width 8; trial 2 has it too, and the rate is set to trial 2's.
        lines = "- data=digits\n- model=tiny\n- optimizer.lr=0.3\n- model.layers.conv1.width=5\n"
        (sweep / f"{number} a/.hydra/overrides.yaml").write_text(lines)
    found = read(sweep)
    for trial in found.trials:
        trial.told.params["optimizer.lr"] = 0.1  # sgd's own
    assert reference(found) is found.trials[2]


@pytest.mark.parametrize("fitted", [False, True])
def test_the_reference_beside_the_winner_is_scaled_where_candidates_are(
    sweep: Path, fitted: bool
) -> None:
    lines = "- data=digits\n- model=reference\n- budget.max_parameters=2000\n"
    for number in (0, 2, 3, 4, 6):
        path = sweep / f"{number} a/.hydra/overrides.yaml"
        path.write_text(lines + f"- budget.fit={str(fitted).lower()}\n")
    cost = reference_cost(read(sweep))
    assert cost is not None
    assert (1_900 < cost.parameters <= 2_000) if fitted else (cost.parameters == 19_668)


def test_a_page_is_whole_escaped_and_loads_nothing(sweep: Path) -> None:
    path = write_report(sweep)
    assert path == sweep / "report.html"
    page = Page(path)
    assert all(address.startswith("data:") for address in page.addresses)
    assert "default-src 'none'" in path.read_text()
    assert not page.unnamed
    assert len(page.ids) == len(set(page.ids))
    assert NASTY in page.text
    assert NASTY not in path.read_text()
    assert sorted(page.states) == sorted(row[0] for row in TRIALS.values())
    folders = {unquote(link) for link in page.links if not link.startswith("#")}
    assert folders == {f"{n} a/" for n in (0, 2, 3, 4, 5, 6)}
    assert all((sweep / folder).is_dir() for folder in folders)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "importances" not in path.read_text()  # of five trained trials they would say nothing


def test_links_follow_the_page_elsewhere(sweep: Path, tmp_path: Path) -> None:
    page = Page(write_report(sweep, tmp_path / "elsewhere/page.html"))
    assert "../my%20sweep/0%20a/" in page.links


def test_a_running_sweep_is_shown_and_left_alone(sweep: Path) -> None:
    journal = sweep / "study.journal"
    storage = JournalStorage(JournalFileBackend(str(journal)))
    trial = optuna.load_study(study_name="sweep", storage=storage).ask()
    note = {"started": "config-7", "folder": "7 a"}
    storage.set_trial_system_attr(trial._trial_id, "budget_sweep", note)
    write_run(sweep / "7 a", 0.5, 1.0, 2)
    with open(journal, "ab") as file:
        file.write(b'{"op_code": 6, "cut')  # another process is in the middle of a line
    (sweep / "sweep.json").unlink()
    before = hashlib.sha256(journal.read_bytes()).hexdigest()
    page = Page(write_report(sweep))
    assert hashlib.sha256(journal.read_bytes()).hexdigest() == before
    assert page.states.count("running") == 1
    assert "1 trial under way" in page.text


def test_a_sweep_whose_study_is_elsewhere_is_told_from_its_leaderboard(sweep: Path) -> None:
    (sweep / "study.journal").unlink()
    row = {"trial": 2, "rank": 1, "state": "COMPLETE", "value": 0.3, "folder": "2 a"}
    (sweep / "leaderboard.json").write_text(json.dumps([{**row, "params": {"x": 1}}]))
    assert "Its study is not kept in this folder" in Page(write_report(sweep)).text


def test_seeds_get_students_interval(tmp_path: Path) -> None:
    values = [0.990, 0.992, 0.994]
    for seed, value in enumerate(values):
        write_run(
            tmp_path / str(seed), 0.9, 0.1, 3, seed=seed, test_accuracy=value, parameters=19_668
        )
    page = Page(write_report(tmp_path))
    # sd 0.002, t(0.975, 2) = 4.30265: half width 4.30265 · 0.002 / √3
    half = 4.30265 * 0.002 / math.sqrt(3)
    assert "mean 99.200 %, standard deviation 0.200 points" in page.text
    assert f"{100 * (0.992 - half):.3f} to {100 * (0.992 + half):.3f} %" in page.text
    assert {"0/", "1/", "2/"} <= set(page.links)
    assert "seed=0,1,2" in page.text


def test_a_single_run_without_weights_still_has_its_curve(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 0.9, 0.1, 3)
    page = Page(write_report(tmp_path / "run"))
    assert "not finished" in page.text
    assert "plot-curves" in page.ids


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run on bundled digits that read its test set."""
    from hydra import compose, initialize_config_dir

    from budgetsweep.config import CONF_DIR, register, to_config
    from budgetsweep.training.run import run

    register()
    folder = tmp_path_factory.mktemp("runs") / "run"
    overrides = ["data=digits", "model=tiny", "trainer.epochs=1", "trainer.progress=false"]
    overrides += ["trainer.precision=fp32", "trainer.memory_format=contiguous"]
    with initialize_config_dir(str(CONF_DIR)):
        cfg = compose("config", overrides)
    run(to_config(cfg), folder, threads=1)
    from omegaconf import OmegaConf

    (folder / ".hydra").mkdir()
    OmegaConf.save(cfg, folder / ".hydra/config.yaml")
    return folder


def test_a_runs_mistakes_are_counted_on_the_test_set_it_read(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    page = Page(write_report(trained))
    wrong = round(360 * (1 - summary["test_accuracy"]))
    assert f"On the 360 test images the network is right {360 - wrong:,} times" in page.text
    assert len([a for a in page.addresses if a.startswith("data:image/png")]) == min(24, wrong)
    assert f"parameters: {summary['parameters']:,} of 20,000, " in page.text


def test_what_a_run_counted_is_what_its_network_does(trained: Path) -> None:
    saved = load_run(trained)
    counted, tried = counted_by_the_run(saved, test=True), find_mistakes(saved, test=True)
    assert counted is not None and counted.split == tried.split == "test"
    assert (counted.confusion == tried.confusion).all()
    told = saved.summary["per_class"]
    assert told["recall"] == pytest.approx(list(tried.recall))
    assert counted_by_the_run(saved, test=False) is None  # a sweep's page knows nothing of the test


def test_a_sweeps_winner_is_tried_on_validation_images(trained: Path) -> None:
    mistakes = look_at(trained, test=False).mistakes
    assert mistakes is not None
    assert mistakes.split == "validation"
    assert mistakes.confusion.sum() == 287


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, "there is no such folder"),
        ({}, "nothing to report"),
        ({"study.journal": ""}, "no trial yet"),
        ({"study.journal": "[1]\n"}, "cannot be read as a study"),
    ],
    ids=["missing", "empty", "not begun", "not a journal"],
)
def test_nothing_to_report_is_one_line(
    files: dict[str, str] | None, words: str, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    if files is not None:
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
    with pytest.raises(SystemExit) as exit:
        main([str(folder)])
    message = str(exit.value.code)
    assert words in message
    assert "\n" not in message
    assert not (folder / "report.html").exists()


def test_a_missing_extra_names_the_way_out(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=re.escape("pip install 'budgetsweep[report]'")):
        write_report(sweep)


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_the_page(sweep: Path, width: int, scheme: str, tmp_path: Path) -> None:
    from PIL import Image

    report = write_report(sweep)
    # A window cannot be as narrow as a phone; a frame can.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body style="margin:0"><iframe src="{report.as_uri()}" '
        f'style="border:0;width:{width}px;height:2500px"></iframe>'
    )
    picture = tmp_path / "picture.png"
    done = browse(
        frame.as_uri(), tmp_path / "profile",
        "--virtual-time-budget=8000", "--window-size=1280,2500", f"--screenshot={picture}",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    image = Image.open(picture).convert("RGB").crop((0, 0, width, 2500))
    assert len(image.getcolors(maxcolors=10**6) or []) > 100
    corner = image.getpixel((2, 2))
    assert isinstance(corner, tuple)
    assert (sum(corner) > 384) == (scheme == "light")


@pytest.mark.slow
def test_the_trial_table_is_sorted_by_its_headings_and_filtered(
    sweep: Path, tmp_path: Path
) -> None:
    report = write_report(sweep)
    clicks = """
      <script>
        const heads = [...document.querySelectorAll("#trial-table th button")];
        const shown = () => [...document.querySelectorAll("#trial-table tbody tr")]
          .filter((row) => !row.hidden).map((row) => row.cells[0].textContent).join(",");
        const say = (name) => { document.body.dataset[name] = shown(); };
        heads.find((b) => b.textContent === "parameters").click();
        say("smallest");
        heads.find((b) => b.textContent === "validation loss").click();
        heads.find((b) => b.textContent === "validation loss").click();
        say("worst");
        const words = document.getElementById("words");
        words.value = "500 over";
        words.dispatchEvent(new Event("input"));
        say("words");
        words.value = "";
        const state = document.getElementById("state");
        state.value = "pruned";
        state.dispatchEvent(new Event("change"));
        say("state");
      </script>"""
    own = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text())
    report.write_text(own.replace("</body>", f"{clicks}</body>"))
    page = dom(report.as_uri(), tmp_path / "profile")
    by_size = sorted(TRIALS, key=lambda n: TRIALS[n][4])
    assert f'data-smallest="{",".join(map(str, by_size))}"' in page
    values = {n: row[2] for n, row in TRIALS.items() if row[2] is not None}
    by_value = sorted(values, key=lambda n: -values[n])
    assert f'data-worst="{",".join(map(str, by_value))},' in page
    assert 'data-words="1"' in page
    assert 'data-state="3"' in page.split("<body")[1].split(">")[0]
