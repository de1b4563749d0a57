"""`results.json`, reading results out of dumps, and the check of a build (spec §9.2, §9.3, §9.7)."""

import json
import os

import msgspec
import numpy as np
import pytest
from model_build import BATCH, KV, ROWS, SETTINGS, TOKENS, hbm_region, write_dumps
from model_files import ROOT, make_model

from plena_emu.errors import EmuError
from plena_emu.models.check import check_build, clear_choices
from plena_emu.models.config_files import parse_config, read_config
from plena_emu.models.folding import FoldedWeights
from plena_emu.models.forward.machine_types import HeldWeights
from plena_emu.models.forward.text import embed, forward_text
from plena_emu.models.forward.vision import forward_vision
from plena_emu.models.number_formats import decode_region, round_bf16, round_stored
from plena_emu.models.references import (
    Caches,
    cache_of,
    references_bytes,
    relative_rms,
    text_references,
    vision_references,
)
from plena_emu.models.results import (
    HbmResult,
    HeadPlace,
    Results,
    _from_regions,
    load_results,
    read_results,
    results_json,
)
from plena_emu.models.weights import open_weights

GOLDEN = ROOT / "tests" / "golden" / "models"


def test_results_come_out_of_the_dumps(build):
    directory, held = build
    found = load_results(directory)
    assert list(found) == ["hidden", "logits", "K_0", "V_0"]
    for name, values in found.items():
        assert values.dtype == np.float32 and values.shape == held[name].shape
        expected = (held[name].view("<u4") & 0xFFFF0000).view("<f4") if name in ("hidden", "logits") else held[name]
        assert np.array_equal(values, expected), name


def test_heads_side_by_side_and_a_cache_out_of_results():
    values = round_bf16(np.random.default_rng(1).standard_normal((BATCH, 2, TOKENS, 8)).astype(np.float32))
    stored = np.frombuffer(hbm_region(values, 16, 12), np.uint8)
    result = HbmResult(name="K_0", shape=values.shape, heads=(HeadPlace("K", 0), HeadPlace("K", 8)),
                       rows_per_sequence=ROWS)
    found = _from_regions(result, {"K": decode_region(stored, 12, 16, KV)})
    assert np.array_equal(found, round_stored(values, KV))
    cache = cache_of({"K_0": found, "V_0": found, "hidden": None})
    assert cache.tokens == TOKENS and len(cache.keys) == 1
    assert cache_of({}).tokens == 0


def test_check_of_a_machine_without_errors(build):
    directory, _ = build
    report = check_build(directory)
    assert report.ok and [result.name for result in report.results] == ["hidden", "logits", "K_0", "V_0"]
    assert all(result.machine_error < 0.005 and 0.005 < result.f32_error < 0.08 for result in report.results)
    assert [result.verdict for result in report.results] == ["holds"] * 4 and report.holds
    assert report.choices.tokens == 6 and report.choices.agree == report.choices.clear


@pytest.mark.parametrize("what", ["noise", "swapped tokens", "NaN"])
def test_check_sees_wrong_hidden_states(build, what):
    directory, held = build
    hidden = held["hidden"].copy()
    if what == "noise":
        hidden += np.random.default_rng(3).standard_normal(hidden.shape).astype(np.float32) * 0.1
    elif what == "swapped tokens":
        hidden[:, [0, 1]] = hidden[:, [1, 0]]
    else:
        hidden[1, 2, 15] = np.nan
    write_dumps(directory, held | {"hidden": hidden})
    report = check_build(directory)
    assert not report.ok and report.results[0].verdict == "broken"


def test_check_sees_another_choice(build):
    directory, held = build
    write_dumps(directory, held | {"logits": -held["logits"]})
    report = check_build(directory)
    assert report.choices.clear > 0 and report.choices.agree == 0 and not report.ok


def test_clear_choices():
    logits = np.zeros((3, 100), dtype=np.float32)
    logits[:, :50] = 1
    logits[0, 7] = 1.4
    logits[1, 7] = 1.1
    assert clear_choices(logits).tolist() == [True, False, False]
    assert clear_choices(logits[:, :1]).tolist() == [True] * 3


@pytest.mark.parametrize("noise, rounding, verdict", [
    (0.02, 0.0, "holds"), (0.045, 0.04, "rounding"), (0.045, 0.02, "broken"), (0.7, 0.04, "broken"),
])
def test_errors_beyond_the_bars_are_rounding_or_wrong(build, noise, rounding, verdict):
    """Beyond 0.03 an error passes only where numpy, rounding as rows do, is as far off; then no bar holds."""
    directory, held = build
    with np.load(directory / "references.npz") as stored:
        references = dict(stored)
    references["rounding/hidden"] = np.array([rounding, references["rounding/hidden"][1]], np.float32)
    (directory / "references.npz").write_bytes(references_bytes(references))
    generator = np.random.default_rng(3)
    hidden = held["hidden"] * (1 + noise * generator.standard_normal(held["hidden"].shape).astype(np.float32))
    write_dumps(directory, held | {"hidden": hidden})
    report = check_build(directory)
    assert report.results[0].verdict == verdict
    assert report.holds == (verdict == "holds") and (report.ok or verdict == "broken")


def test_rounding_alone(tmp_path):
    """Rows in bf16 cost some thousandths in a small model, and depth adds to it."""
    found = []
    for layers in (1, 6):
        config, _ = make_model(tmp_path / str(layers), {"num_hidden_layers": layers}, seed=layers)
        weights = open_weights("random:1", config)
        references = text_references(config, weights, embed(weights, np.arange(6)[None]), SETTINGS)
        machine, f32 = references["rounding/hidden"]
        assert 1e-3 < machine < f32 < 0.3
        found.append(machine)
    assert found[0] < found[1]


def test_relative_rms():
    ones = np.ones(4, dtype=np.float32)
    assert relative_rms(ones * 1.5, ones) == 0.5 and relative_rms(ones, ones) == 0
    assert relative_rms(ones, ones * 0) == np.inf and relative_rms(ones * 0, ones * 0) == 0
    assert np.isnan(relative_rms(ones * np.nan, ones))


def test_references_have_the_same_bytes_each_time(tmp_path):
    config, _ = make_model(tmp_path / "m")
    weights = open_weights(tmp_path / "m", config)
    first, second = (references_bytes(text_references(config, weights, embed(weights, np.array([[1, 2]])), SETTINGS))
                     for _ in range(2))
    assert first == second


def test_references_of_a_decode_step_follow_the_prefill(tmp_path):
    """The step's caches hold those of the prefill and one token more, and its exact half is the longer prefill's."""
    config, _ = make_model(tmp_path / "m")
    weights = open_weights(tmp_path / "m", config)
    ids = np.array([[4, 9, 17, 30]])
    prefill = text_references(config, weights, embed(weights, ids[:, :3]), SETTINGS)
    caches = Caches(cache_of(prefill, "f32/"), cache_of(prefill, "machine/"))
    step = text_references(config, weights, embed(weights, ids[:, 3:]), SETTINGS, caches=caches)
    longer = text_references(config, weights, embed(weights, ids), SETTINGS)
    assert np.array_equal(step["machine/K_0"][:, :, :3], prefill["machine/K_0"])
    for name in ("f32/logits", "f32/K_0", "f32/V_0"):
        assert relative_rms(step[name], longer[name]) < 1e-5
    assert 1e-3 < relative_rms(step["machine/hidden"], step["f32/hidden"]) < 0.2


class Unfolded:
    """Folded weights for the forward of the unfolded model: the factor of the queries is taken out again."""

    def __init__(self, folded):
        self.folded = folded

    def __getitem__(self, name):
        return self.folded[name] / self.folded.query_scale(name)


@pytest.mark.parametrize("changes", [{}, {"model_type": "qwen2"}, {"model_type": "qwen3", "head_dim": 8},
                                     {"attention_bias": True}], ids=str)
def test_folding_changes_nothing(tmp_path, changes):
    config, _ = make_model(tmp_path / "m", changes)
    weights = open_weights(tmp_path / "m", config)
    folded = FoldedWeights(weights)
    tokens = embed(weights, np.arange(6)[None])
    assert relative_rms(forward_text(config, Unfolded(folded), tokens).hidden,
                        forward_text(config, weights, tokens).hidden) < 1e-5
    assert (folded["layers.0.attn_norm"] == 1).all() and (weights["layers.0.attn_norm"] != 1).all()
    carrier = "layers.0.q_norm" if config.qk_norm else "layers.0.q"
    assert folded.query_scale(carrier) == np.float32(8**-0.5) and folded.query_scale("layers.0.k") == 1
    for name in folded:  # rows are those of the whole
        assert np.array_equal(folded.rows(name, slice(2, 7)), folded[name][2:7]), name


def test_folding_of_a_vision_encoder_changes_nothing():
    values = {"model_type": "smolvlm", "scale_factor": 2, "text_config": {"hidden_size": 32, "num_attention_heads": 2},
              "vision_config": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "image_size": 32,
                                "num_attention_heads": 2, "patch_size": 8}}
    config = parse_config(values, "config.json", "m").vision
    weights = open_weights("random:1", config)
    patches = np.random.default_rng(0).standard_normal((1, 16, config.patch_size)).astype(np.float32)
    exact, folded = (forward_vision(config, source, patches) for source in (weights, Unfolded(FoldedWeights(weights))))
    assert relative_rms(folded.connector, exact.connector) < 1e-5
    references = vision_references(config, weights, patches, SETTINGS)
    assert references["f32/connector"].shape == (1, 4, 32) and references["machine/K_1"].shape == (1, 2, 16, 8)
    assert 1e-3 < relative_rms(references["machine/connector"], references["f32/connector"]) < 0.2


@pytest.mark.parametrize("name", ["qwen2_bias", "llama_hd32_b2"])
def test_machine_types_cost_what_mxfp8_costs(name):
    """Spec §9.7: weights in MXFP8 alone cost 0.044 to 0.053; here K, V and vectors are rounded as well."""
    config = read_config(GOLDEN / name).text
    weights = open_weights(GOLDEN / name, config)
    inputs = np.load(GOLDEN / name / "inputs.npz")
    tokens = embed(weights, inputs["ids"][:, : int(inputs["prefill"])])
    references = text_references(config, weights, tokens, SETTINGS)
    assert 0.04 < relative_rms(references["machine/hidden"], references["f32/hidden"]) < 0.06
    held = HeldWeights(FoldedWeights(weights), SETTINGS)
    assert set(held) == set(weights) and len(held) == len(weights)
    assert relative_rms(held["layers.0.down"], weights["layers.0.down"]) < 0.03


@pytest.mark.parametrize("name, text, message", [
    ("results.json", None, "results.json: cannot read: No such file"),
    ("results.json", "{", "results.json: not JSON: line 1, column 2"),
    ("results.json", '{"results": 3}', "results.json: results: found 3, expected a list"),
    ("results.json", '{"results": [], "more": 1}', "more: found an unknown key, expected one of results"),
    ("references.npz", None, "references.npz: not found; a build that was compiled without weights has no references"),
    ("references.npz", "PK", "references.npz: found no readable arrays"),
    ("vram_dump.bin", None, "vram_dump.bin: cannot read: No such file or directory; run the build first"),
    ("vram_dump.bin", "short", "vram_dump.bin: found 5 bytes, expected at least 416"),
    ("hbm_results.bin", "", "hbm_results.bin: found 0 bytes, expected at least 360"),
    ("hbm_results.bin", "x" * 361, "hbm_results.bin: found 361 bytes, expected the 360 of the regions"),
    ("plena_settings.toml", None, "plena_settings.toml (build directory): cannot read"),
])  # fmt: skip
def test_unsound_builds(build, name, text, message):
    directory, _ = build
    (directory / name).unlink()
    if text is not None:
        (directory / name).write_text(text)
    with pytest.raises(EmuError) as raised:
        check_build(directory)
    assert message in str(raised.value)


@pytest.mark.parametrize("where, value, message", [
    (("results", 0, "physical_rows"), 7, "result hidden: 7 physical rows from 4 cannot hold shape [2, 3, 16]"),
    (("results", 0, "rows_per_sequence"), 2, "result hidden: 2 rows a sequence cannot hold"),
    (("results", 2, "heads"), [], "result K_0: 0 places, expected one for each of the 1 heads"),
    (("results", 2, "heads", 0, "column"), 9, "result K_0: column 9 of region K_0 cannot hold 10 rows of 8 elements"),
    (("results", 2, "heads", 0, "region"), "Q", "result K_0: column 0 of region Q cannot hold"),
    (("regions", 0, "rows"), 9, "cannot hold 10 rows"),
    (("regions", 0, "bytes"), 9, "region K_0: 10 x 16 elements do not fit its 9 bytes at 0"),
    (("regions", 0, "address"), -64, "region K_0"),
])  # fmt: skip
def test_places_that_cannot_be(build, where, value, message):
    directory, _ = build
    document = json.loads((directory / "results.json").read_text())
    inner = document
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    (directory / "results.json").write_text(json.dumps(document))
    with pytest.raises(EmuError) as raised:
        read_results(directory)
    assert message in str(raised.value)


def test_results_json_reads_back(build):
    directory, _ = build
    results = read_results(directory)
    assert msgspec.json.decode(results_json(results), type=Results) == results
    assert json.loads(results_json(results))["results"][0]["dump"] == "vram_dump.bin"
    assert results.named("K_0").heads[0].region == "K_0" and results.cache_length() == (BATCH, TOKENS)
    moved = Results((msgspec.structs.replace(results.named("hidden"), name="K_0"),))
    with pytest.raises(EmuError, match=r"result K_0: in vram_dump\.bin, expected in hbm_results\.bin"):
        moved.cache_length()
    with pytest.raises(EmuError, match="result K_9: not in results.json, which has hidden, logits, K_0, V_0"):
        results.named("K_9")


@pytest.mark.parametrize("name", ["generated_machine_code.mem", "hbm_for_behave_sim.bin", "vram_preload.bin",
                                  "fp_sram.bin", "plena_settings.toml"])
def test_old_dumps_are_not_taken_for_new_ones(build, name):
    directory, _ = build
    later = os.stat(directory / "vram_dump.bin").st_mtime + 10
    (directory / name).touch()
    os.utime(directory / name, (later, later))
    with pytest.raises(EmuError, match=f"older than .*{name}; run the build again"):
        check_build(directory)


def test_references_of_another_shape(build):
    directory, _ = build
    with np.load(directory / "references.npz") as held:
        references = dict(held)
    references["f32/hidden"] = references["f32/hidden"][:, :2]
    (directory / "references.npz").write_bytes(references_bytes(references))
    with pytest.raises(EmuError, match=r"reference f32/hidden: found shape \[2, 2, 16\], expected shape \[2, 3, 16\]"):
        check_build(directory)
