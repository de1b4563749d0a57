"""Golden models compiled, run and checked against both references (spec §9.7)."""

import json

import numpy as np
import pytest
from model_files import SHARED, VENDORED

import plena_emu
from plena_emu.errors import EmuError
from plena_emu.models.check import check_build, clear_choices
from plena_emu.models.compiler import compile as compile_model
from plena_emu.models.references import load_references, relative_rms
from plena_emu.models.results import load_results

FOLDERS = {path.parent.name: path.parent
           for base in (SHARED, VENDORED) for path in sorted(base.glob("*/config.json"))}
TEXT = sorted(name for name in FOLDERS if "vision" not in name)
PRESETS = dict.fromkeys(TEXT, ("m64b16", "m256b64"))
PRESETS |= dict.fromkeys(("qwen2_bias", "llama_hd32_b2"), ("m16b4", "m32b8", "m64b16", "m256b64"))


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
    assert report.holds, report
    assert report.choices.tokens == outputs["logits"].shape[0] * outputs["logits"].shape[1]
    assert report.choices.clear > 0
    # What the build carries as f32 reference is what Hugging Face computed, not what we made of it.
    references = load_references(directory)
    assert relative_rms(references["f32/hidden"], outputs["hidden"][-1]) < 2e-4
    assert relative_rms(references["f32/logits"], outputs["logits"]) < 2e-4
    assert relative_rms(load_results(directory)["hidden"], outputs["hidden"][-1]) < 0.08


@pytest.mark.parametrize("preset", ["m16b4", "m32b8", "m64b16", "m256b64"])
@pytest.mark.skipif("smolvlm_vision" not in FOLDERS, reason="the golden is too large to lie in the repository")
def test_vision(preset, tmp_path):
    inputs, outputs = (np.load(FOLDERS["smolvlm_vision"] / f"{kind}.npz") for kind in ("inputs", "outputs"))
    pixels = saved(tmp_path / "pixels.npy", inputs["pixel_values"])
    directory, report = built(tmp_path / "build", "smolvlm_vision", preset=preset, part="vision", pixels=pixels)
    assert report.holds, report
    references, found = load_references(directory), load_results(directory)
    for name, expected in (("hidden", outputs["last_hidden"]), ("connector", outputs["connector"])):
        assert relative_rms(references[f"f32/{name}"], expected) < 2e-4
        assert relative_rms(found[name], expected) < 0.08


@pytest.mark.parametrize("preset, image", [("m16b4", 32), ("m64b16", 64), ("m256b64", None)])
def test_a_seeded_vision_model(preset, image, tmp_path):
    """Sizes that are no multiple of MLEN, images smaller than the model's."""
    config = {"model_type": "smolvlm", "scale_factor": 2, "text_config": {"hidden_size": 40, "num_attention_heads": 2},
              "vision_config": {"hidden_size": 72, "intermediate_size": 104, "num_hidden_layers": 2, "image_size": 80,
                                "num_attention_heads": 3, "patch_size": 8}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    directory = tmp_path / "build"
    compile_model(tmp_path / "config.json", directory, preset=preset, part="vision", image=image)
    plena_emu.run(directory, dump_dir=directory)
    report = check_build(directory)
    tokens = ((image or 80) // 16) ** 2
    assert report.holds and {r.name: r.shape for r in report.results}["connector"] == (1, tokens, 40), report


def clear(logits):
    """Whether the choice of each sequence is clear (§9.7)."""
    return clear_choices(logits.reshape(len(logits), -1))


@pytest.mark.parametrize("model, preset", [(name, preset) for name in TEXT for preset in PRESETS[name]
                                           if name != "llada_bidirectional"])
def test_every_decode_step(model, preset, tmp_path):
    """Each step takes the cache of the run before, and is right against Hugging Face's step with its own cache."""
    inputs, outputs = (np.load(FOLDERS[model] / f"{kind}.npz") for kind in ("inputs", "outputs"))
    prompt, ids = int(inputs["prefill"]), inputs["ids"]
    tokens = saved(tmp_path / "ids.npy", ids[:, :prompt])
    before, _ = built(tmp_path / "prefill", model, preset=preset, tokens=tokens, logits="none")
    steps = zip(outputs["decode_last_hidden"], outputs["decode_logits"], strict=True)
    for step, (hidden, logits) in enumerate(steps):
        tokens = saved(tmp_path / "ids.npy", ids[:, prompt + step : prompt + step + 1])
        directory, report = built(tmp_path / f"step{step}", model, preset=preset, tokens=tokens, cache_from=str(before))
        assert report.holds, report
        references, found = load_references(directory), load_results(directory)
        assert relative_rms(references["f32/hidden"], hidden) < 2e-4
        assert relative_rms(references["f32/logits"], logits) < 2e-4
        assert relative_rms(found["hidden"], hidden) < 0.08
        same = found["logits"].argmax(axis=-1) == logits.argmax(axis=-1)
        assert same.reshape(-1)[clear(logits)].all()
        earlier = load_results(before)
        for name in ("K_0", "V_1"):  # the neighbours of the new row are as they were
            assert np.array_equal(found[name][:, :, :-1], earlier[name]), name
        before = directory


@pytest.mark.parametrize("model", [name for name in TEXT if name != "llada_bidirectional"])
def test_greedy_continuation(model, tmp_path):
    """Eight tokens, each the f32 forward's choice: where that is clear the machine's own choice is the same (§9.7)."""
    ids = np.load(FOLDERS[model] / "inputs.npz")["ids"][:, :12]
    before, report = built(tmp_path / "prefill", model, tokens=saved(tmp_path / "ids.npy", ids))
    clear_ones = 0
    for step in range(8):
        assert report.holds, (step, report)
        clear_ones += report.choices.clear
        chosen = load_references(before)["f32/logits"].argmax(axis=-1)
        tokens = saved(tmp_path / "ids.npy", chosen)
        before, report = built(tmp_path / f"step{step}", model, tokens=tokens, cache_from=str(before))
    assert report.holds and clear_ones > 0


def test_a_part_of_a_cache(tmp_path):
    """--past before the cache's end gives the step that a shorter prefill gives."""
    ids = np.load(FOLDERS["llama_hd32_b2"] / "inputs.npz")["ids"]
    options = {"preset": "m16b4", "logits": "last"}
    steps = []
    for length in (9, 20):
        tokens = saved(tmp_path / "ids.npy", ids[:, :length])
        before, _ = built(tmp_path / f"of{length}", "llama_hd32_b2", tokens=tokens, preset="m16b4", logits="none")
        tokens = saved(tmp_path / "ids.npy", ids[:, 9:10])
        steps.append(built(tmp_path / f"step{length}", "llama_hd32_b2", tokens=tokens, past=9, cache_from=str(before),
                           **options))
    assert all(report.holds for _, report in steps)
    (first, _), (second, _) = steps
    assert np.array_equal(load_results(first)["logits"], load_results(second)["logits"])
    with pytest.raises(EmuError, match="its cache holds 9 tokens, --past asks for 10"):
        compile_model(FOLDERS["llama_hd32_b2"], tmp_path / "no", past=10, cache_from=str(tmp_path / "of9"), **options)


def test_the_check_looks_at_the_machine(tmp_path):
    """Another program's dumps do not pass: the check is no comparison of a build with itself."""
    model = "qwen2_bias"
    first, _ = built(tmp_path / "first", model, prefill=9, logits="none")
    second, _ = built(tmp_path / "second", model, prefill=9, logits="none", tokens=None, weights="random:7")
    report = check_build(first, second)
    assert not report.ok and report.results[0].machine_error > 0.5
