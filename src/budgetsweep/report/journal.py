"""A sweep's study, opened so that nothing can be written to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from budgetsweep.errors import UserError


class ReadOnlyJournal(BaseJournalBackend):
    """The complete lines of a journal as they are now; a cut line at the end is left alone."""

    def __init__(self, path: Path) -> None:
        self._lines = path.read_bytes().split(b"\n")[:-1]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        for line in self._lines[log_number_from:]:
            try:
                yield json.loads(line)
            except ValueError:
                return  # what follows a broken line cannot be numbered

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise PermissionError("a report never writes to the study")


def read_study(path: Path) -> optuna.Study | None:
    """The only study of a journal; None where it has not begun.

    Raises:
        UserError: the file is no journal.
    """
    try:
        storage = JournalStorage(ReadOnlyJournal(path))
        names = [study.study_name for study in storage.get_all_studies()]
        return optuna.load_study(study_name=names[0], storage=storage) if names else None
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as a study: {error!r}") from None
