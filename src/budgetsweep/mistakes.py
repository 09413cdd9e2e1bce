"""A person's mistakes in an application of Hydra's: one message, exit code 1, no traceback."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException, ValidationError

from budgetsweep.config import allowed
from budgetsweep.config.checks import LISTED
from budgetsweep.config.settings_page import settings
from budgetsweep.errors import SettingError, UserError
from hydra_budget_sweeper.hydra_errors import NO_SUCH_SETTING, described
from hydra_plugins.hydra_budget_sweeper.config import BudgetSweeperConf

_OVERRIDE = re.compile(r"Error merging override \+*([^=]+)=(.*)")
_VALUE = re.compile(r"Value '(.*)' of type ")
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
        sys.exit(explained(error))
    except OSError as error:
        if error.filename is None:
            error.filename = _job_folder(error)
        raise
    except ValueError as error:
        if not _is_of_command_line(error):
            raise
        sys.exit(str(error))
    finally:
        del os.environ[_RAISE]


def explained(error: Exception) -> str:
    """What Hydra refused, and what a key that is not there may have meant: of another group, or of a sweep."""
    if told := _of_several_types(error):
        return told
    of_sweep = [f"hydra.sweeper.{field.name}" for field in dataclasses.fields(BudgetSweeperConf)]
    told = described(error, [*(setting.key for setting in settings()), *of_sweep])
    return f"{told} {LISTED}" if told.endswith(NO_SUCH_SETTING) else told


def _of_several_types(error: Exception) -> str:
    """What is allowed where a value is of none of a setting's types; empty for any other mistake."""
    cause = error.__cause__ or error
    if not isinstance(cause, ValidationError):
        return ""
    given = _OVERRIDE.match(str(error))
    value = _VALUE.match(str(cause))
    key = given[1] if given else str(cause.full_key)
    if not (given or value) or not (words := allowed(key)):
        return ""
    return str(SettingError(key, given[2] if given else value and value[1], words))


def _is_of_command_line(error: Exception) -> bool:
    """Whether Hydra itself refuses it: options that exclude each other, a group that is null."""
    *_, last = _frames(error)
    return str(last.f_globals.get("__name__")).startswith("hydra.")


def _job_folder(error: Exception) -> str | None:
    """The folder of the job in which a disk refused something without saying where."""
    for frame in _frames(error):
        if frame.f_code.co_name == "_run_job":  # Hydra's, which writes the configuration itself
            return frame.f_locals.get("output_dir")
    return None


def _frames(error: Exception) -> Iterator[FrameType]:
    """From this module's to where an exception was raised."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield frame
