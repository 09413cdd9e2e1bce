"""A study that holds pickles is not resumed before someone says that it is theirs."""

import re
import sys

from optuna.samplers import BaseSampler, CmaEsSampler

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.study.sampler import Recipe
from hydra_budget_sweeper.study.store import StudyStore

_SETTING = "hydra.sweeper.trust_study"
# Where CmaEsSampler keeps its state, of its three kinds.
_PICKLE = re.compile(r"(cma|sepcma|cmawm):optimizer")


def refuse_pickles(store: StudyStore, recipe: Recipe, trusted: bool) -> None:
    """Refuse to go on with a study that the sampler would unpickle, unless it is `trusted`.

    Whoever wrote a pickle runs commands where it is read. A configuration may come from the same
    stranger as the study, so the setting counts on the command line only.

    Raises:
        SweepError: Names the setting that says the study is one's own.
    """
    if not _unpickles(recipe) or not _holds_pickles(store):
        return
    if not trusted or not any(_names_setting(argument) for argument in sys.argv[1:]):
        raise SweepError(
            f"The study {store.name} holds pickled states of CMA-ES, which going on with it reads: "
            "whoever wrote them could run commands here. If the study is your own, add "
            f"{_SETTING}=true to the command; if not, take another hydra/sweeper/sampler."
        )


def _unpickles(recipe: Recipe) -> bool:
    """Whether the sampler is CMA-ES, has it for a part, or is none of Optuna's and may use it."""
    return any(
        function is CmaEsSampler or not function.__module__.startswith(_HARMLESS)
        for function in recipe.functions()
    )


_HARMLESS = (BaseSampler.__module__.partition(".")[0], "hydra_plugins.hydra_optuna_sweeper")


def _holds_pickles(store: StudyStore) -> bool:
    return any(_PICKLE.match(key) for trial in store.trials() for key in trial.system_attrs)


def _names_setting(argument: str) -> bool:
    return argument.lstrip("+").partition("=")[0] == _SETTING
