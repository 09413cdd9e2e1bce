"""Make a damaged study readable: python -m hydra_budget_sweeper.mend_journal FOLDER/study.journal.

The file as it was stays beside it. Trials keep their numbers; what is lost is told.
"""

import argparse
import itertools
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.files import described, write_atomic
from hydra_budget_sweeper.study.mending import mended
from hydra_budget_sweeper.study.place import WORKERS
from hydra_budget_sweeper.workers.locks import is_locked

_PROG = "python -m hydra_budget_sweeper.mend_journal"


def main(arguments: Sequence[str] | None = None) -> int:
    """Mend it; return the exit code."""
    parser = argparse.ArgumentParser(prog=_PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("journal", type=Path, help="the study.journal of a sweep's folder")
    path = parser.parse_args(arguments).journal
    try:
        _mend(path)
    except SweepError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(described(error), file=sys.stderr)
        return 1
    return 0


def _mend(path: Path) -> None:
    if is_locked(path.parent / WORKERS / "sweep.lock"):
        raise SweepError(f"A sweep is running in {path.parent}. End it first.")
    found = mended(path)
    if not found.told:
        print(f"{path}: no line is broken")
        return
    kept = _backup(path)
    write_atomic(path, lambda file: file.write(found.content))
    for line in found.told:
        print(f"{path}: {line}")
    print(f"As it was: {kept}")


def _backup(path: Path) -> Path:
    """Copy a file beside it, over nothing."""
    names = itertools.chain(
        [f"{path.name}.bak"], (f"{path.name}.bak{n}" for n in itertools.count(2))
    )
    kept = next(place for name in names if not (place := path.with_name(name)).exists())
    shutil.copy2(path, kept)
    return kept


if __name__ == "__main__":
    sys.exit(main())
