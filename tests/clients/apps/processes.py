"""A task that starts processes of its own."""

import logging
import multiprocessing

import hydra
from omegaconf import DictConfig

log = logging.getLogger(__name__)


def square(x: int) -> int:
    return x * x


@hydra.main(config_path=None)
def main(cfg: DictConfig) -> float:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        squares = pool.map(square, range(cfg.n))
    log.info(squares)
    return float(sum(squares))


if __name__ == "__main__":
    main()
