"""`python -m budgetsweep.settings`: every setting of a run, made from the schema."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from budgetsweep.config import settings

HEAD = """# Settings of a run

Every one can be changed on the command line (`optimizer.lr=0.05`) or in a file under `conf/`.
`<name>` stands for a row of the network; what a row leaves out (null) comes from `model.defaults`.
This page is made by `python -m budgetsweep.settings`; the defaults are the schema's, and the files
in `conf/` may set others (`python -m budgetsweep.train --cfg job` shows what holds).

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


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return argparse.ArgumentParser(
        prog="python -m budgetsweep.settings",
        description="Print every setting of a run as a markdown table: type, range, default and "
        "meaning.",
        epilog="example: python -m budgetsweep.settings > docs/settings.md. What a command line "
        "makes of them: python -m budgetsweep.train --cfg job",
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Print the page."""
    parser().parse_args(argv)
    print(page(), end="")


if __name__ == "__main__":
    main()
