"""A study behind Optuna's gRPC proxy: many workers, few connections to the database.

The proxy passes on what Optuna's storages can do, which locks are not part of. A lock is a study of
its own here, therefore: a database lets only one be created by a name, and its holder deletes it. It
beats meanwhile; one that stands still for `_LEASE` is a dead holder's, and whoever waits deletes that
very one, by its number. A database gives no number twice.
"""

import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from urllib.parse import urlsplit

import grpc
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy
from optuna.study import StudyDirection

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.storage_url import PROXY_PORT, without_password
from hydra_budget_sweeper.study.patience import patient, pause, told

_ANSWER = 5.0  # seconds for a proxy's first answer
_LEASE = 30.0  # seconds without a beat after which the holder of a lock is dead
_LOOK = 1.0  # seconds between two looks at who holds it
_PAUSE = 1.0  # seconds between two tries to take it, at most: each of very many waits longer
_BEAT = "beat"


def open_storage(url: str) -> BaseStorage:
    """Open the storage behind a proxy, which waits for a proxy that goes and comes back.

    Args:
        url: grpc://HOST:PORT.

    Raises:
        SweepError: It is another URL, or nothing answers there.
    """
    place = urlsplit(url)
    try:
        port = place.port or PROXY_PORT
    except ValueError:
        port = 0
    if not place.hostname or not port or place.path.strip("/") or place.query or place.username:
        raise SweepError(
            f"hydra.sweeper.storage={without_password(url)} is no proxy's address: it is grpc://HOST:PORT, "
            f"such as grpc://localhost:{PROXY_PORT}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = _PatientProxy(host=place.hostname, port=port)
    try:
        storage.wait_server_ready(_ANSWER)
    except ConnectionError:
        raise SweepError(
            f"No storage proxy answers at hydra.sweeper.storage={url}. Start one beside the database: "
            f"python -m hydra_budget_sweeper.serve_storage postgresql://... --port {port}"
        ) from None
    return storage


@contextmanager
def lock(url: str, name: str) -> Iterator[None]:
    """Hold the lock `name` of all who use the proxy's database; wait for it if need be."""
    storage = _opened(url, os.getpid())
    held = _take(storage, f"{name} (lock)")
    done = threading.Event()
    beats = threading.Thread(target=_keep, args=(storage, held, done), daemon=True)
    beats.start()
    try:
        yield
    finally:
        done.set()
        beats.join()
        with suppress(KeyError):  # who took this process for dead has deleted it
            storage.delete_study(held)


@cache
def _opened(url: str, _process: int) -> BaseStorage:
    """One connection for locks; a forked child has its own."""
    return open_storage(url)


def _take(storage: BaseStorage, name: str) -> int:
    """Create the study `name` as soon as there is none; return its number."""
    seen: tuple[int, object] | None = None
    since = looked = time.monotonic()
    tries = 0
    while True:
        with suppress(DuplicatedStudyError):
            return storage.create_new_study([StudyDirection.MINIMIZE], name)
        tries += 1
        time.sleep(pause(tries, 0.002, _PAUSE))
        now = time.monotonic()
        if now - looked < _LOOK:
            continue
        looked = now
        with suppress(KeyError):  # just given back
            holder = storage.get_study_id_from_name(name)
            sign = holder, storage.get_study_system_attrs(holder).get(_BEAT)
            if sign != seen:
                seen, since = sign, now
            elif now - since > _LEASE:
                storage.delete_study(holder)


def _keep(storage: BaseStorage, held: int, done: threading.Event) -> None:
    """Beat until it is done."""
    beat = 0
    while not done.wait(_LEASE / 4):
        beat += 1
        try:
            storage.set_study_system_attr(held, _BEAT, beat)
        except (KeyError, SweepError):
            return


def _is_away(error: BaseException) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() is grpc.StatusCode.UNAVAILABLE


@patient(_is_away)
class _PatientProxy(GrpcStorageProxy):
    """Optuna's own, each method tried again while the proxy is away."""

    def told(self) -> AbstractContextManager[None]:
        url = f"grpc://{self._host}:{self._port}"
        return told(url, grpc.RpcError, lambda error: " ".join(str(error.details()).split())[:300])
