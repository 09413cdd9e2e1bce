"""A Hydra application that costs nothing, so that what a sweep of it takes is the sweeper's."""

from __future__ import annotations

import json
import os
import time

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


def limits(cfg: DictConfig) -> dict[str, float]:
    """The constraint for our sweeper: `a` below `allowed`."""
    over = (cfg.a - cfg.allowed + 1) / cfg.allowed
    _trace(cfg, "asked", over=over)
    return {"a": over}


def seconds(number: int, shortest: float) -> float:
    """How long trial `number` takes: `shortest` to ten times that, the same under any sweeper."""
    return shortest * 10 ** (number * 0.618_034 % 1)


@hydra.main(config_path="conf", config_name="noop")
def main(cfg: DictConfig) -> float:
    number = HydraConfig.get().job.num
    _trace(cfg, "start", number=number)
    time.sleep(seconds(number, cfg.sleep))
    _trace(cfg, "end", number=number)
    return float(abs(cfg.a - 500) + abs(cfg.b - 300) + cfg.c + cfg.d + cfg.e + cfg.f)


def _trace(cfg: DictConfig, what: str, **more: float) -> None:
    line = json.dumps({"what": what, "time": time.time(), **more}) + "\n"
    file = os.open(cfg.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


if __name__ == "__main__":
    main()
