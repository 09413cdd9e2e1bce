"""`budgetsweep summary`: the layer table of a configuration, against its budget."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from budgetsweep.config import CONF_DIR, register, to_config
from budgetsweep.errors import UserError
from budgetsweep.mistakes import told_in_words

register()


@told_in_words()
@hydra.main(config_path=str(CONF_DIR), config_name="summary")
def main(cfg: DictConfig) -> None:
    """Print the table; an over-budget network is shown too, and exits with 1."""
    from budgetsweep.data import resolve
    from budgetsweep.network.table import layer_table  # torch loads only now, not for --help

    try:
        config = to_config(cfg)
        config.data = resolve(config.data)
        text, within = layer_table(config)
    except UserError as error:
        sys.exit(str(error))
    print(text)
    if not within:
        sys.exit(1)


if __name__ == "__main__":
    main()
