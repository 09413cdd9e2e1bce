"""Databases' servers of the tests' own on loopback, and Optuna's storage proxy before one."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.pool import NullPool

from hydra_budget_sweeper.study.trials import note_of

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server(ABC):
    """A database's server of its own on loopback."""

    at: str  # the URL, but for its port
    user: str  # of the system, for whom it runs where root starts it
    driver: str
    extra: str  # which brings the driver

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.log = folder / "log"
        self.port = free_port()
        self.url = self.at.format(port=self.port)
        self.address = self.url  # by which sweeps know it
        self.create()
        self.start()

    @staticmethod
    @abstractmethod
    def is_installed() -> bool: ...

    @abstractmethod
    def create(self) -> None:
        """Write the files of an empty database."""

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it answers."""

    @abstractmethod
    def stop(self, mode: str = "fast") -> None:
        """End it: in order, or `immediate`, as if killed."""

    @abstractmethod
    def processes(self) -> list[int]:
        """Name the processes that would answer."""

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Let it stand still, as behind a network that does: nobody is answered, nothing is refused."""
        processes = self.processes()
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def storage(self) -> optuna.storages.RDBStorage:
        """Opened for this moment: the server is stopped and started."""
        return optuna.storages.RDBStorage(self.url, engine_kwargs={"poolclass": NullPool})

    def empty(self) -> None:
        """Delete the studies of earlier tests."""
        for name in optuna.get_all_study_names(self.storage()):
            optuna.delete_study(study_name=name, storage=self.storage())

    def trials(self) -> Counter[str]:
        """Count trials by state, but for candidates that were drawn beside the last one and never begun."""
        study = optuna.load_study(study_name="shared", storage=self.storage())
        begun = [t for t in study.trials if t.state is not TrialState.WAITING or note_of(t).started]
        return Counter(t.state.name for t in begun)


class Postgres(Server):
    """PostgreSQL."""

    at = "postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    user, driver, extra = "postgres", "psycopg", "postgres"

    @staticmethod
    def is_installed() -> bool:
        return bool(BINARIES)

    def create(self) -> None:
        self._run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.data} -c fsync=off"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def processes(self) -> list[int]:
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def _run(self, program: str, *arguments: object) -> None:
        # It refuses to run as root.
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        words = [str(BINARIES[-1] / program), *map(str, arguments)]
        subprocess.run(
            [*(user if os.getuid() == 0 else []), *words],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip


class MariaDB(Server):
    """MariaDB, which speaks as MySQL does."""

    at = "mysql+pymysql://root@127.0.0.1:{port}/test"
    user, driver, extra = "mysql", "pymysql", "mysql"

    @staticmethod
    def is_installed() -> bool:
        return shutil.which("mariadbd") is not None

    def create(self) -> None:
        words = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal"]
        subprocess.run([*words, *self._where()], check=True, cwd="/", capture_output=True)

    def start(self) -> None:
        words = ["mariadbd", "--no-defaults", *self._where(), f"--port={self.port}"]
        words += ["--bind-address=127.0.0.1", f"--socket={self.log.parent / 'socket'}"]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as greets:
                if greets.recv(1):
                    return
            time.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def stop(self, mode: str = "fast") -> None:
        self._process.send_signal(signal.SIGKILL if mode == "immediate" else signal.SIGTERM)
        self._process.wait(60)

    def processes(self) -> list[int]:
        return [self._process.pid]

    def _where(self) -> list[str]:
        user = [f"--user={self.user}"] if os.getuid() == 0 else []
        return [f"--datadir={self.data}", *user]


@contextmanager
def serving(server: Server, port: int = 0) -> Iterator[str]:
    """Run the proxy, and return its address; it is killed at the end."""
    pytest.importorskip("grpc", reason="needs grpcio: pip install 'budgetsweep[grpc]'")
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


@contextmanager
def started(kind: type[Server]) -> Iterator[Server]:
    """Start a server in a folder of its own; skip the test where there is none to start."""
    hint = f"needs {kind.driver}: pip install 'budgetsweep[{kind.extra}]'"
    pytest.importorskip(kind.driver, reason=hint)
    if not kind.is_installed():
        pytest.skip(f"needs the server of {kind.__name__} (Debian's package, by apt)")
    # pytest's own folders are private to their user.
    folder = Path("/tmp") / f"{kind.__name__}-{os.getpid()}"
    folder.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, kind.user, kind.user)
    server = kind(folder)
    try:
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder)
