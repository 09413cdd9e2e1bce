"""Sections about one network: its rows, what it confuses, its worst mistakes."""

from __future__ import annotations

import base64
import io

import numpy as np

from budgetsweep.network.limits import measure
from budgetsweep.report.page import Section, escape, paragraph, table
from budgetsweep.report.winner import Mistakes, Winner
from budgetsweep.report.words import count, percent

MOST_CLASSES = 20  # a larger confusion matrix is told by its largest entries


def sections(winner: Winner, whose: str) -> list[Section]:
    """The network's sections; `whose` names it, such as "the winner"."""
    found = [Section("Layers", _layers(winner))]
    if winner.mistakes is None:
        return [*found, Section("Confusion and mistakes", paragraph(winner.why_not))]
    found.append(Section("Confusion", _confusion(winner.mistakes, whose)))
    found.append(Section("Worst mistakes", _worst(winner.mistakes)))
    return found


def _layers(winner: Winner) -> str:
    if winner.cost is None or winner.saved is None:
        return paragraph(winner.why_not)
    config = winner.saved.config
    cost, measures = measure(config.model, config.data, config.budget)
    rows = [
        [
            layer.name, layer.operations, "×".join(map(str, layer.output)),
            f"{layer.parameters:,}", f"{layer.macs:,}", layer.receptive_field,
        ]
        for layer in cost.layers
    ]  # fmt: skip
    head = ["layer", "operations", "output", "parameters", "MACs", "receptive field"]
    foot = ["total", "", "", f"{cost.parameters:,}", f"{cost.macs:,}", ""]
    limits = "; ".join(map(str, measures))
    said = f"Against the budget: {limits}." if limits else "There was no budget."
    return table(head, rows, foot, words=3) + paragraph(said, "soft")


def _confusion(mistakes: Mistakes, whose: str) -> str:
    matrix, names = mistakes.confusion, mistakes.names
    right, total = int(np.trace(matrix)), int(matrix.sum())
    text = (
        f"On the {count(total, mistakes.split + ' image')} {whose} is right {right:,} times "
        f"({percent(right / total)}). Most often confused: {_most_confused(mistakes)}."
    )
    if len(names) > MOST_CLASSES:
        return paragraph(text)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(_cell(int(n), int(row.sum()), i == j) for j, n in enumerate(row))
        + "</tr>"
        for i, (name, row) in enumerate(zip(names, matrix, strict=True))
    )
    return (
        paragraph(text)
        + '<p class="soft" id="confusion-how">Rows are the true classes, columns the predicted '
        'ones.</p><div class="wide"><table class="confusion" aria-describedby="confusion-how">'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(n: int, total: int, right: bool) -> str:
    # Mistakes are few: the root makes single ones visible.
    shade = 0.6 * (n / total) ** 0.5 if total else 0
    kind = ' class="right"' if right else ""
    return f'<td{kind} style="background:rgba(var(--heat),{shade:.2f})">{n or "·"}</td>'


def _most_confused(mistakes: Mistakes) -> str:
    off = mistakes.confusion.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:3]
    pairs = [divmod(int(i), len(mistakes.names)) for i in order if off.flat[i]]
    told = [f"{mistakes.names[t]} taken for {mistakes.names[p]} ({off[t, p]})" for t, p in pairs]
    return ", ".join(told) or "nothing"


def _worst(mistakes: Mistakes) -> str:
    if not mistakes.worst:
        return paragraph(f"It makes no mistake on the {mistakes.split} images.")
    items = []
    for m in mistakes.worst:
        told = f"{m.truth} taken for {m.predicted}, {100 * m.probability:.0f} % sure"
        items.append(
            f'<li><img src="{_data_uri(m.image)}" alt="{escape(told)}">'
            f"{escape(m.truth)} → {escape(m.predicted)}<br>{100 * m.probability:.0f} %</li>"
        )
    said = (
        f"The {count(len(items), mistakes.split + ' image')} it gets wrong and is surest about: "
        "the true class → what it saw, and how sure it was."
    )
    return paragraph(said) + f'<ul class="mistakes">{"".join(items)}</ul>'


def _data_uri(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
