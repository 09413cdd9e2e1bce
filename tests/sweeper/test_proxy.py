"""Optuna's gRPC proxy as a storage: its lock, and what is said where there is none."""

import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

pytest.importorskip("grpc", reason="needs grpcio: pip install 'budgetsweep[grpc]'")

from servers import free_port
from sweeping import command, environment, wait_for

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.study import proxy
from hydra_budget_sweeper.study.patience import pause
from hydra_budget_sweeper.study.place import open_url, server_lock


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A proxy before a storage in memory, which numbers its studies as a database does."""
    port = free_port()
    code = (
        "import optuna; from optuna.storages import InMemoryStorage, run_grpc_proxy_server as run;"
        f"run(InMemoryStorage(), host='127.0.0.1', port={port})"
    )
    served = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], stderr=subprocess.DEVNULL
    )
    wait_for(lambda: answers(port))
    yield f"grpc://127.0.0.1:{port}"
    served.kill()
    served.wait()


def test_one_at_a_time(address: str) -> None:
    inside, most, turns = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, turns
        for _ in range(5):
            with server_lock(address, "turns"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.005)
                inside -= 1
                turns += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == (1, 20)
    assert not open_url(address).get_all_studies()  # a lock leaves nothing behind


@pytest.mark.slow
def test_a_dead_holder_s_lock_is_taken_and_a_living_one_s_is_not(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "_LEASE", 1.2)
    monkeypatch.setattr(proxy, "_LOOK", 0.1)
    taken = threading.Event()

    def wait() -> None:
        with server_lock(address, "held"):
            taken.set()

    with server_lock(address, "held"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not taken.wait(3)
    waiting.join()
    # Who dies does not delete what it created.
    open_url(address).create_new_study([optuna.study.StudyDirection.MINIMIZE], "held (lock)")
    taken.clear()
    wait()
    assert taken.is_set()


@pytest.mark.slow
def test_nobody_answers(tmp_path: Path) -> None:
    words = command(tmp_path / "sweep", "x=interval(-5,5)")
    words.append(f"hydra.sweeper.storage='grpc://localhost:{free_port()}'")
    ended = subprocess.run(words, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 1
    assert "No storage proxy answers" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "url",
    ["grpc://", "grpc://host:port", "grpc://host/name", "grpc://me:secret@host:1", "grpc:host"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SweepError, match="grpc://HOST:PORT") as told:
        open_url(url)
    assert "secret" not in str(told.value)


def test_what_cannot_be_served_is_refused() -> None:
    words = [sys.executable, "-m", "hydra_budget_sweeper.serve_storage"]
    ended = subprocess.run([*words, "sqlite:///study.db"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "sqlite:///study.db is no server's database (postgresql://..., mysql://...)."
    ]


def test_a_sweep_s_trials_are_behind_the_proxy(address: str, tmp_path: Path) -> None:
    settings = [f"hydra.sweeper.storage='{address}'", "hydra.sweeper.study_name=proxied"]
    words = command(tmp_path / "sweep", "x=interval(-5,5)", *settings, "hydra.sweeper.n_trials=3")
    ended = subprocess.run(words, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.load_study(study_name="proxied", storage=open_url(address))
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3


def test_who_waits_for_long_waits_longer_and_never_fails() -> None:
    """Of 64 workers one may try more than a thousand times."""
    assert all(0.5 <= pause(tries, 0.002, 1.0) <= 1 for tries in (9, 64, 1_000, 100_000))
    assert pause(1, 0.002, 1.0) <= 0.004
