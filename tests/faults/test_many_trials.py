"""Many workers and many trials: exact counts, and no trial costs more than those before it."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from injecting import budgetsweep
from sweeping import FORKSERVER, leaderboard, start, summary, traced, wait_for

from hydra_budget_sweeper.study.place import StudyPlace
from hydra_budget_sweeper.workers.locks import claim_lock

N_TRIALS = int(os.environ.get("FAULTS_TRIALS", "100"))
N_LONG = int(os.environ.get("FAULTS_LONG", "500"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(14400)]


@pytest.mark.parametrize("storage", ["journal", "sqlite", "postgresql", "mariadb", "proxy"])
def test_eight_workers_share_the_trials_exactly(
    storage: str, url: str | None, tmp_path: Path
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    place = [f"hydra.sweeper.storage='{url}'"] if url else []
    sweep = start(folder, "x=interval(-5,5)", "width=range(1,20)", "hydra.sweeper.constraints=bowl.limits",
                  FORKSERVER, "hydra.sweeper.n_jobs=8", f"hydra.sweeper.n_trials={N_TRIALS}",
                  "hydra/sweeper/sampler=random", f"trace={trace}", *place)  # fmt: skip
    assert sweep.wait(timeout=14000) == 0
    rows = [row for row in leaderboard(folder) if row["state"] == "COMPLETE"]
    trained = Counter(row["trial"] for row in rows if row["folder"])
    assert summary(folder)["trained"] == len(trained) == N_TRIALS
    assert summary(folder)["failed"] == summary(folder)["retried"] == 0
    ends = Counter(number for what, number, _ in traced(trace) if what == "end")
    assert ends == trained == dict.fromkeys(trained, 1)
    for row in rows:
        if row["folder"]:
            assert row["value"] == pytest.approx((row["params"]["x"] - 1) ** 2)
    logs = [path.read_text() for path in (folder / ".workers").glob("*.log")]
    assert not [log for log in logs if "locked" in log or "Traceback" in log]


@pytest.mark.parametrize("storage", ["journal", "sqlite", "postgresql", "mariadb", "proxy"])
def test_while_one_claims_a_trial_no_other_does(
    storage: str, url: str | None, tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    """Or the last of the trials could be counted, and begun, by two: too rare to wait for it."""
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    name = f"held-{storage}"
    place = [f"hydra.sweeper.storage='{url}'", f"hydra.sweeper.study_name={name}"] if url else []
    sweep = start(folder, "x=interval(-5,5)", "seconds=1", FORKSERVER, "hydra.sweeper.n_jobs=1",
                  "hydra.sweeper.n_trials=5", f"trace={trace}", *place)  # fmt: skip

    def happened() -> Counter[str]:
        return Counter(what for what, *_ in traced(trace))

    running.append(sweep)
    wait_for(lambda: trace.exists())
    with claim_lock(StudyPlace(folder, url, name)):
        time.sleep(2)  # for one that was claimed just before to begin
        wait_for(lambda: happened()["start"] == happened()["end"])
        begun = happened()["start"]
        time.sleep(3)
        assert happened()["start"] == begun < 5
    assert sweep.wait(timeout=200) == 0
    assert happened() == {"start": 5, "end": 5}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_long_sweep_stays_as_it_began(workers: int, tmp_path: Path) -> None:
    """Memory, open files and processor time, each tenth of the way: all in one process, or in many.

    Then a page of all its trials.
    """
    folder = tmp_path / "sweep"
    engine = (
        [FORKSERVER, f"hydra.sweeper.n_jobs={workers}"] if workers else ["hydra/launcher=basic"]
    )
    sweep = start(folder, "x=interval(-5,5)", "hydra/sweeper/sampler=random",
                  f"hydra.sweeper.n_trials={N_LONG}", *engine)  # fmt: skip
    seen: list[tuple[int, dict[int, Process]]] = []  # trials, processes
    while sweep.poll() is None:
        time.sleep(0.1)
        done = sum(path.name.isdigit() for path in folder.iterdir()) if folder.exists() else 0
        if (len(seen) + 1) * N_LONG / 10 <= done < 0.95 * N_LONG:  # then workers end
            seen.append((done, _group(sweep.pid)))
    assert sweep.returncode == 0
    assert summary(folder)["trained"] == N_LONG
    print(*seen, sep="\n")
    (first, early), (middle, half), (last, late) = seen[0], seen[4], seen[-1]
    assert len(early) >= 1 + workers
    assert late.keys() == half.keys() == early.keys()
    for pid, process in late.items():
        assert process.files - early[pid].files <= 3
        # 20 kB a trial: what the study itself holds.
        assert process.megabytes - early[pid].megabytes < 0.02 * (last - first)

    def seconds(of: dict[int, Process]) -> float:
        return sum(process.seconds for process in of.values())

    assert (seconds(late) - seconds(half)) / (last - middle) < 2 * (
        (seconds(half) - seconds(early)) / (middle - first)
    )
    started = time.monotonic()
    ended = budgetsweep("report", folder)
    print(f"the report took {time.monotonic() - started:.1f} s")
    assert ended.code == 0, ended.err
    assert f"{N_LONG} of {N_LONG} trials trained" in (folder / "report.html").read_text()


class Process(NamedTuple):
    """What one holds, and the processor's time it has had."""

    megabytes: float
    files: int
    seconds: float


def _group(group: int) -> dict[int, Process]:
    """The processes of a sweep, by their numbers."""
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    found = {}
    for pid in numbers:
        with suppress(OSError):  # gone
            if os.getpgid(pid) == group:
                found[pid] = _state(pid)
    return found


def _state(pid: int) -> Process:
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    user, system = map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13])
    return Process(
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(list((process / "fd").iterdir())),
        (user + system) / os.sysconf("SC_CLK_TCK"),
    )
