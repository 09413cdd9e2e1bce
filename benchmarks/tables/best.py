"""A search's known points: the reference and the networks of a table with the fewest errors.

python -m benchmarks.tables.best mnist --count 8 --macs 3000000 > best_of_table.yaml
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from benchmarks.tables.replay import load
from hydra_budget_sweeper.space.grammar import read_value


def point(settings: Sequence[str]) -> dict[str, Any]:
    """A training's own settings, as `hydra.sweeper.enqueue` takes them."""
    parted = (setting.partition("=") for setting in settings)
    return {key: read_value(text) for key, _, text in parted}


def best(name: str, count: int, macs: int) -> list[dict[str, Any]]:
    """The reference, which each draw begins with, then `count` others by their errors, all validation images."""
    trainings = [t for n in load(name) if (t := n.trainings[0])["macs"] <= macs]
    trainings.sort(key=lambda t: (len(t["errors"]), t["macs"]))
    reference = next(point(t["settings"]) for t in trainings if t["network"].endswith("-0"))
    others: list[dict[str, Any]] = []
    for training in trainings:
        found = point(training["settings"])
        if found != reference and found not in others:
            others.append(found)
    return [reference, *others[:count]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("name", help="of the table")
    options.add_argument("--count", type=int, default=8, help="beside the reference (8)")
    options.add_argument("--macs", type=int, default=5_000_000, help="at most (5,000,000)")
    chosen = options.parse_args(arguments)
    points = best(chosen.name, chosen.count, chosen.macs)
    search = {"defaults": ["best", "_self_"], "hydra": {"sweeper": {"enqueue": points}}}
    sys.stdout.write("# @package _global_\n" + yaml.safe_dump(search, sort_keys=False))


if __name__ == "__main__":
    main()
