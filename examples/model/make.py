"""Makes a small model in Hugging Face's file formats: config.json and model.safetensors with seeded f16 weights.

    python examples/model/make.py [DIRECTORY]
    plena-emu compile DIRECTORY -o build && plena-emu run build && plena-emu check build

By default the directory is `smallest` beside this script. Needs the extra `models`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent
SEED = 1
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "vocab_size": 160,
    "hidden_size": 96, "intermediate_size": 224, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
    "max_position_embeddings": 512, "tie_word_embeddings": True,
}  # fmt: skip


def tensors() -> dict[str, np.ndarray]:
    """Make every tensor by the name that Hugging Face's Llama gives it: linears (out, in), norms around 1.

    Returns
    -------
    dict of str to f16 array
    """
    hidden, inter = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    queries, keys = (CONFIG[name] * CONFIG["head_dim"] for name in ("num_attention_heads", "num_key_value_heads"))
    shapes = {"model.embed_tokens.weight": (CONFIG["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(CONFIG["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        shapes |= {f"{at}{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
        shapes |= {f"{at}self_attn.{name}_proj.weight": shape for name, shape in (
            ("q", (queries, hidden)), ("k", (keys, hidden)), ("v", (keys, hidden)), ("o", (hidden, queries)))}
        shapes |= {f"{at}mlp.{name}_proj.weight": shape for name, shape in (
            ("gate", (inter, hidden)), ("up", (inter, hidden)), ("down", (hidden, inter)))}
    generator = np.random.default_rng(SEED)
    made = {}
    for name, shape in shapes.items():
        values = generator.standard_normal(shape)
        if name.endswith("norm.weight"):
            values = 1 + values / 10
        elif name != "model.embed_tokens.weight":
            values /= shape[1] ** 0.5
        made[name] = values.astype(np.float16)
    return made


def make(directory: Path) -> None:
    """Write the model's directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    save_file(tensors(), directory / "model.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the model of this example.")
    parser.add_argument("directory", nargs="?", type=Path,
                        default=HERE / "smallest", help="where (default: %(default)s)")
    make(parser.parse_args().directory)
