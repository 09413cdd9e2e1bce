"""A plugin of the script's own adds a folder to Hydra's search path."""

import logging
from pathlib import Path

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)
MORE = Path(__file__).parent / "groups" / "more"


class AddsMore(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="adds-more", path=f"file://{MORE}")


Plugins.instance().register(AddsMore)


@hydra.main(config_path="groups/conf", config_name="config")
def main(cfg: DictConfig) -> float:
    log.info(OmegaConf.to_yaml(cfg))
    return float(len(cfg.db))


if __name__ == "__main__":
    main()
