"""A task that behaves in the way that `how` names when x is 2, and otherwise writes down its x."""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

LOCK = threading.Lock()


def rest() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(60)


def guard() -> Any:
    return LOCK


@hydra.main(config_path=None)
def main(cfg: DictConfig) -> Any:
    if cfg.x == 2:
        if cfg.how == "raise":
            raise ValueError("the loss exploded")
        if cfg.how == "exit":
            sys.exit("told to go")
        if cfg.how == "cancel":
            raise asyncio.CancelledError("no time")
        if cfg.how == "return_lock":
            return threading.Lock()
        if cfg.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if cfg.how == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if cfg.how in ("sleep", "deaf"):
            Path("asleep").touch()
            time.sleep(60)
    Path(f"ran-{cfg.x}").touch()
    return cfg.x


@hydra.main(config_path=None)
def needs_lock(cfg: DictConfig) -> Any:
    return guard() is LOCK


if __name__ == "__main__":
    own = multiprocessing.get_context("fork").Process(target=rest, daemon=True)
    own.start()
    try:
        needs_lock() if "+how=needs_lock" in sys.argv else main()
    except SystemExit as exit_:
        print(f"own process alive: {own.is_alive()}")
        raise exit_
