"""Patience with a storage that is away: what was asked of it is asked again until it is back.

What had been written just before its end, and is refused the second time, counts.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, Protocol, TypeVar

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.storage_url import without_password

PATIENCE = 300  # seconds that a server may be away
_PAUSE = 0.5  # seconds between two tries, at most
_T = TypeVar("_T")

Passes = Callable[[BaseException], bool]


class Told(Protocol):
    """A storage that tells in a sentence what it cannot do."""

    def told(self) -> AbstractContextManager[None]: ...


@contextmanager
def told(
    url: str, errors: type[Exception] | tuple[type[Exception], ...], said: Callable[[Any], str]
) -> Iterator[None]:
    """Tell in a sentence what the storage at `url` cannot do, by what its errors say.

    Raises:
        SweepError: It was one of `errors`.
    """
    try:
        yield
    except errors as error:
        raise SweepError(
            f"hydra.sweeper.storage={without_password(url)} cannot be used: {said(error)}"
        ) from None


def insist(ask: Callable[[], _T], passes: Passes) -> tuple[_T, int]:
    """Ask until there is an answer; return it, and how often it took.

    Args:
        passes: Tells what to wait for, at most `PATIENCE` seconds.
    """
    until, tries = time.monotonic() + PATIENCE, 0
    while True:
        tries += 1
        try:
            return ask(), tries
        except Exception as error:
            if not passes(error) or time.monotonic() > until:
                raise
            # Of two that write to SQLite's file at once the second need not wait for long.
            time.sleep(pause(tries, 0.01, _PAUSE))


def pause(tries: int, first: float, longest: float) -> float:
    """Seconds to wait after so many tries: twice as long after each, by chance up to a half less."""
    return random.uniform(0.5, 1) * min(longest, first * 2.0 ** min(tries, 64))


def patient(passes: Passes, *inner: str) -> Callable[[type[_T]], type[_T]]:
    """Let each public method of a storage class that is `Told` insist.

    Args:
        passes: Tells what to wait for.
        inner: Further methods, such as those that Optuna's cache calls.
    """

    def decorate(storage: type[_T]) -> type[_T]:
        public = [name for name in dir(BaseStorage) if not name.startswith("_")]
        for name in (*public, *inner):
            wrap = _telling if name == "set_trial_state_values" else _insisting
            setattr(storage, name, wrap(getattr(storage, name), passes))
        return storage

    return decorate


def _insisting(method: Callable[..., Any], passes: Passes) -> Callable[..., Any]:
    @wraps(method)
    def insisting(self: Told, *args: Any, **kwargs: Any) -> Any:
        with self.told():
            return insist(lambda: method(self, *args, **kwargs), passes)[0]

    return insisting


def _telling(method: Callable[..., bool], passes: Passes) -> Callable[..., Any]:
    @wraps(method)
    def telling(self: Any, trial_id: int, state: TrialState, values: Any = None) -> bool:
        asked = itertools.count()

        def tell() -> bool:
            again = next(asked)
            try:
                return method(self, trial_id, state, values)
            except UpdateFinishedTrialError:
                if again and self.get_trial(trial_id).state is state:
                    return True  # only the answer had got lost
                raise

        with self.told():
            return insist(tell, passes)[0]

    return telling
