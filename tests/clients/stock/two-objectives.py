"""Two distances that cannot both be small, as a study of two objectives; for the stock sweeper."""

import hydra
from omegaconf import DictConfig


@hydra.main(config_path="two-objectives", config_name="config")
def distances(cfg: DictConfig) -> tuple[float, float]:
    return 4 * (cfg.x**2 + cfg.y**2), (cfg.x - 5) ** 2 + (cfg.y - 5) ** 2


if __name__ == "__main__":
    distances()
