"""`python -m budgetsweep.replicate`: what several seeds say, with intervals.

One run varies by its seed, and the best of many single runs is mostly luck. `seeds` sums up the
runs of one configuration; `compare` trains a sweep's finalists and the reference over the same
seeds and says which differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from budgetsweep.arguments import positive
from budgetsweep.errors import UserError
from budgetsweep.folders import LEADERBOARD
from budgetsweep.runs.comparison import compare
from budgetsweep.runs.seeds import seeds

_EPILOG = """examples:
  python -m budgetsweep.replicate multirun/reproduce-20-epochs --published 0.9945
  python -m budgetsweep.replicate multirun/joint --top 2 --seeds 5 trainer.epochs=20

Of a folder whose sub-folders are runs that differ by seed: mean, standard deviation and 95 %
interval of the test accuracy. Of a sweep: its finalists and the reference (the sweep's
configuration without what was searched) are first trained over the same fresh seeds, in
FOLDER/replicate; then each is compared with the reference by Welch's t-test. A reference over the
sweep's budget is left out, and the finalists are compared with the best of them. Finished runs are
not repeated. The tables are also written as replication.md and replication.json.

More: docs/seeds.md
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m budgetsweep.replicate",
        description="Say what several seeds show: mean, spread and 95 % interval, and whether a\n"
        "sweep's finalists differ from the reference.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("folder", type=Path, help="a folder of seed runs, or a sweep's")
    p.add_argument(
        "--published", type=float, metavar="SHARE", help="a figure to compare with, such as 0.9945"
    )
    p.add_argument("--top", type=positive, default=3, metavar="N", help="finalists of a sweep (3)")
    p.add_argument("--seeds", type=positive, default=5, metavar="N", help="runs of each (5)")
    p.add_argument(
        "overrides", nargs="*", metavar="key=value", help="for all runs of a sweep's networks"
    )
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Compare and print; a person's mistake ends with one line."""
    args = parser().parse_intermixed_args(argv)
    try:
        if (args.folder / LEADERBOARD).exists():
            print(compare(args.folder, args.top, args.seeds, args.overrides))
        else:
            print(seeds(args.folder, args.published))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
