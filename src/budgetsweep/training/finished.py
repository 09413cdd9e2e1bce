"""A finished run's folder is not written over: asked by Hydra before it writes its own files there."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from budgetsweep.folders import SUMMARY


class KeepFinished(Callback):
    """Refuses a single run in the folder of a finished one, unless it is to be taken up."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.run.dir)
        if config.get("resume") or not (folder / SUMMARY).exists():
            return
        try:
            before = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
            told = f" ({before['model']}, seed {before['seed']}, {before['epochs']} epochs)"
        except (OSError, ValueError, KeyError, TypeError):
            told = ""
        sys.exit(
            f"{os.path.relpath(folder)} holds a finished run{told}, which is kept. Name another folder "
            "(hydra.run.dir=...), or add resume=true to have its results again."
        )
