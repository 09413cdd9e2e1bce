"""Every setting of a run as a markdown table, made from the schema."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from budgetsweep.config.checks import describe_bounds
from budgetsweep.config.schema import Config, LayerConfig

HEAD = """# Settings of a run

Every one can be changed on the command line (`optimizer.lr=0.05`) or in a file under `conf/`.
`<name>` stands for a row of the network; what a row leaves out (null) comes from `model.defaults`.
This page is made by `budgetsweep settings`; the defaults are the schema's, and the files
in `conf/` may set others (`budgetsweep train --cfg job` shows what holds).

| setting | type | range | default | meaning |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The page as markdown."""
    rows = [
        f"| `{s.key}` | {_escape(s.type)} | {s.bounds} | `{_yaml(s.default)}` | {_escape(s.help)} |"
        for s in settings()
    ]
    return HEAD + "\n".join(rows) + "\n"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<name>", "`<name>`")


def _yaml(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


@dataclass(frozen=True)
class Setting:
    """One row of the settings table."""

    key: str
    type: str
    default: Any
    bounds: str
    help: str


def settings(schema: Any = Config, prefix: str = "", node: Any = None) -> Iterator[Setting]:
    """Every setting of the schema, in order, with its value in `node` or else its default.

    `<name>` stands for a layer's name.
    """
    node = schema() if node is None else node
    types = typing.get_type_hints(schema)
    for f in dataclasses.fields(schema):
        key, kind = f"{prefix}{f.name}", types[f.name]
        if dataclasses.is_dataclass(kind):
            yield from settings(kind, f"{key}.", getattr(node, f.name))
        elif typing.get_origin(kind) is dict:
            yield from settings(LayerConfig, f"{key}.<name>.")
        else:
            bounds = describe_bounds(f.metadata["bounds"])
            choices = f.metadata["choices"]
            told = " | ".join([*choices(), "null"]) if choices else _type_name(kind)
            yield Setting(key, told, getattr(node, f.name), bounds, f.metadata["help"])


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return " | ".join(map(str, typing.get_args(kind)))
    args = [a for a in typing.get_args(kind) if a is not type(None)]
    if typing.get_origin(kind) is list:
        kind = (typing.get_args(args[0]) or args)[0]  # a whole number is a float, too
        return f"list of {kind.__name__}"
    if args:
        null = ["null"] * (type(None) in typing.get_args(kind))
        return " | ".join([*(_type_name(a) for a in args), *null])
    return str(kind.__name__)
