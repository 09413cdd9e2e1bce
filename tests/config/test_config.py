"""The settings a person sees, their ranges, and that everything in conf/ keeps to them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest
from composing import MODELS, compose, compose_raw
from hydra.errors import HydraException
from omegaconf import OmegaConf

from budgetsweep.config import CONF_DIR, Config, LayerConfig, check, register
from budgetsweep.config.settings_page import settings
from budgetsweep.errors import SettingError
from budgetsweep.mistakes import told_in_words
from hydra_budget_sweeper.compose import flatten
from hydra_budget_sweeper.space.grammar import override_text
from hydra_budget_sweeper.space.parse import parse_space
from hydra_budget_sweeper.space.patterns import expand
from hydra_budget_sweeper.space.points import read_point

ROW = (
    "width kernel padding stride dilation groups conv block expand squeeze_excite bias activation norm "
    "order pool pool_type dropout residual projection_norm repeat after"
)
# A key that is added, renamed or removed changes what people's files and commands mean.
KEYS = {
    "model": "name width_multiplier",
    "model.defaults": ROW,
    "model.layers.<name>": ROW,
    "model.": "head head_hidden",
    "data": "name channels classes size mean std root mirror download path validation split_seed limit",
    "augment": "flip flip_p rotation shift scale shear affine_p elastic elastic_points elastic_p fill crop crop_padding crop_p brightness brightness_p contrast contrast_p saturation saturation_p grey cutout cutout_p mixup mixup_p until",
    "optimizer": "name lr weight_decay momentum nesterov beta1 beta2 clip",
    "scheduler": "name warmup start_factor end_factor cycle_momentum step_epochs gamma",
    "trainer": "epochs batch_size eval_batch_size label_smoothing class_weights ema device threads precision memory_format compile first_look look_images look_ema test progress tensorboard",
    "teacher": "run weight temperature",
    "budget": "max_parameters max_macs max_weight_bytes max_activation_bytes bits min_receptive_field fit",
    "": "seed objectives target resume",
}

GROUPS = {
    f"{group}={path.relative_to(CONF_DIR / group).with_suffix('')}": group
    for group in (
        "model", "data", "augment", "optimizer", "scheduler", "trainer", "budget", "search", "experiment",
    )
    for path in sorted((CONF_DIR / group).rglob("*.yaml"))
}  # fmt: skip


def test_the_settings_are_these() -> None:
    expected = [
        f"{part}.{leaf}".replace("..", ".").lstrip(".")
        for part, leaves in KEYS.items()
        for leaf in leaves.split()
    ]
    assert [s.key for s in settings()] == expected


def test_every_setting_says_what_it_means() -> None:
    assert [s.key for s in settings() if len(s.help) < 5] == []


def test_every_group_has_options() -> None:
    assert len(set(GROUPS.values())) == 9


@pytest.mark.parametrize("option", GROUPS)
def test_every_option_in_conf_keeps_to_the_schema_and_its_ranges(option: str) -> None:
    needed = ["data.path=somewhere"] if option == "data=image_folder" else []
    compose(option, *needed)


@pytest.mark.parametrize(
    "name", [s.removeprefix("experiment=") for s in GROUPS if s.startswith("experiment=")]
)
def test_every_experiment_composes_for_a_sweep(name: str) -> None:
    # Group overrides in an experiment hold, and a person's own come last.
    config = compose(f"experiment={name}", "trainer.epochs=3")
    assert config.trainer.epochs == 3


@pytest.mark.parametrize("option", [s for s, g in GROUPS.items() if g in ("search", "experiment")])
def test_any_sampler_and_pruner_goes_with_it(option: str) -> None:
    others = "hydra/sweeper/sampler=random", "hydra/sweeper/pruner=none"
    sweeper = compose_raw(option, *others, return_hydra_config=True).hydra.sweeper
    assert sweeper.sampler._target_.endswith("RandomSampler")
    assert sweeper.pruner._target_.endswith("NopPruner")


@pytest.mark.parametrize("search", [s for s in GROUPS if s.startswith("search=")])
def test_no_search_reads_the_test_set(search: str) -> None:
    config = compose(search)
    assert not config.trainer.test
    assert config.data.validation > 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("search", ["widths", "dropout", "joint", "pareto"])
def test_a_search_searches_the_rows_of_any_model(search: str, model: str) -> None:
    sweeper = OmegaConf.load(CONF_DIR / "search" / f"{search}.yaml").hydra.sweeper
    cfg = compose_raw(f"model={model}")
    present = {key: override_text(value) for key, value in flatten(cfg).items()}
    params = expand(sweeper.params, present, "params")
    key = "dropout" if search == "dropout" else "width"
    assert {f"model.layers.{row}.{key}" for row in cfg.model.layers} <= set(params)
    space = parse_space(params, [], present)
    for point in sweeper.get("enqueue", ()):  # the network as it is
        stored = read_point(expand(point, present, "enqueue"), space)
        same = compose(f"model={model}", *space.overrides(stored))
        assert same.model == replace(compose(f"model={model}").model, defaults=same.model.defaults)


def bounded() -> list[tuple[str, str, float, bool]]:
    """Each end of each range: key, sign, bound and whether the type is a whole number."""
    pairs = [(s, part.split()) for s in settings() for part in s.bounds.split(" and ") if part]
    return [
        (s.key, sign, int(bound) if "int" in s.type else float(bound), "int" in s.type)
        for s, (sign, bound) in pairs
    ]


def one_step(sign: str, bound: float, whole: bool) -> tuple[float, float]:
    """The last value allowed by one end of a range, and the first refused."""
    step = 1 if whole else 1e-9 * max(1.0, abs(bound))
    return {
        "≥": (bound, bound - step),
        "≤": (bound, bound + step),
        ">": (bound + step, bound),
        "<": (bound - step, bound),
    }[sign]


def with_value(key: str, value: Any) -> Config:
    config = Config()
    config.model.layers["<name>"] = LayerConfig()
    node: Any = config
    *path, leaf = key.split(".")
    for name in path:
        node = node[name] if isinstance(node, dict) else getattr(node, name)
    assert hasattr(node, leaf)
    setattr(node, leaf, value)
    return config


@pytest.mark.parametrize(("key", "sign", "bound", "whole"), bounded())
def test_a_range_ends_where_it_says(key: str, sign: str, bound: float, whole: bool) -> None:
    allowed, refused = one_step(sign, bound, whole)
    check(with_value(key, allowed))
    with pytest.raises(SettingError) as error:
        check(with_value(key, refused))
    assert str(error.value).startswith(f"{key}=")
    assert sign in str(error.value)


@pytest.mark.parametrize("key", sorted({key for key, *_ in bounded()}))
def test_not_a_number_is_in_no_range(key: str) -> None:
    with pytest.raises(SettingError, match="nan"):
        check(with_value(key, float("nan")))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lrr=1", ["lrr", "lr"]),
        ("model.layers.conv33.width=8", ["conv33", "conv3"]),
        ("model.layers.conv3.widht=8", ["widht", "width"]),
        ("trainer.epochs=many", ["trainer.epochs", "many"]),
        ("trainer.epochs=1.5", ["trainer.epochs", "1.5"]),
        ("model.layers.conv3.width=wide", ["width", "wide"]),
        ("trainer.test=perhaps", ["trainer.test", "perhaps"]),
        ("optimizer.name=rmsprop", ["optimizer.name", "rmsprop", "sgd", "adamw"]),
        ("data.name=minst", ["data.name", "minst", "mnist"]),
        ("model.head=fc", ["model.head", "fc", "gap"]),
        ("model=resnet", ["model/resnet", "reference"]),
        ("search=depth", ["search/depth", "widths"]),
    ],
)
def test_a_wrong_key_type_or_choice_is_refused_by_name(override: str, words: list[str]) -> None:
    with pytest.raises(HydraException) as error:
        compose_raw(override)
    told = f"{error.value} {error.value.__cause__}"
    assert [word for word in words if word not in told] == []


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+optimizer.lrr=1", ["optimizer.lrr=1", "no such setting", "optimizer.lr?"]),
        ("++trainer.epoch=5", ["trainer.epoch=5", "trainer.epochs?"]),
        ("+model.layers.conv3.widht=8", ["model.layers.conv3.widht=8", "width?"]),
        ("+nonsense=1", ["nonsense=1", "no such setting", "`budgetsweep settings`"]),
        ("+optimzer.lr=1", ["optimzer=", "no such setting", "optimizer?"]),
        ("+data.lr=1", ["data.lr=1", "no such setting", "optimizer.lr?"]),
        ("optimizer.lr=???", ["optimizer.lr=???", "missing"]),
        ("objectives=[]", ["objectives=[]", "val_loss"]),
        ("objectives=[speed]", ["objectives=", "speed", "val_loss", "parameters"]),
        ("+optimizer._target_=os.system", ["optimizer._target_", "no such setting"]),
    ],
)
def test_a_key_that_is_forced_in_is_refused_too(override: str, words: list[str]) -> None:
    with pytest.raises(SettingError) as error:
        compose(override)
    assert [word for word in words if word not in str(error.value)] == []


SEVERAL_TYPES = {
    "budget.max_weight_bytes": "KiB", "budget.max_activation_bytes": "KiB", "data.validation": "auto",
    "data.mean": "list of numbers", "data.std": "list of numbers", "model.defaults.padding": "same",
    "model.layers.conv3.padding": "same",
}  # fmt: skip


def of_several_types() -> set[str]:
    """The settings whose type is none that OmegaConf has a word for, read off the schema itself."""
    found = set()
    for setting in settings():
        kinds = {kind for kind in setting.type.split(" | ") if kind != "null"}
        if len(kinds) > 1 and any(k.startswith(("int", "float", "list")) for k in kinds):
            found.add(setting.key.replace("<name>", "conv3"))
    return found


def test_the_settings_of_several_types_are_these() -> None:
    assert of_several_types() == set(SEVERAL_TYPES)


@pytest.mark.parametrize("key", SEVERAL_TYPES)
def test_a_value_of_none_of_its_types_is_told_what_is_allowed(key: str) -> None:
    value = "0.5" if "data." not in key or key.endswith("validation") else "[few]"
    with pytest.raises(SystemExit) as ended, told_in_words():
        compose_raw(f"{key}={value}")
    told = str(ended.value.code)
    assert told.startswith(f"{key}={value}: must be ") and SEVERAL_TYPES[key] in told
    assert "Union" not in told and "Optional" not in told


def test_so_it_is_in_a_row_that_is_added_by_its_path() -> None:
    with pytest.raises(SettingError, match=r"model\.layers\.new\.padding=1\.5: must be .*same"):
        compose("+model.layers.new.padding=1.5")


def test_a_mean_may_be_a_whole_number() -> None:
    config = compose("data.mean=[0]", "data.std=[1]")
    assert (repr(config.data.mean), repr(config.data.std)) == ("[0.0]", "[1.0]")


def test_the_schema_can_be_registered_again() -> None:
    register()
    register()


def test_an_error_survives_the_way_back_from_a_worker() -> None:
    error = SettingError("optimizer.lr", -1, "must be > 0.", "Try 0.1.")
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error) == "optimizer.lr=-1: must be > 0. Try 0.1."
    # Hydra takes one that came back otherwise than it went for an error of the program.
    assert (type(back), back.args, back.key) == (SettingError, error.args, "optimizer.lr")
