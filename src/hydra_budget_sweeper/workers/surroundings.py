"""What a task finds of its process, and may change for itself alone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hydra_budget_sweeper.streams import opened


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Put back after the block where the process works, its arguments and its streams.

    The next trial, and the sweep where it runs in the same process, find their files by the first,
    name the command by the second and speak by the third. What a task did to the environment stays,
    as it does under Hydra's own sweeper: libraries leave there what they need but once.
    """
    place, arguments, streams = os.getcwd(), sys.argv, (sys.stdout, sys.stderr)  # noqa: PTH109
    given = list(arguments)
    try:
        yield
    finally:
        with suppress(OSError):  # the task has removed it
            os.chdir(place)
        arguments[:] = given
        sys.argv = arguments
        sys.stdout, sys.stderr = map(opened, streams, (1, 2))
