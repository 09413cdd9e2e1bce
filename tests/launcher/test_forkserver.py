"""The forkserver launcher: Hydra's own tests of a launcher, and what is its own."""

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from hydra_plugins.hydra_forkserver_launcher.forkserver_launcher import ForkserverLauncher

# Hydra's fixture puts the registered configurations back to what they were when a test began.
Plugins.instance()
TWO = "hydra.launcher.n_jobs=2"


def test_hydra_finds_the_launcher() -> None:
    found = [x.__name__ for x in Plugins.instance().discover(Launcher)]
    assert ForkserverLauncher.__name__ in found


@pytest.mark.parametrize(("launcher_name", "overrides"), [("forkserver", [TWO])])
class TestLauncher(LauncherTestSuite):
    """Hydra's tests of every launcher."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [("forkserver", [TWO, "hydra.sweeper.max_batch_size=2"])]
)
class TestBatches(BatchedSweeperTestSuite):
    """Hydra's tests of a launcher that gets one batch after another."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=forkserver", TWO])]
)
class TestApplications(IntegrationTestSuite):
    """Hydra's tests with real applications."""
