"""Malformed inputs of `plena-emu compile`: one clear line each, and nothing under the name of the build (spec §9.1)."""

import json

import numpy as np
import pytest
from model_files import make_model, write_safetensors

import plena_emu
from plena_emu.cli.main import main

MLP = "model.layers.0.mlp.up_proj.weight"
NORM = "model.layers.0.post_attention_layernorm.weight"


def config(**changes):
    """Change fields of config.json."""
    def change(model, tensors):
        path = model / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return change


def text(name, content):
    """Replace a file."""
    return lambda model, tensors: (model / name).write_text(content)


def weights(change):
    """Change the tensors in a file."""
    def rewrite(model, tensors):
        change(tensors)
        write_safetensors(model / "model.safetensors", tensors)
    return rewrite


def large(factor, *names):
    """Multiply tensors."""
    def change(tensors):
        for name in names:
            tensors[name] = tensors[name] * np.float32(factor)
    return change


def cut(model, tensors):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])


def sharded(index):
    """An index in the place of the one file."""
    def change(model, tensors):
        (model / "model.safetensors").unlink()
        (model / "model.safetensors.index.json").write_text(index)
    return change


MODELS = [
    ("no config", lambda model, tensors: (model / "config.json").unlink(), "config.json: cannot read"),
    ("an empty config", text("config.json", ""), "config.json: not JSON"),
    ("a list for a config", text("config.json", "[]"), "found an empty list, expected a table"),
    ("another family", config(model_type="gpt2"), "model_type: found 'gpt2'"),
    ("another activation", config(hidden_act="relu"), "hidden_act: 'relu' is not supported"),
    ("experts", config(num_local_experts=8), "num_local_experts: 8 is not supported"),
    ("soft caps", config(attn_logit_softcapping=50.0), "attn_logit_softcapping: 50.0 is not supported"),
    ("quantised weights", config(quantization_config={"bits": 4}), "quantization_config"),
    ("a short window", config(model_type="mistral", sliding_window=4), "sliding_window 4 is shorter"),
    ("yarn", config(rope_scaling={"rope_type": "yarn", "factor": 2.0}), "'yarn' is not supported"),
    ("odd heads", config(head_dim=7), "head_dim: found 7, expected an even number"),
    ("heads that do not divide", config(num_key_value_heads=3), "num_key_value_heads: found 3"),
    ("a number as text", config(hidden_size="16"), "hidden_size: found '16'"),
    ("a cut file", cut, "not a sound safetensors file"),
    ("no header", text("model.safetensors", "short"), "not a sound safetensors file"),
    ("a missing tensor", weights(lambda tensors: tensors.pop(MLP)), f"tensor {MLP} not found"),
    ("a turned tensor", weights(lambda tensors: tensors.update({MLP: tensors[MLP].T.copy()})), "has shape [16, 24]"),
    ("f64", weights(lambda tensors: tensors.update({MLP: tensors[MLP].astype("<f8")})), "is F64, expected one of"),
    ("NaN in a weight", weights(lambda tensors: tensors[MLP].__setitem__((0, 0), np.nan)), f"{MLP} holds a value"),
    ("overflow when folded", weights(large(1e30, MLP, NORM)), f"{MLP}: its weights times those of"),
    ("rows that overflow", weights(large(1e15, MLP, MLP.replace("up", "down"))), "leaves the finite numbers (overflow"),
    ("a large eps", config(rms_norm_eps=1e4), "rms_norm_eps or layer_norm_eps times the width: 1.6e+05"),
    ("a broken index", sharded("{"), "model.safetensors.index.json: not JSON"),
    ("an index without a map", sharded("{}"), "weight_map"),
    ("a missing shard", sharded(json.dumps({"weight_map": {MLP: "model-1.safetensors"}})), "safetensors"),
]  # fmt: skip

ARRAYS = {"floats.npy": np.zeros((1, 3)), "large.npy": np.array([[3, 32]]), "negative.npy": np.array([[-1]]),
          "flat.npy": np.arange(3), "two.npy": np.array([[1, 2]]), "empty.npy": np.zeros((1, 0), np.int64),
          "narrow.npy": np.zeros((1, 3, 8), np.float32), "nan.npy": np.full((1, 3, 16), np.nan, np.float32)}
OPTIONS = [
    ("--preset m7b3", 2, "preset m7b3: expected one of"), ("--prefill 0", 2, "--prefill"),
    ("--prefill 65", 101, "65 tokens, expected at most its 64 positions"),
    ("--past 64", 101, "65 tokens, expected at most its 64 positions"),
    ("--prefill 3 --past 3", 2, "exclude each other"),
    ("--layers 2", 101, "has 1 layers, --layers asks for 2"), ("--logits some", 2, "--logits"),
    ("--part vision", 101, "has no vision part"), ("--image 64", 2, "the text part has no use for it"),
    ("--weights random:x", 2, "expected random:SEED"), ("--weights {tmp}/nowhere", 101, "cannot read"),
    ("--tokens {tmp}/no.npy", 101, "no.npy: cannot read"), ("--tokens {tmp}/floats.npy", 101, "expected integers"),
    ("--tokens {tmp}/large.npy", 101, "found id 32"), ("--tokens {tmp}/negative.npy", 101, "found id -1"),
    ("--tokens {tmp}/flat.npy", 101, "expected integers [batch, tokens]"),
    ("--tokens {tmp}/empty.npy", 101, "empty.npy"),
    ("--tokens {tmp}/two.npy --past 3", 101, "two.npy"), ("--embeddings {tmp}/narrow.npy", 101, "narrow.npy"),
    ("--embeddings {tmp}/nan.npy", 101, "nan.npy"),
    ("--tokens {tmp}/two.npy --embeddings {tmp}/nan.npy", 2, "exclude"),
    ("--cache-from {tmp}/nowhere", 101, "nowhere"), ("--board nope", 2, "nope"),
    ("--vector-sram-rows 9", 101, "rows of 64 elements, there are 9"),
]  # fmt: skip


def one_line(arguments, output, capsys):
    """Run the command; its message. Neither the build nor anything half-written is left."""
    beside = set(output.parent.iterdir())
    try:
        status = main(["compile", *map(str, arguments), "-o", str(output)])
    except SystemExit as stopped:  # the parser
        status = stopped.code
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and error.startswith("plena-emu compile: error: ") and len(error) < 500
    assert set(output.parent.iterdir()) == beside
    return status, error


@pytest.mark.parametrize("change, message", [case[1:] for case in MODELS], ids=[case[0] for case in MODELS])
def test_models(change, message, tmp_path, capsys):
    _, tensors = make_model(tmp_path / "model")
    change(tmp_path / "model", tensors)
    status, error = one_line([tmp_path / "model", "--prefill", 8], tmp_path / "build", capsys)
    assert status == 101 and message in error


@pytest.mark.parametrize("options, status, message", OPTIONS, ids=[case[0] for case in OPTIONS])
def test_options(options, status, message, tmp_path, capsys):
    make_model(tmp_path / "model")
    for name, values in ARRAYS.items():
        np.save(tmp_path / name, values)
    arguments = [part.format(tmp=tmp_path) for part in options.split()]
    found, error = one_line([tmp_path / "model", *arguments], tmp_path / "build", capsys)
    assert found == status and message in error


@pytest.mark.parametrize("what, message", [
    ("not run", "run"), ("another preset", "m16b4"), ("a longer past", "its cache holds 5 tokens, --past asks for 6"),
    ("another model", "cache"), ("a cut cache", "hbm_results.bin"),
])
def test_caches(what, message, tmp_path, capsys):
    make_model(tmp_path / "model")
    before, model = tmp_path / "before", tmp_path / "model"
    plena_emu.models.compile(model, before, prefill=5)
    if what != "not run":
        plena_emu.run(before, dump_dir=before)
    more = {"another preset": ["--preset", "m16b4"], "a longer past": ["--past", "6"]}.get(what, [])
    if what == "another model":
        model = tmp_path / "other"
        make_model(model, {"num_hidden_layers": 2})
    elif what == "a cut cache":
        (before / "hbm_results.bin").write_bytes(b"short")
    status, error = one_line([model, "--cache-from", before, *more], tmp_path / "build", capsys)
    assert status == 101 and message in error


def test_an_output_that_is_a_file(tmp_path, capsys):
    make_model(tmp_path / "model")
    (tmp_path / "build").write_text("mine")
    _, error = one_line([tmp_path / "model"], tmp_path / "build", capsys)
    assert "build" in error and (tmp_path / "build").read_text() == "mine"
