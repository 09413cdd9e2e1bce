"""`python FILE COMMAND ...`: every command, started by a file that registers blocks of its own.

    if __name__ == "__main__":
        from budgetsweep.commands import main

        main()

`python FILE export multirun/mine` then does what `python -m budgetsweep.export multirun/mine` does, and
knows those blocks. Without a command's name first, it trains.
"""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    **{
        name: f"budgetsweep.{name}"
        for name in ("train", "summary", "predict", "export", "replicate")
    },
    "report": "budgetsweep.report.__main__",
}
_started: list[str] = []  # what was run as `main`


def main() -> None:
    """Run the command that the first argument names."""
    _started[:] = [sys.argv[0]]
    named = len(sys.argv) > 1 and sys.argv[1] in COMMANDS
    import_module(COMMANDS[sys.argv.pop(1) if named else "train"]).main()


def training_command() -> list[str]:
    """The start of a command line that trains in a process of its own, as this one was started."""
    own = [*_started, "train"] if _started else ["-m", "budgetsweep.train"]
    return [sys.executable, *own]
