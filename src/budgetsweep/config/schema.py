"""The typed schema: every setting, its type, range and meaning.

Hydra checks keys and types against these dataclasses while it composes; `checks` holds the ranges
against them, and `settings_page` lists them all.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    # What is left to the data is a number by the time that anything uses it: `data.resolve`.
    Number: TypeAlias = int
    Numbers: TypeAlias = list[float]
else:
    Number = int | None
    Numbers = list[float | int] | Literal["auto"]  # `to_config` makes the whole ones floats

from budgetsweep.own import Own

# Figures of a run's summary that a sweep may optimize.
OBJECTIVES = (
    "val_loss", "val_accuracy", "train_loss", "parameters", "macs", "activation_bytes", "size_at_target",
)  # fmt: skip
MAXIMIZED = ("val_accuracy",)  # the others are minimized
# What a row can name; a program's own join them (`budgetsweep.own`).
BLOCKS = ("conv", "basic", "inverted")
BYTES = "must be bytes: a whole number ≥ 1, or one with kB (1,000), KiB (1,024), MB or MiB."
_MOMENTS = "must be a list of numbers, one for all channels or one for each, or auto."
ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "prelu", "gelu", "silu", "hardswish", "none",
)  # fmt: skip


def setting(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: Callable[[], Sequence[str]] | None = None,
    allowed: str = "",
) -> Any:
    """A field with its meaning and its range (`ge` ≥, `gt` >, `le` ≤, `lt` <) or its choices.

    One of several types says what is `allowed`: OmegaConf would tell their names in Python.
    """
    bounds = {"≥": ge, ">": gt, "≤": le, "<": lt}
    bounds = {k: v for k, v in bounds.items() if v is not None}
    metadata = {"help": help, "bounds": bounds, "choices": choices, "allowed": allowed}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class LayerConfig(metaclass=ABCMeta):  # noqa: B024
    """One row of the network; what it leaves out (null) comes from `model.defaults`."""

    width: int | None = setting(
        None,
        "output channels, before model.width_multiplier; null for a depthwise convolution or a block "
        "of one's own: as many as come in",
        ge=1,
    )
    kernel: int | None = setting(None, "side of the square kernel, pixels", ge=1, le=15)
    padding: int | Literal["same"] | None = setting(
        None,
        "zero padding on each side, pixels; same: as much as keeps the map's size at stride 1",
        ge=0,
        le=120,
        allowed="must be a whole number of pixels from 0 to 120, or same.",
    )
    stride: int | None = setting(None, "step of the convolution, pixels", ge=1, le=8)
    dilation: int | None = setting(None, "distance of the kernel's taps, pixels", ge=1, le=16)
    groups: int | None = setting(
        None,
        "groups of the standard or pointwise convolutions; divides the channels before and after, "
        "and scaled widths stay multiples of it",
        ge=1,
    )
    conv: Literal["standard", "depthwise", "separable", "separable_linear"] | None = setting(
        None,
        "standard; depthwise: each channel by itself; separable: depthwise k×k, then pointwise 1×1, "
        "each with norm and activation (Howard et al. 2017); or separable_linear: the same with "
        "nothing between the two (Chollet 2017)",
    )
    block: str | None = setting(
        None,
        "conv: one convolution; basic: two and a skip (He et al. 2015); inverted: 1×1 to expand × "
        "the channels, depthwise k×k, 1×1 to the width without activation, and a skip where shapes "
        "allow (Sandler et al. 2018); or one's own (docs/own-layers.md)",
        choices=lambda: (*BLOCKS, *Own().blocks),
    )
    expand: float | None = setting(
        None, "inverted only: inner channels, as a multiple of those that come in", ge=1, le=16
    )
    squeeze_excite: float | None = setting(
        None,
        "channels of the gate, as a share of those it weighs (Hu et al. 2018), at the block's end, in "
        "an inverted one after the depthwise convolution; 0: none",
        ge=0,
        le=1,
    )
    bias: bool | None = setting(
        None,
        "biases of the convolutions; null, in the defaults too: where no norm follows directly, and not "
        "between the two of separable_linear",
    )
    activation: str | None = setting(
        None, "the nonlinearity", choices=lambda: (*ACTIVATIONS, *Own().activations)
    )
    norm: Literal["batch", "group", "none"] | None = setting(
        None, "batch norm, group norm (as many groups as divide the width, at most 8), or none"
    )
    order: Literal["conv_act_norm", "conv_norm_act", "norm_act_conv"] | None = setting(
        None, "the sequence around each convolution"
    )
    pool: int | None = setting(None, "window and step of the pooling after it; 1: none", ge=1, le=8)
    pool_type: Literal["max", "avg"] | None = setting(None, "max or average pooling")
    dropout: float | None = setting(
        None, "share of activations zeroed at the row's end in training", ge=0, lt=1
    )
    residual: bool | None = setting(
        None,
        "add the block's input before pooling, by a 1×1 projection where shapes differ; null, in the "
        "defaults too: as the block has it",
    )
    projection_norm: bool | None = setting(
        None, "a norm on that projection; null, in the defaults too: in all blocks but conv"
    )
    repeat: int | None = setting(
        None,
        "the block so many times: stride and a change of width in the first, pool and dropout once, "
        "at the row's end; 0 leaves the row out",
        ge=0,
        le=64,
    )
    after: str | None = setting(
        None, "of a row only: the row that this one follows; null: in the configuration's order"
    )


# OmegaConf first sets what `+model.layers.NAME.width=8` adds as a plain mapping.
LayerConfig.register(dict)


def _reference_row() -> LayerConfig:
    return LayerConfig(
        kernel=3, padding="same", stride=1, dilation=1, groups=1, conv="standard", block="conv",
        expand=6.0, squeeze_excite=0.0, activation="relu", norm="batch", order="conv_act_norm",
        pool=1, pool_type="max", dropout=0.0, repeat=1,
    )  # fmt: skip


@dataclass
class ModelConfig:
    """The network: an ordered mapping of rows and a classifier head."""

    name: str = setting("custom", "a label for tables and files")
    width_multiplier: float = setting(1.0, "scales the width of every row", gt=0, le=64)
    defaults: LayerConfig = field(default_factory=_reference_row)
    layers: dict[str, LayerConfig | None] = field(default_factory=dict)
    head: Literal["conv", "gap"] = setting(
        "conv",
        "conv: a convolution over the whole remaining map (1×1 in the reference); "
        "gap: global average pooling, then a 1×1 convolution",
    )
    head_hidden: int | None = setting(
        None,
        "channels of a hidden layer in the head, before model.width_multiplier, with the defaults' "
        "activation; null: none",
        ge=1,
        le=1_000_000,
    )


@dataclass
class DataConfig:
    """Where the images come from and how they are split."""

    name: Literal[
        "mnist", "fashion_mnist", "kmnist", "qmnist", "emnist", "usps", "cifar10",
        "digits", "image_folder",
    ] = setting("mnist", "the dataset")  # fmt: skip
    channels: Number = setting(
        1, "image channels: 1 grey, 3 colour; null: from the data (image_folder)", ge=1, le=3
    )
    classes: Number = setting(
        10, "number of classes; null: from the data (image_folder)", ge=2, le=10_000
    )
    size: int = setting(28, "side of the square images, pixels", ge=1, le=512)
    mean: Numbers = setting(
        [0.1307],
        "per-channel mean of the training pixels in 0–1; auto: computed from them",
        allowed=_MOMENTS,
    )
    std: Numbers = setting(
        [0.3081],
        "per-channel standard deviation of the training pixels; auto: computed from them",
        allowed=_MOMENTS,
    )
    root: str = setting("data", "folder that holds, or will hold, the datasets")
    mirror: str | None = setting(
        None, "URL or file:// folder with the dataset's original files; null: the official source"
    )
    download: bool = setting(True, "fetch missing files")
    path: str | None = setting(
        None,
        "image_folder only: folder with one sub-folder a class, or train/, val/, test/ of such",
    )
    validation: int | Literal["auto"] = setting(
        5_000,
        "images held out of the training set, stratified; 0: none; auto: an image folder's val/, "
        "otherwise a fifth, at most 5,000",
        ge=0,
        allowed="must be a whole number of images from 0, or auto.",
    )
    split_seed: int = setting(
        0, "seed of the validation split, apart from the run's seed", ge=0, lt=2**32
    )
    limit: int | None = setting(
        None, "use at most so many training images, stratified; null: all", ge=1
    )


@dataclass
class AugmentConfig:
    """Random change of every training image, a new draw each epoch, in the order listed here."""

    flip: bool = setting(False, "mirror images left to right")
    flip_p: float = setting(0.5, "share of the images that are mirrored", ge=0, le=1)
    rotation: float = setting(0.0, "largest angle either way, degrees", ge=0, le=180)
    shift: float = setting(0.0, "largest shift either way, share of the side", ge=0, le=1)
    scale: float = setting(0.0, "largest change of size either way, share", ge=0, lt=1)
    shear: float = setting(0.0, "largest horizontal shear either way, degrees", ge=0, lt=90)
    affine_p: float = setting(
        1.0, "share of the images that are turned, shifted, scaled and sheared", ge=0, le=1
    )
    elastic: float = setting(
        0.0,
        "largest displacement either way of each point of a coarse grid, share of the side",
        ge=0,
        le=1,
    )
    elastic_points: int = setting(
        6, "points of that grid a side; between them it is smooth", ge=2, le=512
    )
    elastic_p: float = setting(1.0, "share of the images that are displaced so", ge=0, le=1)
    fill: Literal["auto", "black", "mean", "edge"] = setting(
        "auto",
        "what lies beside a turned, shifted or displaced image: data.mean, or its edge drawn on; auto: edge "
        "for image_folder, otherwise black",
    )
    crop: float = setting(
        0.0, "pad each side by this share of it, then cut the old size anywhere", ge=0, le=0.5
    )
    crop_padding: Literal["reflect", "replicate", "zero"] = setting(
        "reflect", "what the padding shows: the image mirrored, its edge, or black"
    )
    crop_p: float = setting(1.0, "share of the images that are cropped", ge=0, le=1)
    brightness: float = setting(0.0, "largest change of brightness either way, share", ge=0, le=1)
    brightness_p: float = setting(1.0, "share of the images it is for", ge=0, le=1)
    contrast: float = setting(0.0, "largest change of contrast either way, share", ge=0, le=1)
    contrast_p: float = setting(1.0, "share of the images it is for", ge=0, le=1)
    saturation: float = setting(
        0.0, "largest change of saturation either way, share; colour only", ge=0, le=1
    )
    saturation_p: float = setting(1.0, "share of the images it is for", ge=0, le=1)
    grey: float = setting(0.0, "share of the images that lose their colour", ge=0, le=1)
    cutout: float = setting(
        0.0, "side of a square covered with data.mean, share of the image's", ge=0, le=1
    )
    cutout_p: float = setting(1.0, "share of the images it is for", ge=0, le=1)
    mixup: float = setting(
        0.0,
        "blend pairs of images and their labels, by shares from Beta(mixup, mixup)",
        ge=0,
        le=10,
    )
    mixup_p: float = setting(1.0, "share of the images that are blended", ge=0, le=1)
    until: float = setting(
        1.0,
        "share of the run from which on all these probabilities fall, linearly, to 0 at its end; "
        "1: they stay",
        ge=0,
        le=1,
    )


@dataclass
class OptimizerConfig:
    """The update rule. What one rule does not use, the other ignores."""

    name: Literal["sgd", "adamw"] = setting("sgd", "the update rule")
    lr: float = setting(0.1, "peak learning rate", gt=0, le=100)
    weight_decay: float = setting(5e-4, "L2 penalty (sgd) or decoupled decay (adamw)", ge=0, le=10)
    momentum: float = setting(0.9, "sgd only: momentum", ge=0, lt=1)
    nesterov: bool = setting(True, "sgd only: Nesterov's form of momentum")
    beta1: float = setting(0.9, "adamw only: decay of the mean gradient", ge=0, lt=1)
    beta2: float = setting(0.999, "adamw only: decay of the squared gradient", ge=0, lt=1)
    clip: float | None = setting(
        None, "largest norm of a step's gradient, over all weights; null: unlimited", gt=0
    )


@dataclass
class SchedulerConfig:
    """The learning rate over the run, stepped every batch."""

    name: Literal["one_cycle", "cosine", "step", "constant"] = setting(
        "one_cycle", "shape of the schedule"
    )
    warmup: float = setting(
        0.3, "one_cycle, cosine: share of the run until the peak rate", ge=0, lt=1
    )
    start_factor: float = setting(0.04, "first learning rate, share of the peak", gt=0, le=1)
    end_factor: float | None = setting(
        None,
        "one_cycle, cosine: last learning rate, share of the peak; null: start_factor / 10,000 under "
        "one_cycle, 0 under cosine",
        ge=0,
        le=1,
    )
    cycle_momentum: bool = setting(
        True, "one_cycle: momentum (beta1) falls from 0.95 to 0.85 while the rate rises"
    )
    step_epochs: int = setting(6, "step: epochs between two drops", ge=1)
    gamma: float = setting(0.1, "step: factor of a drop", gt=0, le=1)


@dataclass
class TrainerConfig:
    """How long and on what the network is trained."""

    epochs: int = setting(20, "passes over the training images", ge=1, le=100_000)
    batch_size: int = setting(128, "images a step", ge=1, le=65_536)
    eval_batch_size: int = setting(500, "images a forward pass when evaluating", ge=1, le=1_000_000)
    label_smoothing: float = setting(
        0.05, "share of the target spread over all classes", ge=0, lt=1
    )
    class_weights: Literal["none", "balanced"] = setting(
        "none",
        "balanced: in the training loss each class counts alike, however many images it has; the "
        "loss is a weighted mean, so of the same size; validation and test losses stay unweighted",
    )
    ema: float = setting(
        0.0,
        "decay of the moving average of the weights, a step, less at first; 0: off",
        ge=0,
        lt=1,
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = setting("auto", "where it runs")
    threads: int | None = setting(
        None,
        "CPU threads; null: all cores in a single run, one in a sweep; another number changes the last "
        "bits of the results",
        ge=1,
        le=1024,
    )
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "auto: bfloat16 autocast where it was measured to be faster here"
    )
    memory_format: Literal["auto", "channels_last", "contiguous"] = setting(
        "auto", "auto: the one measured to be faster here"
    )
    compile: bool = setting(
        False,
        "torch.compile for the network: for long runs, its half minute is spent once a run; on a "
        "GPU with CUDA graphs",
    )
    first_look: int | None = setting(
        15,
        "optimizer steps until a sweep first compares a trial with the others; it does so again "
        "after 3 times as many, and so on, and after each epoch; null: after each epoch only",
        ge=1,
    )
    look_images: int = setting(
        1_000,
        "validation images, at most, by whose loss or accuracy a sweep compares its trials",
        ge=2,
    )
    look_ema: float = setting(
        0.0,
        "decay, a step, of a moving average of the weights by which a sweep compares its trials while they "
        "train, less at first; 0: by the weights as they are",
        ge=0,
        lt=1,
    )
    test: bool | None = setting(
        None,
        "read the test set once, after the last epoch; null: in a single run, and in no sweep "
        "(a finished run reads it when it is given true and resume=true)",
    )
    progress: bool = setting(True, "a progress bar where the output is a terminal")
    tensorboard: bool = setting(False, "write TensorBoard events too (needs the tensorboard extra)")


@dataclass
class TeacherConfig:
    """A trained network whose scores are learned beside the labels: distillation."""

    run: str | None = setting(
        None, "folder of a finished run, or of a sweep for its winner; null: labels alone"
    )
    weight: float = setting(
        0.5, "its share of the training loss; the labels have the rest", ge=0, le=1
    )
    temperature: float = setting(
        2.0, "both networks' scores are divided by it: the higher, the more unlikely classes count",
        gt=0, le=100,
    )  # fmt: skip


@dataclass
class BudgetConfig:
    """What one network may cost; null: no limit."""

    max_parameters: int | None = setting(20_000, "trainable parameters", ge=1)
    max_macs: int | None = setting(None, "multiply-accumulates of one image's inference", ge=1)
    max_weight_bytes: int | str | None = setting(
        None,
        "flash: what all weights take at `bits` bits; bytes, or with a unit: 64kB (1,000), 64KiB (1,024)",
        ge=1,
        allowed=BYTES,
    )
    max_activation_bytes: int | str | None = setting(
        None,
        "RAM: most that is held at once during one image's inference, at `bits` bits a number; bytes, or "
        "with a unit",
        ge=1,
        allowed=BYTES,
    )
    bits: Literal[32, 16, 8] = setting(
        32,
        "of a stored weight and activation on the device; with 8, biases and norms stay at 32 and each "
        "output channel has a 32-bit scale",
    )
    min_receptive_field: int | None = setting(
        None, "least side of the square of the image that the last row sees, pixels", ge=1
    )
    fit: bool = setting(
        False, "scale all widths to the largest network that fits, instead of refusing"
    )


@dataclass
class Config:
    """One training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    # torch's generator on a CPU takes 32 bits: from 2³² on, seeds would repeat earlier runs.
    seed: int = setting(0, "seed of weights, batches, augmentation and dropout", ge=0, lt=2**32)
    objectives: list[str] = setting(
        ["val_loss"], f"what a sweep gets back of each run; several of {', '.join(OBJECTIVES)}"
    )
    target: float | None = setting(
        None,
        "validation accuracy that size_at_target asks of a network, share: its parameters where it has "
        "that, once more for every tenth of the allowed errors above them",
        gt=0,
        lt=1,
    )
    resume: bool = setting(False, "go on from the checkpoint in the run's folder, if there is one")
