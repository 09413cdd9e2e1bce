"""Workers on a Ray cluster of two nodes, one of which is killed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from sweeping import kill_all, wait_for
from traces import assert_exact, begin, happened, steps, task

# Its processes take their time to start where the machine has other things to do.
PATIENCE = 600.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(
        find_spec("ray") is None or find_spec("hydra_plugins.hydra_ray_launcher") is None,
        reason="needs Ray: pip install 'hydra-budget-sweeper[ray]'",
    ),
]
NODES = Path(__file__).with_name("ray_nodes.py")


class Cluster:
    """Two nodes of one CPU each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(NODES), str(folder)],
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_for(self._is_up, PATIENCE)
        self.settings = [
            "hydra/launcher=ray_cluster",
            f"hydra.launcher.ray.init.address={(folder / 'address').read_text()}",
        ]

    def _is_up(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return (self.folder / "address").exists()

    def kill_second_node(self) -> None:
        (self.folder / "kill").touch()
        wait_for(lambda: (self.folder / "killed").exists(), PATIENCE)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path("/tmp") / f"ray-{os.getpid()}"  # short: the paths of its sockets have a limit
    folder.mkdir()
    started = Cluster(folder)
    yield started
    shutil.rmtree(folder, ignore_errors=True)
    try:
        started.process.wait(60)
    except subprocess.TimeoutExpired:
        kill_all(started.process)


def test_a_node_that_dies_costs_no_trial(
    cluster: Cluster, tmp_path: Path, running: list[subprocess.Popen]
) -> None:
    folder, trace = tmp_path / "sweep", tmp_path / "trace"
    given = [*task(trace, 3, 12), *cluster.settings, "hydra.sweeper.n_jobs=2"]
    running.append(sweep := begin(folder, *given))
    wait_for(lambda: {(0, "step4"), (1, "step4")} <= steps(trace).keys(), PATIENCE)
    cluster.kill_second_node()
    assert sweep.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    assert_exact(folder, trace, 3)
    assert happened(trace, "start").total() == 4
    # Its trial went on from its checkpoint: at most the step that was under way is there twice.
    assert steps(trace).total() <= 3 * 12 + 1


def test_no_cluster_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    given = [*task(tmp_path / "trace", 1, 1), "hydra/launcher=ray_cluster"]
    assert begin(tmp_path / "sweep", *given).wait(PATIENCE) == 1
    said = (tmp_path / "log").read_text()
    assert "no Ray cluster answers. Start one (ray start --head)" in said
    assert "Traceback" not in said and "starting the workers again" not in said
