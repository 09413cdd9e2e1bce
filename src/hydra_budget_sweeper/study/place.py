"""Where the study of a sweep folder is kept."""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.storage_url import is_database, without_password
from hydra_budget_sweeper.study.journal import journal_storage

JOURNAL = "study.journal"
WORKERS = ".workers"
MARK = "study.json"  # in it: which study the folder belongs to


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
        from hydra_budget_sweeper.study.server import open_database, reason_of

        try:
            if is_database(self.storage):
                return open_database(self.storage)
            return optuna.storages.get_storage(self.storage)
        except SweepError:
            raise
        except Exception as error:
            told = reason_of(error, self.storage)
            raise SweepError(
                f"Cannot open hydra.sweeper.storage={self.shown_storage}: {told}"
            ) from None


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
