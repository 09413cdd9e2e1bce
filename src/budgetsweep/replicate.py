"""`budgetsweep replicate`: what several seeds say, with intervals.

One run varies by its seed, and the best of many single runs is mostly luck. `seeds` sums up
finished runs; `confirm` trains a network and the reference over the same seeds and says whether they
differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from budgetsweep.arguments import place, positive, share
from budgetsweep.errors import UserError
from budgetsweep.folders import LEADERBOARD, SUMMARY
from budgetsweep.runs.confirmation import confirm, own_network, winner_of
from budgetsweep.runs.seeds import seeds

_EPILOG = """examples:
  budgetsweep replicate outputs/2026-01-31/12-00-00 --seeds 5
  budgetsweep replicate multirun/joint --seeds 5 trainer.epochs=20
  budgetsweep replicate multirun/reproduce-20-epochs --published 0.9945

DIR may be

  a run's     its network against the published one (--against model=reference), both trained over
              the same fresh seeds, with everything else as in the run
  a sweep's   its winner (of its finalists, if it had any) and the reference (its first known
              point, hydra.sweeper.enqueue; without one what it would train unsearched), both
              trained on all training images over the same fresh seeds. A reference over the sweep's budget is trained all the same
  of runs     whose sub-folders are finished runs: mean, standard deviation and 95 % interval of
              the test accuracy. Runs that differ in more than the seed are compared, not pooled

Each run reads the test set once, after its last epoch. Trained runs lie in DIR/replicate; finished ones
are not repeated, and after Ctrl-C or kill -9 the same command goes on. Two networks are compared by
Welch's t-test, several by Dunnett's. The tables are also written as replication.md and .json.

More: docs/seeds.md
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="budgetsweep replicate",
        description="Say what several seeds show: mean, spread and 95 % interval, and whether a\n"
        "sweep's winner differs from the reference.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("folder", metavar="DIR", type=place, help="a run's, a sweep's or one of runs")
    p.add_argument(
        "--published", type=share, metavar="SHARE", help="a figure to compare with, such as 0.9945"
    )
    p.add_argument(
        "--against", metavar="key=value", nargs=1, default=["model=reference"],
        help="what a run's network is compared with (model=reference)",
    )  # fmt: skip
    p.add_argument("--seeds", type=positive, default=5, metavar="N", help="runs of each (5)")
    p.add_argument(
        "overrides", nargs="*", metavar="key=value", help="for all runs that are trained"
    )
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Compare and print; a person's mistake ends with one line."""
    args = parser().parse_intermixed_args(argv)
    try:
        if (args.folder / LEADERBOARD).exists():
            pair = winner_of(args.folder)
        elif (args.folder / SUMMARY).exists():
            pair = own_network(args.folder, args.against)
        else:
            print(seeds(args.folder, args.published))
            return
        print(confirm(args.folder, pair, args.seeds, args.overrides))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
