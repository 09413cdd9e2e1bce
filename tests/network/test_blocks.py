"""Blocks against the networks of their papers, written by hand or by torchvision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from composing import compose, compose_raw
from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.ops import SqueezeExcitation

from budgetsweep.config import Config, DataConfig, LayerConfig, ModelConfig
from budgetsweep.errors import SettingError
from budgetsweep.exporting.onnx import run_onnx, to_onnx
from budgetsweep.exporting.program import OnPixels, trace
from budgetsweep.network.budget import violations
from budgetsweep.network.cost import cost_of, count
from budgetsweep.network.factory import build_model

SAME = LayerConfig(padding="same", order="conv_norm_act")


def network_of(config: Config, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_model(config.model, config.data)


def one_row(row: LayerConfig, channels: int = 3, defaults: LayerConfig = SAME) -> nn.Module:
    filled = ModelConfig().defaults
    for key, value in vars(defaults).items():
        if value is not None:
            setattr(filled, key, value)
    model = ModelConfig(defaults=filled, layers={"row": row}, head="gap")
    torch.manual_seed(0)
    return build_model(model, DataConfig(channels=channels, size=8)).layers.row


def same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy by order; and statistics and affine parameters that are not the identity."""
    for value in theirs.state_dict().values():
        if value.dtype == torch.float32 and value.ndim == 1:
            value.uniform_(0.5, 1.5)
    values = list(theirs.state_dict().values())
    sizes = [tuple(v.shape[:2]) for v in ours.state_dict().values()]
    assert sizes == [tuple(v.shape[:2]) for v in values]
    reshaped = [v.view_as(o) for v, o in zip(values, ours.state_dict().values(), strict=True)]
    ours.load_state_dict(dict(zip(ours.state_dict(), reshaped, strict=True)))


class Stack(nn.Module):
    """Two convolutions and a skip, in the order of MLPerf Tiny's own code."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.norm2 = nn.BatchNorm2d(width)
        self.skip = nn.Conv2d(channels, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.skip(x))


class ResNet8(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.stacks = nn.Sequential(Stack(16, 16, 1), Stack(16, 32, 2), Stack(32, 64, 2))
        self.dense = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stacks(F.relu(self.norm(self.conv(x))))
        return F.log_softmax(self.dense(x.mean((2, 3))), dim=1)


def test_resnet8_is_mlperf_tinys() -> None:
    config = compose("model=resnet8", "data=cifar10")
    ours, theirs = network_of(config), ResNet8()
    assert cost_of(config.model, config.data).parameters == 78_186
    numbers = [v.numel() for v in ours.state_dict().values() if v.is_floating_point()]
    assert sum(numbers) == 78_666  # with batch norm's statistics, as its own code says
    same_weights(ours, theirs)
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))
    torch.testing.assert_close(ours.train()(images), theirs.train()(images))


# The paper's table 2: expansion, width, repeats, stride.
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]  # fmt: skip


def test_mobilenetv2_is_torchvisions() -> None:
    config = compose("model=mobilenetv2", "data.channels=3", "data.size=64", "data.classes=1000")
    stages = {
        f"stage{i}": LayerConfig(expand=t, width=c, repeat=n, stride=s)
        for i, (t, c, n, s) in enumerate(STAGES)
    }
    config.model.layers = {
        "stem": LayerConfig(width=32, stride=2, block="conv"),
        **stages,
        "last": LayerConfig(width=1280, kernel=1, block="conv"),
    }
    assert cost_of(config.model, config.data).parameters == 3_504_872  # as torchvision's page says
    ours, theirs = network_of(config), mobilenet_v2()
    same_weights(ours, theirs)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = F.log_softmax(theirs.eval()(images), dim=1)
        torch.testing.assert_close(ours.eval()(images), expected)


def test_a_separable_row_has_norm_and_activation_twice() -> None:
    ours = one_row(LayerConfig(width=6, conv="separable"))
    theirs = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Conv2d(3, 6, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
    )  # fmt: skip
    same_weights(ours, theirs)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("order", ["conv_norm_act", "conv_act_norm", "norm_act_conv"])
def test_a_linear_separable_row_has_nothing_between_its_two_convolutions(order: str) -> None:
    ours = one_row(LayerConfig(width=6, conv="separable_linear", order=order))
    around = {"norm": nn.BatchNorm2d(3 if order == "norm_act_conv" else 6), "act": nn.ReLU()}
    pair = [
        nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False),
        nn.Conv2d(3, 6, 1, bias=order != "conv_norm_act"),
    ]
    steps = [pair if step == "conv" else [around[step]] for step in order.split("_")]
    theirs = nn.Sequential(*(module for step in steps for module in step))
    same_weights(ours, theirs)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(ours(x), theirs(x))


def test_squeeze_excite_is_torchvisions() -> None:
    ours = one_row(LayerConfig(width=8, squeeze_excite=0.25))
    theirs = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        SqueezeExcitation(8, 2),
    )  # fmt: skip
    same_weights(ours, theirs)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("order", "norm", "bias", "expected"),
    [
        ("conv_norm_act", "batch", None, False),
        ("conv_norm_act", "group", None, False),
        ("conv_norm_act", "none", None, True),
        ("conv_act_norm", "batch", None, True),
        ("norm_act_conv", "batch", None, True),
        ("conv_norm_act", "batch", True, True),
        ("conv_act_norm", "batch", False, False),
    ],
)
def test_a_bias_goes_exactly_where_a_norm_follows(
    order: str, norm: str, bias: bool | None, expected: bool
) -> None:
    row = one_row(LayerConfig(width=4, order=order, norm=norm, bias=bias))
    conv = next(m for m in row.modules() if isinstance(m, nn.Conv2d))
    assert (conv.bias is not None) == expected


def test_without_an_activation_between_the_norm_follows_too() -> None:
    row = one_row(LayerConfig(width=4, order="conv_act_norm", activation="none"))
    assert "0.bias" not in row.state_dict()


@pytest.mark.parametrize(("pool", "kept"), [(1, [False, True]), (2, [True, True])])
def test_the_norm_of_the_next_row_counts_where_nothing_lies_between(
    pool: int, kept: list[bool]
) -> None:
    config = compose(
        "model=tiny", "model.defaults.order=norm_act_conv", "model.layers.conv2=null",
        f"model.layers.stem.pool={pool}",
    )  # fmt: skip
    convs = [m for m in network_of(config).layers.modules() if isinstance(m, nn.Conv2d)]
    assert [conv.bias is not None for conv in convs] == kept


def test_the_reference_keeps_all_its_biases() -> None:
    network = network_of(compose())
    assert all(m.bias is not None for m in network.modules() if isinstance(m, nn.Conv2d))


def test_dilation_is_torchs() -> None:
    ours = one_row(LayerConfig(width=4, dilation=3, norm="none"))
    x = torch.randn(2, 3, 8, 8)
    expected = F.relu(F.conv2d(x, ours[0].weight, ours[0].bias, padding=3, dilation=3))
    torch.testing.assert_close(ours(x), expected)


def test_repeat_is_the_row_written_out() -> None:
    pool = ["model.layers.conv1.pool=2", "model.layers.conv1.dropout=0.1"]
    repeated = compose("model=tiny", "model.layers.conv1.repeat=3", *pool)
    written = compose(
        "model=tiny",
        "+model.layers={a: {width: 8, after: conv1}, b: {width: 8, pool: 2, dropout: 0.1, after: a}}",
    )
    ours, theirs = network_of(repeated).eval(), network_of(written).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(ours(x), theirs(x))
    costs = [cost_of(c.model, c.data) for c in (repeated, written)]
    assert costs[0].macs == costs[1].macs
    assert costs[0].receptive_field == costs[1].receptive_field
    assert costs[0].layers[1].operations == (
        "conv 3×3/2, ReLU, BN, 2 × (conv 3×3, ReLU, BN), max pool 2, dropout 0.1"
    )


def test_a_hidden_layer_is_two_dense_ones() -> None:
    config = compose("model=tiny", "model.head_hidden=20", "model.width_multiplier=2")
    network = network_of(config)
    assert cost_of(config.model, config.data).layers[-1].parameters == 24 * 40 + 40 + 40 * 10 + 10
    x = torch.randn(2, 1, 28, 28)
    maps = network.eval().layers(x).mean((2, 3))
    first, last = (m for m in network.head if isinstance(m, nn.Conv2d))
    hidden = F.relu(F.linear(maps, first.weight.flatten(1), first.bias))
    expected = F.log_softmax(F.linear(hidden, last.weight.flatten(1), last.bias), dim=1)
    torch.testing.assert_close(network(x), expected)


ADDED = {
    "a mapping of rows": ["+model.layers={extra: {width: 12, kernel: 1}}"],
    "a mapping": ["+model.layers.extra={width: 12, kernel: 1}"],
    "numbers": ["+model.layers.extra.width=12", "+model.layers.extra.kernel=1"],
    "forced": ["++model.layers.extra.width=12", "++model.layers.extra.kernel=1"],
}


@pytest.mark.parametrize("overrides", ADDED.values(), ids=ADDED.keys())
def test_a_row_is_added_however_it_is_written(overrides: list[str]) -> None:
    config = compose(*overrides)
    names = [name for name, _ in network_of(config).layers.named_children()]
    assert names == ["stem", "conv1", "squeeze", "conv2", "conv3", "conv4", "conv5", "extra"]
    assert cost_of(config.model, config.data).layers[-2].output == (12, 1, 1)
    between = compose(*overrides, "++model.layers.extra.after=conv2")
    names = [name for name, _ in network_of(between).layers.named_children()]
    assert names == ["stem", "conv1", "squeeze", "conv2", "extra", "conv3", "conv4", "conv5"]


def test_three_lines_are_a_network() -> None:
    model = ModelConfig(layers={"a": LayerConfig(width=8), "b": LayerConfig(width=16, pool=2)})
    data = DataConfig()
    assert cost_of(model, data).parameters == (80 + 16) + (1_168 + 32) + (16 * 14 * 14 * 10 + 10)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.layers.conv3.groups=3"], ["model.layers.conv3.groups=3", "16", "32"]),
        (["model.layers.conv3.conv=depthwise", "model.layers.conv3.width=20"], ["model.layers.conv3.width=20", "16", "null"]),
        (["model.layers.conv3={padding: same, kernel: 2}"], ["model.layers.conv3.padding=same", "odd"]),
        (["model.layers.conv3.after=conv9"], ["model.layers.conv3.after=conv9", "conv2"]),
        (["model.layers.conv3.after=conv3"], ["model.layers.conv3.after=conv3"]),
        (["model.layers.conv2.after=conv3", "model.layers.conv3.after=conv2"], ["model.layers.conv", "circle"]),
        (["+model.layers.forward.width=4"], ["forward", "forward1"]),
        (["+model.layers={training: {width: 4}}"], ["training"]),
        (["model.defaults.after=stem"], ["model.defaults.after=stem"]),
        (["model.layers.conv3.block=basic"], ["model.layers.conv3.block=basic", "padding=same"]),
        ([f"model.layers.{n}.repeat=0" for n in ("stem", "conv1", "squeeze", "conv2", "conv3", "conv4", "conv5")], ["at least one row"]),
        (["model.layers.conv3.repeat=8"], ["model.layers.conv3", "vanishes"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(overrides: list[str], words: list[str]) -> None:
    config = compose(*overrides)
    with pytest.raises(SettingError) as error:
        build_model(config.model, config.data)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.layers.conv3.activation=msh"], ["model.layers.conv3.activation=msh", "relu6"]),
        (["model.defaults.block=basics"], ["model.defaults.block=basics", "basic?"]),
        (["+model.layers.extra.widht=3"], ["model.layers.extra.widht=3", "model.layers.extra.width?"]),
        (["+model.layers.extra.width=wide"], ["model.layers.extra.width=wide", "Integer"]),
        (["+model.layers.extra.dropout=2"], ["model.layers.extra.dropout=2", "< 1"]),
        (["+model.layers.extra=3"], ["model.layers.extra=3"]),
    ],
)  # fmt: skip
def test_a_mistake_in_a_row_is_told(overrides: list[str], words: list[str]) -> None:
    with pytest.raises((SettingError, Exception)) as error:
        compose(*overrides)
    told = f"{error.value} {error.value.__cause__}"
    assert [word for word in words if word not in told] == []


def widths(network: nn.Module) -> list[int]:
    return [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]


def test_a_basic_block_of_depthwise_convolutions_is_two_and_a_skip() -> None:
    row = LayerConfig(width=6, block="basic", conv="depthwise", norm="none", activation="none")
    block = one_row(row, channels=3)
    convs = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    assert sorted((c.in_channels, c.out_channels, c.groups) for c in convs) == [
        (3, 6, 1), (3, 6, 3), (6, 6, 6)
    ]  # fmt: skip


def depthwise_basic(width: int | str) -> str:
    return f"+model.layers.more={{width: {width}, block: basic, conv: depthwise, repeat: 2}}"


@pytest.mark.parametrize("multiplier", [1e-9, 0.37, 1.7])
@pytest.mark.parametrize("width", ["null", 24, 36])
def test_its_width_stays_a_multiple_of_what_comes_in(width: int | str, multiplier: float) -> None:
    scale = f"model.width_multiplier={multiplier}"
    config, before = (compose("model=tiny", scale, *row) for row in ((depthwise_basic(width),), ()))
    network = build_model(config.model, config.data)
    assert widths(network)[:3] == widths(build_model(before.model, before.data))[:3]
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)  # torch takes its groups


def test_its_width_that_is_no_multiple_is_told_and_no_failure_of_a_sweep() -> None:
    config = compose("model=tiny", depthwise_basic(31))
    with pytest.raises(SettingError, match=r"model\.layers\.more\.width=31: .*12 channels.*null"):
        build_model(config.model, config.data)
    assert violations(compose_raw("model=tiny", depthwise_basic(31))) == {"shape": 1.0}


@pytest.mark.parametrize("width", [2**62, 2**70])
def test_what_torch_refuses_to_build_is_told_by_its_row(width: int) -> None:
    config = compose("model=tiny")
    config.model.layers["conv1"].width = width  # type: ignore[union-attr]
    with torch.device("meta"), pytest.raises(SettingError, match=r"model\.layers\.conv1="):
        build_model(config.model, config.data)


def test_the_head_sees_beyond_the_image() -> None:
    fields = [layer.receptive_field for layer in cost_of(*_parts("model=reference")).layers]
    assert fields == sorted(fields)
    assert fields[-1] == 32


def test_counting_leaves_a_network_as_it_is() -> None:
    config = compose("model=residual")
    network = network_of(config).train()
    x = torch.randn(2, 1, 28, 28)
    torch.manual_seed(1)
    before = network(x)
    count(network, config.data)
    torch.manual_seed(1)
    torch.testing.assert_close(network(x), before)


def _parts(*overrides: str) -> tuple[ModelConfig, DataConfig]:
    config = compose(*overrides)
    return config.model, config.data


def test_an_added_row_is_judged_by_the_budget() -> None:
    cfg = compose_raw("+model.layers.extra.width=500", "+model.layers.extra.kernel=1")
    parameters = 19_668 + (500 * 10 + 500 + 2 * 500) + (10 * 500 + 10) - 110
    assert violations(cfg)["parameters"] == pytest.approx((parameters - 20_000) / 20_000)


EXPORTED = {
    "basic": ["model=resnet8"],
    "inverted, gated": [
        "model=mobilenetv2", "model.defaults.squeeze_excite=0.25", "model.defaults.activation=prelu",
    ],
    "grouped, dilated, hidden": [
        "model=separable", "model.layers.block2.groups=8", "model.layers.block3.dilation=2",
        "+model.layers.more.conv=depthwise", "model.head_hidden=16", "model.layers.block1.repeat=2",
    ],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("overrides", EXPORTED.values(), ids=EXPORTED.keys())
def test_what_is_counted_is_what_is_exported(overrides: list[str]) -> None:
    pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    config = compose(*overrides)
    network = OnPixels(network_of(config), config.data).eval()
    program = trace(network, config.data)
    model, stored = to_onnx(program, network, "0123456789")
    counted = cost_of(config.model, config.data).parameters
    assert counted == sum(p.numel() for p in program.parameters()) == stored
    pixels = torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        expected = network(pixels)
    torch.testing.assert_close(program.module()(pixels), expected)
    found = run_onnx(model.SerializeToString(), pixels)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
