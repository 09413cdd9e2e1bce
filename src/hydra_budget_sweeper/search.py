"""What is searched: the space, the limits and the finalists' rules, held to a candidate before anything starts."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException, MissingConfigException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException, ValidationError
from optuna.study import StudyDirection

from hydra_budget_sweeper.compose import Composer, flatten
from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.feasibility import Feasibility
from hydra_budget_sweeper.finals import rules_of
from hydra_budget_sweeper.functions import NamedFunctions
from hydra_budget_sweeper.hydra_errors import described
from hydra_budget_sweeper.limits import Limits, Violations
from hydra_budget_sweeper.settings import Settings
from hydra_budget_sweeper.space.axes import Choice
from hydra_budget_sweeper.space.grammar import override_text
from hydra_budget_sweeper.space.parse import PARAMS, parse_space
from hydra_budget_sweeper.space.patterns import expand, missing_setting
from hydra_budget_sweeper.space.points import read_point
from hydra_budget_sweeper.space.space import Params, Space
from hydra_budget_sweeper.study.finalists import Rules
from hydra_budget_sweeper.study.rehearsal import rehearse
from hydra_budget_sweeper.study.sampler import Recipe, recipe_of


@dataclass(frozen=True)
class Search:
    """What a sweep is asked to search.

    Args:
        space: The candidates.
        known_points: Candidates to try first.
        limits: What a candidate may cost.
        extend: Adds to the space in code, with each trial.
        sampler: How to make the one that draws.
        composer: Composes candidates.
        example: The overrides of one.
        base: What the task of that one gets.
        rules: How finalists are trained; None without any.
    """

    space: Space
    known_points: list[Params]
    limits: Limits
    extend: Callable[..., Any] | None
    sampler: Recipe
    composer: Composer
    example: tuple[str, ...]
    base: DictConfig
    rules: Rules | None

    def judge(self, overrides: Sequence[str]) -> Violations:
        """Hold a candidate to the limits."""
        return self.limits.judge(self.composer.compose(overrides, 0))

    def feasibility(self) -> Feasibility:
        """Return what tells which of the space is within the limits."""
        return Feasibility(self.space, self.judge)


def read_search(
    settings: Settings,
    arguments: Sequence[str],
    config: DictConfig,
    context: HydraContext,
    functions: NamedFunctions,
) -> Search:
    """Read what is searched from the settings and the command's sweeping overrides.

    Raises:
        SweepError: There is nothing to search, it cannot be read, or no candidate of it can be composed.
    """
    known = _known_settings(config)
    space = parse_space(
        expand(settings.params, known, PARAMS), arguments, known, context.config_loader
    )
    custom = settings.custom_search_space
    if not space.axes and custom is None:
        raise SweepError(_nothing_to_search(config, context.config_loader))
    known_points = [_point(entry, space, known) for entry in settings.enqueue]
    sampler = recipe_of(settings.sampler, functions)
    named = settings.constraints
    limits = Limits(functions.load(named, "constraints") if named else None, named)
    # One candidate is composed, so that a wrong key or value shows before anything starts.
    first: Params = {a.name: a.probes()[0] for a in space.axes}
    example = tuple(space.overrides(space.without_inactive(first)))
    with _told("a candidate", space, known):
        composer = Composer(context.config_loader, config)
        base = composer.compose(example, 0).task
        _refuse_values(space, first, composer)
    rules = None
    if settings.finalists.count:
        rules = rules_of(settings, space, base)
        with _told("the finalists' runs", space, known):
            composer.compose(rules.applied(example, rules.first_seed), 0)
    rehearse(
        sampler,
        space,
        settings.pruner,
        [StudyDirection[name.upper()] for name in settings.directions],
        limited=bool(limits),
        choice=str(config.hydra.runtime.choices.get("hydra/sweeper/sampler")),
    )
    extend = functions.load(custom, "custom_search_space") if custom else None
    return Search(
        space=space,
        known_points=known_points,
        limits=limits,
        extend=extend,
        sampler=sampler,
        composer=composer,
        example=example,
        base=base,
        rules=rules,
    )


def _refuse_values(space: Space, first: Params, composer: Composer) -> None:
    """Compose a candidate with each listed value: one that is misspelt shows in its own words.

    Other mistakes of a candidate may be of the others beside it; they end that candidate alone.
    """
    for axis in space.axes:
        # The first value of each is the example's, which has been composed.
        for value in axis.values()[1:] if isinstance(axis, Choice) else ():
            candidate = space.without_inactive({**first, axis.name: value})
            if axis.name not in candidate:
                continue
            try:
                composer.compose(tuple(space.overrides(candidate)), 0)
            except MissingConfigException as error:
                if error.missing_cfg_file == f"{axis.key}/{axis.text(value)}":
                    raise
            except (HydraException, OmegaConfBaseException) as error:
                blamed = getattr(error.__cause__ or error, "full_key", None)
                if blamed and f"{blamed}.".startswith(f"{axis.key}."):
                    raise


def _point(entry: Any, space: Space, known: Mapping[str, str]) -> Params:
    if isinstance(entry, Mapping):
        entry = expand(entry, known, "hydra.sweeper.enqueue")
    return read_point(entry, space)


@contextmanager
def _told(what: str, space: Space, known: Mapping[str, str]) -> Iterator[None]:
    """Tell in a sentence why `what` cannot be composed."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        searched = {axis.key for axis in space.axes}
        told = missing_setting(str(error), known, searched) or _not_whole(error, space)
        raise SweepError(f"Cannot compose {what}: {told or described(error)}") from None


def _known_settings(config: DictConfig) -> dict[str, str]:
    """Return what conditions may refer to beside searched parameters."""
    task = config.copy()
    with open_dict(task):
        del task["hydra"]
    known = {k: override_text(v) for k, v in flatten(task).items() if not isinstance(v, list)}
    choices: Any = OmegaConf.to_container(config.hydra.runtime.choices, resolve=False)
    known.update({str(group): str(choice) for group, choice in choices.items()})
    return known


def _nothing_to_search(config: DictConfig, loader: ConfigLoader) -> str:
    groups = config.hydra.runtime.choices.items()
    unset = [g for g, chosen in groups if chosen is None and not str(g).startswith("hydra/")]
    options = [f"{g}={'|'.join(loader.get_group_options(g))}" for g in unset]
    return (
        f"There is nothing to search: {PARAMS} is empty, and no override lists values to try, such as "
        "key=1,2 or key=interval(0,1)."
        + (f" There may be some in {', '.join(options)}." if options else "")
    )


def _not_whole(error: Exception, space: Space) -> str | None:
    """Say how to search a setting of whole numbers that was given an interval of all numbers."""
    cause = error.__cause__
    if not isinstance(cause, ValidationError) or "Integer" not in str(cause):
        return None
    for axis in space.axes:
        if axis.key == cause.full_key and "interval(" in str(axis):
            whole = re.sub(r"(interval\([^)]*\))", r"int(\1)", str(axis))
            return f"{axis.key} takes whole numbers: {axis.key}={whole}, not {axis}."
    return None
