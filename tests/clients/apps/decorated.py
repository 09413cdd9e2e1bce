"""Decorators on both sides of Hydra's, and a class of the script that the task uses."""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

log = logging.getLogger(__name__)


@dataclass
class Point:
    x: float


def negative(function: Callable[..., float]) -> Callable[..., float]:
    @functools.wraps(function)
    def turned(*args: Any, **kwargs: Any) -> float:
        log.info("before")
        return -function(*args, **kwargs)

    return turned


def announced(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@announced
@hydra.main(config_path=None)
@negative
def main(cfg: DictConfig) -> float:
    with open_dict(cfg):
        cfg.point = Point(cfg.x)
    OmegaConf.set_readonly(cfg, True)
    log.info(OmegaConf.to_yaml(cfg))
    return float(cfg.point.x)


if __name__ == "__main__":
    main()
