"""The list of `plena-emu compile --list`: bundled models, families, presets."""

from ..models.config_files import MODEL_TYPES
from ..models.descriptions import bundled_names, load_description
from ..models.presets import DEFAULT_PRESET, PRESETS


def models_text() -> str:
    """Write what can be compiled.

    Returns
    -------
    str
    """
    rows = [("bundled model", "hidden", "inter", "layers", "heads", "kv", "head_dim", "vocab", "besides")]
    for name in bundled_names():
        model = load_description(name)
        text = model.text
        besides = [word for word, holds in (("bidirectional", not text.causal), ("q/k norm", text.qk_norm),
                                            ("vision part", model.vision is not None)) if holds]
        sizes = (text.hidden, text.intermediate, text.layers, text.heads, text.kv_heads, text.head_dim, text.vocab)
        rows.append((name, *map(str, sizes), ", ".join(besides)))
    presets = [("preset", "MLEN = VLEN", "BLEN", "HLEN", "broadcast", "besides")]
    presets += [(preset.name, str(preset.mlen), str(preset.blen), str(preset.hlen), str(preset.broadcast),
                 "the default" if preset.name == DEFAULT_PRESET else "") for preset in PRESETS.values()]
    families = f"model_type of a config.json: {', '.join(MODEL_TYPES)}"
    return "\n".join([*_aligned(rows), "", *_aligned(presets), "", families])


def _aligned(rows):
    """Rows as columns: numbers to the right, the first and the last to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *middle, last in rows:
        numbers = (cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *numbers, last]).rstrip())
    return lines
