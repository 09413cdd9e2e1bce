"""Search spaces: the stock grammar read alike, and what is new in ours."""

import random

import pytest
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from optuna.distributions import CategoricalDistribution

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.grammar import override_text
from hydra_budget_sweeper.space.parse import parse_space
from hydra_budget_sweeper.space.points import parse_point

STOCK = [
    "x=choice(1,2)", "x=choice(a,1.5,true)", "x=1,2,3", "x=range(1,10,2)", "x=range(0.0,1.0,0.25)",
    "x=interval(0,1)", "x=int(interval(1,8))", "x=tag(log,interval(1e-3,1))",
    "x=tag(log,int(interval(1,64)))", "+x=interval(0,1)", "x=choice([8,16],[16,32])",
    "x=sort(3,1,2)", "x=float(choice(1,2))", "a.b.c=choice(1,2)", "x@pkg=choice(a,b)",
    "x=choice('a b',c)", "x=choice({a:1},{a:2})",
]  # fmt: skip


@pytest.mark.parametrize("override", STOCK)
def test_stock_overrides_are_read_as_the_stock_sweeper_does(override: str) -> None:
    stock, fixed, deletions = create_params_from_overrides([override, "y=3", "~z"])
    space = parse_space({}, [override, "y=3", "~z"], {})
    assert {axis.name: axis.distribution for axis in space.axes} == stock
    assert (space.fixed, list(space.deletions)) == (fixed, deletions)


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("choice(null,64)", [None, 64]),
        ("null,64", [None, 64]),
        ("choice('null',null)", ["null", None]),
        ("choice([8,16],[16,[32]])", [[8, 16], [16, [32]]]),
        ("choice({a:1},b)", [{"a": 1}, "b"]),
    ],
)
def test_choices_mean_what_they_say(override: str, values: list[object]) -> None:
    (axis,) = parse_space({"x": override}, [], {}).axes
    assert isinstance(axis.distribution, CategoricalDistribution)
    assert [axis.value(stored) for stored in axis.distribution.choices] == values


@pytest.mark.parametrize("value", [None, True, 3, -1.5, 1e-05, "a", "a b", "null", "1", "[a]", ""])
def test_an_override_is_read_back_as_it_was(value: object) -> None:
    (read,) = parse_point([f"x={override_text(value)}"]).values()
    assert read == value and type(read) is type(value)


def test_the_command_line_wins_over_params() -> None:
    space = parse_space({"x": "choice(1,2)", "y": "choice(1,2)"}, ["x=5", "y=interval(0,1)"], {})
    assert space.fixed == {"x": "5"}
    assert [axis.name for axis in space.axes] == ["y"]
    assert not isinstance(space.axes[0].distribution, CategoricalDistribution)


NESTED = {
    "optimizer=sgd": {"momentum": "interval(0,1)", "momentum=0.9": {"nesterov": "choice(1,2)"}},
    "optimizer": "choice(sgd,adam,lion)",
    "optimizer=adam,lion": {"beta": "interval(0,1)"},
}


def test_conditions_hold_for_every_candidate() -> None:
    space = parse_space(NESTED, [], {})
    rng = random.Random(1)
    for _ in range(50):
        drawn = {"momentum": rng.choice([0.9, 0.5]), "nesterov": 1, "beta": 0.5,
                 "optimizer": rng.choice(["sgd", "adam", "lion"])}  # fmt: skip
        kept = space.without_inactive(drawn)
        sgd = kept["optimizer"] == "sgd"
        assert ("momentum" in kept) == sgd and ("beta" in kept) == (not sgd)
        assert ("nesterov" in kept) == (sgd and drawn["momentum"] == 0.9)


@pytest.mark.parametrize(
    ("fixed", "names"), [("optimizer=lion", ["beta"]), ("optimizer=sgd", ["momentum", "nesterov"])]
)
def test_conditions_on_fixed_values_are_settled(fixed: str, names: list[str]) -> None:
    assert [axis.name for axis in parse_space(NESTED, [fixed], {}).axes] == names


def test_a_condition_on_nothing_is_refused() -> None:
    with pytest.raises(SweepError, match="nothing is neither searched nor part"):
        parse_space({"nothing=1": {"x": "choice(1,2)"}}, [], {})


@pytest.mark.parametrize(
    "entry", ["x=1 y=[1,2]", ["x=1", "y=[1,2]"], {"x": 1, "y": [1, 2]}], ids=type
)
def test_points_are_read_in_every_form(entry: object) -> None:
    assert parse_point(entry) == {"x": 1, "y": "[1,2]"}
