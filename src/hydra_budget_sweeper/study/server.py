"""A study in a database: a lock for all who know a server's (PostgreSQL, MySQL), and patience.

A server may be restarted in the middle of a sweep. What was asked of it meanwhile is asked again
until it is back; what had been written just before its end, and is refused the second time, counts.
SQLite's file may be held by another program, or its disk be full: that is waited for alike.

SQLAlchemy takes a quarter of a second to load; who keeps a study in a journal need not wait for it,
so that this module is imported where a database is opened.
"""

import hashlib
import itertools
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.storage_url import dialect, without_password

PATIENCE = 300  # seconds that a server may be away
_PAUSE = 0.5  # seconds between two tries, at most
# What of SQLite passes by itself: held by another, or no room on the disk.
_SQLITE_WAITS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}
_GRACE = 1.0  # seconds for who held a lock when its server went to end what it was writing

# By the dialect of a storage URL: how to take a lock by its key, and to let go of it. Both end with
# the connection, however that ends.
_LOCKS = {
    "postgresql": (
        "SELECT pg_advisory_lock(CAST(:key AS bigint))",
        "SELECT pg_advisory_unlock(CAST(:key AS bigint))",
    ),
    # MariaDB takes less than nothing for no time at all.
    "mysql": ("SELECT GET_LOCK(:key, 31536000)", "SELECT RELEASE_LOCK(:key)"),
    "mariadb": ("SELECT GET_LOCK(:key, 31536000)", "SELECT RELEASE_LOCK(:key)"),
}
_T = TypeVar("_T")


def open_database(url: str) -> BaseStorage:
    """Open a database's storage, which waits for a server that is away.

    What it cannot do is a `SweepError` of one sentence, then and later.
    """

    def open_it() -> BaseStorage:
        return optuna.storages.get_storage(_PatientStorage(url))

    # A server that cannot be reached at the start is told at once, and so is a full disk.
    return _insist(open_it, _is_held)[0]


@contextmanager
def server_lock(url: str, name: str) -> Iterator[None]:
    """Hold the lock `name` of a server's for the length of the block; wait for it if need be."""
    take, release = _LOCKS[dialect(url)]
    # PostgreSQL's are numbers of 64 bits, MySQL's at most 64 letters.
    key = str(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True))
    connection = _locked(_engine(url, os.getpid()), take, key)
    try:
        yield
    finally:
        # Where the server went meanwhile, so did the lock.
        with suppress(SQLAlchemyError), connection:
            connection.execute(text(release), {"key": key})


@cache
def _engine(url: str, _process: int) -> Engine:
    """Connections for locks; a forked child has its own."""
    return create_engine(url, isolation_level="AUTOCOMMIT", pool_size=1)


def _locked(engine: Engine, take: str, key: str) -> Connection:
    def connect() -> Connection:
        connection = engine.connect()
        try:
            connection.execute(text(take), {"key": key})
        except BaseException:
            connection.invalidate()  # or a lock that came in the last moment would stay
            connection.close()
            raise
        return connection

    connection, tries = _insist(connect)
    if tries > 1:
        time.sleep(_GRACE)
    return connection


def _insist(
    ask: Callable[[], _T], passes: Callable[[BaseException], bool] | None = None
) -> tuple[_T, int]:
    """Ask a server until it answers; return what, and how often it took.

    Args:
        passes: Tells what to wait for; by default for a server that is away, and the like.
    """
    passes = passes or _is_away
    until, tries = time.monotonic() + PATIENCE, 0
    while True:
        tries += 1
        try:
            return ask(), tries
        except (SQLAlchemyError, StorageInternalError) as error:
            if not passes(error) or time.monotonic() > until:
                raise
            # Of two that write to SQLite's file at once the second need not wait for long.
            time.sleep(random.uniform(0.5, 1) * min(_PAUSE, 0.01 * 2**tries))


def _is_held(error: BaseException) -> bool:
    """Whether another program has SQLite's file just now."""
    return _sqlite_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _sqlite_code(error: BaseException) -> int | None:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    code = getattr(getattr(cause, "orig", None), "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_away(error: BaseException) -> bool:
    if (code := _sqlite_code(error)) is not None:
        return code in _SQLITE_WAITS
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    lost = isinstance(cause, DBAPIError) and cause.connection_invalidated
    # The last, where Optuna asks once more in the transaction that a lost connection broke.
    return lost or isinstance(cause, OperationalError | InterfaceError | PendingRollbackError)


def _patient(storage: type[_T]) -> type[_T]:
    """Let each public method of a storage, and those that Optuna's cache calls, insist."""
    own = vars(storage)
    public = (name for name in dir(BaseStorage) if not name.startswith("_"))
    for name in (*public, "_create_new_trial", "_set_trial_param", "_get_trials"):
        if name not in own:
            setattr(storage, name, _insisting(getattr(storage, name)))
    return storage


def _insisting(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def insisting(self: RDBStorage, *args: Any, **kwargs: Any) -> Any:
        with _told(self.url):
            return _insist(lambda: method(self, *args, **kwargs))[0]

    return insisting


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Tell in a sentence what a database cannot do."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise SweepError(
            f"hydra.sweeper.storage={without_password(url)} cannot be used: {reason_of(error, url)}"
        ) from None


def reason_of(error: Exception, url: str) -> str:
    """Write what a database's driver says in one line, without the password, and what to do."""
    cause = (error.__cause__ if isinstance(error, StorageInternalError) else None) or error
    original = getattr(cause, "orig", None)
    told = " ".join(without_password(str(original or cause), url).split())[:300]
    if not isinstance(cause, SQLAlchemyError) or original is None:
        return told
    full = _sqlite_code(error) == sqlite3.SQLITE_FULL
    advice = "Make room" if full else "Mend it, or put a copy back"
    return f"{told}. {advice}; then the same command goes on."


@_patient
class _PatientStorage(RDBStorage):
    """Optuna's own, each method tried again while the server is away."""

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        tell, asked = super().set_trial_state_values, itertools.count()

        def told() -> bool:
            again = next(asked)
            try:
                return tell(trial_id, state, values)
            except UpdateFinishedTrialError:
                if again and self.get_trial(trial_id).state is state:
                    return True  # only the answer had got lost
                raise

        with _told(self.url):
            return _insist(told)[0]
