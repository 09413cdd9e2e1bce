"""An axis as a person wrote it: in Hydra's grammar, not as Optuna's JSON."""

import json

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)

from hydra_budget_sweeper.space.grammar import override_text


def spell(axis: str) -> str:
    """Return the description of an axis (`Axis.describe`) as Hydra's grammar has it.

    What follows the JSON, the axis's conditions, stays; what is no JSON stays whole.
    """
    try:
        _, end = json.JSONDecoder().raw_decode(axis)
        return _in_grammar(json_to_distribution(axis[:end])) + axis[end:]
    except ValueError:
        return axis


def _in_grammar(d: BaseDistribution) -> str:
    if isinstance(d, CategoricalDistribution):
        return f"choice({','.join(_choice(value) for value in d.choices)})"
    assert isinstance(d, IntDistribution | FloatDistribution)
    low, high = _number(d.low), _number(d.high)
    if d.log:
        ends = f"interval({low},{high})"
        return f"tag(log,{f'int({ends})' if isinstance(d, IntDistribution) else ends})"
    if d.step is None:
        return f"interval({low},{high})"
    step = "" if d.step == 1 else f",{_number(d.step)}"
    return f"range({low},{_number(d.high + d.step)}{step})"


def _choice(value: object) -> str:
    # A list or a mapping is kept as its text.
    is_text = isinstance(value, str) and value[:1] in ("[", "{")
    return str(value) if is_text else override_text(value)


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
