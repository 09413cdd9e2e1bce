"""Where the study of a sweep folder is kept."""

import json
import os
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.storages import BaseStorage

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.storage_url import PROXY, dialect, is_database, without_password
from hydra_budget_sweeper.study.journal import journal_storage

JOURNAL = "study.journal"
WORKERS = ".workers"
MARK = "study.json"  # in it: which study the folder belongs to
# By what a URL begins with: the scheme that names the driver of an extra, and that extra.
_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "postgres"),
    "mysql": ("mysql+pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "mysql"),
    PROXY: (PROXY, "grpc"),
}


@dataclass(frozen=True)
class StudyPlace:
    """Where a study is kept; small enough to hand to a worker anywhere."""

    folder: Path
    storage: str | None
    name: str

    def __str__(self) -> str:
        return f"study {self.name} in {self.shown_storage or self.folder / JOURNAL}"

    @property
    def shown_storage(self) -> str | None:
        """The storage as it may be shown and written down: without its password."""
        return None if self.storage is None else without_password(self.storage)

    def open_storage(self) -> BaseStorage:
        """Open the storage.

        Raises:
            SweepError: It cannot be opened or read; names it without its password.
        """
        if self.storage is None:
            return journal_storage(self.folder / JOURNAL)
        return open_url(self.storage)


def open_url(url: str) -> BaseStorage:
    """Open the storage that a URL names.

    Raises:
        SweepError: It cannot be opened or read; names it without its password.
    """
    try:
        if dialect(url) == PROXY or is_database(url):
            return _module(url).open_storage(url)
        return optuna.storages.get_storage(url)
    except SweepError:
        raise
    except ImportError as error:
        raise SweepError(
            f"hydra.sweeper.storage={without_password(url)} needs {_missing(error, url)}"
        ) from None
    except Exception as error:
        from hydra_budget_sweeper.study.database import reason_of

        raise SweepError(
            f"Cannot open hydra.sweeper.storage={without_password(url)}: {reason_of(error, url)}"
        ) from None


def _missing(error: ImportError, url: str) -> str:
    """Name the module that a storage lacks, and how to get one that will do."""
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error  # Optuna's own
    module = cause.name or str(cause)
    scheme, extra = _DRIVERS.get(dialect(url), ("", ""))
    if not extra:
        return f"the module {module}."
    install = f"pip install 'hydra-budget-sweeper[{extra}]'"
    if scheme.rpartition("+")[2] in (module, PROXY):
        return f"the module {module}: {install}"
    return f"the module {module}. Install it, or {install} and write {scheme}://..."


def server_lock(url: str, name: str) -> AbstractContextManager[None]:
    """Hold the lock `name` of a server's for the length of the block; wait for it if need be."""
    return _module(url).lock(url, name)


class _Module(Protocol):
    """What a module offers that speaks to one kind of storage."""

    def open_storage(self, url: str) -> BaseStorage: ...

    def lock(self, url: str, name: str) -> AbstractContextManager[None]: ...


def _module(url: str) -> _Module:
    """Load what it takes to speak to a storage, which who uses another need not wait for."""
    if dialect(url) == PROXY:
        # A task's subprocess may begin with lines of gRPC's own about what is lost in a fork, unless,
        # before it loads, it is told to be silent; what goes wrong is told by its errors.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from hydra_budget_sweeper.study import proxy

        return proxy
    from hydra_budget_sweeper.study import database

    return database


def place_of(folder: Path, storage: str | None, name: str | None) -> StudyPlace:
    """Name the study of a folder: as it was begun, else after the folder.

    In a storage that is shared by many, some letters keep it apart from studies of folders that
    have the same name.
    """
    own = name or mark_of(folder).get("study") or (_in_journal(folder) if not storage else None)
    apart = "" if storage is None else f"-{uuid.uuid4().hex[:6]}"
    return StudyPlace(folder, storage, own or folder.name + apart)


def _in_journal(folder: Path) -> str | None:
    """The study of a journal that was copied alone."""
    if not (folder / JOURNAL).exists():
        return None
    return next(iter(optuna.get_all_study_names(journal_storage(folder / JOURNAL))), None)


def mark_of(folder: Path) -> dict[str, Any]:
    """Read which study a folder belongs to: its id, name and storage, without its password."""
    try:
        mark = json.loads((folder / WORKERS / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}
