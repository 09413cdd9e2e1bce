"""Many workers and many trials: exact counts, and no trial costs more than those before it."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from injecting import budgetsweep
from sweeping import FORKSERVER, leaderboard, start, summary, traced, wait_for

from hydra_budget_sweeper.study.place import StudyPlace
from hydra_budget_sweeper.workers.locks import claim_lock

N_TRIALS = int(os.environ.get("FAULTS_TRIALS", "100"))
N_LONG = int(os.environ.get("FAULTS_LONG", "500"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(14400)]


@pytest.mark.parametrize("storage", ["journal", "sqlite", "postgresql", "proxy"])
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


@pytest.mark.parametrize("storage", ["journal", "sqlite", "postgresql", "proxy"])
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


def test_a_long_sweep_stays_as_it_began(tmp_path: Path) -> None:
    """Memory, open files and processor time, each tenth of the way; one worker, in the sweep's process.

    Then a page of all its trials.
    """
    folder = tmp_path / "sweep"
    sweep = start(folder, "x=interval(-5,5)", "hydra/launcher=basic", "hydra/sweeper/sampler=random",
                  f"hydra.sweeper.n_trials={N_LONG}")  # fmt: skip
    seen: list[tuple[int, float, int, float]] = []  # trials, MB, files, processor seconds
    while sweep.poll() is None:
        time.sleep(0.5)
        done = sum(path.name.isdigit() for path in folder.iterdir()) if folder.exists() else 0
        if done >= (len(seen) + 1) * N_LONG / 10:
            seen.append((done, *_state(sweep.pid)))
    assert sweep.returncode == 0
    assert summary(folder)["trained"] == N_LONG
    print(*seen, sep="\n")
    (first, mb, files, cpu), (middle, _, _, half), (last, mb_at_end, files_at_end, cpu_at_end) = (
        seen[0], seen[4], seen[-1],
    )  # fmt: skip
    assert files_at_end - files <= 3
    assert mb_at_end - mb < 0.02 * (last - first)  # 20 kB a trial: what the study itself holds
    early, late = (half - cpu) / (middle - first), (cpu_at_end - half) / (last - middle)
    assert late < 2 * early
    started = time.monotonic()
    ended = budgetsweep("report", folder)
    print(f"the report took {time.monotonic() - started:.1f} s")
    assert ended.code == 0, ended.err
    assert f"{N_LONG} of {N_LONG} trials trained" in (folder / "report.html").read_text()


def _state(pid: int) -> tuple[float, int, float]:
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    user, system = map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13])
    ticks = os.sysconf("SC_CLK_TCK")
    files = len(list((process / "fd").iterdir()))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, (user + system) / ticks
