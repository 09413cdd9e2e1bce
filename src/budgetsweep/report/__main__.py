"""The command line of the report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from budgetsweep.arguments import place
from budgetsweep.errors import UserError
from budgetsweep.report import write_report

_EPILOG = """examples:
  budgetsweep report multirun/demo
  budgetsweep report outputs/2026-01-31/12-00-00 --output run.html

The file holds everything it needs: it opens offline, on a phone, and can be sent by mail.
A sweep may still be running; the report then shows what there is. Nothing but the report is
written. It needs the report extra: pip install 'budgetsweep[report]'

More: docs/report.md
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="budgetsweep report",
        description="Write one HTML file about a sweep, a run or several seeds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "folder",
        metavar="DIR",
        type=place,
        help="a sweep's folder, a single run's, or one whose sub-folders are runs",
    )
    p.add_argument(
        "--output",
        metavar="FILE",
        type=place,
        help="the HTML file (default DIR/report.html)",
    )
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Write a report and print where it is; a person's mistake ends with one line."""
    args = parser().parse_args(argv)
    try:
        print(os.path.relpath(write_report(args.folder, args.output)))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
