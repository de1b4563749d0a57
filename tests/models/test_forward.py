"""The reference forward against what Hugging Face computed for the golden models (spec §9.7)."""

import json
from pathlib import Path

import numpy as np
import pytest
from model_files import ROOT, SHARED, make_model, write_safetensors
from safetensors.numpy import load_file

from plena_emu.errors import EmuError
from plena_emu.models.config_files import read_config
from plena_emu.models.descriptions import load_description
from plena_emu.models.forward.rope import inverse_frequencies
from plena_emu.models.forward.text import check_ids, embed, forward_text
from plena_emu.models.forward.vision import check_pixels, cut_patches, forward_vision, pixel_shuffle, position_ids
from plena_emu.models.references import relative_rms
from plena_emu.models.safetensors_files import StoredWeights
from plena_emu.models.weights import open_weights

VENDORED = ROOT / "tests" / "golden" / "models"
FOLDERS = {path.parent.name: path.parent
           for base in (SHARED, VENDORED) for path in sorted(base.glob("*/config.json"))}
TEXT = [name for name in FOLDERS if "vision" not in name]
VISION = [name for name in FOLDERS if "vision" in name]
BAR = 2e-4


def opened(name, part="text"):
    """Config, weights, inputs and outputs of a golden model."""
    folder = FOLDERS[name]
    config = read_config(folder).part(part)
    inputs, outputs = (dict(np.load(folder / f"{kind}.npz")) for kind in ("inputs", "outputs"))
    return config, open_weights(folder, config), inputs, outputs


def test_vendored_models_are_there():
    assert sorted(path.name for path in VENDORED.iterdir() if path.is_dir()) == ["llama_hd32_b2", "qwen2_bias"]
    assert sum(path.stat().st_size for path in VENDORED.rglob("*") if path.is_file()) < 4 << 20


@pytest.mark.parametrize("name", TEXT)
def test_prefill_and_decode(name):
    config, weights, inputs, outputs = opened(name)
    prompt, ids = int(inputs["prefill"]), inputs["ids"]
    output = forward_text(config, weights, embed(weights, ids[:, :prompt]), logits="all")
    hidden = [*output.residuals[:-1], output.hidden]
    assert len(hidden) == len(outputs["hidden"]) == config.layers + 1
    assert max(relative_rms(*pair) for pair in zip(hidden, outputs["hidden"], strict=True)) < BAR
    assert relative_rms(output.logits, outputs["logits"]) < BAR
    last = forward_text(config, weights, embed(weights, ids[:, :prompt])).logits
    assert relative_rms(last, outputs["logits"][:, -1:]) < BAR
    steps = ids.shape[1] - prompt
    assert steps == len(outputs.get("decode_logits", ()))
    for step in range(steps):
        token = embed(weights, ids[:, prompt + step : prompt + step + 1])
        before = output.cache
        output = forward_text(config, weights, token, before)
        assert (before.tokens, output.cache.tokens) == (prompt + step, prompt + step + 1)
        assert relative_rms(output.hidden, outputs["decode_last_hidden"][step]) < BAR
        assert relative_rms(output.logits, outputs["decode_logits"][step]) < BAR


@pytest.mark.parametrize("name", VISION)
def test_vision_and_connector(name):
    config, weights, inputs, outputs = opened(name, "vision")
    output = forward_vision(config, weights, cut_patches(config, inputs["pixel_values"]))
    assert max(relative_rms(*pair) for pair in zip(output.residuals, outputs["hidden"], strict=True)) < BAR
    assert relative_rms(output.hidden, outputs["last_hidden"]) < BAR
    assert relative_rms(output.connector, outputs["connector"]) < BAR


def test_many_queries_are_cut_into_blocks(tmp_path):
    """A prefill equals its halves, one after the other, whatever block of scores a token falls into."""
    config, _ = make_model(tmp_path / "m", {"max_position_embeddings": 2048})
    weights = open_weights(tmp_path / "m", config)
    tokens = embed(weights, np.arange(1100)[None] * 7 % config.vocab)
    whole = forward_text(config, weights, tokens, logits="none")
    assert whole.logits is None
    first = forward_text(config, weights, tokens[:, :700])
    second = forward_text(config, weights, tokens[:, 700:], first.cache)
    assert relative_rms(np.concatenate((first.hidden, second.hidden), axis=1), whole.hidden) < 1e-5
    assert np.allclose(second.cache.values[0], whole.cache.values[0], rtol=1e-5, atol=1e-5)


def test_sequences_of_a_batch_do_not_meet(tmp_path):
    config, _ = make_model(tmp_path / "m")
    weights = open_weights(tmp_path / "m", config)
    ids = np.array([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]])
    both = forward_text(config, weights, embed(weights, ids)).hidden
    alone = [forward_text(config, weights, embed(weights, row[None])).hidden for row in ids]
    assert relative_rms(both, np.concatenate(alone)) < 1e-6


def test_biases_of_every_linear_count(tmp_path):
    config, tensors = make_model(tmp_path / "m", {"attention_bias": True})
    weights = dict(open_weights(tmp_path / "m", config))
    tokens = weights["embed"][None, :5]
    base = forward_text(config, weights, tokens).hidden
    for name in ("q_bias", "v_bias", "o_bias"):
        changed = weights | {f"layers.0.{name}": weights[f"layers.0.{name}"] + 1}
        assert relative_rms(forward_text(config, changed, tokens).hidden, base) > 1e-3
    assert "model.layers.0.self_attn.o_proj.bias" in tensors


def test_a_bidirectional_model_does_not_decode(tmp_path):
    config, _ = make_model(tmp_path / "m", {"model_type": "llada"})
    weights = open_weights(tmp_path / "m", config)
    tokens = embed(weights, np.array([[1, 2, 3]]))
    output = forward_text(config, weights, tokens)
    causal = forward_text(read_config(tmp_path / "m").text, weights, tokens[:, :2]).hidden
    assert relative_rms(output.hidden[:, :2], causal) > 1e-3  # the third token reaches the first two
    with pytest.raises(EmuError, match="attends in both directions, so there is no decode"):
        forward_text(config, weights, tokens[:, :1], output.cache)


def test_llama3_frequencies_keep_the_fast_and_slow_the_rest():
    config = load_description("llama-3.1-8b").text
    plain = 5e5 ** -(np.arange(64) / 64)
    ratio = plain / inverse_frequencies(config)
    wavelength = 2 * np.pi / plain
    assert np.allclose(ratio[wavelength < 8192 / 4], 1) and np.allclose(ratio[wavelength > 8192], 8)
    between = ratio[(wavelength > 8192 / 4) & (wavelength < 8192)]
    assert len(between) and (np.diff(between) > 0).all() and between.min() > 1 and between.max() < 8


def test_a_sequence_that_is_too_long(tmp_path):
    config, _ = make_model(tmp_path / "m")
    weights = open_weights(tmp_path / "m", config)
    with pytest.raises(EmuError, match="65 tokens, expected at most its 64 positions"):
        forward_text(config, weights, embed(weights, np.zeros((1, 65), int)))


@pytest.mark.parametrize("ids, message", [
    (np.array([[0, 32]]), "found id 32 at sequence 0, token 1, expected 0 to 31"),
    (np.array([[0], [-1]]), "found id -1 at sequence 1, token 0"),
    (np.array([0, 1]), r"found int64 of shape \[2\], expected integers \[batch, tokens\]"),
    (np.array([[0.5]]), "found float64"),
    (np.zeros((1, 0), int), "shape"),
])  # fmt: skip
def test_bad_ids(ids, message):
    with pytest.raises(EmuError, match=f"tokens.npy: .*{message}"):
        check_ids(ids, 32, "tokens.npy")


@pytest.mark.parametrize("pixels, message", [
    (np.zeros((3, 512, 512), "f4"), "expected f32"),
    (np.zeros((1, 3, 512, 256), "f4"), "expected f32"),
    (np.zeros((1, 4, 512, 512), "f4"), "expected f32"),
    (np.zeros((1, 3, 512, 512), "i4"), "found int32"),
    (np.zeros((1, 3, 500, 500), "f4"), "image of 500 pixels: expected a multiple of 64"),
    (np.full((1, 3, 64, 64), np.nan, "f4"), "infinite or no number"),
])  # fmt: skip
def test_bad_pixels(pixels, message):
    with pytest.raises(EmuError, match=message):
        check_pixels(load_description("smolvlm2-256m").vision, pixels)


def test_patches_and_pixel_shuffle_keep_their_order():
    config = load_description("smolvlm2-256m").vision
    pixels = np.arange(3 * 64 * 64, dtype=np.float32).reshape(1, 3, 64, 64)
    patches = cut_patches(config, pixels)
    assert patches.shape == (1, 16, 768)
    # Patch (1, 2): channel 2, row 3, column 5 of it.
    assert patches[0, 4 + 2, (2 * 16 + 3) * 16 + 5] == pixels[0, 2, 16 + 3, 32 + 5]
    values = np.arange(64 * 2, dtype=np.float32).reshape(1, 64, 2)
    shuffled = pixel_shuffle(values, 4)
    assert shuffled.shape == (1, 4, 32)
    # Token (0, 1): the patch two rows down and three to the right.
    assert np.array_equal(shuffled[0, 1, (2 * 4 + 3) * 2 :][:2], values[0, 2 * 8 + 4 + 3])


def test_positions_of_a_smaller_image():
    config = load_description("smolvlm2-256m").vision
    # As transformers 4.57 computes them: the fraction of each patch is a millionth short of its bucket's edge.
    coarse = (0, 7, 15, 23)
    assert position_ids(config, 4).tolist() == [row * 32 + column for row in coarse for column in coarse]
    assert position_ids(config, 32)[:4].tolist() == [0, 0, 1, 2]


def test_bf16_models_are_read_as_they_are(tmp_path):
    """A golden model cut to bf16 gives the forward of the cut weights."""
    folder = Path(FOLDERS["qwen2_bias"])
    config, weights, inputs, _ = opened("qwen2_bias")
    tensors = load_file(folder / "model.safetensors")
    halves = {name: (values.view("<u4") >> 16).astype("<u2") for name, values in tensors.items()}
    write_safetensors(tmp_path / "model.safetensors", halves)
    (tmp_path / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text())))
    cut = StoredWeights(str(tmp_path), config)
    exact = {name: (weights[name].view("<u4") & 0xFFFF0000).view("<f4") for name in weights}
    ids = inputs["ids"][:, :7]
    found = forward_text(config, cut, embed(cut, ids)).hidden
    assert np.array_equal(found, forward_text(config, exact, exact["embed"][ids]).hidden)
