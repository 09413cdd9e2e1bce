"""`budgetsweep find`: from images to an answer, in the time that there is.

A search and its finalists, the winner against the reference on the test set, a page and the exported
network: each by the command that does it alone, and none of it twice.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetsweep.arguments import place, positive
from budgetsweep.errors import SettingError, UserError
from budgetsweep.files import write_json
from budgetsweep.folders import SUMMARY, SWEEP
from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.results.screen import duration
from hydra_plugins.hydra_forkserver_launcher.cores import available_cores

_EPILOG = """examples:
  budgetsweep find --time 2h
  budgetsweep find --time 8h data=image_folder data.path=photos budget.max_parameters=50000
  budgetsweep find --time 4h --search smallest target=0.994

The steps, of which each is a command of its own, too:

  search         search=best within the budget, by validation images; with the finalists three fifths
                 of the time
  finalists      the best of them again under further seeds (hydra.sweeper.finalists), as many epochs
                 as the confirmation's runs
  confirmation   the winner and the reference under fresh seeds, on all training images, the test set
                 read once a run, as many seeds as there is time for (budgetsweep replicate)
  answer         report.html, and the winner as ONNX, torch.export and int8 (budgetsweep export)

Interrupted or killed, the same command goes on where it was.

More: docs/first-sweep.md
"""
# The seconds wanted for the search, those spent before its last start, and which sweep.json told of them.
_NOTE = "find.json"
SEARCH_SHARE = 0.6  # of the time, with the finalists
FEWEST, MOST = 3, 10  # seeds of the confirmation
_EPOCHS = "trainer.epochs"
_OWN = {  # what find itself says of the sweep, and by which of its options
    "hydra.sweep.dir": "--folder",
    "hydra.sweeper.timeout": "--time",
    "hydra.sweeper.n_trials": "--time",
    "search": "--search",
}
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Plan:
    """What is to be found, where, and in what time."""

    folder: Path
    search: str
    seconds: float
    epochs: int  # of a run of the confirmation
    seeds: int | None  # of it; None: as many as there is time for
    overrides: list[str]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="budgetsweep find",
        description="Find the best network for your images within a budget and a time, and say how\n"
        "sure that is.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--time", type=seconds, default=3600.0, help="about how long: 90min, 2h (1h)")
    p.add_argument("--search", default="best", metavar="NAME", help="best, smallest, ... (best)")
    p.add_argument(
        "--folder", type=place, default=Path("multirun/find"), metavar="DIR",
        help="takes all of it (multirun/find)",
    )  # fmt: skip
    p.add_argument(
        "--epochs", type=positive, default=20, metavar="N", help="of the confirmation's runs (20)"
    )
    p.add_argument(
        "--seeds", type=positive, metavar="N",
        help=f"of the confirmation (as many as there is time for, {FEWEST} to {MOST})",
    )  # fmt: skip
    p.add_argument("--config-dir", type=place, metavar="DIR", help="of configurations of one's own")
    p.add_argument("overrides", nargs="*", metavar="key=value", help="for all: data, budget, ...")
    return p


def seconds(text: str) -> float:
    """`90min`, `2h`, `1d` or plain seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*)", text.strip().lower())
    if found is None or found[2] not in _UNITS or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text} is no time: write 90min, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


def main(argv: Sequence[str] | None = None) -> None:
    """Take the steps that are not done yet; a person's mistake ends with one line."""
    from hydra_budget_sweeper.workers.signals import terminate_as_interrupt

    args = parser().parse_intermixed_args(argv)
    given = [*args.overrides, *_searchpath(args.config_dir)]
    plan = Plan(args.folder, args.search, args.time, args.epochs, args.seeds, given)
    try:
        _refuse_own(given)
        with terminate_as_interrupt():  # each step has its own way to end; this is for between them
            _search(plan)
            _conclude(plan, _confirm(plan))
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        _say("Interrupted. The same command goes on.")
        sys.exit(130)


def _refuse_own(overrides: Sequence[str]) -> None:
    """What would not hold is refused."""
    for text in overrides:
        key, _, value = text.partition("=")
        if option := _OWN.get(key.lstrip("+")):
            raise SettingError(key, value, f"`find` sets it itself, from {option}.")


def _searchpath(config_dir: Path | None) -> list[str]:
    """What --config-dir means, as an override."""
    from budgetsweep.runs.overrides import SEARCHPATH
    from hydra_budget_sweeper.space.grammar import override_text

    if config_dir is None:
        return []
    if not config_dir.is_dir():
        sys.exit(f"--config-dir {config_dir} is no folder.")
    return [f"{SEARCHPATH}=[{override_text(f'file://{config_dir.absolute()}')}]"]


def _search(plan: Plan) -> None:
    """Search and finalists, for what is left of their time."""
    from budgetsweep.train import sweep
    from hydra_budget_sweeper.space.grammar import override_text

    wanted, before = SEARCH_SHARE * plan.seconds, _read(plan.folder / _NOTE)
    last = _read(plan.folder / SWEEP)
    if last.get("state") == "finished" and before.get("wanted") == wanted:
        return
    spent, counted = float(before.get("spent", 0.0)), _written(plan.folder / SWEEP)
    if counted != before.get("counted"):  # by a start that has run since
        spent += float(last.get("seconds", 0.0))
    left = max(1.0, wanted - spent)
    write_json(plan.folder / _NOTE, {"wanted": wanted, "spent": spent, "counted": counted})
    _say(f"1 of 3: search={plan.search} and its finalists, about {duration(left)}")
    begun = sys.argv
    sys.argv = [
        begun[0].removesuffix("find") + "sweep", f"search={plan.search}", *plan.overrides,
        f"hydra.sweep.dir={override_text(str(plan.folder))}", f"hydra.sweeper.timeout={left:.0f}",
        "hydra.sweeper.n_trials=null", *_finalists(plan),
    ]  # fmt: skip
    try:
        sweep()
    except SystemExit as ended:  # with what to do next, which here has another name
        raise SystemExit(_by_options(ended.code)) from None
    finally:
        sys.argv = begun


def _by_options(said: Any) -> Any:
    """What the sweep ended with, its settings as the options that set them."""
    for key, option in _OWN.items() if isinstance(said, str) else ():
        said = said.replace(f"({key})", f"({option})")
    return said


def _finalists(plan: Plan) -> list[str]:
    """Train the finalists as long as the confirmation does: what is quick to learn may end behind."""
    from budgetsweep.runs.confirmation import compose
    from hydra_budget_sweeper.space.grammar import override_text

    try:
        fixed, swept = _split(plan.overrides)
        config = compose([f"search={plan.search}", *fixed])
    except (SweepError, UserError):
        return []  # the search says it
    epochs = config.trainer.epochs
    if epochs < 1 or _EPOCHS in swept | set(config.hydra.sweeper.params or {}):
        return []
    rules = "hydra.sweeper.finalists"
    cost = plan.epochs / epochs
    overrides = override_text([f"{_EPOCHS}={plan.epochs}"])
    return [f"{rules}.overrides={overrides}", f"{rules}.cost={cost:.4g}"]


def _split(overrides: list[str]) -> tuple[list[str], set[str]]:
    """The overrides that hold for every trial, and the keys that others give to the search."""
    from hydra_budget_sweeper.space.grammar import parse_all

    parsed = parse_all(overrides)
    fixed = [t for t, o in zip(overrides, parsed, strict=True) if not o.is_sweep_override()]
    return fixed, {o.key_or_group for o in parsed if o.is_sweep_override()}


def _confirm(plan: Plan) -> Path:
    """The winner and the reference under fresh seeds; the folder of the winner's first run."""
    from budgetsweep.runs.confirmation import confirm, confirmed, winner_of

    pair = winner_of(plan.folder)
    n_seeds = plan.seeds or _affordable(plan)
    said = f"{pair.name} and the reference, {n_seeds} seeds of {plan.epochs} epochs each"
    _say(f"2 of 3: confirmation, {said}, about {duration(2 * n_seeds * _run_seconds(plan))}")
    own = [o for o in _split(plan.overrides)[0] if not o.startswith("hydra.")]
    # What was held out for the search is trained on now, however much that was.
    own += [f"{_EPOCHS}={plan.epochs}", "data.validation=0"]
    print(confirm(plan.folder, pair, n_seeds, own))
    return confirmed(plan.folder, pair)


def _affordable(plan: Plan) -> int:
    """How many seeds of two networks there is time for."""
    return min(MOST, max(FEWEST, int((1 - SEARCH_SHARE) * plan.seconds / (2 * _run_seconds(plan)))))


def _run_seconds(plan: Plan) -> float:
    """What a run of the confirmation takes, a core each, by the pace of the search's winner."""
    from budgetsweep.network.saved import winner

    summary = _read(winner(plan.folder) / SUMMARY)
    images = plan.epochs * float(summary["train_images"])
    return images / float(summary["images_per_second"]) / available_cores()


def _conclude(plan: Plan, winner: Path) -> None:
    """The page, and the network that was confirmed, for use elsewhere."""
    from budgetsweep.exporting import FORMATS
    from budgetsweep.exporting.exported import describe
    from budgetsweep.exporting.exporter import export
    from budgetsweep.network.saved import load_run
    from budgetsweep.report import write_report

    _say("3 of 3: report and export")
    for name in ("onnxscript", "onnx_ir"):  # which tell of each step where Hydra has a log
        logging.getLogger(name).setLevel(logging.WARNING)
    run, folder = load_run(winner), plan.folder / "export"
    print(describe(run, export(run, FORMATS, folder), folder))
    _say(f"The answer: {write_report(plan.folder, None)}")


def _written(path: Path) -> int | None:
    """When a file was last written, in nanoseconds; None where there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


def _read(path: Path) -> dict[str, Any]:
    """A file of this command's or a run's; empty where there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _say(line: str) -> None:
    print(f"\n{line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
