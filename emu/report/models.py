"""The list of `plena-emu compile --list`: bundled models, families, presets."""

from ..models.config_files import MODEL_TYPES
from ..models.descriptions import bundled_names, load_description
from ..models.presets import DEFAULT_PRESET, PRESETS
from .table import Table, render


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
    return render([models, "", presets, "", f"model_type of a config.json: {', '.join(MODEL_TYPES)}"], width)


def _model(model):
    text = model.text
    besides = (("bidirectional", not text.causal), ("q/k norm", text.qk_norm), ("vision part", bool(model.vision)))
    sizes = (text.hidden, text.intermediate, text.layers, text.heads, text.kv_heads, text.head_dim, text.vocab)
    return model.name, *map(str, sizes), ", ".join(word for word, holds in besides if holds)


def _preset(preset):
    lengths = (preset.mlen, preset.blen, preset.hlen, preset.broadcast)
    return preset.name, *map(str, lengths), "the default" if preset.name == DEFAULT_PRESET else ""
