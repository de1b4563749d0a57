"""Weights by canonical name: every stored type, sharded files, seeds, and one clear line for unsound files."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_files import make_model, write_safetensors

from plena_emu.errors import EmuError
from plena_emu.models.descriptions import load_description
from plena_emu.models.weights import open_weights


def bf16(values):
    return (values.view("<u4") >> 16).astype("<u2")


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_stored_types(tmp_path, kind):
    config, tensors = make_model(tmp_path / "m")
    cast = {"f32": lambda v: v, "f16": lambda v: v.astype("<f2"), "bf16": bf16}[kind]
    write_safetensors(tmp_path / "m" / "model.safetensors", {name: cast(v) for name, v in tensors.items()})
    weights = open_weights(tmp_path / "m", config)
    queries = tensors["model.layers.0.self_attn.q_proj.weight"]
    expected = {"f32": queries, "f16": queries.astype("<f2").astype("<f4"),
                "bf16": (queries.view("<u4") & 0xFFFF0000).view("<f4")}[kind]
    found = weights["layers.0.q"]
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert np.array_equal(found, expected.T)
    assert np.array_equal(weights.rows("layers.0.q", slice(3, 5)), expected.T[3:5])
    ids = np.array([31, 0, 31])
    table = weights["embed"]
    assert np.array_equal(weights.rows("embed", ids), table[ids])


def test_sharded_files(tmp_path):
    directory = tmp_path / "m"
    config, tensors = make_model(directory)
    whole = dict(open_weights(directory, config))
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        write_safetensors(directory / shard, {name: tensors[name] for name in held})
    index = {"weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    sharded = open_weights(directory, config)
    assert list(sharded) == list(whole) and all(np.array_equal(sharded[name], whole[name]) for name in whole)
    (directory / "b.safetensors").unlink()
    with pytest.raises(EmuError, match=r"b\.safetensors: not found"):
        open_weights(directory, config)
    outside = '{"weight_map": {"a": "../a.safetensors"}}'
    for text, message in (("{}", "weight_map: found nothing"), ("[]", "found an empty list, expected a table"),
                          (outside, "weight_map: expected names of files beside it"), ("{", "not JSON")):
        (directory / "model.safetensors.index.json").write_text(text)
        with pytest.raises(EmuError, match=f"weight index .*{message}"):
            open_weights(directory, config)


def test_a_tied_head_is_the_embedding(tmp_path):
    config, _ = make_model(tmp_path / "m", {"tie_word_embeddings": True})
    for source in (tmp_path / "m", "random:5"):
        weights = open_weights(source, config)
        assert np.array_equal(weights["lm_head"], weights["embed"].T)
        assert np.array_equal(weights.rows("lm_head", slice(2, 4)), weights["embed"].T[2:4])


def test_lladas_own_tensor_names(tmp_path):
    directory = tmp_path / "m"
    config, tensors = make_model(directory, {"model_type": "llada"})
    usual = dict(open_weights(directory, config))
    renames = {
        "embed_tokens": "wte", "input_layernorm": "attn_norm", "post_attention_layernorm": "ff_norm",
        "self_attn.q_proj": "q_proj", "self_attn.k_proj": "k_proj", "self_attn.v_proj": "v_proj",
        "self_attn.o_proj": "attn_out", "mlp.gate_proj": "ff_proj", "mlp.up_proj": "up_proj",
        "mlp.down_proj": "ff_out", "model.norm": "model.ln_f", "layers.": "blocks.",
    }
    own = {}
    for name, values in tensors.items():
        for old, new in renames.items():
            name = name.replace(old, new)
        own["model.transformer." + name.removeprefix("model.").replace("lm_head", "ff_out")] = values
    write_safetensors(directory / "model.safetensors", own)
    found = open_weights(directory, config)
    assert all(np.array_equal(found[name], usual[name]) for name in usual)


def test_seeded_weights_have_the_spread_of_trained_ones():
    config = load_description("clm60m").text
    weights = open_weights("random:7", config)
    down = weights["layers.3.down"]
    assert down.shape == (1408, 384) and abs(down.std() * 1408**0.5 - 1) < 0.01
    norm = weights["layers.3.ffn_norm"]
    assert abs(norm.mean() - 1) < 0.02 and abs(norm.std() - 0.1) < 0.02
    assert np.array_equal(down, open_weights("random:7", config)["layers.3.down"])
    assert not np.array_equal(down, open_weights("random:8", config)["layers.3.down"])
    assert not np.array_equal(weights["layers.3.gate"], weights["layers.3.up"])
    ids = np.array([49151, 3, 300])
    assert np.array_equal(weights.rows("embed", ids)[1:], weights["embed"][ids[1:]])


def test_no_weights_are_shapes_only():
    config = load_description("llama-3.1-8b").text
    weights = open_weights("none", config)
    assert weights.shapes["layers.31.down"] == (14336, 4096)
    with pytest.raises(EmuError, match="opened without weights"):
        weights["embed"]


@pytest.mark.parametrize("source", ["random:", "random:-1", "random:x", "random:1.5"])
def test_seeds_that_are_none(source):
    with pytest.raises(EmuError, match="expected random:SEED with a whole number"):
        open_weights(source, load_description("tiny").text)


def damaged(tensors, what):
    """Tensors with one fault; returns them and the message."""
    name = "model.layers.0.mlp.up_proj.weight"
    changed = dict(tensors)
    if what == "missing":
        del changed[name]
        return changed, f"tensor {name} not found"
    if what == "misshapen":
        changed[name] = tensors[name].T.copy()
        return changed, f"tensor {name} has shape [16, 24], expected [24, 16]"
    if what == "wide":
        changed[name] = tensors[name].astype("<f8")
        return changed, f"tensor {name} is F64, expected one of F32, F16, BF16"
    changed["model.norm.weight"] = np.zeros((4, 2, 2, 1), np.float32)
    return changed, "tensor model.norm.weight has shape [4, 2, 2, 1], expected [16]"


@pytest.mark.parametrize("what", ["missing", "misshapen", "wide", "four axes"])
def test_unsound_tensors(tmp_path, what):
    config, tensors = make_model(tmp_path / "m")
    changed, message = damaged(tensors, what)
    write_safetensors(tmp_path / "m" / "model.safetensors", changed)
    with pytest.raises(EmuError) as raised:
        open_weights(tmp_path / "m", config)
    assert message in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers(tmp_path, value):
    config, tensors = make_model(tmp_path / "m")
    tensors["model.norm.weight"][3] = value
    write_safetensors(tmp_path / "m" / "model.safetensors", tensors)
    with pytest.raises(EmuError, match="tensor model.norm.weight holds a value that is infinite or no number"):
        open_weights(tmp_path / "m", config)["final_norm"]


@pytest.mark.parametrize("cut", [0, 7, 60, -1])
def test_cut_files(tmp_path, cut):
    config, _ = make_model(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(EmuError, match=r"model\.safetensors: not a sound safetensors file"):
        open_weights(tmp_path / "m", config)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_files_are_no_tracebacks(tmp_path, places):
    """A byte of header or data is another: a clear error, or weights of the right shapes."""
    config, _ = make_model(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    data = bytearray(path.read_bytes())
    for place, value in places:
        data[place] = value
    path.write_bytes(data)
    try:
        weights = open_weights(tmp_path / "m", config)
        assert all(weights[name].shape == shape for name, shape in weights.shapes.items())
    except EmuError as error:
        assert "\n" not in str(error) and len(str(error)) < 500


def test_directories_without_weights(tmp_path):
    config = load_description("tiny").text
    with pytest.raises(EmuError, match="found no .*safetensors; --weights random:SEED"):
        open_weights(tmp_path, config)
    with pytest.raises(EmuError, match="cannot read: No such file"):
        open_weights(tmp_path / "nowhere", config)
