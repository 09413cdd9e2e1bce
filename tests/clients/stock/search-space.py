"""A space of which a part is suggested in Python, around what was drawn before; for the stock sweeper."""

import hydra
from omegaconf import DictConfig
from optuna import Trial


@hydra.main(
    config_path="search-space", config_name="config", execution_whitelist=["search-space.suggest"]
)
def sphere(cfg: DictConfig) -> float:
    return float(sum(cfg[name] ** 2 for name in "wxyz"))


def suggest(cfg: DictConfig, trial: Trial) -> None:
    x, reach = trial.params["x"], cfg.reach
    trial.suggest_float("z", x - reach, x + reach)
    trial.suggest_float("+w", 0.0, 1.0)


if __name__ == "__main__":
    sphere()
