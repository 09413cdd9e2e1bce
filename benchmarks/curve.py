"""Accuracy on MNIST against parameters: what is published here beside what people published by hand.

python -m benchmarks.curve curve.html

Writes a page with one figure, from the replications in multirun/published/; docs/images/curve.png is a
browser's picture of it. Ours are means over seeds with 95 % intervals, of the last epoch, and so are the networks
made by hand where they were trained here as their authors do; beside them what the authors tell, most of single
runs, the best epoch by the test set in the case of 997 parameters.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go

from budgetsweep.report.drawing import BLUE, GREY, ORANGE
from budgetsweep.runs.statistics import interval

PUBLISHED = Path(__file__).parents[1] / "multirun" / "published"
REFERENCE = 19_668  # parameters
PUBLIC = {  # parameters: test accuracy in percent, and who tells it
    997: (98.76, "JoshWarn"),
    3_762: (99.52, "adilsammar/woolly-of-cv"),
    7_918: (99.50, "snehanshu-raj/ERA"),
    REFERENCE: (99.45, "the assignment"),
}


class Found(NamedTuple):
    name: str
    parameters: int
    accuracies: list[float]


def found() -> Iterator[Found]:
    """The networks that were trained over seeds, the reference first."""
    for name, folder in (("reference", "reproduce"), ("smallest", "smallest")):
        runs = json.loads((PUBLISHED / folder / "replication.json").read_text())["runs"]
        yield Found(name, runs[0]["parameters"], [run["test_accuracy"] for run in runs])
    paths = [p for kind in ("curve-*", "*-20k") for p in PUBLISHED.glob(f"{kind}/replication.json")]
    for path in sorted(paths):
        for name, runs in json.loads(path.read_text()).items():
            accuracies = [run["test_accuracy"] for run in runs]
            yield Found(name, runs[0]["parameters"], accuracies)


def by_hand() -> Iterator[Found]:
    """The networks made by hand that were trained here, each the first of a comparison."""
    for path in sorted(PUBLISHED.glob("curve-*/by_hand.json")):
        name, runs = next(iter(json.loads(path.read_text()).items()))
        yield Found(name, runs[0]["parameters"], [run["test_accuracy"] for run in runs])


def figure() -> go.Figure:
    drawn = go.Figure()
    drawn.add_scatter(
        x=list(PUBLIC), y=[100 - accuracy for accuracy, _ in PUBLIC.values()], mode="markers+text",
        text=[who for _, who in PUBLIC.values()], textposition=["top right", *["bottom center"] * 2, "top center"], name="by hand, as told",
        marker={"color": GREY, "size": 9, "symbol": "circle-open", "line": {"width": 2}},
    )  # fmt: skip
    networks = list(found())
    kinds = {
        "by hand, trained here": (GREY, list(by_hand())),
        "found": (BLUE, [f for f in networks if f.name != "reference"]),
        "reference, scaled to fit": (ORANGE, [f for f in networks if f.name == "reference"]),
    }
    for label, (color, shown) in kinds.items():
        means = [interval([100 * (1 - a) for a in f.accuracies]) for f in shown]
        drawn.add_scatter(
            x=[f.parameters for f in shown], y=[m.mean for m in means], mode="markers", name=label,
            error_y={"array": [m.high - m.mean for m in means], "thickness": 1.5},
            marker={"color": color, "size": 10},
        )  # fmt: skip
    drawn.update_xaxes(
        type="log", title="parameters", tickvals=[500, 1000, 2000, 5000, 10_000, 20_000]
    )
    drawn.update_yaxes(type="log", title="test error, %", tickvals=[0.4, 1, 2, 5, 10, 20, 50])
    legend = {"orientation": "h", "y": 1.1}
    drawn.update_layout(template="plotly_white", legend=legend, margin={"t": 30, "r": 20, "b": 50})
    return drawn.update_layout(width=860, height=380)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("page", type=Path)
    figure().write_html(parser.parse_args().page, config={"displayModeBar": False})


if __name__ == "__main__":
    main()
