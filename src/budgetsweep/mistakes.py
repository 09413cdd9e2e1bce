"""A person's mistakes in an application of Hydra's: one message, exit code 1, no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from budgetsweep.errors import UserError
from hydra_budget_sweeper.hydra_errors import described

_RAISE = "HYDRA_FULL_ERROR"  # Hydra's own: raise what would be printed


@contextmanager
def told_in_words() -> Iterator[None]:
    """End the program with what the mistake was; anything else is raised as it is.

    Whoever sets HYDRA_FULL_ERROR=1 gets the traceback of a mistake, too.
    """
    if os.environ.get(_RAISE) == "1":
        yield
        return
    os.environ[_RAISE] = "1"
    try:
        yield
    except UserError as error:  # of a job in a sweep by another sweeper than ours
        sys.exit(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(described(error))
    except OSError as error:
        if error.filename is None and HydraConfig.initialized():  # of a file that Hydra writes
            error.filename = HydraConfig.get().runtime.output_dir
        raise
    except ValueError as error:
        if not _is_of_command_line(error):
            raise
        sys.exit(str(error))
    finally:
        del os.environ[_RAISE]


def _is_of_command_line(error: Exception) -> bool:
    """Whether Hydra itself refuses options that exclude each other."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_code.co_name == "_run_hydra"
