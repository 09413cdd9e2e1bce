"""The page: one HTML file with its styles, scripts and data inside, rendered from templates.

What a section shows is data, such as a `Table`; how it looks is a macro of its name in
`templates/blocks.html.j2`. Whatever comes from a folder is escaped there, as every expression is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Link:
    """A word that leads to a folder, relative to the page's."""

    text: str
    href: str


@dataclass(frozen=True)
class Pair:
    """Two values in one cell, the second below the first, small."""

    text: str
    small: str


@dataclass(frozen=True)
class Text:
    """A paragraph of words and links."""

    parts: Sequence[str | Link]
    kind: str = ""  # soft, or warning
    block: str = "text"


@dataclass(frozen=True)
class Facts:
    """Tiles of (name, value, remark)."""

    facts: Sequence[tuple[str, str, str]]
    block: str = "facts"


@dataclass(frozen=True)
class Table:
    """All but the first `words` columns are numbers, to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    foot: Sequence[str] = ()
    words: int = 1
    block: str = "table"


@dataclass(frozen=True)
class Code:
    """Lines for a terminal."""

    lines: Sequence[str]
    block: str = "code"


@dataclass(frozen=True)
class Plot:
    """A figure, drawn by plotly when it comes into view; `caption` is also its alt text.

    One with many columns is wider than a phone, and scrolls there.
    """

    name: str
    figure: Any
    caption: str
    columns: int = 0
    block: str = "plot"

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.figure.layout.height or 420)

    @property
    def data(self) -> Markup:
        """Plotly's description."""
        self.figure.layout.template = None
        return _inside_script(self.figure.to_json(engine="json"))


@dataclass(frozen=True)
class Confusion:
    """Classes, and of each the row of (images, shade from 0 to 1)."""

    names: Sequence[str]
    rows: Sequence[Sequence[tuple[int, float]]]
    block: str = "confusion"


@dataclass(frozen=True)
class Pictures:
    """Images as data: addresses, each with two lines below it and its words for who can't see."""

    pictures: Sequence[tuple[str, str, str, str]]  # address, alt, line, line
    block: str = "pictures"


@dataclass(frozen=True)
class Row:
    """One trial: its state, its cells as (shown, sorted by or None), and what is said about it."""

    state: str
    best: bool
    link: str | Link
    cells: Sequence[tuple[str, Any]]
    remark: str

    def written(self) -> list[Any]:
        """As the page's script reads it."""
        href = self.link.href if isinstance(self.link, Link) else ""
        number = self.link.text if isinstance(self.link, Link) else self.link
        cells = [shown if key is None else [shown, key] for shown, key in self.cells]
        return [number, href, self.state, int(self.best), cells, self.remark]


@dataclass(frozen=True)
class TrialTable:
    """All trials, as data: the page's script shows, sorts and filters them."""

    head: Sequence[str]
    rows: Sequence[Row]
    states: Sequence[str]
    block: str = "trials"

    @property
    def data(self) -> Markup:
        """The rows; a browser takes long over ten thousand of them as elements."""
        rows = [row.written() for row in self.rows]
        return _inside_script(json.dumps(rows, separators=(",", ":")))


Block = Text | Facts | Table | Code | Plot | Confusion | Pictures | TrialTable


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)

    @property
    def anchor(self) -> str:
        """The heading's id."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def text(*parts: str | Link, kind: str = "") -> Text:
    """A paragraph."""
    return Text(parts, kind)


def link(words: Any, folder: Path | None, beside: Path) -> str | Link:
    """Words that lead to a folder, if there is one; `beside` is the folder of the page."""
    if folder is None:
        return str(words)
    address = os.path.relpath(folder, beside).replace(os.sep, "/")
    return Link(str(words), quote(os.fsencode(address)) + "/")


def render(title: str, intro: Iterable[Block], sections: Iterable[Section]) -> str:
    """The whole file; plotly's script is in it where a section has a figure."""
    intro, sections = list(intro), [s for s in sections if s.blocks]
    scripts = [_read("page.js")]
    if any(b.block == "plot" for s in sections for b in s.blocks):
        from plotly.offline import get_plotlyjs

        scripts.insert(0, get_plotlyjs())
    scripts = [script.replace("\r\n", "\n").replace("\r", "\n") for script in scripts]
    page = _environment().get_template("page.html.j2")
    html = page.render(
        title=title,
        intro=intro,
        sections=sections,
        css=Markup(_read("page.css")),
        scripts=[Markup(script) for script in scripts],
        hashes=[_hash(script) for script in scripts],
    )
    # What no UTF-8 can say, such as a folder's name from an old Windows, gets a substitute.
    return html.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _inside_script(text: str) -> Markup:
    """JSON in which `<` is written as an escape, so that it cannot end the script around it."""
    return Markup(text.replace("<", "\\u003c"))


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _hash(script: str) -> str:
    """The script's source in a Content-Security-Policy: no other one runs."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
