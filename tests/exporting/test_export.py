from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from budgetsweep.config import Config, DataConfig, LayerConfig, ModelConfig, TrainerConfig
from budgetsweep.data import load
from budgetsweep.data.pixels import normalize, to_unit
from budgetsweep.errors import UserError
from budgetsweep.export import main
from budgetsweep.exporting.exporter import FILES, export
from budgetsweep.exporting.int8 import split_for_int8
from budgetsweep.network.saved import SavedRun, load_run
from budgetsweep.training.run import run

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the onnx extra")

# torch, onnxscript and onnxruntime use what their dependencies have deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def digits_config(order: str, validation: int = 287) -> Config:
    defaults = replace(
        ModelConfig().defaults, padding="same", order=order, pool=2, dropout=0.1, residual=True
    )  # type: ignore[arg-type]
    rows = {"a": LayerConfig(width=8), "b": LayerConfig(width=12), "c": LayerConfig(width=16)}
    return Config(
        model=ModelConfig(name="small", defaults=defaults, layers=dict(rows), head="gap"),
        data=DataConfig(name="digits", mean=[0.306], std=[0.3251], validation=validation),
        trainer=TrainerConfig(
            epochs=4, device="cpu", precision="fp32", memory_format="contiguous", batch_size=32
        ),
    )


@pytest.fixture(scope="module", params=["conv_act_norm", "conv_norm_act"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SavedRun, dict[str, Any]]:
    """A run with batch norm that cannot, and that can be folded; and all its exports by format."""
    folder = tmp_path_factory.mktemp("run")
    config = digits_config(request.param)
    (folder / ".hydra").mkdir()
    OmegaConf.save(OmegaConf.structured(config), folder / ".hydra" / "config.yaml")
    run(config, folder, threads=1)
    main([str(folder)])
    content = json.loads((folder / "export" / "export.json").read_text())
    return load_run(folder), {e["format"]: e for e in content["exports"]}


def pixels_and_truth(saved: SavedRun, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Real images, and what the network of the run says without any exporter."""
    images = to_unit(load(saved.config.data).train.images[:n])
    with torch.inference_mode():
        return images, saved.network(normalize(images, saved.config.data))


@pytest.mark.parametrize("n", [1, 7])
def test_onnx_says_the_same_from_pixels_for_any_batch(exported: Any, n: int) -> None:
    saved, _ = exported
    pixels, expected = pixels_and_truth(saved, n)
    session = onnxruntime.InferenceSession(str(saved.folder / "export" / FILES["onnx"]))
    (scores,) = session.run(["log_probabilities"], {"pixels": pixels.numpy()})
    assert np.abs(scores - expected.numpy()).max() < 1e-4


@pytest.mark.parametrize("n", [1, 7])
def test_torch_export_says_the_same(exported: Any, n: int) -> None:
    saved, _ = exported
    pixels, expected = pixels_and_truth(saved, n)
    program = torch.export.load(saved.folder / "export" / FILES["torch"])
    assert (program.module()(pixels) - expected).abs().max() < 1e-4


def test_the_recount_is_the_runs(exported: Any) -> None:
    saved, exports = exported
    expected = sum(p.numel() for p in saved.network.parameters())
    assert {e["parameters"] for e in exports.values()} == {expected}
    assert saved.summary["parameters"] == expected
    buffers = sum(b.numel() for b in saved.network.buffers() if b.is_floating_point())
    folded = saved.config.model.defaults.order == "conv_norm_act"
    assert exports["torch"]["stored_numbers"] == expected + buffers + 2  # mean and std
    assert (exports["onnx"]["stored_numbers"] < expected) == folded


def test_int8_is_smaller_and_nearly_as_good(exported: Any) -> None:
    saved, exports = exported
    result = exports["int8"]["accuracy"]
    assert exports["int8"]["weight_bytes"] < exports["onnx"]["weight_bytes"] / 2
    assert result["images"] == 287 and result["on"] == "validation images"
    assert result["float32"] == pytest.approx(saved.summary["val_accuracy"], abs=0.005)
    assert result["cost"] == pytest.approx(result["float32"] - result["int8"])
    assert abs(result["cost"]) < 0.05
    weights = onnx.load(saved.folder / "export" / FILES["int8"]).graph.initializer
    small = [onnx.numpy_helper.to_array(w) for w in weights if w.data_type == onnx.TensorProto.INT8]
    kernels = [w for w in small if w.ndim == 4]
    # Larger ones overflow on processors without VNNI.
    assert kernels and all(np.abs(w.astype(int)).max() <= 64 for w in kernels)


def test_files_are_valid_name_their_classes_and_not_this_machine(exported: Any) -> None:
    saved, exports = exported
    for name in ("onnx", "int8"):
        path = saved.folder / "export" / FILES[name]
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        notes = {p.key: p.value for p in model.metadata_props}
        assert json.loads(notes["class_names"]) == list("0123456789")
        assert path.stat().st_size == exports[name]["file_bytes"]
        assert str(Path(torch.__file__).parent).encode() not in path.read_bytes()
    expected = [*(FILES[name] for name in exports), "export.json"]
    assert sorted(p.name for p in path.parent.iterdir()) == sorted(expected)


def test_calibration_and_measurement_share_no_image() -> None:
    config = digits_config("conv_act_norm", validation=0)
    dataset = load(config.data)
    calibration, measured, words = split_for_int8(dataset)
    assert len(calibration) + len(measured) == len(dataset.train)
    assert words == "training images (none held out)"
    assert len(calibration) == 512


def test_a_run_that_does_not_hold_together_is_refused(exported: Any, tmp_path: Path) -> None:
    saved, _ = exported
    broken = SavedRun(
        saved.folder, saved.config, saved.network, saved.class_names, {"parameters": 7}
    )
    with pytest.raises(UserError, match="the run 7"):
        export(broken, ["torch"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named_and_torch_works_without(
    exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, _ = exported
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SystemExit, match=r"pip install 'budgetsweep\[onnx\]'"):
        main([str(saved.folder), "--output", str(tmp_path)])
    main([str(saved.folder), "--output", str(tmp_path), "--format", "torch"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["export.json", FILES["torch"]]


@pytest.mark.slow
def test_c_is_compared_and_its_memory_told_beside_what_the_budget_counts(
    exported: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("emx_onnx_cgen", reason="needs the c extra")
    saved, _ = exported
    main([str(saved.folder), "--output", str(tmp_path), "--format", "c", "c_int8"])
    plain, small = json.loads((tmp_path / "export.json").read_text())["exports"]
    assert plain["largest_difference"] < 1e-4
    assert abs(small["accuracy"]["cost"]) < 0.05
    assert plain["memory"]["ram"] <= 1.2 * plain["memory"]["counted_ram"]
    assert small["weight_bytes"] < plain["weight_bytes"] / 2
    told = capsys.readouterr().out
    for result in (plain, small):
        assert f"{result['memory']['ram']:,} bytes of RAM" in told
        assert "alloc" not in (tmp_path / result["file"]).read_text()


def test_a_missing_generator_is_named(
    exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, _ = exported
    blocked = tmp_path / "emx_onnx_cgen.py"
    blocked.write_text("raise ModuleNotFoundError('No module named emx_onnx_cgen')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"pip install 'budgetsweep\[c\]'"):
        main([str(saved.folder), "--output", str(tmp_path / "out"), "--format", "c"])
