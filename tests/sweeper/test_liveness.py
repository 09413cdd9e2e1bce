"""Signs of life and locks, asked across real processes."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sweeping import environment

from hydra_budget_sweeper.workers.liveness import Presence, Watch
from hydra_budget_sweeper.workers.locks import LifeLock, LockedError

PROLOGUE = """
import os, resource, signal, sys, time
from pathlib import Path
from hydra_budget_sweeper.workers.liveness import Presence, Watch
from hydra_budget_sweeper.workers.locks import LifeLock, exclusive
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
room = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
say = lambda *words: print(*words, flush=True)
"""


class Other:
    """Another process, which runs `program` and says things."""

    def __init__(self, folder: Path, program: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROLOGUE + program, str(folder)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def word(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def others(tmp_path: Path) -> Iterator[list[Other]]:
    started: list[Other] = []
    yield started
    for other in started:
        other.kill()


def is_alive(folder: Path, name: str) -> bool:
    return Watch(folder, lease=0.0).is_alive(name)


@pytest.mark.parametrize("disk", ["", "full()\n"])
def test_a_process_is_alive_until_it_is_killed_whatever_the_disk_says(
    tmp_path: Path, others: list[Other], disk: str
) -> None:
    others.append(other := Other(tmp_path, disk + "say(Presence(folder, 'x').name); input()"))
    name = other.word()
    assert is_alive(tmp_path, name)
    other.kill()
    assert not is_alive(tmp_path, name)


def test_a_disk_that_fills_up_leaves_the_last_sign_readable(
    tmp_path: Path, others: list[Other]
) -> None:
    program = "p = Presence(folder, 'x'); full(); p.beat(); say(p.name); room(); p.beat(); say(1)"
    others.append(other := Other(tmp_path, program + "; input()"))
    name = other.word()
    assert other.word() == "1"
    assert is_alive(tmp_path, name)
    (sign,) = tmp_path.glob("*.alive")
    assert '"beats": 3' in sign.read_text()


def test_who_leaves_in_order_leaves_no_sign(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "worker")
    assert Watch(tmp_path, 0.0).is_here(presence.name)
    presence.leave()
    assert not is_alive(tmp_path, presence.name)
    assert not list(tmp_path.iterdir())


def test_a_forked_child_is_not_its_parent(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "worker")
    if (child := os.fork()) == 0:
        here = Watch(tmp_path, 0.0).is_here(presence.name)
        os._exit(2 if here else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert Watch(tmp_path, 0.0).is_here(presence.name)
    presence.leave()


def test_elsewhere_a_standing_count_means_death_only_after_the_lease(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "worker")
    (sign,) = tmp_path.glob("*.alive")
    foreign = tmp_path / "worker-foreign.alive"
    here = sign.read_text().split('"')[3]
    foreign.write_text(sign.read_text().replace(here, "another machine"))
    presence.leave()
    watch = Watch(tmp_path, lease=0.2)
    assert watch.is_alive("worker-foreign")
    time.sleep(0.3)
    assert not watch.is_alive("worker-foreign")
    foreign.write_text(foreign.read_text().replace('"beats": 1', '"beats": 2'))
    assert watch.is_alive("worker-foreign")


def test_a_clock_that_is_set_kills_nobody_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presence = Presence(tmp_path, "worker")
    (sign,) = tmp_path.glob("*.alive")
    here = sign.read_text().split('"')[3]
    (tmp_path / "worker-foreign.alive").write_text(sign.read_text().replace(here, "elsewhere"))
    presence.leave()
    watch, true = Watch(tmp_path, lease=60), time.time
    for days in (0, 1, -1, 7):
        monkeypatch.setattr(time, "time", lambda days=days: true() + days * 86_400)
        assert watch.is_alive("worker-foreign")


FORK = "pid = os.fork()\nif not pid: time.sleep(60)\nsay(pid)\n"


def test_a_fork_that_outlives_its_parent_inherits_no_lock(
    tmp_path: Path, others: list[Other]
) -> None:
    program = f"lock = LifeLock(folder / 'lock'); name = Presence(folder, 'x').name\n{FORK}say(name); input()"
    others.append(other := Other(tmp_path, program))
    orphan, name = int(other.word()), other.word()
    try:
        with pytest.raises(LockedError):
            LifeLock(tmp_path / "lock")
        other.process.kill()
        other.process.wait()
        LifeLock(tmp_path / "lock").release()
        assert not is_alive(tmp_path, name)
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_a_fork_in_the_block_does_not_keep_its_lock(tmp_path: Path, others: list[Other]) -> None:
    others.append(
        other := Other(
            tmp_path,
            f"with exclusive(folder / 'lock'):\n  {FORK.replace(chr(10), chr(10) + '  ')}\nsay(1); input()",
        )
    )
    orphan = int(other.word())
    try:
        assert other.word() == "1"
        with open(tmp_path / "lock", "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_a_life_lock_is_held_once_in_a_process_too(tmp_path: Path) -> None:
    lock = LifeLock(tmp_path / "lock")
    with pytest.raises(LockedError):
        LifeLock(tmp_path / "lock")
    lock.release()
    LifeLock(tmp_path / "lock").release()
