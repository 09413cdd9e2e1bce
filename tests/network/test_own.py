"""Blocks and activations of one's own: counted rightly, and known by every command and worker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from composing import compose
from torch.utils.flop_counter import FlopCounterMode

from budgetsweep import register_activation, register_block
from budgetsweep.config import Config
from budgetsweep.errors import SettingError
from budgetsweep.network.budget import enforce
from budgetsweep.network.cost import Cost, cost_of
from budgetsweep.network.factory import build_model
from budgetsweep.own import Own

PROGRAM = Path(__file__).with_name("own_blocks.py")
OWN = ["model=tiny", "model.defaults.activation=mish", "model.layers.conv1.block=split"]


@pytest.fixture
def own() -> Iterator[None]:
    """The program's blocks, as its own process has them."""
    exec(compile(PROGRAM.read_text(), str(PROGRAM), "exec"), {"__name__": "own_blocks"})
    yield
    Own().blocks.clear()
    Own().activations.clear()


def counted(config: Config) -> tuple[Cost, int]:
    """What we count, and the multiply-accumulates that torch counts in a real forward pass."""
    network = build_model(config.model, config.data).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, config.data.channels, config.data.size, config.data.size))
    cost = cost_of(config.model, config.data)
    assert cost.parameters == sum(p.numel() for p in network.parameters())
    return cost, counter.get_total_flops() // 2


BLOCKS = {
    "split": ["model.layers.conv3.block=split", "model.layers.conv4.block=split"],
    "split, strided, added": ["model=tiny", "model.layers.conv1.block=split", "model.layers.conv1.residual=true"],
    "split, gated, repeated": ["model=tiny", "model.layers.conv1.block=split", "model.layers.conv1.repeat=2", "model.layers.conv1.squeeze_excite=0.5"],
    "dense": ["+model.layers.more={block: dense, width: 7, after: conv2}"],
    "attention": ["+model.layers.more={block: attention, after: conv1}"],
    "mish": ["model.defaults.activation=mish"],
}  # fmt: skip


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("overrides", BLOCKS.values(), ids=BLOCKS.keys())
def test_what_is_counted_is_what_torch_computes(overrides: list[str]) -> None:
    cost, macs = counted(compose(*overrides))
    assert cost.macs == macs


@pytest.mark.usefixtures("own")
def test_a_block_that_keeps_its_input_is_charged_for_it() -> None:
    config = compose("model=tiny", "model.layers.conv1.block=dense", "model.layers.conv1.width=5")
    row = cost_of(config.model, config.data).layers[1]
    assert row.output == (9, 14, 14)
    assert row.activation_bytes == 4 * (4 + 5 + 9) * 14**2  # input, its convolution, both together


@pytest.mark.usefixtures("own")
def test_the_field_of_kernels_that_are_not_square() -> None:
    square, split = (
        cost_of(c.model, c.data).layers[0].receptive_field
        for c in (compose("model=tiny"), compose("model=tiny", "model.layers.stem.block=split"))
    )
    assert square == split == 3


def test_what_a_block_cannot_take_is_told_by_its_row() -> None:
    @register_block("broken")
    def broken(channels: int, row: object) -> torch.nn.Module:
        return torch.nn.Linear(3, 4)

    config = compose("model=tiny", "model.layers.conv1.block=broken")
    with pytest.raises(SettingError, match=r"model\.layers\.conv1\.block=broken: .*4×14×14"):
        build_model(config.model, config.data)
    Own().blocks.clear()


@pytest.mark.parametrize(
    ("returned", "words"),
    [(None, "None"), (3, "returned 3"), (torch.nn.ReLU, "class ReLU, which is to be called")],
    ids=["nothing", "number", "class"],
)
def test_a_function_that_gives_no_module_is_told_by_its_row(returned: object, words: str) -> None:
    register_block("none")(lambda channels, row: returned)
    register_activation("nothing")(lambda: returned)
    config = compose("model=tiny", "model.layers.conv1.block=none")
    with pytest.raises(SettingError, match=rf"model\.layers\.conv1\.block=none: .*{words}"):
        build_model(config.model, config.data)
    config = compose("model=tiny", "model.layers.conv1.activation=nothing")
    with pytest.raises(SettingError, match=r"model\.layers\.conv1=.*activation nothing"):
        build_model(config.model, config.data)
    Own().blocks.clear()
    Own().activations.clear()


@pytest.mark.parametrize(
    ("norm", "constant"),
    [
        (lambda: torch.nn.InstanceNorm2d(6), True),
        (lambda: torch.nn.GroupNorm(num_groups=6, num_channels=6), True),
        (lambda: torch.nn.GroupNorm(3, 6), False),
        (lambda: torch.nn.LayerNorm([1, 1]), True),
        (lambda: torch.nn.LayerNorm((6, 1, 1)), False),
    ],
    ids=["instance", "group of one", "group of two", "layer of one", "layer"],
)
def test_a_norm_of_ones_own_over_a_single_value_is_told_by_its_row(
    norm: Callable[[], torch.nn.Module], constant: bool
) -> None:
    @register_block("pooled")
    def pooled(channels: int, row: object) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv2d(channels, 6, 1), torch.nn.AdaptiveAvgPool2d(1), norm()
        )

    config = compose("model=tiny", "model.layers.conv2.block=pooled", "model.layers.conv2.pool=1")
    if constant:
        with pytest.raises(SettingError, match=r"model\.layers\.conv2\.block=pooled: .*single"):
            enforce(config.model, config.data, config.budget)
    else:
        enforce(config.model, config.data, config.budget)
    Own().blocks.clear()


def call(folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(PROGRAM), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


SMALL = ["data=digits", "data.limit=200", "trainer.epochs=1", "trainer.progress=false"]


@pytest.mark.slow
def test_a_program_looks_trains_and_exports_with_its_blocks(tmp_path: Path) -> None:
    assert "Mish" in call(tmp_path, "summary", *OWN)
    call(tmp_path, "train", *OWN, *SMALL, "hydra.run.dir=run")
    call(tmp_path, "export", "run", "--format", "torch")
    parameters = json.loads((tmp_path / "run" / "summary.json").read_text())["parameters"]
    (exported,) = json.loads((tmp_path / "run" / "export" / "export.json").read_text())["exports"]
    assert exported["parameters"] == parameters
    assert exported["largest_difference"] < 1e-4


@pytest.mark.parametrize("launcher", ["workers", "joblib"])
@pytest.mark.slow
def test_the_workers_of_a_sweep_know_its_blocks(launcher: str, tmp_path: Path) -> None:
    call(
        tmp_path, "sweep", *OWN[:2], *SMALL, "model.layers.conv1.block=choice(conv,split)",
        "model.layers.conv1.width=range(4,13)", f"hydra/launcher={launcher}",
        "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "hydra.sweep.dir=sweep",
        "hydra.sweeper.on_end=[]", "hydra/sweeper/pruner=none",
        "hydra.sweeper.enqueue=[{model.layers.conv1.block: conv}, {model.layers.conv1.block: split}]",
    )  # fmt: skip
    trials = json.loads((tmp_path / "sweep" / "leaderboard.json").read_text())
    assert [trial["state"] for trial in trials] == 2 * ["COMPLETE"]
    assert {trial["params"]["model.layers.conv1.block"] for trial in trials} == {"conv", "split"}


def test_without_the_program_a_block_is_unknown() -> None:
    with pytest.raises(SettingError, match=r"model\.layers\.conv1\.block=split.*own-layers"):
        compose("model=tiny", "model.layers.conv1.block=split")


def test_the_package_comes_without_torch() -> None:
    code = "import sys, budgetsweep, budgetsweep.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
