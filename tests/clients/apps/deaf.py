"""A task that answers Ctrl-C by itself, as training frameworks do, instead of letting it pass."""

import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


@hydra.main(config_path=None)
def main(cfg: DictConfig) -> float:
    try:
        (Path(HydraConfig.get().sweep.dir) / "started").touch()
        time.sleep(60)
    except KeyboardInterrupt:
        if cfg.answer == "exit":
            sys.exit(1)
    return float(cfg.x)


if __name__ == "__main__":
    main()
