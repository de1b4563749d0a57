"""`config.json` of every family, the bundled descriptions, and one clear line for what is not supported."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import LLAMA

from plena_emu.errors import EmuError
from plena_emu.models import config_files
from plena_emu.models.config_files import parse_config, read_config
from plena_emu.models.configs import RopeScaling
from plena_emu.models.descriptions import bundled_names, load_description

# Spec §9.8: hidden, intermediate, layers, heads, kv, head_dim, vocab, theta, eps, tied.
BUNDLED = {
    "clm60m": (384, 1408, 8, 6, 2, 64, 49152, 1e4, 1e-5, False),
    "smollm2-135m": (576, 1536, 30, 9, 3, 64, 49152, 1e5, 1e-5, True),
    "smolvlm2-256m": (576, 1536, 30, 9, 3, 64, 49280, 1e5, 1e-5, True),
    "llada-8b": (4096, 12288, 32, 32, 32, 128, 126464, 5e5, 1e-5, False),
    "llama-3.2-1b": (2048, 8192, 16, 32, 8, 64, 128256, 5e5, 1e-5, True),
    "llama-3.1-8b": (4096, 14336, 32, 32, 8, 128, 128256, 5e5, 1e-5, False),
    "qwen3-0.6b": (1024, 3072, 28, 16, 8, 128, 151936, 1e6, 1e-6, True),
    "tiny": (128, 320, 2, 2, 1, 64, 256, 1e4, 1e-5, False),
}


def text_of(**changes):
    values = {name: value for name, value in (LLAMA | changes).items() if value is not ...}
    return parse_config(values, "config.json", "m").text


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_descriptions(name):
    config = load_description(name).text
    assert (config.hidden, config.intermediate, config.layers, config.heads, config.kv_heads, config.head_dim,
            config.vocab, config.rope_theta, config.norm_eps, config.tied) == BUNDLED[name]
    assert config.causal == (name != "llada-8b") and config.qk_norm == name.startswith("qwen3")
    factor = {"llama-3.2-1b": 32, "llama-3.1-8b": 8}.get(name)
    assert config.rope_scaling == (factor and RopeScaling(
        kind="llama3", factor=factor, low_frequency_factor=1, high_frequency_factor=4, original_length=8192))


def test_bundled_vision_part():
    assert set(bundled_names()) == set(BUNDLED)
    vision = load_description("smolvlm2-256m").vision
    assert (vision.hidden, vision.intermediate, vision.layers, vision.heads, vision.image, vision.patch,
            vision.connector_scale, vision.text_hidden, vision.side) == (768, 3072, 12, 12, 512, 16, 4, 576, 32)
    with pytest.raises(EmuError, match="tiny: has no vision part"):
        load_description("tiny").part("vision")
    assert load_description("smolvlm2-256m").part().vocab == 49280


def test_defaults_follow_from_the_class_of_the_model():
    config = text_of()
    assert (config.head_dim, config.rope_theta, config.tied, config.causal) == (8, 1e4, False, True)
    assert config.window is None
    assert (config.qkv_bias, config.out_bias, config.qk_norm) == (False, False, False)
    assert text_of(num_key_value_heads=...).kv_heads == 2
    qwen2 = text_of(model_type="qwen2")
    assert (qwen2.qkv_bias, qwen2.out_bias) == (True, False)
    llama = text_of(attention_bias=True)
    assert (llama.qkv_bias, llama.out_bias) == (True, True)
    qwen3 = text_of(model_type="qwen3")
    assert (qwen3.head_dim, qwen3.qk_norm) == (128, True)
    assert text_of(model_type=..., architectures=["Qwen3ForCausalLM"]).qk_norm


def test_rope_scaling():
    assert text_of(rope_scaling={"type": "linear", "factor": 2}).rope_scaling == RopeScaling(kind="linear", factor=2.0)
    assert text_of(rope_scaling={"rope_type": "default"}).rope_scaling is None
    newer = text_of(rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0})
    assert newer.rope_theta == 500 and newer.rope_scaling.factor == 4


def test_lladas_own_names():
    own = {"model_type": "llada", "d_model": 16, "n_heads": 2, "n_layers": 1, "n_kv_heads": 2, "mlp_hidden_size": 24,
           "vocab_size": 30, "embedding_size": 32, "rms_norm_eps": 1e-5, "rope_theta": 5e5, "weight_tying": False,
           "max_sequence_length": 64, "activation_type": "silu", "layer_norm_type": "rms", "rope": True,
           "include_bias": False, "include_qkv_bias": False, "mlp_ratio": 4, "block_type": "llama", "alibi": False}
    config = parse_config(own, "config.json", "m").text
    assert (config.family, config.causal, config.vocab, config.intermediate) == ("llada", False, 32, 24)
    usual = text_of(model_type="llada", num_key_value_heads=2, rope_theta=5e5)
    assert usual == config


def test_a_sliding_window_counts_only_where_it_is_shorter():
    config = text_of(model_type="mistral", sliding_window=20)
    config.check_length(20)
    with pytest.raises(EmuError, match="sliding_window 20 is shorter than the sequence of 21 tokens"):
        config.check_length(21)
    assert text_of(model_type="qwen2", sliding_window=20, use_sliding_window=False).window is None
    assert text_of(model_type="qwen2", sliding_window=20, use_sliding_window=True).window == 20
    with pytest.raises(EmuError, match="65 tokens, expected at most its 64 positions"):
        text_of().check_length(65)


@pytest.mark.parametrize("changes, message", [
    ({"model_type": "gpt2"}, "model_type: found 'gpt2', expected one of llama"),
    ({"model_type": ...}, "model_type: found nothing"),
    ({"vocab_size": ...}, "vocab_size: found nothing, expected a positive integer"),
    ({"hidden_size": "16"}, "hidden_size: found '16', expected a positive integer"),
    ({"hidden_size": True}, "hidden_size: found true"),
    ({"hidden_size": 17}, "hidden_size: found 17, expected a multiple of num_attention_heads 2"),
    ({"num_hidden_layers": 0}, "num_hidden_layers: found 0"),
    ({"num_key_value_heads": 3}, "num_key_value_heads: found 3, expected a divisor of num_attention_heads 2"),
    ({"head_dim": 7}, "head_dim: found 7, expected an even number"),
    ({"rms_norm_eps": -1e-5}, "rms_norm_eps: found -1e-05, expected a positive number"),
    ({"rms_norm_eps": ...}, "rms_norm_eps: found nothing"),
    ({"hidden_act": "gelu"}, "hidden_act: 'gelu' is not supported, expected silu"),
    ({"mlp_bias": True}, "mlp_bias: true is not supported"),
    ({"num_local_experts": 8}, "num_local_experts: 8 is not supported"),
    ({"final_logit_softcapping": 30.0}, "final_logit_softcapping: 30.0 is not supported"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5 is not supported"),
    ({"quantization_config": {"bits": 4}}, "quantization_config: a table is not supported"),
    ({"is_causal": False}, "is_causal: found false, expected true for llama"),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_scaling.rope_type: 'yarn' is not supported"),
    ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor: found nothing"),
    ({"rope_scaling": 2}, "rope_scaling: found 2, expected a table"),
    ({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
                       "original_max_position_embeddings": 64}}, "rope_scaling.high_freq_factor: found 4.0"),
    ({"layer_types": ["linear_attention"]}, "layer_types: 'linear_attention' is not supported"),
    ({"model_type": "smolvlm"}, "text_config: found nothing, expected a table"),
    ({"model_type": "llada", "alibi": True}, "alibi: true is not supported"),
    ({"tie_word_embeddings": 1}, "tie_word_embeddings: found 1, expected true or false"),
])  # fmt: skip
def test_what_is_not_supported_is_named(changes, message):
    with pytest.raises(EmuError) as raised:
        text_of(**changes)
    assert message in str(raised.value) and str(raised.value).startswith("config.json: ")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**40) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(("type", "factor", "size")), inner),
    max_leaves=4)
VISION = {"model_type": "smolvlm", "scale_factor": 2, "text_config": LLAMA, "vision_config": {"image_size": 64}}
NAMES = sorted({*config_files._NEUTRAL, *config_files._LLADA_NAMES, *config_files._LLADA_NEUTRAL, *LLAMA,
                "architectures", "model_type", "head_dim", "is_causal", "layer_types", "rope_parameters",
                "rope_scaling", "rope_theta",
                "sliding_window", "use_sliding_window", "embedding_size", "mlp_ratio", "tie_word_embeddings",
                "text_config", "vision_config", "scale_factor", "image_size", "patch_size"})


@settings(max_examples=300, deadline=None)
@given(base=st.sampled_from([LLAMA, LLAMA | {"model_type": "llada"}, LLAMA | {"model_type": "qwen2"},
                             LLAMA | {"model_type": None}, VISION]),
       name=st.sampled_from(NAMES), inner=st.sampled_from([None, "text_config", "vision_config", "rope_scaling"]),
       value=VALUES)
def test_no_value_of_a_field_is_a_traceback(base, name, inner, value):
    changed = {name: value} if inner is None else {inner: (base.get(inner) or {}) | {name: value}}
    try:
        model = parse_config(base | changed, "config.json", "m")
    except EmuError as error:
        assert str(error).startswith("config.json: ") and len(str(error)) < 400
    else:
        assert model.text.heads % model.text.kv_heads == 0 and model.text.head_dim % 2 == 0


@pytest.mark.parametrize("text, message", [
    ("", "not JSON"), ("[1]", "found a list, expected a table"), ("{" * 9999, "not JSON"),
    ('{"a": 1,}', "not JSON"),
])  # fmt: skip
def test_broken_config_files(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(EmuError, match="config.json") as raised:
        read_config(tmp_path)
    assert message in str(raised.value)


def test_a_directory_without_config(tmp_path):
    with pytest.raises(EmuError, match="config.json: cannot read: No such file"):
        read_config(tmp_path)


def test_vision_config(tmp_path):
    vision = {"hidden_size": 32, "num_attention_heads": 2, "image_size": 64, "patch_size": 8}
    values = {"model_type": "smolvlm", "scale_factor": 4, "vision_config": vision,
              "text_config": {"hidden_size": 48, "num_attention_heads": 2}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    model = read_config(tmp_path)
    # What Hugging Face leaves out of the inner configs is the default of its classes.
    assert (model.text.layers, model.text.norm_eps, model.vision.layers) == (32, 1e-6, 12)
    assert (model.vision.text_hidden, model.vision.side, model.vision.head_dim) == (48, 8, 16)
    assert model.vision.patches_of(None) == 8 and model.vision.patches_of(32) == 4
    for image in (0, 16, 128):
        with pytest.raises(EmuError, match=f"image of {image} pixels: expected a multiple of 32"):
            model.vision.patches_of(image)
    for changes, message in (({"hidden_act": "gelu"}, "hidden_act"), ({"image_size": 72}, "image_size: found 72"),
                             ({"num_attention_heads": 3}, "hidden_size: found 32, expected a multiple")):
        with pytest.raises(EmuError, match="vision_config") as raised:
            parse_config(values | {"vision_config": vision | changes}, "config.json", "m")
        assert message in str(raised.value)
