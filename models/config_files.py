"""Reads `config.json` of the supported families (spec §9.1).

A field that changes the mathematics and is not supported is an error that names it; other unknown fields are ignored.
"""

import os
from pathlib import Path

from plena_emu.errors import EmuError
from plena_emu.inputs.documents import parse_json
from plena_emu.inputs.text import read_text
from plena_emu.inputs.words import shown

from .configs import ModelDescription, RopeScaling, TextConfig, VisionConfig

CONFIG_FILE = "config.json"
LLAMA_TYPES = ("llama", "mistral", "qwen2", "qwen3")
LLADA_TYPES = ("llada",)
VISION_TYPES = ("smolvlm", "idefics3")
MODEL_TYPES = (*LLAMA_TYPES, *LLADA_TYPES, *VISION_TYPES)
_ARCHITECTURES = {
    "LlamaForCausalLM": "llama", "MistralForCausalLM": "mistral", "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3", "LLaDAModelLM": "llada", "SmolVLMForConditionalGeneration": "smolvlm",
    "Idefics3ForConditionalGeneration": "idefics3",
}  # fmt: skip

# Own names of LLaDA's config for the usual ones.
_LLADA_NAMES = {
    "hidden_size": "d_model", "num_attention_heads": "n_heads", "num_key_value_heads": "n_kv_heads",
    "num_hidden_layers": "n_layers", "intermediate_size": "mlp_hidden_size", "tie_word_embeddings": "weight_tying",
    "max_position_embeddings": "max_sequence_length", "hidden_act": "activation_type",
    "attention_bias": "include_qkv_bias", "mlp_bias": "include_bias",
}  # fmt: skip

# Fields that change the mathematics, and the values with which they do not.
_NEUTRAL: dict[str, tuple] = {
    "attn_logit_softcapping": (None,), "final_logit_softcapping": (None,), "logits_scaling": (None, 1),
    "logit_scale": (None, 1), "embedding_multiplier": (None, 1), "residual_multiplier": (None, 1),
    "attention_multiplier": (None,), "query_pre_attn_scalar": (None,), "num_experts": (None, 0, 1),
    "num_local_experts": (None, 0, 1), "n_routed_experts": (None, 0), "quantization_config": (None,),
    "partial_rotary_factor": (None, 1), "rotary_pct": (None, 1), "alibi": (None, False), "clip_qkv": (None,),
    "no_rope_layers": (None, []), "mlp_bias": (None, False), "sandwich_norm": (None, False),
}  # fmt: skip
_LLADA_NEUTRAL: dict[str, tuple] = {
    "rope": (None, True), "layer_norm_type": (None, "rms"), "block_type": (None, "llama"),
    "scale_logits": (None, False), "attention_layer_norm": (None, False), "input_emb_norm": (None, False),
    "multi_query_attention": (None, False), "bias_for_layer_norm": (None, False), "block_group_size": (None, 1),
}  # fmt: skip
# The values of Hugging Face's own classes: it leaves equal fields out of the configs inside a SmolVLM's config.
_INNER_TEXT = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "rms_norm_eps": 1e-6, "max_position_embeddings": 2048,
}  # fmt: skip
_INNER_VISION = {
    "hidden_size": 1152, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 16,
    "num_channels": 3, "image_size": 224, "patch_size": 32, "layer_norm_eps": 1e-6,
}  # fmt: skip


class _Fields:
    """Fields of a JSON object that knows its file, for errors."""

    def __init__(self, source, values, prefix=""):
        self.source = source
        self.values = values
        self.prefix = prefix

    def fail(self, name, found, expected):
        raise EmuError(f"{self.source}: {self.prefix}{name}: found {_shown(found)}, expected {expected}")

    def get(self, name, default=None):
        return self.values.get(name, default)

    def inner(self, name):
        value = self.get(name)
        if not isinstance(value, dict):
            self.fail(name, value, "a table")
        return _Fields(self.source, value, f"{self.prefix}{name}.")

    def count(self, name, default=None):
        """Positive integer; one that is missing takes `default`, if there is one."""
        value = self.get(name)
        value = default if value is None else value
        if type(value) is not int or not 0 < value < 2**31:
            self.fail(name, value, "a positive integer")
        return value

    def number(self, name, default=None):
        """Positive number."""
        value = self.get(name)
        value = default if value is None else value
        if type(value) not in (int, float) or not 0 < value < 1e30:
            self.fail(name, value, "a positive number")
        return float(value)

    def words(self, name):
        """Strings of a list; none where it is missing."""
        value = self.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(word, str) for word in value)):
            self.fail(name, value, "a list of strings")
        return value or []

    def flag(self, name, default):
        value = self.get(name)
        value = default if value is None else value
        if type(value) is not bool:
            self.fail(name, value, "true or false")
        return value

    def refuse(self, neutral):
        """Refuse every field of `neutral` whose value is none of those it lists."""
        for name, values in neutral.items():
            value = self.get(name)
            if value not in values:
                raise EmuError(f"{self.source}: {self.prefix}{name}: {_shown(value)} is not supported")


def _shown(value):
    """Short text of a value, or of one that is missing."""
    return "nothing" if value is None else shown(value)


def read_config(path: str | os.PathLike) -> ModelDescription:
    """Read a `config.json`, or that of a model's directory (§9.1).

    Returns
    -------
    ModelDescription
        Named after the directory.

    Raises
    ------
    EmuError
        The file cannot be read, is no JSON object, lacks a field, or has one whose mathematics is not supported.
    """
    path = Path(path)
    file = path / CONFIG_FILE if path.is_dir() else path
    where = f"model config {file}"
    return parse_config(parse_json(read_text(file, "model config"), where), where, file.resolve().parent.name)


def parse_config(values: object, source: str, name: str) -> ModelDescription:
    """Check the values of a `config.json`; `source` names it in errors, `name` the model. Raises `EmuError`."""
    if not isinstance(values, dict):
        raise EmuError(f"{source}: found {_shown(values)}, expected a table")
    fields = _Fields(source, values)
    kind = _model_type(fields)
    if kind not in VISION_TYPES:
        return ModelDescription(name=name, text=_text(fields, kind, name))
    text = fields.inner("text_config")
    inner_kind = text.get("model_type", "llama")
    if inner_kind not in LLAMA_TYPES:
        text.fail("model_type", inner_kind, f"one of {', '.join(LLAMA_TYPES)}")
    # The head of the whole model decides, not the default of the inner config.
    tied = fields.flag("tie_word_embeddings", False)
    text = _Fields(source, _INNER_TEXT | text.values | {"tie_word_embeddings": tied}, text.prefix)
    text_config = _text(text, inner_kind, name)
    return ModelDescription(name=name, text=text_config, vision=_vision(fields, text_config.hidden, name))


def _model_type(fields):
    kind = fields.get("model_type")
    if kind is None:
        found = (_ARCHITECTURES.get(architecture) for architecture in fields.words("architectures"))
        kind = next((name for name in found if name), None)
    if kind not in MODEL_TYPES:
        fields.fail("model_type", kind or fields.get("architectures"), f"one of {', '.join(MODEL_TYPES)}")
    return kind


def _text(fields, kind, name):
    """`TextConfig` of a Llama-like or LLaDA config."""
    llada = kind in LLADA_TYPES
    if llada:
        renamed = {usual: fields.values[own] for usual, own in _LLADA_NAMES.items()
                   if own in fields.values and usual not in fields.values}
        fields = _Fields(fields.source, renamed | fields.values, fields.prefix)
        fields.refuse(_LLADA_NEUTRAL)
    fields.refuse(_NEUTRAL)
    if fields.get("is_causal") not in (None, not llada):
        fields.fail("is_causal", fields.get("is_causal"), f"{_shown(not llada)} for {kind}")
    if fields.get("hidden_act", "silu") not in ("silu", "swish"):
        raise EmuError(f"{fields.source}: {fields.prefix}hidden_act: {_shown(fields.get('hidden_act'))} is not"
                       " supported, expected silu")
    heads = fields.count("num_attention_heads")
    kv_heads = fields.count("num_key_value_heads", heads)
    if heads % kv_heads:
        fields.fail("num_key_value_heads", kv_heads, f"a divisor of num_attention_heads {heads}")
    hidden = fields.count("hidden_size")
    all_biases = fields.flag("attention_bias", False)
    return TextConfig(
        name=name,
        family="llada" if llada else "llama",
        vocab=fields.count("embedding_size" if llada and "embedding_size" in fields.values else "vocab_size"),
        hidden=hidden,
        intermediate=_intermediate(fields, hidden, llada),
        layers=fields.count("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_head_dim(fields, hidden, heads, kind),
        rope_theta=fields.number("rope_theta", _rope_parameters(fields).get("rope_theta", 1e4)),
        rope_scaling=_rope_scaling(fields),
        norm_eps=fields.number("rms_norm_eps"),
        qkv_bias=all_biases or kind == "qwen2",
        out_bias=all_biases and kind != "qwen2" and not llada,
        qk_norm=kind == "qwen3",
        causal=not llada,
        tied=fields.flag("tie_word_embeddings", False),
        max_positions=fields.count("max_position_embeddings", 2048),
        window=_window(fields, kind),
    )


def _intermediate(fields, hidden, llada):
    if llada and fields.get("intermediate_size") is None and fields.get("mlp_ratio") is not None:
        return max(1, int(fields.number("mlp_ratio") * hidden))
    return fields.count("intermediate_size")


def _head_dim(fields, hidden, heads, kind):
    if fields.get("head_dim") is not None:
        head_dim = fields.count("head_dim")
    elif kind == "qwen3":
        head_dim = 128  # the default of its class
    elif hidden % heads:
        fields.fail("hidden_size", hidden, f"a multiple of num_attention_heads {heads}, or head_dim")
    else:
        head_dim = hidden // heads
    if head_dim % 2:
        fields.fail("head_dim", head_dim, "an even number: rotary positions turn pairs")
    return head_dim


def _rope_parameters(fields):
    """The table that newer configs hold theta and scaling in; empty where there is none."""
    table = fields.get("rope_parameters")
    return table if isinstance(table, dict) else {}


def _rope_scaling(fields):
    """`RopeScaling`, None for the plain frequencies."""
    name = "rope_parameters" if _rope_parameters(fields) else "rope_scaling"
    if fields.get(name) is None:
        return None
    table = fields.inner(name)
    kind = table.get("rope_type", table.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling(kind="linear", factor=table.number("factor"))
    if kind != "llama3":
        raise EmuError(f"{fields.source}: {table.prefix}rope_type: {_shown(kind)} is not supported, expected default,"
                       " linear or llama3")
    scaling = RopeScaling(
        kind="llama3", factor=table.number("factor"), low_frequency_factor=table.number("low_freq_factor"),
        high_frequency_factor=table.number("high_freq_factor"),
        original_length=table.count("original_max_position_embeddings"),
    )
    if scaling.high_frequency_factor <= scaling.low_frequency_factor:
        table.fail("high_freq_factor", scaling.high_frequency_factor,
                   f"more than low_freq_factor {scaling.low_frequency_factor}")
    return scaling


def _window(fields, kind):
    """Length of the sliding window, None where no layer has one."""
    for layer_type in fields.words("layer_types"):
        if layer_type not in ("full_attention", "sliding_attention"):
            raise EmuError(f"{fields.source}: {fields.prefix}layer_types: {_shown(layer_type)} is not supported")
    if fields.get("sliding_window") is None or kind in ("llama", "llada"):
        return None
    if kind in ("qwen2", "qwen3") and not fields.flag("use_sliding_window", False):
        return None
    return fields.count("sliding_window")


def _vision(fields, text_hidden, name):
    """`VisionConfig` of a SmolVLM config."""
    inner = fields.inner("vision_config")
    inner = _Fields(fields.source, _INNER_VISION | inner.values, inner.prefix)
    if inner.get("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh":
        raise EmuError(f"{fields.source}: {inner.prefix}hidden_act: {_shown(inner.get('hidden_act'))} is not"
                       " supported, expected gelu_pytorch_tanh")
    config = VisionConfig(
        name=name, hidden=inner.count("hidden_size"), intermediate=inner.count("intermediate_size"),
        layers=inner.count("num_hidden_layers"), heads=inner.count("num_attention_heads"),
        image=inner.count("image_size"), patch=inner.count("patch_size"), channels=inner.count("num_channels"),
        norm_eps=inner.number("layer_norm_eps"), connector_scale=fields.count("scale_factor", 2),
        text_hidden=text_hidden,
    )
    if config.hidden % config.heads:
        inner.fail("hidden_size", config.hidden, f"a multiple of num_attention_heads {config.heads}")
    if config.image % (config.patch * config.connector_scale):
        inner.fail("image_size", config.image, f"a multiple of patch_size {config.patch} times scale_factor"
                                               f" {config.connector_scale}")
    return config
