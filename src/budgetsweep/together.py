"""`python -m budgetsweep.together`: runs that differ by seed or rate, as one batched network."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import run_job
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from budgetsweep.config import CONF_DIR, register, to_config
from budgetsweep.errors import UserError
from hydra_plugins.hydra_forkserver_launcher.cores import available_cores


def train(overrides: Sequence[str]) -> None:
    """Train every combination of the overrides' values, each in its own `hydra.run.dir`.

    A folder gets the files that a run of its own would have left there; its log is that of all.

    Raises:
        UserError: two runs share a folder, or as `run.run_together`.
        HydraException, OmegaConfBaseException: an override does not fit the configuration.
    """
    # torch loads only when a run starts, not for --help
    from budgetsweep.training.ensemble import check_alike
    from budgetsweep.training.run import run_together

    register()
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    with initialize_config_dir(str(CONF_DIR), job_name="train"):
        (own,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        composed = [compose("config", list(each), return_hydra_config=True) for each in own]
        folders = [Path(str(cfg.hydra.run.dir)) for cfg in composed]
        if len(set(folders)) < len(folders):
            raise UserError(
                f"hydra.run.dir={folders[0]}: runs would share this folder; name it by what "
                "differs, such as 'hydra.run.dir=multirun/seeds/${seed}'."
            )
        configs = [
            to_config(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))
            for cfg in composed
        ]
        check_alike(configs)
        # Hydra makes the folder, `.hydra` and the log of each.
        context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks())
        for cfg in composed:
            run_job(lambda _: None, cfg, "hydra.run.dir", None, context)
    _log_into(folders)
    run_together(configs, folders, threads=available_cores())


def _log_into(folders: Sequence[Path]) -> None:
    """Hydra left the log of the last folder open: open the others' too."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, logging.FileHandler)]:
        for folder in folders[:-1]:
            twin = logging.FileHandler(folder / Path(handler.baseFilename).name)
            twin.setFormatter(handler.formatter)
            root.addHandler(twin)


_EPILOG = """example:
  python -m budgetsweep.together data=digits model=tiny trainer.epochs=6 'seed=range(0,5)' 'hydra.run.dir=multirun/seeds/${seed}'

The runs may differ in seed, optimizer.lr and optimizer.weight_decay. Meant for a GPU and for tiny
networks, whose steps are bound by overhead; on a CPU, networks of ordinary size train faster one by
one. Each folder is that of a run alone, which `python -m budgetsweep.train ... resume=true` can take
up, and the other way round.

More: docs/seeds.md
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m budgetsweep.together",
        description="Train several seeds or learning rates of one network as one batched network.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("overrides", nargs="+", metavar="key=value", help="as --multirun takes them")
    return p


def main(argv: Sequence[str] | None = None) -> None:
    """Train; a person's mistake ends with one line."""
    try:
        train(parser().parse_args(argv).overrides)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
