"""The list of `plena-emu compile --list`: bundled models, families, presets."""

from ..models.config_files import MODEL_TYPES
from ..models.descriptions import bundled_names, load_description
from ..models.presets import DEFAULT_PRESET, PRESETS
from .table import Table, render

_TEXT = "decoder: RMSNorm, grouped heads, RoPE, SwiGLU"
_FAMILIES = {
    "llama": f"{_TEXT}; also SmolLM2", "mistral": f"{_TEXT}; a window not shorter than the sequence",
    "qwen2": f"{_TEXT}, biases of q, k and v",
    "qwen3": f"{_TEXT}, norms of q and k per head", "llada": "the same blocks, bidirectional, no decode",
    "smolvlm": "text part as llama, vision encoder and connector", "idefics3": "as smolvlm",
}


def models_text(width: int | None = None) -> str:
    """Write what can be compiled.

    Parameters
    ----------
    width : int, optional
        Columns of the terminal; None where lines may be as long as they are.

    Returns
    -------
    str
    """
    columns = ("bundled model", "hidden", "inter", "layers", "heads", "kv", "head_dim", "vocab", "besides")
    models = Table([_model(load_description(name)) for name in bundled_names()], "lrrrrrrrl", columns)
    lengths = ("preset", "MLEN = VLEN", "BLEN", "HLEN", "broadcast", "besides")
    presets = Table([_preset(preset) for preset in PRESETS.values()], "lrrrrl", lengths)
    families = Table([(kind, _FAMILIES[kind]) for kind in MODEL_TYPES], "ll", ("model_type of a config.json", "what"))
    return render([models, "", presets, "", families], width)


def _model(model):
    text = model.text
    besides = (("bidirectional", not text.causal), ("q/k norm", text.qk_norm), ("vision part", bool(model.vision)),
               ("tied", text.tied), (f"RoPE {text.rope_scaling and text.rope_scaling.kind}", text.rope_scaling))
    sizes = (text.hidden, text.intermediate, text.layers, text.heads, text.kv_heads, text.head_dim, text.vocab)
    return model.name, *map(str, sizes), ", ".join(word for word, holds in besides if holds)


def _preset(preset):
    lengths = (preset.mlen, preset.blen, preset.hlen, preset.broadcast)
    return preset.name, *map(str, lengths), "the default" if preset.name == DEFAULT_PRESET else ""
