"""Run a module as `python -m` would until its first training loss is there, then say when.

python first_batch.py FILE MODULE [ARGUMENT ...]: the time goes to FILE.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import torch.nn.functional as F

FILE, MODULE, *ARGUMENTS = sys.argv[1:]


def stop(*_: Any, **__: Any) -> NoReturn:
    Path(FILE).write_text(str(time.time()))
    os._exit(0)


if __name__ == "__main__":
    F.cross_entropy = stop  # what both sides compute their loss with
    sys.path.pop(0)  # this file's folder, which `python -m` would not have
    sys.argv = [MODULE, *ARGUMENTS]
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
