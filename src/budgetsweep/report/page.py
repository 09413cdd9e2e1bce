"""The page: one HTML file with its styles, scripts and data inside."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# No address may be loaded, whatever ends up in the page.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)


@dataclass(frozen=True)
class Section:
    """A heading and the HTML below it."""

    title: str
    body: str


def escape(value: Any) -> str:
    """Text that means itself in HTML, in attributes too."""
    return html.escape(str(value))


def anchor(title: str) -> str:
    """A heading's id."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def paragraph(text: str, kind: str = "") -> str:
    """Escaped text as a paragraph."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def plot(name: str, figure: Any, caption: str, columns: int = 0) -> str:
    """A figure, drawn by plotly when it comes into view; `caption` is also its alt text.

    One with many columns is wider than a phone, and scrolls there.
    """
    figure.layout.template = None
    # `<` cannot end the script early once it is written as an escape.
    name = f"plot-{name}"
    data = figure.to_json().replace("<", "\\u003c")
    height = figure.layout.height or 420
    return (
        f'<figure><figcaption id="{name}-caption">{escape(caption)}</figcaption>'
        f'<div class="wide"><div class="plot" id="{name}" role="img" aria-labelledby="{name}-caption" '
        f'style="height:{int(height)}px;min-width:{3 * columns}rem"></div></div>'
        f'<script type="application/json" id="{name}-data">{data}</script></figure>'
    )


def fact_list(facts: Iterable[tuple[str, str, str]]) -> str:
    """Tiles of (name, value, remark)."""
    tiles = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}"
        + (f"<small>{escape(remark)}</small>" if remark else "")
        + "</dd></div>"
        for name, value, remark in facts
    )
    return f'<dl class="facts">{tiles}</dl>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], foot: Sequence[Any] = (), words: int = 1
) -> str:
    """A table; all but the first `words` columns are numbers, to the right."""

    def cells(values: Sequence[Any], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if i >= words else ''}>{escape(v)}</{tag}>"
            for i, v in enumerate(values)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    end = f"<tfoot><tr>{cells(foot, 'td')}</tr></tfoot>" if foot else ""
    return (
        f'<div class="wide"><table><thead><tr>{cells(head, "th")}</tr></thead>'
        f"<tbody>{body}</tbody>{end}</table></div>"
    )


def page(title: str, intro: str, sections: Sequence[Section]) -> str:
    """The whole file; plotly's script is in it where a section has a figure."""
    here = Path(__file__)
    css, script = (here.with_name(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    links = "".join(f'<a href="#{anchor(s.title)}">{escape(s.title)}</a> ' for s in sections)
    body = "".join(
        f'<section><h2 id="{anchor(s.title)}">{escape(s.title)}</h2>{s.body}</section>'
        for s in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{css}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{intro}</header>
<nav aria-label="Sections">{links}</nav>
<noscript><p>The figures need JavaScript; the folder of pictures beside this file has them too.</p></noscript>
<main>{body}</main>
{_plotly() if 'class="plot"' in body else ""}
<script>{script}</script>
</body>
</html>
"""


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>"
