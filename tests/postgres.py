"""A PostgreSQL of the tests' own on loopback, and Optuna's storage proxy before it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
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

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Let it stand still, as behind a network that does: nobody is answered, nothing is refused."""
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        processes = [
            first,
            *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split()),
        ]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

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

    def empty(self) -> None:
        """Delete the studies of earlier tests."""
        for name in optuna.get_all_study_names(self.storage()):
            optuna.delete_study(study_name=name, storage=self.storage())

    def trials(self) -> Counter[str]:
        """Count trials by state, but for candidates that were drawn beside the last one and never begun."""
        study = optuna.load_study(study_name="shared", storage=self.storage())
        begun = [t for t in study.trials if t.state is not TrialState.WAITING or note_of(t).started]
        return Counter(t.state.name for t in begun)


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
def started() -> Iterator[Server]:
    """Start a server in a folder of its own; skip the test where there is none to start."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'budgetsweep[postgres]'")
    if not BINARIES:
        pytest.skip("needs PostgreSQL's server (Debian's package postgresql)")
    # pytest's own folders are private to their user.
    folder = Path("/tmp") / f"postgres-{os.getpid()}"
    folder.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder)
