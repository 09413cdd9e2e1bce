"""A look at a space before training: what fits, what is nearest, and what cannot be told."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from hydra_budget_sweeper.errors import FunctionError, SweepError
from hydra_budget_sweeper.feasibility import Feasibility
from hydra_budget_sweeper.limits import Limits
from hydra_budget_sweeper.space.parse import parse_space

SPACE = parse_space({"a": "range(0,10)", "b": "range(0,10)", "c": "choice(x,y)"}, [], {})


def _pairs(overrides: Sequence[str]) -> list[list[str]]:
    return [line.split("=") for line in overrides]


def sum_within(limit: int, overrides: Sequence[str]) -> dict[str, float]:
    pairs = dict(_pairs(overrides))
    total = int(pairs["a"]) + int(pairs["b"]) + 5 * (pairs["c"] == "y")
    return {"sum": (total - limit) / max(abs(limit), 1)}


def test_the_share_is_that_of_the_space() -> None:
    # 55 of 100 sums of two digits are at most 9; with y, 15 of 100 are at most 4.
    share, looked_at = Feasibility(SPACE, lambda o: sum_within(9, o)).share(2000)
    assert looked_at == 2000
    assert share == pytest.approx((55 + 15) / 200, abs=0.03)


def test_the_smallest_candidate_is_found_where_nothing_fits() -> None:
    nearest = Feasibility(SPACE, lambda o: sum_within(-10, o)).nearest()
    assert not nearest.fits
    assert nearest.params == {"a": 0, "b": 0, "c": "x"}
    assert "a=0 b=0 c=x) is still over sum by 100.0%" in str(nearest)


def test_known_points_are_judged_first_and_filled_up() -> None:
    judged: list[list[str]] = []

    def only_seven(overrides: Sequence[str]) -> dict[str, float]:
        judged.append(list(overrides))
        return {"seven": 0.0 if "a=7" in overrides else 1.0}

    nearest = Feasibility(SPACE, only_seven).nearest([{"a": 7}])
    assert nearest.fits
    assert nearest.params["a"] == 7
    assert "a=7" in judged[0]


def test_what_cannot_be_judged_does_not_fit_and_is_told() -> None:
    def half(overrides: Sequence[str]) -> dict[str, float]:
        if int(dict(_pairs(overrides))["a"]) > 4:
            raise RuntimeError("feature map vanishes")
        return {"sum": 1.0 + int(dict(_pairs(overrides))["a"])}

    feasibility = Feasibility(SPACE, half)
    assert feasibility.share(200)[0] == 0
    assert 0 < feasibility.n_unjudged < 200
    assert feasibility.problem == "feature map vanishes"
    assert feasibility.nearest().params["a"] == 0


def test_a_space_in_which_nothing_can_be_judged_says_why() -> None:
    def never(overrides: Sequence[str]) -> dict[str, float]:
        raise FunctionError("hydra.sweeper.constraints=app.limits: KeyError: 'widht'")

    feasibility = Feasibility(SPACE, never)
    assert feasibility.share(5)[0] == 0
    nearest = feasibility.nearest([{"a": 1}])
    assert not nearest.fits
    assert "can be judged" in str(nearest)
    assert "hydra.sweeper.constraints=app.limits: KeyError: 'widht'" in str(nearest)


def test_a_sweep_error_of_the_judge_passes_through() -> None:
    def decline(overrides: Sequence[str]) -> dict[str, float]:
        raise SweepError("the table of costs is missing")

    with pytest.raises(SweepError, match="table of costs"):
        Feasibility(SPACE, decline).share(3)


def returned(value: Any) -> Limits:
    return Limits(lambda _: value, "app.limits")


@pytest.mark.parametrize(
    "given",
    [{"a": 1, "b": -0.5}, OmegaConf.create({"a": 1, "b": -0.5}),
     {"a": np.float32(1), "b": np.array(-0.5)}, {"a": True, "b": np.float64(-0.5)}],
    ids=["plain", "omegaconf", "numpy", "bool"],
)  # fmt: skip
def test_limits_may_be_any_numbers(given: Mapping[str, Any]) -> None:
    assert returned(given).violations(OmegaConf.create()) == {"a": 1.0, "b": -0.5}
    assert returned({"a": float("inf")}).violations(OmegaConf.create()) == {"a": float("inf")}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "mapping of names to numbers, but returned None"),
        (0.5, "mapping of names to numbers, but returned 0.5"),
        ([("a", 1)], "mapping of names to numbers"),
        ({"a": float("nan")}, "a must be a number, but got nan"),
        ({"a": "3"}, "a must be a number, but got '3'"),
        ({"a": None}, "a must be a number, but got None"),
        ({"a": np.zeros(2)}, "a must be a number"),
        ({"a": 1j}, "a must be a number"),
    ],
    ids=str,
)
def test_what_limits_must_not_return(given: Any, words: str) -> None:
    with pytest.raises(FunctionError, match=f"hydra.sweeper.constraints=app.limits: .*{words}"):
        returned(given).violations(OmegaConf.create())


def test_a_limit_that_raises_is_named_with_its_error() -> None:
    limits = Limits(lambda cfg: {"a": 1 / cfg.zero}, "app.limits")
    with pytest.raises(FunctionError, match="app.limits: ZeroDivisionError: division by zero"):
        limits.violations(OmegaConf.create({"zero": 0}))


def test_a_limit_that_exits_is_an_error_too() -> None:
    def leave(_: Any) -> dict[str, float]:
        raise SystemExit("goodbye")

    with pytest.raises(FunctionError, match="SystemExit: goodbye"):
        Limits(leave, "app.limits").violations(OmegaConf.create())
