"""Patterns and proportions in `hydra.sweeper.params`, for whatever the configuration has."""

from __future__ import annotations

import pytest

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.patterns import expand, missing_setting

SETTINGS = {
    "net.layers.a.width": "8", "net.layers.b.width": "10", "net.layers.c.width": "null",
    "net.layers.a.drop": "null", "lr": "0.1", "db": "mysql",
}  # fmt: skip


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"net.layers.*.drop": "interval(0,0.2)"}, {"net.layers.a.drop": "interval(0,0.2)"}),
        (
            {"net.layers.*.width": "times(0.5,2,0.25)"},
            {"net.layers.a.width": "range(4,17,2)", "net.layers.b.width": "range(6,21,2)"},
        ),
        ({"net.layers.a.width": "times(0.5,1.5)"}, {"net.layers.a.width": "range(4,13,1)"}),
        ({"net.layers.*.width": "times(1)"}, {"net.layers.a.width": 8, "net.layers.b.width": 10}),
        ({"lr": "times(0.5,2)"}, {"lr": "interval(0.05,0.2)"}),
        (
            {"net.layers.a.width": "choice(3,4)", "net.layers.*.width": "times(2)"},
            {"net.layers.a.width": "choice(3,4)", "net.layers.b.width": 20},
        ),
        ({"db=mysql": {"net.*.b.width": "times(2)"}}, {"db=mysql": {"net.layers.b.width": 20}}),
        ({"lr": "interval(0,1)", "x": 3}, {"lr": "interval(0,1)", "x": 3}),
    ],
)  # fmt: skip
def test_what_is_searched(params: dict[str, object], expected: dict[str, object]) -> None:
    assert expand(params, SETTINGS, "params") == expected


def test_the_present_value_is_among_those_of_its_steps() -> None:
    for width in range(1, 70):
        found = expand({"w": "times(0.5,2,0.25)"}, {"w": str(width)}, "params")["w"]
        low, high, step = map(int, found.removeprefix("range(").removesuffix(")").split(","))
        values = range(low, high, step)
        assert width in values
        assert values[0] >= width / 2
        assert values[-1] <= 2 * width


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"net.rows.*.width": "times(2)"}, ["no setting", "net.rows.*.width"]),
        ({"net.layers.c.width": "times(2)"}, ["net.layers.c.width=times(2)", "null"]),
        ({"lr": "times(a)"}, ["lr=times(a)", "times(low,high)"]),
        ({"lr": "times(1,2,3,4)"}, ["lr=times(1,2,3,4)"]),
        ({"nothing": "times(2)"}, ["nothing", "not set"]),
    ],
)
def test_a_mistake_is_told(params: dict[str, object], words: list[str]) -> None:
    with pytest.raises(SweepError) as error:
        expand(params, SETTINGS, "params")
    assert [word for word in words if word not in str(error.value)] == []


def test_a_missing_setting_is_answered_by_what_there_is() -> None:
    hydras = "Could not override 'net.layers.d.width'.\nTo append to your config use +net.layers.d"
    told = missing_setting(hydras, SETTINGS)
    assert told is not None
    assert "net.layers.d.width" in told
    assert "net.layers has a, b, c" in told
    assert "append" not in told
