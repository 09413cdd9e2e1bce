"""A study in PostgreSQL: workers on machines that see nothing of each other but the database.

Another machine is a mount namespace in which the sweep's folder is an empty tmpfs: what is written
there nobody else sees, and nothing of the sweep's is seen from there.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from sqlalchemy.pool import NullPool
from sweeping import (
    FORKSERVER,
    command,
    environment,
    hear_interrupts,
    kill_all,
    leaderboard,
    summary,
    traced,
    wait_for,
)

pytestmark = pytest.mark.slow
pytest.importorskip("psycopg", reason="needs psycopg: pip install 'budgetsweep[postgres]'")

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
LEASE = "hydra.sweeper.lease=3"
NAME = "hydra.sweeper.study_name=shared"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """A PostgreSQL of its own on loopback."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self.address = self.url  # by which sweeps know it
        self._run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.data} -c fsync=off"
        log = self.data.parent / "log"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def _run(self, program: str, *arguments: object) -> None:
        # It refuses to run as root.
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        words = [str(BINARIES[-1] / program), *map(str, arguments)]
        subprocess.run(
            [*(user if os.getuid() == 0 else []), *words],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip

    def storage(self) -> optuna.storages.RDBStorage:
        """Opened for this moment: the server is stopped and started."""
        return optuna.storages.RDBStorage(self.url, engine_kwargs={"poolclass": NullPool})

    def trials(self) -> Counter[str]:
        """Count trials by state, but for candidates that were drawn beside the last one and wait."""
        study = optuna.load_study(study_name="shared", storage=self.storage())
        states = Counter(t.state.name for t in study.trials)
        del states["WAITING"]
        return states


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not BINARIES:
        pytest.skip("needs PostgreSQL's server (Debian's package postgresql)")
    # pytest's own folders are private to their user.
    folder = Path("/tmp") / f"postgres-{os.getpid()}"
    folder.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    served = Server(folder)
    yield served
    served.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture
def emptied(server: Server) -> Server:
    """The server, without a study of an earlier test."""
    for name in optuna.get_all_study_names(server.storage()):
        optuna.delete_study(study_name=name, storage=server.storage())
    return server


@pytest.fixture(params=["direct", "proxy"])
def database(request: pytest.FixtureRequest, emptied: Server) -> Iterator[Server]:
    """The server, or a proxy before it."""
    server = emptied
    if request.param == "direct":
        yield server
        return
    pytest.importorskip("grpc", reason="needs grpcio: pip install 'budgetsweep[grpc]'")
    with serving(server) as server.address:
        yield server
    server.address = server.url


@contextmanager
def serving(server: Server, port: int = 0) -> Iterator[str]:
    """Run the proxy, and return its address; it is killed at the end."""
    port = port or free_port()
    module = "hydra_budget_sweeper.serve_storage"
    words = [sys.executable, "-m", module, server.url, "--port", str(port), "--host", "127.0.0.1"]
    proxy = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert proxy.stdout is not None
    assert proxy.stdout.readline().startswith(server.url)
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        proxy.kill()
        proxy.communicate()


def begin(
    folder: Path, log: Path, *overrides: str, elsewhere: bool = False
) -> subprocess.Popen[bytes]:
    """Start a sweep; `elsewhere` as on a machine that does not see its folder."""
    words = command(folder, *overrides)
    if elsewhere:
        mount = f"mkdir -p '{folder}' && mount -t tmpfs tmpfs '{folder}' && exec \"$@\""
        words = ["unshare", "--mount", "sh", "-c", mount, "sh", *words]
    with open(log, "wb") as file:
        return subprocess.Popen(
            words, env=environment(), stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=hear_interrupts,
        )  # fmt: skip


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


elsewhere = pytest.mark.skipif(not can_unshare(), reason="needs mount namespaces (root)")


def ends(trace: Path) -> Counter[int]:
    return Counter(number for what, number, _ in traced(trace) if what == "end")


def settings(server: Server, trace: Path, n_trials: int, seconds: float) -> list[str]:
    return [
        "x=interval(-5,5)", f"seconds={seconds}", f"trace={trace}", NAME, LEASE,
        f"hydra.sweeper.n_trials={n_trials}", f"hydra.sweeper.storage='{server.address}'",
    ]  # fmt: skip


@elsewhere
def test_workers_elsewhere_share_the_trials(
    database: Server, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = settings(database, trace, 20, 0.5)
    running.append(first := begin(folder, tmp_path / "first", *given))
    wait_for(lambda: trace.exists())
    join = "hydra.sweeper.join=true"
    running.append(
        second := begin(folder, tmp_path / "second", *given, FORKSERVER, join, elsewhere=True)
    )
    assert second.wait(120) == 0, (tmp_path / "second").read_text()
    assert first.wait(120) == 0, (tmp_path / "first").read_text()
    assert database.trials() == {"COMPLETE": 20}
    assert ends(trace) == dict.fromkeys(range(20), 1)
    assert len(leaderboard(folder)) == 20
    here = {child.name for child in folder.iterdir() if child.name.isdigit()}
    assert 0 < len(here) < 20  # the others are on the other machine


@elsewhere
def test_a_worker_that_dies_elsewhere_gives_its_trial_back(
    database: Server, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = settings(database, trace, 12, 1)
    running.append(first := begin(folder, tmp_path / "first", *given))
    wait_for(lambda: trace.exists())
    join = "hydra.sweeper.join=true"
    running.append(second := begin(folder, tmp_path / "second", *given, join, elsewhere=True))
    wait_for(lambda: sum(what == "start" for what, *_ in traced(trace)) > 4)
    kill_all(second)
    assert first.wait(120) == 0, (tmp_path / "first").read_text()
    assert database.trials() == {"COMPLETE": 12}
    assert set(ends(trace).values()) == {1}
    assert summary(folder)["n_trials"] == 12


@elsewhere
def test_a_living_worker_elsewhere_keeps_a_trial_longer_than_the_lease(
    database: Server, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = settings(database, trace, 2, 8)
    running.append(first := begin(folder, tmp_path / "first", *given))
    wait_for(lambda: trace.exists())
    join = "hydra.sweeper.join=true"
    running.append(second := begin(folder, tmp_path / "second", *given, join, elsewhere=True))
    assert first.wait(120) == 0 and second.wait(120) == 0
    starts = Counter(number for what, number, _ in traced(trace) if what == "start")
    assert starts == {0: 1, 1: 1}


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_restarts_costs_nothing(
    mode: str, database: Server, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = settings(database, trace, 30, 0.2)
    workers = [FORKSERVER, "hydra.sweeper.n_jobs=2"]
    running.append(sweep := begin(folder, tmp_path / "log", *given, *workers))
    wait_for(lambda: trace.exists())
    for _ in range(3):
        time.sleep(1)
        database.stop(mode)
        time.sleep(1)
        database.start()
    assert sweep.wait(120) == 0, (tmp_path / "log").read_text()
    assert database.trials() == {"COMPLETE": 30}
    assert ends(trace) == dict.fromkeys(range(30), 1)


def test_a_proxy_that_is_killed_and_started_again_costs_nothing(
    emptied: Server, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    server = emptied
    pytest.importorskip("grpc", reason="needs grpcio: pip install 'budgetsweep[grpc]'")
    folder, trace, port = tmp_path / "sweep", tmp_path / "trace", free_port()
    server.address = f"grpc://127.0.0.1:{port}"
    given = settings(server, trace, 30, 0.2)
    server.address = server.url
    with serving(server, port):
        workers = [FORKSERVER, "hydra.sweeper.n_jobs=2"]
        running.append(sweep := begin(folder, tmp_path / "log", *given, *workers))
        wait_for(lambda: trace.exists())
        time.sleep(1)
    time.sleep(1)
    with serving(server, port):
        assert sweep.wait(120) == 0, (tmp_path / "log").read_text()
    assert server.trials() == {"COMPLETE": 30}
    assert ends(trace) == dict.fromkeys(range(30), 1)


def test_a_killed_sweep_goes_on(
    database: Server, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = [*settings(database, trace, 20, 0.2), FORKSERVER, "hydra.sweeper.n_jobs=2"]
    for n in (4, 9, 14):
        running.append(sweep := begin(folder, tmp_path / "log", *given))
        wait_for(lambda n=n: trace.exists() and sum(ends(trace).values()) >= n)
        kill_all(sweep)
    assert begin(folder, tmp_path / "log", *given).wait(120) == 0, (tmp_path / "log").read_text()
    assert database.trials() == {"COMPLETE": 20}
    assert len(ends(trace)) == 20


def test_joining_from_elsewhere_needs_the_study(database: Server, tmp_path: Path) -> None:
    given = [o for o in settings(database, tmp_path / "trace", 2, 0) if o is not NAME]
    log = tmp_path / "log"
    assert begin(tmp_path / "a", log, *given, "hydra.sweeper.join=true").wait(60) == 1
    assert "needs hydra.sweeper.study_name" in log.read_text()


@elsewhere
def test_leaving_elsewhere_gives_the_trial_back_at_once(
    database: Server, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = [o for o in settings(database, trace, 6, 2) if o is not LEASE]
    given.append("hydra.sweeper.lease=1000")
    running.append(first := begin(folder, tmp_path / "first", *given))
    wait_for(lambda: trace.exists())
    join = "hydra.sweeper.join=true"
    running.append(second := begin(folder, tmp_path / "second", *given, join, elsewhere=True))
    wait_for(lambda: sum(what == "start" for what, *_ in traced(trace)) > 2)
    os.killpg(second.pid, signal.SIGINT)
    assert second.wait(60) == 130
    assert first.wait(120) == 0
    assert database.trials() == {"COMPLETE": 6}
