"""`budgetsweep settings`: every setting of a run, made from the schema."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from budgetsweep.config.settings_page import page


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return argparse.ArgumentParser(
        prog="budgetsweep settings",
        description="Print every setting of a run as a markdown table: type, range, default and "
        "meaning.",
        epilog="example: budgetsweep settings > docs/settings.md. What a command line "
        "makes of them: budgetsweep train --cfg job",
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Print the page."""
    parser().parse_args(argv)
    print(page(), end="")


if __name__ == "__main__":
    main()
