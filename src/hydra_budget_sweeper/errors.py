"""What a user can get wrong in a sweep."""

from collections.abc import Iterator
from contextlib import contextmanager


class SweepError(ValueError):
    """A sweep that cannot start or go on; the message says what is wrong and what to do."""


class FunctionError(Exception):
    """A function that a setting names failed for one candidate; the message names both."""


@contextmanager
def faults_of(function: str) -> Iterator[None]:
    """Tell of what a user's function raises that it was this one, unless it ends the sweep.

    Raises:
        FunctionError: The function raised, or asked the process to end.
    """
    try:
        yield
    except SweepError:
        raise
    except (Exception, SystemExit) as error:
        raise FunctionError(f"{function}: {type(error).__name__}: {error}") from error
