"""What Hydra says of a mistake in a configuration or on a command line, without what only it needs."""

import dataclasses
import re
from collections.abc import Collection
from difflib import get_close_matches

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from hydra_budget_sweeper.near import did_you_mean, near

_REFUSED = re.compile(r"Could not override '[^']*'\.\nTo append to your config use \+(.*)")
_NEAR = re.compile(r"Did you mean(?: one of)?: (.*)\?")
_PARSER = re.compile(r"(?:Error (?:when parsing index:|parsing override) .*|See https://.*)\n?")
NO_SUCH_SETTING = "there is no such setting."
_NOT_REMOVED = "does not support deletion"
_MERGING = "Error merging override "


def described(error: Exception, settings: Collection[str] = ()) -> str:
    """Write an error of Hydra's or OmegaConf's as a person needs it: mostly one line.

    `+key=value` is advised where something can be added, not where a key of a fixed set is misspelt.

    Args:
        settings: Every setting that there is, if that is known, for what a missing key may have meant.
    """
    cause = error.__cause__
    if isinstance(error, OmegaConfBaseException):
        return f"{error.full_key}: {_first_line(error)}" if error.full_key else _first_line(error)
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: {_PARSER.sub('', str(error)).strip()} (it is key=value)"
    if not isinstance(cause, OmegaConfBaseException):
        return str(error).strip()
    if refused := _REFUSED.match(str(error)):
        return f"{refused[1]}: {_missing_key(cause, refused[1], settings)}"
    told = _first_line(cause)
    if told.endswith(_NOT_REMOVED):
        told = "a setting of a fixed set cannot be removed, only set to another value."
    return f"{str(error).removeprefix(_MERGING)}: {told}"


def _missing_key(error: OmegaConfBaseException, override: str, settings: Collection[str]) -> str:
    parent = str(error.full_key).rpartition(".")[0]
    found = _NEAR.search(str(error))
    names = [f"{parent}.{n}".lstrip(".") for n in re.findall(r"'(.*?)'", found[1] if found else "")]
    hint = did_you_mean(names or near(str(error.full_key), settings))
    if dataclasses.is_dataclass(error.object_type):
        return f"{NO_SUCH_SETTING}{hint}"
    return f"{parent or 'the configuration'} has no {error.key}.{hint} To add one: +{override}"


def _missing_option(error: MissingConfigException) -> str:
    if not error.options or error.missing_cfg_file is None:
        return str(error).strip()
    group, _, option = error.missing_cfg_file.rpartition("/")
    hint = did_you_mean(get_close_matches(option, error.options, n=1))
    return f"{_first_line(error)}. {group} has {', '.join(error.options)}.{hint}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
