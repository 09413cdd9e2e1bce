"""C source: what it computes, and the memory it really takes, by the compiler's own tools."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import torch
from composing import compose
from torch import nn

from budgetsweep.data import Images
from budgetsweep.data.pixels import to_unit
from budgetsweep.exporting.c_source import COMPILE, pack, run_c, to_c
from budgetsweep.exporting.int8 import quantize
from budgetsweep.exporting.onnx import to_onnx
from budgetsweep.exporting.program import OnPixels, trace
from budgetsweep.network.cost import cost_of
from budgetsweep.network.factory import build_model

pytest.importorskip("emx_onnx_cgen", reason="needs the c extra")

GENERATED = """
/*
 * Node 0:
 * OpType: Conv
 */
static void node0_a(const float input[4], float output[100]) {
    for (int i = 0; i < 100; ++i) output[i] = input[i % 4] + i;
}
/*
 * Node 1:
 * OpType: Relu
 */
static void node1_b(const float input[100], float output[100]) {
    for (int i = 0; i < 100; ++i) output[i] = input[i] > 50 ? input[i] : 0;
}
/*
 * Node 2:
 * OpType: Add
 */
static void node2_c(const float left[100], const float right[100], float output[100]) {
    for (int i = 0; i < 100; ++i) output[i] = left[i] + right[i];
}
/*
 * Node 3:
 * OpType: MaxPool
 */
static void node3_d(const float input[100], float output[10]) {
    for (int i = 0; i < 10; ++i) output[i] = input[10 * i + 9];
}

void network(const float pixels[4], float log_probabilities[10]) {
    float tmp0_a[100];
    float tmp1_b[100];
    float tmp2_c[100];
    node0_a(pixels, tmp0_a);
    node1_b(tmp0_a, tmp1_b);
    node2_c(tmp1_b, tmp0_a, tmp2_c);
    node3_d(tmp2_c, log_probabilities);
}
"""


def test_maps_share_memory_only_where_none_is_needed_any_more() -> None:
    source = pack(GENERATED)
    # Both the convolution's output and its positive part are needed for their sum, which replaces one.
    assert source.ram_bytes == 2 * 100 * 4
    scores = run_c(source, torch.zeros(1, 4), classes=10)
    assert scores[0].tolist() == [v + (v if v > 50 else 0) for v in range(9, 100, 10)]


# Overrides, and the RAM that is taken of what is counted: in float32, at 8 bits.
NETWORKS = {
    "the reference": (["model=reference"], 1.0, 1.0),
    "residual blocks": (["model=residual"], 1.0, 1.0),
    "inverted bottlenecks": (["model=mobilenetv2", "data.size=16"], 1.1, 1.1),
    "norm first": (["model=tiny", "model.defaults.order=norm_act_conv"], 1.0, 1.0),
    # Of one channel to as many numbers as come in, but not one to one.
    "a projection of the image": (["model=tiny", "model.defaults.block=basic"], 1.0, 1.0),
    "group norm": (["model=tiny", "model.defaults.norm=group"], 1.0, 4.0),
    "a gate and hardswish": (
        ["model=tiny", "model.defaults.squeeze_excite=0.25", "model.defaults.activation=hardswish"],
        1.1,
        3.0,
    ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("overrides", "whole", "small"), NETWORKS.values(), ids=NETWORKS.keys())
def test_c_says_what_the_network_says_in_the_memory_that_the_budget_counts(
    overrides: list[str], whole: float, small: float, tmp_path: Path
) -> None:
    config = compose(*overrides, "budget=none")
    data = config.data
    torch.manual_seed(0)
    network = OnPixels(build_model(config.model, data), data).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):  # as after a training
            nn.init.uniform_(norm.weight, -1, 1.5)
            norm.running_mean.uniform_(-0.1, 0.3)
            norm.running_var.uniform_(0.2, 1)
    model, _ = to_onnx(trace(network, data), network, list("0123456789"))
    images = torch.randint(256, (64, data.channels, data.size, data.size), dtype=torch.uint8)
    pixels = to_unit(images[:3])
    counted = cost_of(config.model, data).activation_bytes
    with torch.inference_mode():
        expected = network(pixels)

    source = to_c(model)
    assert (run_c(source, pixels, 10) - expected).abs().max() < 1e-4
    assert counted <= static_ram(source.text, tmp_path) <= whole * counted

    source = to_c(quantize(model, Images(images, torch.zeros(64).long()), whole=True))
    assert (run_c(source, pixels, 10) - expected).abs().mean() < 0.02
    assert counted / 4 <= static_ram(source.text, tmp_path) <= small * counted / 4


def static_ram(text: str, folder: Path) -> int:
    """Static RAM by `size`, after `nm` and gcc have shown that there is no other to speak of."""
    source, built = folder / "network.c", folder / "network.o"
    source.write_text(text)
    subprocess.run([*COMPILE, "-fstack-usage", "-c", source, "-o", built], check=True, cwd=folder)
    outside = output("nm", "-u", built)
    assert not re.search("alloc|free", outside)
    stack = (folder / "network.su").read_text()
    assert all(line.split("\t")[2] == "static" for line in stack.splitlines())
    assert sum(int(line.split("\t")[1]) for line in stack.splitlines()) < 2_000
    _, data, bss, *_ = output("size", built).splitlines()[1].split()
    assert data == "0"
    return int(bss)


def output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
