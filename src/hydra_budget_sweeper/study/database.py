"""A study in a database: a lock for all who know a server's (PostgreSQL, MySQL), and patience.

A server may be restarted in the middle of a sweep; SQLite's file may be held by another program, or
its disk be full: all that is waited for.

SQLAlchemy takes a quarter of a second to load; who keeps a study in a journal need not wait for it,
so that this module is imported where a database is opened.
"""

import hashlib
import os
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)

from hydra_budget_sweeper.storage_url import dialect, on_server, without_password
from hydra_budget_sweeper.study.patience import insist, patient, told

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


def open_storage(url: str) -> BaseStorage:
    """Open a database's storage, which waits for a server that is away.

    What it cannot do is a `SweepError` of one sentence, then and later.
    """

    def open_it() -> BaseStorage:
        return optuna.storages.get_storage(_PatientStorage(_in_place(url)))

    # A server that cannot be reached at the start is told at once, and so is a full disk.
    return insist(open_it, _is_held)[0]


def _in_place(url: str) -> str:
    """Return the URL, of SQLite's file with its whole path: a task may change the working directory."""
    parsed = make_url(url)
    file = parsed.database or ""
    if dialect(url) != "sqlite" or file.startswith(("file:", ":")) or not file:
        return url
    return parsed.set(database=str(Path(file).absolute())).render_as_string(hide_password=False)


@contextmanager
def lock(url: str, name: str) -> Iterator[None]:
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

    connection, tries = insist(connect, _is_away)
    if tries > 1:
        time.sleep(_GRACE)
    return connection


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


def reason_of(error: Exception, url: str) -> str:
    """Write what a database's driver says in one line, without the password, and what to do."""
    cause = (error.__cause__ if isinstance(error, StorageInternalError) else None) or error
    original = getattr(cause, "orig", None)
    told = " ".join(without_password(str(original or cause), url).split())[:300]
    if not isinstance(cause, SQLAlchemyError) or original is None:
        return told
    if _sqlite_code(error) == sqlite3.SQLITE_FULL:
        advice = "Make room"
    else:
        advice = "Mend it" if on_server(url) else "Mend it, or put a copy back"
    return f"{told}. {advice}; then the same command goes on."


def _close(engine: Engine, process: int) -> None:
    if os.getpid() == process:  # a forked child would close its parent's
        engine.dispose()


@patient(_is_away, "_create_new_trial", "_set_trial_param", "_get_trials")
class _PatientStorage(RDBStorage):
    """Optuna's own, each method tried again while the server is away.

    Its connections are closed with it: a driver warns of those that are left to the garbage collector.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        weakref.finalize(self, _close, self.engine, os.getpid()).atexit = False

    def told(self) -> AbstractContextManager[None]:
        errors = (SQLAlchemyError, StorageInternalError)
        return told(self.url, errors, lambda error: reason_of(error, self.url))
