"""Where the study of a sweep folder is kept."""

import uuid
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.storage_url import without_password
from hydra_budget_sweeper.study.journal import journal_storage

JOURNAL = "study.journal"
WORKERS = ".workers"


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
        try:
            return optuna.storages.get_storage(self.storage)
        except Exception as error:
            told = without_password(str(error), self.storage)
            raise SweepError(
                f"Cannot open hydra.sweeper.storage={self.shown_storage}: {told}"
            ) from None


def place_of(folder: Path, storage: str | None, name: str | None) -> StudyPlace:
    """Name the study of a folder; a storage shared by many needs a name nobody else has."""
    if name is None and storage is not None:
        kept = folder / WORKERS / "study_name"
        if not kept.exists():
            kept.write_text(f"sweep-{uuid.uuid4().hex[:12]}", encoding="utf-8")
        name = kept.read_text(encoding="utf-8")
    return StudyPlace(folder, storage, name or "sweep")
