"""`budgetsweep COMMAND ...`: the commands, each in a module that is imported only when it is called.

A file that registers blocks of its own is all of them, too, and each knows those blocks:

    if __name__ == "__main__":
        from budgetsweep.commands import main

        main()

`python FILE export multirun/mine` then does what `budgetsweep export multirun/mine` does.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import signal
import sys
from pathlib import Path
from pkgutil import resolve_name

from budgetsweep import __version__
from hydra_budget_sweeper.files import described, of_disk
from hydra_budget_sweeper.near import did_you_mean
from hydra_budget_sweeper.streams import drop_output, reader_left, secure_streams

# name → the function that it calls, and what the list says of it
COMMANDS = {
    "train": ("budgetsweep.train:main", "train one network"),
    "sweep": ("budgetsweep.train:sweep", "train many networks and find the best of them"),
    "find": ("budgetsweep.find:main", "do it all: search, finalists, confirmation, page, export"),
    "summary": ("budgetsweep.summary:main", "show a network's layers, and its size against the budget"),
    "replicate": ("budgetsweep.replicate:main", "compare over several seeds, with intervals"),
    "report": ("budgetsweep.report.__main__:main", "write an HTML page about a sweep or a run"),
    "predict": ("budgetsweep.predict:main", "say what is on your own images"),
    "export": ("budgetsweep.export:main", "write a trained network as ONNX, torch.export, int8 or C"),
    "dashboard": ("budgetsweep.dashboard:main", "look at a sweep in a browser while it runs"),
    "settings": ("budgetsweep.settings:main", "print every setting of a run as a table"),
    "completion": ("budgetsweep.completion:main", "let bash, zsh or fish complete all of this"),
}  # fmt: skip
# What only prints, of the commands and the flags.
_PRINTING = {
    "summary",
    "settings",
    "completion",
    "--help",
    "-h",
    "--hydra-help",
    "--cfg",
    "-c",
    "--info",
    "-i",
}
_EPILOG = """\
examples:
  budgetsweep train model.layers.conv3.width=24 optimizer.lr=0.05
  budgetsweep sweep search=shapes hydra.sweeper.n_trials=30

Each command has a page of its own: budgetsweep COMMAND --help
More: README.md, docs/first-sweep.md
"""


def main() -> None:
    """Run the command that the first argument names; without one, list them.

    The command finds a command line of its own in `sys.argv`, after the words that call it.
    """
    secure_streams()
    script, *words = sys.argv
    name = words[0] if words else "--help"
    if name.startswith("-"):
        parser().parse_args([name])
    if name not in COMMANDS:
        sys.exit(_unknown(name))
    if name in _PRINTING or _PRINTING & set(words):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    own = Path(script).suffix == ".py" and Path(script).stem != "__main__"
    sys.argv[:2] = [shlex.join([*(["python", script] if own else ["budgetsweep"]), name])]
    try:
        resolve_name(COMMANDS[name][0])()
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and reader_left():
            drop_output()
            sys.exit(1)
        refused = of_disk(error)
        if refused is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        if refused.filename is None:
            drop_output()
        sys.exit(described(refused))


def parser() -> argparse.ArgumentParser:
    """The command line up to the command's name."""
    listed = "\n".join(f"  {name:<10} {words}" for name, (_, words) in COMMANDS.items())
    p = argparse.ArgumentParser(
        "budgetsweep",
        usage="budgetsweep COMMAND ...",
        description="Find the best small convolutional network under a size budget.",
        epilog=f"commands:\n{listed}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--version", action="version", version=f"budgetsweep {__version__}")
    return p


def _unknown(name: str) -> str:
    if "=" in name:
        return f"{name} is a setting, not a command. One run: budgetsweep train {name} ..."
    hint = did_you_mean(difflib.get_close_matches(name, COMMANDS, n=1))
    return f"There is no command {name}.{hint} There are {', '.join(COMMANDS)}."
