"""Finished runs in one folder: those that differ by nothing but their seed belong together."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from budgetsweep.errors import UserError
from budgetsweep.files import write_json
from budgetsweep.folders import CONFIG, SUMMARY
from budgetsweep.runs.comparison import comparison_table, remarks
from budgetsweep.runs.statistics import interval
from hydra_budget_sweeper.files import write_text

RESULT = "replication"
# Settings that may differ between runs of one configuration: they change no result.
_FREE = {"seed", "resume", "objectives", "target"}
_FREE_OF_TRAINER = {"progress", "tensorboard", "threads", "test"}
_FREE_OF_DATA = {"root", "mirror", "download"}


_NEEDED = ("seed", "test_accuracy", "test_loss", "parameters", "epochs", "train_seconds")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def read_runs(folder: Path, missing_ok: bool = False) -> list[dict[str, Any]]:
    """The summaries of the finished runs in `folder`'s sub-folders, by seed.

    Raises:
        UserError: there is no such folder, no run in it (unless `missing_ok`), or one that is
            unreadable or did not read the test set.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    runs = [_summary(path) for path in sorted(folder.glob(f"*/{SUMMARY}"))]
    if not runs and not missing_ok:
        raise UserError(f"{folder}: no finished runs (*/{SUMMARY}); train some seeds first.")
    if any(run["test_accuracy"] is None for run in runs):
        raise UserError(f"{folder}: runs without a test accuracy; train with trainer.test=true.")
    return sorted(runs, key=lambda run: run["seed"])


def _summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        wrong = [key for key in _NEEDED if not _is_number(summary.get(key))]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if summary.get("test_accuracy", 0) is None:  # the test set was not read: told by `read_runs`
        wrong = [key for key in wrong if not key.startswith("test_")]
    if wrong:
        raise UserError(f"{path} is no summary of a run: it has no number as {', '.join(wrong)}.")
    return {**summary, "folder": str(path.parent)}


def configuration(folder: Path) -> dict[str, Any]:
    """What makes a run's numbers beside its seed, flat: `{"optimizer.lr": 0.1, ...}`."""
    try:
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    config = config if isinstance(config, dict) else {}
    kept = {key: value for key, value in config.items() if key not in _FREE}
    for part, free in (("trainer", _FREE_OF_TRAINER), ("data", _FREE_OF_DATA)):
        if isinstance(kept.get(part), dict):
            kept[part] = {k: v for k, v in kept[part].items() if k not in free}
    return dict(_flat(kept))


def _flat(node: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(node, Mapping):
        return [(prefix.rstrip("."), node)]
    return [pair for key, item in node.items() for pair in _flat(item, f"{prefix}{key}.")]


def grouped(runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, list[int]]:
    """Places of runs by configuration; each group is named by what sets it apart.

    Args:
        runs: folder and summary of each. Where a folder has no configuration, the summary's model,
            size, epochs and data stand for it.
    """
    keys = ("model", "parameters", "epochs", "data", "train_images")
    told = [configuration(f) or {k: s.get(k) for k in keys} for f, s in runs]
    every = {key for config in told for key in config}
    varied = sorted(k for k in every if len({repr(config.get(k)) for config in told}) > 1)
    groups: dict[str, list[int]] = {}
    for place, config in enumerate(told):
        groups.setdefault(repr([config.get(k) for k in varied]), []).append(place)
    named: dict[str, list[int]] = {}
    for places in groups.values():
        config = told[places[0]]
        name = ", ".join(f"{k}={config.get(k)}" for k in _telling(varied)) or "all"
        name = name if len(name) <= 90 else f"{name[:89]}…"
        named[f"{name} ({len(named) + 1})" if name in named else name] = places
    return named


def _telling(varied: list[str]) -> list[str]:
    """Of two models' many differing rows, the name says enough."""
    return ["model.name"] if "model.name" in varied else varied


def seeds_table(runs: Sequence[Mapping[str, Any]], published: float | None) -> str:
    """A markdown table: each seed, then mean, sd and interval, against the published figure."""
    stats = interval([run["test_accuracy"] for run in runs])
    first = runs[0]
    lines = [
        "| seed | test accuracy | test loss | parameters | train seconds |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['seed']} | {r['test_accuracy']:.2%} | {r['test_loss']:.4f} | {r['parameters']:,} "
        f"| {r['train_seconds']:.0f} |"
        for r in runs
    ]
    spread = ""
    if stats.n > 1:
        spread = f", sd {100 * stats.sd:.3f} points, 95 % interval {stats.of_share}"
    lines.append(
        f"\nmean {stats.mean:.3%}{spread} ({stats.n} seeds, {first['parameters']:,} parameters, "
        f"last of {first['epochs']} epochs)"
    )
    lines += remarks({"all": runs})
    if published is not None:
        lines.append(
            f"published: {published:.2%}; difference {100 * (stats.mean - published):+.3f} points"
        )
    return "\n".join(lines)


def seeds(folder: Path, published: float | None) -> str:
    """Sum up the runs of a folder: one configuration's seeds, or several compared.

    Written to replication.md and .json in the folder.
    """
    runs = read_runs(folder)
    groups = {
        name: [runs[i] for i in places]
        for name, places in grouped([(Path(r["folder"]), r) for r in runs]).items()
    }
    if len(groups) == 1:
        text = seeds_table(runs, published)
        stats = asdict(interval([run["test_accuracy"] for run in runs]))
        write_json(folder / f"{RESULT}.json", {"published": published, **stats, "runs": runs})
    else:
        text = comparison_table(groups)
        write_json(folder / f"{RESULT}.json", groups)
    write_text(folder / f"{RESULT}.md", text + "\n")
    return text
