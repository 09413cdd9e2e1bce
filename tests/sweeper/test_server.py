"""A study in a server's database: workers on machines that see nothing of each other but the database.

Another machine is a mount namespace in which the sweep's folder is an empty tmpfs: what is written
there nobody else sees, and nothing of the sweep's is seen from there.
"""

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from servers import Server, free_port, serving
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

LEASE = "hydra.sweeper.lease=3"
NAME = "hydra.sweeper.study_name=shared"


@pytest.fixture(params=["postgres", "mariadb", "proxy"])
def database(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server without a study of an earlier test, or a proxy before one."""
    proxied = request.param == "proxy"
    server = request.getfixturevalue("postgres" if proxied else request.param)
    server.empty()
    with serving(server) if proxied else nullcontext(server.url) as server.address:
        yield server
    server.address = server.url


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


def begin_both(
    folder: Path,
    trace: Path,
    running: list[subprocess.Popen[bytes]],
    given: list[str],
    *of_the_second: str,
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Start a sweep, and once it trains another elsewhere that joins it; logs are beside the folder."""
    running.append(first := begin(folder, folder.parent / "first", *given))
    wait_for(lambda: trace.exists())
    more = [*of_the_second, "hydra.sweeper.join=true"]
    running.append(second := begin(folder, folder.parent / "second", *given, *more, elsewhere=True))
    return first, second


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
    first, second = begin_both(folder, trace, running, given, FORKSERVER)
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
    first, second = begin_both(folder, trace, running, given)
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
    first, second = begin_both(folder, trace, running, given)
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


@elsewhere
def test_a_database_that_stands_still_longer_than_the_lease_costs_nothing(
    database: Server, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    """No sign of life moves meanwhile, of the living neither."""
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = settings(database, trace, 6, 5)
    first, second = begin_both(folder, trace, running, given)
    for n in (2, 4):
        wait_for(lambda n=n: sum(what == "start" for what, *_ in traced(trace)) >= n)
        time.sleep(1)
        with database.stalled():
            time.sleep(8)
    assert first.wait(120) == 0, (tmp_path / "first").read_text()
    assert second.wait(120) == 0, (tmp_path / "second").read_text()
    assert database.trials() == {"COMPLETE": 6}
    assert Counter(n for what, n, _ in traced(trace) if what == "start") == dict.fromkeys(
        range(6), 1
    )
    assert ends(trace) == dict.fromkeys(range(6), 1)


def test_a_proxy_that_is_killed_and_started_again_costs_nothing(
    postgres: Server, tmp_path: Path, running: list[subprocess.Popen[bytes]]
) -> None:
    server = postgres
    server.empty()
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
    first, second = begin_both(folder, trace, running, given)
    wait_for(lambda: sum(what == "start" for what, *_ in traced(trace)) > 2)
    os.killpg(second.pid, signal.SIGINT)
    assert second.wait(60) == 130
    assert first.wait(120) == 0
    assert database.trials() == {"COMPLETE": 6}
