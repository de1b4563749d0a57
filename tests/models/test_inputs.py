"""Finding models, their weights and inputs; options that exclude each other (spec §9.2, §9.8)."""

import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from model_files import make_model, write_safetensors

from plena_emu import models
from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.models.descriptions import load_description
from plena_emu.models.inputs import text_inputs, vision_inputs
from plena_emu.models.options import CompileOptions
from plena_emu.models.sources import find_model, open_model
from plena_emu.models.weights import open_weights

TINY = load_description("tiny").text
VISION = load_description("smolvlm2-256m").vision
SEEDED = open_weights("random:0", TINY)


def saved(path, values):
    np.save(path, values)
    return str(path)


def test_defaults_of_a_prefill():
    inputs = text_inputs(TINY, SEEDED, CompileOptions())
    assert (inputs.batch, inputs.tokens, inputs.past) == (1, 64, 0)
    assert inputs.embeddings.shape == (1, 64, 128) and inputs.ids.max() < 256
    assert np.array_equal(inputs.embeddings[0, 5], SEEDED["embed"][inputs.ids[0, 5]])
    again = text_inputs(TINY, SEEDED, CompileOptions())
    assert np.array_equal(inputs.ids, again.ids)


def test_shapes_without_weights():
    inputs = text_inputs(TINY, open_weights("none", TINY), CompileOptions(prefill=7, batch=3))
    assert inputs.embeddings is None and inputs.ids.shape == (3, 7)


def test_files_decide_over_batch_and_length(tmp_path):
    ids = np.arange(10, dtype=np.int32).reshape(2, 5)
    inputs = text_inputs(TINY, SEEDED, CompileOptions(tokens=saved(tmp_path / "t.npy", ids)))
    assert (inputs.batch, inputs.tokens) == (2, 5) and np.array_equal(inputs.ids, ids)
    values = np.ones((1, 3, 128), dtype=np.float64)
    inputs = text_inputs(TINY, SEEDED, CompileOptions(embeddings=saved(tmp_path / "e.npy", values)))
    assert inputs.ids is None and inputs.embeddings.dtype == np.float32 and inputs.tokens == 3


def test_a_decode_step_has_one_token(tmp_path):
    inputs = text_inputs(TINY, SEEDED, CompileOptions(past=9), past=9, batch=2)
    assert (inputs.batch, inputs.tokens, inputs.past) == (2, 1, 9)
    ids = saved(tmp_path / "t.npy", np.zeros((2, 2), int))
    with pytest.raises(EmuError, match=r"t\.npy: found tokens 2, expected 1"):
        text_inputs(TINY, SEEDED, CompileOptions(tokens=ids), past=9)


def test_a_batch_that_is_not_the_caches():
    with pytest.raises(EmuError, match="--batch 3: the cache holds 2 sequences"):
        text_inputs(TINY, SEEDED, CompileOptions(batch=3), past=9, batch=2)


@pytest.mark.parametrize("values, options, message", [
    (np.array([[0, 256]]), {}, "found id 256 at sequence 0, token 1, expected 0 to 255"),
    (np.array([[0, 1]]), {"prefill": 3}, "found tokens 2, expected 3"),
    (np.array([[0, 1]]), {"batch": 2}, "found batch 1, expected 2"),
    (np.array([[0.0]]), {}, "expected integers"),
    (np.zeros((1, 2049), int), {}, "2049 tokens, expected at most its 2048 positions"),
])  # fmt: skip
def test_unsuitable_tokens(tmp_path, values, options, message):
    with pytest.raises(EmuError, match=message):
        text_inputs(TINY, SEEDED, CompileOptions(tokens=saved(tmp_path / "t.npy", values), **options))


@pytest.mark.parametrize("values, message", [
    (np.zeros((1, 2, 64)), r"found float64 of shape \[1, 2, 64\], expected floats \[batch, tokens, 128\]"),
    (np.zeros((1, 2, 128), int), "found int64"),
    (np.full((1, 2, 128), np.inf), "infinite or no number"),
    (np.zeros((1, 0, 128)), "is empty"),
])  # fmt: skip
def test_unsuitable_embeddings(tmp_path, values, message):
    with pytest.raises(EmuError, match=message):
        text_inputs(TINY, SEEDED, CompileOptions(embeddings=saved(tmp_path / "e.npy", values)))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array", b"\x93NUMPY\x01\x00\x0a\x00{'descr': "])
def test_files_that_are_no_arrays(tmp_path, content):
    (tmp_path / "t.npy").write_bytes(content)
    with pytest.raises(EmuError, match=r"t\.npy: found no array, expected a \.npy file"):
        text_inputs(TINY, SEEDED, CompileOptions(tokens=str(tmp_path / "t.npy")))


def test_archives_and_pickles_are_refused(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    (tmp_path / "t.npy").write_bytes(buffer.getvalue())
    with pytest.raises(EmuError, match="found an archive of arrays"):
        text_inputs(TINY, SEEDED, CompileOptions(tokens=str(tmp_path / "t.npy")))
    np.save(tmp_path / "t.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(EmuError, match="found no array"):
        text_inputs(TINY, SEEDED, CompileOptions(tokens=str(tmp_path / "t.npy")))
    with pytest.raises(EmuError, match="cannot read: No such file"):
        text_inputs(TINY, SEEDED, CompileOptions(tokens=str(tmp_path / "nowhere.npy")))


def test_images(tmp_path):
    inputs = vision_inputs(VISION, CompileOptions(image=128))
    assert inputs.pixels.shape == (1, 3, 128, 128) and inputs.patches.shape == (1, 64, 768)
    assert vision_inputs(VISION, CompileOptions()).patches.shape == (1, 1024, 768)
    pixels = saved(tmp_path / "p.npy", np.ones((1, 3, 64, 64), np.float32))
    assert vision_inputs(VISION, CompileOptions(pixels=pixels)).patches.shape == (1, 16, 768)
    with pytest.raises(EmuError, match=r"p\.npy: found an image of 64 pixels, expected 128"):
        vision_inputs(VISION, CompileOptions(pixels=pixels, image=128))
    with pytest.raises(EmuError, match="image of 100 pixels: expected a multiple of 64"):
        vision_inputs(VISION, CompileOptions(image=100))


@pytest.mark.parametrize("options, message", [
    ({"prefill": 4, "past": 4}, "--prefill and --past exclude each other"),
    ({"prefill": 4, "cache_from": "b"}, "--prefill and --cache-from exclude each other"),
    ({"tokens": "t", "embeddings": "e"}, "--tokens and --embeddings exclude each other"),
    ({"prefill": 0}, "--prefill: found 0, expected a whole number of at least 1"),
    ({"vector_sram_rows": -1}, "--vector-sram-rows: found -1"),
    ({"layers": True}, "--layers: found True"),
])  # fmt: skip
def test_options_that_exclude_each_other(options, message):
    with pytest.raises(UsageError, match=message):
        CompileOptions(**options)


def test_parts_refuse_what_they_have_no_use_for():
    with pytest.raises(UsageError, match="--image: the text part has no use for it"):
        open_model("tiny", CompileOptions(image=64))
    with pytest.raises(UsageError, match="--past: the vision part has no use for it"):
        open_model("smolvlm2-256m", CompileOptions(part="vision", past=3))
    with pytest.raises(EmuError, match="model tiny: has no vision part"):
        open_model("tiny", CompileOptions(part="vision"))


def test_weights_that_are_taken(tmp_path):
    make_model(tmp_path / "m")
    config, weights = open_model(tmp_path / "m", CompileOptions())
    assert weights.source == str(tmp_path / "m") and config.name == "m"
    assert open_model(tmp_path / "m", CompileOptions(weights="random:4"))[1].source == "random:4"
    assert open_model("tiny", CompileOptions(weights="none"))[1].source == "none"
    (tmp_path / "m" / "model.safetensors").unlink()
    for model in (tmp_path / "m", tmp_path / "m" / "config.json", "tiny"):
        assert open_model(model, CompileOptions())[1].source == "random:0"


def test_fewer_layers():
    config, weights = open_model("smollm2-135m", CompileOptions(layers=3, weights="none"))
    assert config.layers == 3 and "layers.2.q" in weights and "layers.3.q" not in weights
    with pytest.raises(EmuError, match="model tiny: has 2 layers, --layers asks for 3"):
        open_model("tiny", CompileOptions(layers=3))


def test_unknown_models():
    with pytest.raises(EmuError, match="model gpt: no such directory or config file, and no bundled description"):
        find_model("gpt")


@pytest.mark.parametrize("options, message", [
    ({"logits": "x"}, "logits: found 'x', expected one of last, all, none"), ({"logits": None}, "logits: found None"),
    ({"logits": ["all"]}, "logits: found"), ({"part": "audio"}, "part: found 'audio'"),
    ({"preset": 5}, "preset: found 5"),
    ({"schedule": 1}, "schedule: found 1"), ({"tokens": 5}, "tokens: found 5, expected a path"),
    ({"weights": b""}, "weights: found"), ({"prefil": 3}, "prefil: found an unknown keyword"),
], ids=str)
def test_keywords_of_python(options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        models.compile("tiny", tmp_path / "build", **options)
    assert not (tmp_path / "build").exists()


def test_an_image_has_no_logits():
    with pytest.raises(UsageError, match="--logits: the vision part has no use for it"):
        open_model("smolvlm2-256m", CompileOptions(part="vision", logits="all"))
    open_model("smolvlm2-256m", CompileOptions(part="vision", logits="none"))


def test_tensors_that_nothing_reads(tmp_path, capsys):
    """A bias and a norm that the config does not announce change the mathematics; tables and other layers do not."""
    config, tensors = make_model(tmp_path / "m")
    layer = "model.layers.0.self_attn."
    odd = {f"{layer}q_proj.bias": np.ones(config.heads * config.head_dim, np.float32),
           f"{layer}q_norm.weight": np.ones(config.head_dim, np.float32)}
    quiet = {f"{layer}rotary_emb.inv_freq": np.ones(4, np.float32), "model.layers.1.self_attn.q_proj.bias": odd[
        f"{layer}q_proj.bias"], "model.vision_model.post_layernorm.weight": np.ones(4, np.float32)}
    write_safetensors(tmp_path / "m" / "model.safetensors", tensors | quiet)
    assert main(["compile", str(tmp_path / "m"), "--prefill", "2", "-o", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().err == ""
    write_safetensors(tmp_path / "m" / "model.safetensors", tensors | quiet | odd)
    assert main(["compile", str(tmp_path / "m"), "--prefill", "2", "-o", str(tmp_path / "b")]) == 0
    error = capsys.readouterr().err
    assert error.startswith("plena-emu compile: warning: ") and error.count("\n") == 1
    assert all(name in error for name in odd) and not any(name in error for name in quiet)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_sigterm_leaves_nothing(tmp_path):
    code = ("import os, signal, sys\nfrom plena_emu.models.build_files import replaced_directory\n"
            f"with replaced_directory({str(tmp_path / 'b')!r}, 0) as directory:\n"
            "    open(os.path.join(directory, 'x'), 'w').close()\n    os.kill(os.getpid(), signal.SIGTERM)\n")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGTERM
    assert os.listdir(tmp_path) == []
