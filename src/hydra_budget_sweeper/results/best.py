"""The winner of a sweep as a file: the command that runs it again, and an experiment to build on."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from hydra_budget_sweeper.compose import Composer, overrides_of_hydra
from hydra_budget_sweeper.files import write_text
from hydra_budget_sweeper.results.command import single_run
from hydra_budget_sweeper.results.leaderboard import Winner
from hydra_budget_sweeper.space.grammar import override_text, parser

BEST = "best.yaml"
EXPERIMENT = Path("experiment") / BEST


class BestFile:
    """Writes `best.yaml`, and `experiment/best.yaml` for `--config-dir FOLDER +experiment=best`.

    The command in the second line repeats the winner's own overrides, as it was composed, so that
    it is exact for every application. There is an experiment only where it is the winner: not while
    the sweep goes on, and not where an experiment file cannot say all of it. What Hydra composes
    with the file is held against the winner.
    """

    def __init__(
        self, folder: Path, loader: ConfigLoader, master: DictConfig, composer: Composer
    ) -> None:
        self._folder = folder
        self._loader = loader
        self._master = master
        self._composer = composer
        self._command = single_run(master)

    def write_command(self, winner: Winner) -> None:
        """Write the command alone, while the sweep goes on."""
        self._write(self._head(winner), as_experiment=False)

    def write(self, winner: Winner) -> None:
        """Write the command, and the settings if they are found to be the winner's."""
        head = self._head(winner)
        self._write(head + self._experiment(winner.overrides), as_experiment=True)
        if not self._is_exact(winner.overrides, winner.trial.number):
            told = "# An experiment file cannot say all of it: use the command.\n"
            self._write(head + told, as_experiment=False)

    def _head(self, winner: Winner) -> str:
        command = " ".join([self._command, *map(shlex.quote, winner.overrides)])
        return (
            f"# @package _global_\n# Run it: {command}\n"
            f"# Trial {winner.trial.number} of the sweep, {winner.told}.\n"
        )

    def _write(self, text: str, as_experiment: bool) -> None:
        write_text(self._folder / BEST, text)
        experiment = self._folder / EXPERIMENT
        if as_experiment:
            experiment.parent.mkdir(exist_ok=True)
            write_text(experiment, text)
        else:  # comments alone would compose, and run what the sweep did not find
            experiment.unlink(missing_ok=True)

    def _experiment(self, overrides: Sequence[str]) -> str:
        """Group choices as a defaults list, what is added first; the rest as settings."""
        added: list[Any] = []
        changed: list[Any] = []
        body = OmegaConf.create({})
        for override in parser().parse_overrides(list(overrides)):
            if self._composer.is_group(override):
                entry = self._default(override)
                (added if override.is_add() or isinstance(entry, str) else changed).append(entry)
            elif not (override.is_delete() or override.is_value_path or override.is_list_extend()):
                value = override.value()
                OmegaConf.update(body, override.key_or_group, value, merge=True, force_add=True)
        text = ""
        if added or changed:
            defaults = {"defaults": [*added, "_self_", *changed]}
            text = OmegaConf.to_yaml(OmegaConf.create(defaults)) + "\n"
        return text + (OmegaConf.to_yaml(body) if len(body) else "")

    def _default(self, override: Override) -> Any:
        choice = None if override.is_delete() else override.value()
        if override.key_or_group == "experiment" and override.package is None:
            return choice
        package = f"@{override.package}" if override.package is not None else ""
        word = "" if override.is_add() else "override "
        return {f"{word}/{override.key_or_group}{package}": choice}

    def _is_exact(self, overrides: Sequence[str], number: int) -> bool:
        winner = self._composer.compose(overrides, number).task
        choices = OmegaConf.to_container(self._master.hydra.runtime.choices, resolve=False)
        searched = [str(path) for path in self._master.hydra.searchpath]
        path = ",".join(override_text(p) for p in [*searched, f"file://{self._folder}"])
        asked = [
            *(o for o in overrides_of_hydra(self._master) if "hydra.searchpath" not in o),
            f"hydra.searchpath=[{path}]",
        ]
        try:
            for sign in ("", "+") if "experiment" in choices else ("+",):  # type: ignore[operator]
                composed = self._compose([*asked, f"{sign}experiment=best"])
                if composed is not None:
                    return bool(OmegaConf.to_container(composed) == OmegaConf.to_container(winner))
        except OmegaConfBaseException:
            return False
        return False

    def _compose(self, overrides: list[str]) -> DictConfig | None:
        name = self._master.hydra.job.config_name
        try:
            config = self._loader.load_configuration(name, overrides, run_mode=RunMode.RUN)
        except (HydraException, OmegaConfBaseException):
            return None
        with open_dict(config):
            del config["hydra"]
        return config
