"""The factory against the published network written by hand, and its promises for every variant."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from composing import MODELS, compose, options
from reference_net import ReferenceNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from budgetsweep.config import DataConfig, LayerConfig, ModelConfig
from budgetsweep.errors import SettingError
from budgetsweep.network.cost import cost_of
from budgetsweep.network.factory import build_model
from budgetsweep.network.modules import Network
from budgetsweep.network.rows import resolve_layers

VARIANTS = {
    "wider row": ["model.layers.conv3.width=40"],
    "one channel": ["model.layers.conv2.width=1"],
    "all widths doubled": ["model.width_multiplier=2"],
    "all widths a third": ["model.width_multiplier=0.3333"],
    "5×5 kernel": ["model.layers.stem.kernel=5", "model.layers.stem.padding=2"],
    "even kernel": ["model.layers.conv2.kernel=2"],
    "1×1 kernel with padding": ["model.layers.conv2.kernel=1", "model.layers.conv2.padding=1"],
    "stride instead of pool": ["model.layers.conv1.stride=2", "model.layers.conv1.pool=1"],
    "stride that leaves a rest": ["model.layers.conv2.stride=3", "model.layers.conv4=null", "model.layers.conv5=null"],
    "pool that leaves a rest": ["model.layers.conv1.pool=3", "model.layers.conv5=null"],
    "last row dropped, head over 4×4": ["model.layers.conv5=null"],
    "middle row dropped": ["model.layers.squeeze=null"],
    "only one row": [f"model.layers.{row}=null" for row in ("conv1", "squeeze", "conv2", "conv3", "conv4", "conv5")],
    "row added": ["+model.layers={conv6: {width: 12, kernel: 1}}"],
    "one separable row": ["model.layers.conv4.conv=separable"],
    "linear separable rows": ["model=separable", "model.defaults.conv=separable_linear"],
    "basic, linear separable, pre-activation": ["model=resnet8", "model.defaults.conv=separable_linear", "model.defaults.order=norm_act_conv"],
    "residual, same width": ["model.layers.conv3.residual=true", "model.layers.conv3.padding=1", "model.layers.conv3.width=16"],
    "residual, projected": ["model.layers.conv1.residual=true"],
    "residual, strided": ["model.layers.conv1.residual=true", "model.layers.conv1.stride=2", "model.layers.conv1.pool=1"],
    "norm first, residual": ["model=residual", "model.defaults.order=norm_act_conv"],
    "dropout everywhere": ["model.defaults.dropout=0.3"],
    "no dropout": [f"model.layers.{row}.dropout=0" for row in ("squeeze", "conv4", "conv5")],
    "average head": ["model.head=gap"],
    "hidden layer behind the average": ["model.head=gap", "model.head_hidden=24"],
    "hidden layer over the map": ["model=tiny", "model.head=conv", "model.head_hidden=6"],
    "biases everywhere": ["model=residual", "model.defaults.bias=true"],
    "biases nowhere": ["model.defaults.bias=false"],
    "dilated": ["model=residual", "model.defaults.dilation=2"],
    "groups": ["model.layers.conv3.groups=4", "model.layers.conv4.groups=8"],
    "groups, scaled": ["model.layers.conv3.groups=4", "model.width_multiplier=0.6"],
    "groups behind depthwise": ["model.layers.conv2={conv: depthwise, width: 24}", "model.layers.conv3.groups=4", "model.width_multiplier=0.4"],
    "depthwise of the width that comes": ["+model.layers={more: {conv: depthwise, padding: same}}", "model.width_multiplier=1.7"],
    "grouped pointwise": ["model=separable", "model.layers.block2.groups=8"],
    "squeeze-excite": ["model.defaults.squeeze_excite=1"],
    "squeeze-excite in bottlenecks": ["model=mobilenetv2", "model.defaults.squeeze_excite=0.5"],
    "repeated": ["model.layers.conv2.repeat=2", "model.layers.conv2.padding=1"],
    "repeated, strided, pooled": ["model=tiny", "model.layers.conv1.repeat=3", "model.layers.conv1.pool=2"],
    "repeated no times": ["model.layers.conv2.repeat=0"],
    "basic, pre-activation": ["model=resnet8", "model.defaults.order=norm_act_conv", "model.defaults.bias=null"],
    "basic, act before norm": ["model=resnet8", "model.defaults.order=conv_act_norm"],
    "basic, separable": ["model=resnet8", "model.defaults.conv=separable"],
    "basic without a skip": ["model=resnet8", "model.defaults.residual=false"],
    "basic, norm on the projection": ["model=resnet8", "model.defaults.projection_norm=true"],
    "inverted, projected": ["model=mobilenetv2", "model.defaults.residual=true"],
    "inverted without padding": ["model=mobilenetv2", "model.defaults.padding=0", "model.layers.stage3.repeat=1"],
    "row put between two": ["+model.layers.more.width=12", "+model.layers.more.kernel=1", "+model.layers.more.after=conv2"],
    "three classes": ["data.classes=3"],
}  # fmt: skip
SIZES = {
    f"{model}, {size} pixels, {channels} channels": [
        f"model={model}", f"data.size={size}", f"data.channels={channels}"
    ]
    for model in MODELS
    for size, channels in ((16, 1), (28, 1), (32, 3), (64, 3))
    if (model, size) != ("reference", 16)  # vanishes, see below
}  # fmt: skip
# Every choice of the schema: a new one is tested by existing.
CHOICES = {
    f"{key} {value}": [f"model.defaults.{key}={value}"]
    for key in ("conv", "block", "activation", "norm", "order", "pool_type")
    for value in options(f"model.defaults.{key}")
}
# A depthwise convolution gives as many channels as come in, or a multiple.
CHOICES["block basic"] += ["model=residual"]  # the reference's rows shrink the map
CHOICES["conv depthwise"] += ["model=tiny", "model.layers.conv2.width=16"]
ACTIVATIONS = [name for name in options("model.defaults.activation") if name != "none"]
NETWORKS = {**SIZES, **VARIANTS, **CHOICES}

every_network = pytest.mark.parametrize("overrides", NETWORKS.values(), ids=NETWORKS.keys())


def built(overrides: list[str]) -> tuple[Network, Tensor, int]:
    """The network, a batch of images for it, and its number of classes."""
    config = compose(*overrides)
    data = config.data
    torch.manual_seed(0)
    images = torch.randn(2, data.channels, data.size, data.size)
    return build_model(config.model, data), images, data.classes


def reference_pair(dropout: float) -> tuple[nn.Module, nn.Module]:
    """The factory's reference and the hand-written one, with the same weights and statistics."""
    config = compose("model=reference")
    for row in config.model.layers.values():
        assert row is not None
        row.dropout = dropout if row.dropout else None
    torch.manual_seed(0)
    ours, theirs = build_model(config.model, config.data), ReferenceNet(dropout)
    with torch.no_grad():  # statistics and affine parameters that are not the identity
        for name, value in theirs.state_dict().items():
            if value.dtype == torch.float32 and value.ndim == 1:
                value.uniform_(0.5, 1.5) if "var" in name else value.normal_(0.5)
    values = list(theirs.state_dict().values())
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    return ours, theirs


def gradients(network: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    network.zero_grad()
    F.nll_loss(network(images), labels).backward()
    return [p.grad for p in network.parameters() if p.grad is not None]


def test_the_reference_has_19668_parameters_like_the_hand_written_one() -> None:
    ours, theirs = reference_pair(0.05)
    sizes = [[p.numel() for p in network.parameters()] for network in (ours, theirs)]
    assert sizes[0] == sizes[1]
    assert sum(sizes[0]) == 19_668


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_reference_computes_what_the_hand_written_one_computes(training: bool) -> None:
    ours, theirs = reference_pair(0.0)
    images = torch.randn(16, 1, 28, 28)
    ours.train(training)
    theirs.train(training)
    torch.testing.assert_close(ours(images), theirs(images))
    for mine, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other)  # running statistics too


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_reference_has_the_gradients_of_the_hand_written_one(training: bool) -> None:
    ours, theirs = reference_pair(0.0)
    images, labels = torch.randn(16, 1, 28, 28), torch.arange(16) % 10
    ours.train(training)
    theirs.train(training)
    pairs = zip(gradients(ours, images, labels), gradients(theirs, images, labels), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine, other)


def test_the_reference_drops_what_the_hand_written_one_drops() -> None:
    ours, theirs = reference_pair(0.05)
    images = torch.randn(16, 1, 28, 28)
    scores = []
    for network in (ours.train(), theirs.train()):
        torch.manual_seed(1)
        scores.append(network(images))
    torch.testing.assert_close(*scores)


@every_network
def test_every_network_gives_log_probabilities(overrides: list[str]) -> None:
    network, images, classes = built(overrides)
    for training in (True, False):
        scores = network.train(training)(images)
        assert scores.shape == (2, classes)
        assert not scores.isnan().any()
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(2))


@every_network
def test_a_gradient_reaches_every_parameter(overrides: list[str]) -> None:
    network, images, classes = built(overrides)
    # Batch statistics would cancel a bias right before the norm.
    F.nll_loss(network.eval()(images), torch.arange(2) % classes).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@every_network
def test_the_count_is_what_the_built_network_holds(overrides: list[str]) -> None:
    config = compose(*overrides)
    network, images, _ = built(overrides)
    cost = cost_of(config.model, config.data)
    assert cost.parameters == sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter:
        network.eval()(images)
    assert 2 * len(images) * cost.macs == counter.get_total_flops()
    x = images
    for layer, stage in zip(cost.layers, [*network.layers, network.head], strict=True):
        x = stage(x)
        assert layer.output == tuple(x.shape[1:])


@pytest.mark.parametrize("model", [m for m in MODELS if m not in ("resnet8", "dilated")])
def test_every_shipped_model_is_within_the_default_budget(model: str) -> None:
    config = compose(f"model={model}")
    assert config.budget.max_parameters == 20_000
    assert cost_of(config.model, config.data).parameters <= 20_000


@pytest.mark.parametrize("order", ["conv_act_norm", "conv_norm_act", "norm_act_conv"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_is_its_operations_in_the_configured_order(order: str, activation: str) -> None:
    row = LayerConfig(
        width=6, padding=1, activation=activation, order=order, pool=2, pool_type="avg"
    )
    network = build_model(ModelConfig(layers={"only": row}), DataConfig(channels=3, size=8))
    conv = next(m for m in network.layers.modules() if isinstance(m, nn.Conv2d))
    norm = next(m for m in network.layers.modules() if isinstance(m, nn.BatchNorm2d))
    slopes = [m.weight for m in network.layers.modules() if isinstance(m, nn.PReLU)]
    act = (lambda x: F.prelu(x, *slopes)) if slopes else getattr(F, activation)
    steps = {"conv": conv, "norm": norm, "act": act}
    images = torch.randn(4, 3, 8, 8)

    def by_hand(x: Tensor) -> Tensor:
        for step in order.split("_"):
            x = steps[step](x)
        return F.log_softmax(network.head(F.avg_pool2d(x, 2)).flatten(1), dim=1)

    parameters = list(network.parameters())
    expected, actual = by_hand(images), network(images)
    torch.testing.assert_close(actual, expected)
    labels = torch.arange(4)
    for mine, other in zip(
        torch.autograd.grad(F.nll_loss(actual, labels), parameters),
        torch.autograd.grad(F.nll_loss(expected, labels), parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(
    ("width", "groups"), [(1, 1), (6, 6), (8, 8), (10, 5), (11, 1), (12, 6), (32, 8)]
)
def test_group_norm_has_as_many_groups_as_divide_the_width(width: int, groups: int) -> None:
    config = compose("model.defaults.norm=group", f"model.layers.stem.width={width}")
    network = build_model(config.model, config.data)
    norm = next(m for m in network.layers.modules() if isinstance(m, nn.GroupNorm))
    assert (norm.num_groups, norm.num_channels) == (groups, width)


def test_a_residual_row_of_one_width_adds_its_input_and_no_parameters() -> None:
    plain = compose("model=residual", "model.layers.block1.residual=false")
    residual = compose("model=residual")
    counts = [cost_of(c.model, c.data).parameters for c in (plain, residual)]
    assert counts[0] == counts[1]
    network = build_model(residual.model, residual.data)
    block = network.layers.block1
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 12, 14, 14)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.size=16"], ["model.layers.conv5", "vanishes", "1×1"]),
        (["data.size=4"], ["model.layers.conv2", "vanishes"]),
        (["model=tiny", "data.size=4"], ["model.layers.conv2", "vanishes"]),
        (["model.layers.conv2.kernel=15"], ["model.layers.conv2", "kernel: 15", "vanishes"]),
        (["model.layers.conv5.pool=4"], ["model.layers.conv5", "pool: 4"]),
        (["model.defaults.kernel=null"], ["model.layers.stem.kernel", "model.defaults.kernel"]),
        (["+model.layers={new: {kernel: 1}}"], ["model.layers.new.width", "model.defaults.width"]),
        (["model.layers.conv3.residual=true"], ["model.layers.conv3.residual", "padding=1"]),
        (
            [f"model.layers.{row}=null" for row in compose("model=tiny").model.layers] + ["model=tiny"],
            ["model.layers", "at least one row"],
        ),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_together_are_named(overrides: list[str], words: list[str]) -> None:
    config = compose(*overrides)
    with pytest.raises(SettingError) as error:
        build_model(config.model, config.data)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("multiplier", "expected"), [(1.0, 5), (0.5, 3), (0.49, 2), (0.01, 1), (1e-9, 1), (1.3, 7)]
)
def test_halves_of_a_width_round_up_and_no_row_is_lost(multiplier: float, expected: int) -> None:
    config = compose("model.layers.stem.width=5", f"model.width_multiplier={multiplier}")
    assert resolve_layers(config.model, 1)["stem"].width == expected


def test_a_row_takes_from_the_defaults_what_it_leaves_out() -> None:
    rows = resolve_layers(
        compose("model.defaults.kernel=1", "model.layers.conv2.kernel=5").model, 1
    )
    assert (rows["stem"].kernel, rows["conv2"].kernel) == (1, 5)


def test_rows_keep_the_order_of_the_configuration() -> None:
    config = compose("model.layers.conv2=null", "+model.layers={last: {width: 4, kernel: 1}}")
    names = ["stem", "conv1", "squeeze", "conv3", "conv4", "conv5", "last"]
    assert list(resolve_layers(config.model, 1)) == names
    assert [n for n, _ in build_model(config.model, config.data).layers.named_children()] == names
