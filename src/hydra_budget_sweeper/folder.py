"""The folder of a sweep: whose it is, and that nothing of others is written over."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig, open_dict, read_write

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.results.best import BEST, EXPERIMENT
from hydra_budget_sweeper.results.leaderboard import LEADERBOARD, STOCK_RESULTS, SUMMARY, TABLE
from hydra_budget_sweeper.results.screen import VOICE as log
from hydra_budget_sweeper.space.grammar import override_text
from hydra_budget_sweeper.study.finalists import FINALISTS, FINALISTS_DEPTH
from hydra_budget_sweeper.study.place import JOURNAL, WORKERS
from hydra_budget_sweeper.workers.locks import LifeLock, LockedError

_DIR = "hydra.sweep.dir"
# The files of a sweep, below its folder.
WRITTEN = (JOURNAL, LEADERBOARD, TABLE, SUMMARY, STOCK_RESULTS, BEST, str(EXPERIMENT))


def is_own(place: Path) -> bool:
    """Return whether a place below a sweep's folder is kept for what the sweep itself writes."""
    parts = place.parts
    if parts[0].startswith(f"{JOURNAL}."):  # locks and copies of it
        return True
    if parts[0] == FINALISTS:
        return len(parts) < FINALISTS_DEPTH  # a run of theirs lies in its own folder
    own = [Path(name).parts for name in (*WRITTEN, WORKERS)]
    return any(parts[: len(o)] == o[: len(parts)] for o in own)


def in_resumed_folder(config: DictConfig, resume: str | None) -> DictConfig:
    """Return the configuration of a sweep that goes on in the folder `resume`, if that is given.

    Raises:
        SweepError: There is no such folder.
    """
    if resume is None:
        return config
    if not Path(resume).is_dir():
        raise SweepError(f"hydra.sweeper.resume={resume}: there is no such sweep folder.")
    named = any(o.lstrip("+").startswith(f"{_DIR}=") for o in config.hydra.overrides.hydra)
    if named and Path(str(config.hydra.sweep.dir)).resolve() != Path(resume).resolve():
        told = "hydra.sweeper.resume=%s is the folder of this sweep; %s=%s is left aside"
        log.warning(told, resume, _DIR, config.hydra.sweep.dir)
    config = config.copy()
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = resume
        # Each job's configuration is composed anew, from the overrides of Hydra's own node.
        config.hydra.overrides.hydra.append(f"{_DIR}={override_text(resume)}")
    return config


def begin_in(folder: Path, hidden: Path) -> None:
    """Make the sweep's hidden folder, unless files would be written over that others made.

    Raises:
        SweepError: There are such files, or nothing can be written here.
    """
    in_the_way = [name for name in WRITTEN if (folder / name).exists()]
    if in_the_way and not hidden.exists() and JOURNAL not in in_the_way:
        raise SweepError(
            f"{folder / in_the_way[0]} is there already, and no sweep of this sweeper made it. "
            "Choose another folder (hydra.sweep.dir), or move it away."
        )
    try:
        hidden.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(f"hydra.sweep.dir={folder} cannot be written to: {error}") from None


@contextmanager
def ownership(hidden: Path, join: bool) -> Iterator[None]:
    """Keep a second sweep out of the folder, unless it comes to help."""
    try:
        lock = LifeLock(hidden / "sweep.lock")
    except LockedError:
        if not join:
            raise SweepError(
                f"A sweep is already running in {hidden.parent}. Wait for it, start in another "
                "folder, or add workers to it with hydra.sweeper.join=true."
            ) from None
        yield
        return
    try:
        yield
    finally:
        lock.release()
