"""Golden models compiled, run and checked against both references (spec §9.7)."""

import numpy as np
import plena_emu
import pytest
from model_files import SHARED, VENDORED
from plena_emu.models.check import check_build, relative_rms
from plena_emu.models.compiler import compile as compile_model
from plena_emu.models.references import load_references
from plena_emu.models.results import load_results

FOLDERS = {path.parent.name: path.parent
           for base in (SHARED, VENDORED) for path in sorted(base.glob("*/config.json"))}
TEXT = sorted(name for name in FOLDERS if "vision" not in name)
PRESETS = {name: ("m64b16", "m256b64") for name in TEXT}
PRESETS |= {name: ("m16b4", "m32b8", "m64b16", "m256b64") for name in ("qwen2_bias", "llama_hd32_b2")}


def saved(path, values):
    np.save(path, values)
    return str(path)


def built(directory, model, **options):
    """Compile and run; returns the build and the report of its check."""
    compile_model(FOLDERS[model], directory, **options)
    plena_emu.run(directory, dump_dir=directory)
    return directory, check_build(directory)


@pytest.mark.parametrize("model, preset", [(name, preset) for name in TEXT for preset in PRESETS[name]])
def test_prefill(model, preset, tmp_path):
    inputs, outputs = (np.load(FOLDERS[model] / f"{kind}.npz") for kind in ("inputs", "outputs"))
    ids = saved(tmp_path / "ids.npy", inputs["ids"][:, : int(inputs["prefill"])])
    directory, report = built(tmp_path / "build", model, preset=preset, tokens=ids, logits="all")
    assert report.ok, report
    assert report.choices.tokens == outputs["logits"].shape[0] * outputs["logits"].shape[1]
    assert report.choices.clear > 0
    # What the build carries as f32 reference is what Hugging Face computed, not what we made of it.
    references = load_references(directory)
    assert relative_rms(references["f32/hidden"], outputs["hidden"][-1]) < 2e-4
    assert relative_rms(references["f32/logits"], outputs["logits"]) < 2e-4
    assert relative_rms(load_results(directory)["hidden"], outputs["hidden"][-1]) < 0.08


def test_the_check_looks_at_the_machine(tmp_path):
    """Another program's dumps do not pass: the check is no comparison of a build with itself."""
    model = "qwen2_bias"
    first, _ = built(tmp_path / "first", model, prefill=9, logits="none")
    second, _ = built(tmp_path / "second", model, prefill=9, logits="none", tokens=None, weights="random:7")
    report = check_build(first, second)
    assert not report.ok and report.results[0].machine_error > 0.5
