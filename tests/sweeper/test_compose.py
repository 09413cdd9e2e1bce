"""The quick composition gives what Hydra's own gives, for every kind of override."""

from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from hydra_budget_sweeper.compose import Composer

CONF = Path(__file__).parent / "apps" / "conf"


@pytest.mark.parametrize(
    "overrides",
    [
        ["x=1.5", "width=3"],
        ["x=-0.25", "y=1e-05", "width=0", "+n=1e3", "+m=007", "+o='3'", "+p=1.", "+q=-2"],
        ["shape=big", "x=2", "shape.slack=7"],
        ["x=1", "shape=small"],
        ["layers=[1,[2]]", "dropout=null", "trace='a b'"],
        ["+new.key=3", "++x=4", "~trace"],
        ["+shape@other=big", "x=1"],
        ["seconds=${x}", "x=3"],
        ["~trace", "+trace=again", "x=2", "~y", "++y=4"],
        ["layers=[1]", "shape.slack=2", "shape=big", "width=9"],
        ["+deep={a: 1, b: [1,2]}", "deep.a=5", "+deep.c='x y'"],
        ["trace='a,b=c'", "dropout=0.10", "+n={}", "+l=[]", "+s='${x}'"],
        [],
    ],
)
def test_composes_as_hydra_does(overrides: list[str]) -> None:
    with initialize_config_dir(config_dir=str(CONF)):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        master = hydra.compose_config(
            "config", ["y=3", "hydra/sweeper=budget"], RunMode.MULTIRUN,
            with_log_configuration=False,
        )  # fmt: skip
        loader = hydra.config_loader
        expected = loader.load_sweep_config(master, overrides)
        with open_dict(expected):
            expected.hydra.job.id, expected.hydra.job.num = "5", 5
            expected.hydra.runtime.output_dir = str(Path(expected.hydra.sweep.dir, "5").absolute())
        composer = Composer(loader, master)
        for _ in range(2):
            got = composer.compose(overrides, 5)
            assert OmegaConf.to_yaml(got.job) == OmegaConf.to_yaml(expected)
            assert OmegaConf.structural_equality(got.job, expected)
        task = composer.compose(overrides, 5).task
        with open_dict(expected):
            del expected["hydra"]
        assert OmegaConf.to_yaml(task) == OmegaConf.to_yaml(expected)
