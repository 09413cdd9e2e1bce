"""A tiny application whose objective is noisy, and its noise known: it follows from x and the seed.

In truth a lower x is better. Under seed 0, the search's, the worst candidate is lucky.
"""

import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hydra_budget_sweeper import report

LUCKY = 7


def objective(x: int, seed: int) -> float:
    """The closed form: x, plus noise that is about as large as a step of it."""
    if seed == 0:
        return -1.0 if x == LUCKY else float(x)
    return x + ((3 * x + 5 * seed) % 7 - 3) / 2


@hydra.main(config_path="noisy_conf", config_name="config")
def main(cfg: DictConfig) -> float:
    folder = Path(HydraConfig.get().runtime.output_dir)
    trace(cfg, "start")
    if cfg.trouble == f"{cfg.x} under {cfg.seed}":
        raise ValueError("the loss exploded")
    done = folder / "done"
    first = int(done.read_text()) if cfg.resume and done.exists() else 0
    for step in range(first, cfg.steps):
        time.sleep(cfg.seconds / cfg.steps)
        half_way = folder / "done.half"  # a kill must not leave an empty file
        half_way.write_text(str(step + 1))
        half_way.replace(done)
        report(float(cfg.x), step)
    trace(cfg, "end")
    return cfg.sign * objective(cfg.x, cfg.seed)


def trace(cfg: DictConfig, what: str) -> None:
    if cfg.trace is not None:
        with open(cfg.trace, "a") as file:
            file.write(f"{what} {cfg.x} {cfg.seed}\n")


if __name__ == "__main__":
    main()
