"""A task that writes down in which process it ran, and what that process drew at random."""

import os
import signal
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf


@hydra.main(config_path=None)
def main(cfg: DictConfig) -> None:
    import heavy
    import numpy as np

    assert heavy.HERE.exists()
    if OmegaConf.select(cfg, "kill") == cfg.x:
        os.kill(os.getpid(), signal.SIGKILL)
    threads = os.environ.get("OMP_NUM_THREADS")
    with open(Path(os.environ["IMPORTS"]).with_name("jobs"), "a") as file:
        file.write(f"{os.getpid()} {np.random.random()!r} {threads}\n")


if __name__ == "__main__":
    main()
