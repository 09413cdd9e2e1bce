"""Search spaces: the stock grammar read alike, and what is new in ours."""

import math
import random
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from optuna.distributions import CategoricalDistribution

from hydra_budget_sweeper.errors import SweepError
from hydra_budget_sweeper.space.grammar import override_text, plain_value
from hydra_budget_sweeper.space.parse import parse_space
from hydra_budget_sweeper.space.points import parse_point, read_point
from hydra_budget_sweeper.workers.walk import Walk

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


VALUES = [
    None, True, 3, -1.5, 1e-05, 0.1 + 0.2, math.inf, "a", "a b", " a", "null", "1", "1e3", "nan", "[a]",
    "", "a,b", "a=b", "a:b", "(a)", "a(b)", "choice(a,b)", "it's", 'say "hi"', "'", "\\", "\\\\", "a\\",
    "\\'", "C:\\dir\\", "${x}", "größe 模型", "tab\there", "two\nlines", "True", "#1", "~x", "{a:1}",
    [], [1, 1.0, True, "1", None], ["a b", "c,d", ["[", "]"]], {}, {"a": {"b": ["1", 1]}},
    {"k": "x:y", "spaced key": "'"}, {1: "int", False: "bool", 0.5: "float"},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_an_override_is_read_back_as_it_was(value: object) -> None:
    (read,) = parse_point([f"x={override_text(value)}"]).values()
    assert repr(read) == repr(value)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_choice_is_given_as_it_was(value: object) -> None:
    for written in (f"choice({override_text(value)},other)", f"other,{override_text(value)}"):
        space = parse_space({"x": written}, [], {})
        (axis,) = space.axes
        meant = {repr(axis.value(stored)) for stored in axis.values() or []}
        assert meant == {repr(value), repr("other")}
        given = [parse_point(space.overrides({"x": s}))["x"] for s in axis.values() or []]
        assert {repr(v) for v in given} == meant


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("x=shuffle(3,1,2)", [3, 1, 2]),
        ("x=shuffle(range(1,4))", [1, 2, 3]),
        ("x=sort(choice(c,a,b),reverse=true)", ["c", "b", "a"]),
        ("x=sort(range(1,4),reverse=true)", [1, 2, 3]),
        ("x=tag(mine,choice(a,b))", ["a", "b"]),
        ("x=float(range(1,4))", [1.0, 2.0, 3.0]),
        ("x=int(range(0.0,2.0,0.5))", [0, 1]),
        ("x=str(choice(1,[2],{a:3}))", ["1", ["2"], {"a": "3"}]),
        ("x=bool(choice(1,0))", [True, False]),
        ("x=choice(1,1,'1',\"1\")", [1, "1"]),
        ("x=range(0.0,0.4,0.1)", [0.0, 0.1, 0.2, 0.3]),
        ("x=range(1,0,-0.25)", [0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_what_hydra_can_list_is_searched_as_hydra_lists_it(
    override: str, values: list[object]
) -> None:
    (axis,) = parse_space({}, [override], {}).axes
    assert repr([axis.value(stored) for stored in axis.values() or []]) == repr(values)


@pytest.mark.parametrize(
    "override",
    ["x=interval(5,1)", "x=tag(log,interval(0,1))", "x=tag(log,range(1,100,10))", "x=tag(log,choice(1,2))",
     "x=range(3,1)", "x=range(1,3,0)", "x=shuffle(range(3,1))", "x=glob(*)", "x=str(interval(0,1))"],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_with_its_reason(override: str) -> None:
    with pytest.raises(SweepError, match=r"(?s)(Cannot search|Cannot read).*x=.*\w"):
        parse_space({}, [override], {})


@pytest.mark.filterwarnings("ignore:extend_list")
@pytest.mark.parametrize(
    "text",
    [
        "str(1)",
        "int(3.7)",
        "extend_list(3,4)",
        "[1, 'a b']",
        "'1'",
        "",
        "{a: 1}",
        "1e3",
        "'it\\'s'",
    ],
)
def test_a_fixed_value_stays_what_it_was(text: str) -> None:
    parser = OverridesParser.create()
    (line,) = parse_space({}, [f"x={text}"], {}).overrides({})
    given, written = parser.parse_override(line), parser.parse_override(f"x={text}")
    assert repr(given.value()) == repr(written.value())
    assert given.type == written.type


@pytest.mark.parametrize(
    "written",
    ["false,0,0.1", "1,1.0", "1,1.0,true,'1.0','true'", "0,false,0.0,-0.0", "nan,1,2", "nan,'nan'",
     "[1],[1.0],[true]", "[1],'[1]'", "{a:1},{a:true},1,true", "null,'null'"],
)  # fmt: skip
def test_choices_that_python_calls_equal_are_told_apart(written: str) -> None:
    space = parse_space({"x": written}, [], {})
    (axis,) = space.axes
    assert isinstance(axis.distribution, CategoricalDistribution)
    kept = axis.distribution.choices
    wanted = [
        repr(plain_value(v))
        for v in OverridesParser.create().parse_override(f"x={written}").value().list
    ]  # type: ignore[union-attr]
    # Through Optuna and back, every one arrives.
    through = [
        axis.distribution.to_external_repr(axis.distribution.to_internal_repr(k)) for k in kept
    ]
    assert [repr(axis.value(stored)) for stored in through] == wanted
    assert len({space.point({"x": stored}) for stored in through}) == len(wanted)


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
    assert parse_point(entry) == {"x": 1, "y": [1, 2]}


@pytest.mark.parametrize(
    ("entry", "point"),
    [
        ("name='hello world' x=1", {"name": "hello world", "x": 1}),
        ('name="hello world"   x=1', {"name": "hello world", "x": 1}),
        ("x=[1, 2] y=0", {"x": [1, 2], "y": 0}),
        ("m={a: 1, b: 'x y'} y=0", {"m": {"a": 1, "b": "x y"}, "y": 0}),
        ("name='it\\'s x=2' x=1", {"name": "it's x=2", "x": 1}),
        (r"name=a\ b x=1", {"name": "a b", "x": 1}),
        ("'name=hello world' x=1", {"name": "hello world", "x": 1}),
        ("name=hello world x=1", {"name": "hello world", "x": 1}),
        ("x=1\n  y= z='' ", {"x": 1, "y": "", "z": ""}),
        ("+a.b=1 db@pkg=c l[0]=2", {"a.b": 1, "db@pkg": "c", "l.0": 2}),
        ("p=${oc.env:A, b} x=1", {"p": "${oc.env:A, b}", "x": 1}),
        ("", {}),
    ],
)
def test_a_point_in_one_string_is_split_before_its_keys(entry: str, point: object) -> None:
    assert parse_point(entry) == point


POINTS = parse_space(
    {"+opt": "choice(sgd,adam)", "opt=sgd": {"lr": "interval(0,1)"},
     "opt=adam": {"lr": "choice(1e-4,1e-3)"}, "width": "range(4,13,4)", "d": "choice(null,1,1.0)",
     "s": "range(0.0,1.0,0.1)", "model.depth": "3"},
    [], {},
)  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "stored"),
    [
        ("opt=sgd lr=0.5", {"+opt": "sgd", "lr if opt=sgd": 0.5}),
        ("opt=adam lr=0.001", {"+opt": "adam", "lr if opt=adam": 0.001}),
        ("lr=0.001", {"lr if opt=sgd": 0.001, "lr if opt=adam": 0.001}),
        ("width=8.0 s=0.30000000000000004", {"width": 8, "s": 0.3}),
        ("d=1 ++width=4", {"d": "1", "width": 4}),
        ("d=null model.depth=3", {"d": "null"}),
    ],
)
def test_a_known_point_is_kept_as_the_samplers_keep_theirs(
    entry: str, stored: dict[str, Any]
) -> None:
    assert repr(read_point(entry, POINTS)) == repr(stored)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("widht=8", "sets widht, which is not searched. Did you mean width?"),
        ("width=9", r"sets width=9, which is outside range\(4,13,4\)"),
        ("width=true", r"outside range\(4,13,4\)"),
        ("d='1'", r"sets d='1', which is outside choice\(null,1,1.0\)"),
        ("opt=sgd lr=3", r"sets lr=3, which is outside interval\(0,1\)"),
        ("model.depth=4", "every candidate has model.depth=3"),
        ("width=4,8", "one value for each parameter, but got width=4,8"),
        ("width=[", "Cannot read 'width=\\[' in hydra.sweeper.enqueue"),
        (5, "a point is written as"),
    ],
)
def test_a_point_outside_the_space_is_refused(entry: object, words: str) -> None:
    with pytest.raises(SweepError, match=words):
        read_point(entry, POINTS)


@pytest.mark.filterwarnings("ignore:extend_list")
@pytest.mark.parametrize(
    ("params", "arguments", "first"),
    [
        # Later overrides win in Hydra, so each keeps its place.
        ({}, ["x={a: 1, b: 2}", "x.a=1,2"], ["x={a:1,b:2}", "x.a=1"]),
        ({"x.a": "choice(1,2)"}, ["x={a: 1}"], ["x.a=1", "x={a:1}"]),
        ({"b": "1,2", "a": "3"}, ["d=4", "c=5,6"], ["b=1", "a=3", "d=4", "c=5"]),
        ({}, ["~z", "x=1,2", "~y=3"], ["~z", "x=1", "~y=3"]),
        # Of one key the last counts, however it is spelled.
        ({}, ["x=1", "x=1,2"], ["x=1"]),
        ({}, ["x=1,2", "x=7"], ["x=7"]),
        ({}, ["+x=1", "x=5,6"], ["+x=5"]),
        ({}, ["+x=5,6", "x=1"], ["+x=1"]),
        ({}, ["x=5,6", "++x=1"], ["++x=1"]),
        ({"x": "choice(1,2)"}, ["+x=3"], ["+x=3"]),
        ({"+x": "choice(1,2)"}, ["x=3"], ["+x=3"]),
        ({"x": "3"}, ["+x=1,2"], ["+x=1"]),
        ({"x": "choice({a: 1},{a: 2})"}, ["x={a: 5}"], ["x={a:5}"]),
        ({}, ["l[0]=1,2", "l.0=3"], ["l.0=3"]),
        ({}, ["+db@=a,b", "db@_global_=c"], ["+db@_global_=c"]),
        # These are several keys.
        ({}, ["opt=a,b", "opt@pkg=c"], ["opt=a", "opt@pkg=c"]),
        ({}, ["model/backbone=a,b", "model.backbone=c"], ["model/backbone=a", "model.backbone=c"]),
        # Mappings are merged.
        ({}, ["x={a: 1}", "x={b: 2},{b: 3}"], ["x={a:1}", "x={b:2}"]),
        ({}, ["x={a: 1}", "x={b: 2}"], ["x={a:1}", "x={b:2}"]),
        ({}, ["x=[1]", "x=extend_list(2)"], ["x=[1]", "x=extend_list(2)"]),
        # A deletion cuts off what was before it.
        ({}, ["x=1,2", "~x"], ["~x"]),
        ({}, ["+x=1,2", "~x"], []),
        ({}, ["~x", "+x=1,2"], ["~x", "+x=1"]),
        ({}, ["x=3", "~x=3", "+x=1,2"], ["x=3", "~x=3", "+x=1"]),
        # Fixed, but where a condition holds.
        ({"m": "choice(a,b)", "x": "3", "m=a": {"x": "choice(1,2)"}}, [], ["m=a", "x=3", "x=1"]),
        ({"m=a": {"x": "choice(1,2)"}, "m": "choice(a,b)", "x": "3"}, [], ["m=a", "x=3", "x=1"]),
        ({"m": "choice(a,b)", "x": "3", "m=a": {"x": "choice(1,2)"}}, ["x=7"], ["m=a", "x=7"]),
    ],
)  # fmt: skip
def test_overrides_are_in_the_order_in_which_hydra_reads_them(
    params: dict[str, Any], arguments: list[str], first: list[str]
) -> None:
    space = parse_space(params, arguments, {})
    drawn = {axis.name: axis.probes()[0] for axis in space.axes}
    assert space.overrides(space.without_inactive(drawn)) == first


def test_one_key_can_have_other_values_under_another_choice() -> None:
    params = {
        "opt=sgd": {"lr": "interval(0.1,1)"},
        "opt=adam": {"lr": "choice(1e-4,1e-3)"},
        "opt": "choice(sgd,adam)",
    }
    space = parse_space(params, [], {})
    drawn = {axis.name: axis.probes()[-1] for axis in space.axes}
    assert len(drawn) == 3
    for opt, lr in (("sgd", 1.0), ("adam", 0.001)):
        chosen = space.without_inactive({**drawn, "opt": opt})
        assert space.decode(chosen) == {"opt": opt, "lr": lr}
        assert space.overrides(chosen) == [f"opt={opt}", f"lr={lr}"]
    for argument in ("lr=0.3", "lr=0.3,0.4"):
        narrowed = parse_space(params, ["opt=sgd,adam", argument], {})
        assert narrowed.overrides({"opt": "sgd", "lr": 0.3})[-1] == "lr=0.3"
    (axis,) = parse_space(NESTED_LR, ["opt=sgd"], {}).axes
    assert axis.name == "lr"


NESTED_LR = {"opt=sgd": {"lr": "1,2"}, "opt=adam": {"lr": "3,4"}}


@pytest.mark.parametrize(
    "params",
    [
        {"x": "1,2", "m=a": {"x": "3,4"}, "m": "a,b"},
        {"m=a": {"x": "1,2"}, "n=a": {"x": "3,4"}, "m": "a,b", "n": "a,b"},
    ],
)
def test_two_searches_of_one_key_that_can_meet_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(SweepError, match="x is searched twice"):
        parse_space(params, [], {})


@pytest.mark.parametrize(
    ("axis", "condition", "holds"),
    [
        ("x: choice(0.001,0.1)", "x=1e-3", 0.001),
        ("x: range(0.0,1.0,0.1)", "x=0.3", 0.1 + 0.2),
        ("x: choice([8,16],[4])", "x=[8, 16]", "[8,16]"),
        ("x: choice(null,a)", "x=null", None),
        ("x: choice(a b,c)", "x='a b'", "a b"),
        ("+x: choice(a,b)", "x=b,c", "b"),
        ("x: choice(1.0,2.0)", "x=1", 1.0),
        ("x: choice(1,true)", "x=true", "true"),
    ],
)
def test_a_condition_is_about_values_not_their_spelling(
    axis: str, condition: str, holds: object
) -> None:
    key, _, values = axis.partition(": ")
    space = parse_space({key: values, condition: {"y": "choice(1,2)"}}, [], {})
    on, y = space.axes
    assert space.active(y, {on.name: holds})
    others = [v for v in on.values() or [] if on.identity(v) != on.identity(holds)]
    assert others
    assert not any(space.active(y, {on.name: v}) for v in others)


@pytest.mark.parametrize(
    "values", ["range(0.0,1.0,0.1)", "range(1,20,3)", "tag(log,int(interval(1,8)))", "a,1,1.0,[1]"]
)
def test_a_point_is_known_again_whoever_drew_it(values: str) -> None:
    space = parse_space({"x": values, "y": "interval(0,1)"}, [], {})
    axis = space.axes[0]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    drawn = {space.point({"x": study.ask()._suggest("x", axis.distribution)}) for _ in range(300)}
    assert drawn == {space.point({"x": stored}) for stored in axis.values() or []}
    assert space.point({"y": 1}) == space.point({"y": 1.0}) != space.point({"y": 0.5})


def test_an_interval_of_one_number_is_one_candidate() -> None:
    assert parse_space({"x": "interval(1.0,1.0)", "y": "choice(1,2)"}, [], {}).size() == 2


@pytest.mark.parametrize("end", ["inf", "nan"])
def test_an_interval_ends_at_numbers(end: str) -> None:
    with pytest.raises(SweepError, match=rf"x=interval\(0,{end}\): both ends must be finite"):
        parse_space({"x": f"interval(0,{end})"}, [], {})


def test_a_huge_space_costs_no_memory() -> None:
    space = parse_space({"x": "int(interval(1,1000000000000))", "y": "choice(1,2)"}, [], {})
    assert space.size() == 2 * 10**12
    assert space.axes[0].identity(10**12) == 10**12 - 1


@pytest.mark.parametrize("override", [s.replace("+", "") for s in STOCK if "@" not in s])
def test_an_axis_says_its_values_in_words_that_hydra_reads(override: str) -> None:
    (axis,) = parse_space({}, [override], {}).axes
    (again,) = parse_space({}, [f"{axis.name}={axis}"], {}).axes
    assert again.distribution == axis.distribution


def test_a_walk_finds_every_candidate_once() -> None:
    space = parse_space({"x": "range(0,50)", "y": "choice(1,1.0)"}, [], {})
    tried = set()
    walk = Walk(space, seed=3)
    while candidate := walk.next(tried):
        assert space.point(candidate) not in tried
        tried.add(space.point(candidate))
    assert len(tried) == space.size() == 100
