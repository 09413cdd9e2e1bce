"""Hydra itself as the judge of what a candidate's overrides mean."""

from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from hydra_budget_sweeper.space.parse import parse_space

FILES = {
    "config.yaml": "defaults: [{opt: sgd}, {model: m}, _self_]\nx: {a: 0, b: 0}\ny: 1\nl: [1, 2]",
    "opt/sgd.yaml": "{name: sgd, lr: 1}",
    "opt/adam.yaml": "{name: adam, lr: 1}",
    "extra/e1.yaml": "name: e1",
    "extra/e2.yaml": "name: e2",
    "model/m.yaml": "defaults: [{backbone: r18}, _self_]\nw: 1",
    "model/backbone/r18.yaml": "layers: 18",
    "model/backbone/r50.yaml": "layers: 50",
}


@pytest.mark.parametrize(
    # The candidate that is held against Hydra has the last value of each search.
    "written",
    [
        ["x={a: 1, b: 2}", "x.a=3,4"],
        ["x.a=3,4", "x={b: 2}"],
        ["y=5", "y=6,7"],
        ["y=6,7", "y=5"],
        ["+z=1", "z=2,3"],
        ["+z=2,3", "z=1"],
        ["y=2,3", "++y=4"],
        ["~y", "+y=2,3"],
        ["y=2,3", "~y"],
        ["x={a: 1},{a: 2}", "x.b=3"],
        ["x={a: 1}", "x={b: 2},{b: 3}"],
        ["l[0]=5,6", "l.1=7"],
        ["l[0]=5,6", "l.0=7"],
        ["opt=sgd,adam", "opt={lr: 3}"],
        ["opt={lr: 3}", "opt=sgd,adam"],
        ["opt={lr: 4},{lr: 5}", "opt=adam"],
        ["opt=sgd,adam", "+opt@pkg=sgd"],
        ["+extra=e1", "extra=e1,e2"],
        ["+extra=e1,e2", "extra=e1"],
        ["model/backbone=r18,r50", "model.w=3"],
        ["model/backbone=r50", "model.backbone=none,r50"],
        ["opt.lr=2,3", "opt=adam"],
    ],
    ids=" ".join,
)
def test_a_candidate_is_what_hydra_makes_of_the_line(tmp_path: Path, written: list[str]) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with initialize_config_dir(config_dir=str(tmp_path)):
        space = parse_space({}, written, {}, GlobalHydra.instance().config_loader())
        candidate = space.overrides({axis.name: axis.probes()[-1] for axis in space.axes})
        assert composed(candidate) == composed([last_value(line) for line in written])


def last_value(line: str) -> str:
    (override,) = OverridesParser.create().parse_overrides([line])
    if not override.is_sweep_override():
        return line
    return f"{override.get_key_element()}={list(override.sweep_string_iterator())[-1]}"


def composed(overrides: list[str]) -> Any:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    config = hydra.compose_config("config", overrides, RunMode.RUN, with_log_configuration=False)
    with open_dict(config):
        del config["hydra"]
    return OmegaConf.to_container(config)
