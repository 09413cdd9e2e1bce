"""The command that runs one trial again, as its sweep was started."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig

from hydra_budget_sweeper.compose import overrides_of_hydra
from hydra_budget_sweeper.space.grammar import override_text
from hydra_budget_sweeper.storage_url import without_password

# Settings of Hydra that a single run has no use for.
_OF_SWEEPS = ("hydra/sweeper", "hydra/launcher", "hydra.sweep", "hydra.launcher", "hydra.mode")


def single_run(master: DictConfig) -> str:
    """Write the shell command of a single run, started as this sweep was, up to a trial's overrides.

    To be asked before any trial: a task may change the arguments of the process it runs in.

    Args:
        master: The sweep's own configuration, which knows Hydra's overrides.
    """
    own = overrides_of_hydra(master)
    kept = [o for o in own if not o.lstrip("+~").startswith(_OF_SWEEPS)]
    return " ".join([program(), *map(shlex.quote, [*_flags(), *map(without_password, kept)])])


def setting(key: str, value: str) -> str:
    """Write `key=value` for a shell, the value quoted as Hydra's grammar wants it."""
    text = override_text(value)
    if text != value:  # the other quotes, so that the shell's can go around it
        text = QuotedString(value, Quote.double).with_quotes()
    return shlex.quote(f"{key}={text}")


def program() -> str:
    """Return how the running application is started from a shell.

    One that is a command of a program of several says so in `sys.argv[0]`: `program command`.
    """
    if sys.argv[0] == "-c":
        return "python -c ..."  # the code may have many lines
    if not Path(sys.argv[0]).exists():
        return sys.argv[0]
    main = sys.modules.get("__main__")
    module = getattr(getattr(main, "__spec__", None), "name", None)
    if module is not None:
        return f"python -m {module.removesuffix('.__main__')}"
    script = sys.argv[0]
    if Path(script).suffix == ".py" or not os.access(script, os.X_OK):
        return f"python {shlex.quote(script)}"
    name = Path(script).name
    return shlex.quote(name if shutil.which(name) == script else script)


def _flags() -> Iterator[str]:
    """Return Hydra's own flags that decide what is composed, as they were given."""
    parser = argparse.ArgumentParser(add_help=False)
    places = ("config-path", "config-name", "config-dir")
    for place, short in zip(places, ("-cp", "-cn", "-cd"), strict=True):
        parser.add_argument(f"--{place}", short)
    parser.add_argument("--multirun", "-m", action="store_true")
    given, _ = parser.parse_known_args(sys.argv[1:])
    for place in places:
        if (value := getattr(given, place.replace("-", "_"))) is not None:
            yield from (f"--{place}", value)
    if not given.multirun:
        yield "hydra.mode=RUN"  # the configuration itself asks for many runs
