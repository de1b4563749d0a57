"""Model directories for tests: a tiny Llama whose config and tensors a test can change."""

import json
import struct
from pathlib import Path

import numpy as np

from plena_emu.models.config_files import parse_config
from plena_emu.models.tensor_names import tensors_of

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "golden" / "models"
VENDORED = ROOT / "tests" / "golden" / "models"

LLAMA = {
    "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    "max_position_embeddings": 64,
}  # fmt: skip
_NAMES = {np.dtype("<f4"): "F32", np.dtype("<f2"): "F16", np.dtype("<u2"): "BF16", np.dtype("<f8"): "F64"}


def write_safetensors(path, tensors):
    """Write arrays by name in the format's own layout; u16 arrays count as bf16."""
    header, blob = {}, b""
    for name, values in tensors.items():
        data = values.tobytes()
        header[name] = {"dtype": _NAMES[values.dtype], "shape": list(values.shape),
                        "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + blob)


def stored_tensors(config, seed=0):
    """Random f32 tensors under the usual names and in the shapes of a file; linears keep the size of what they take."""
    generator = np.random.default_rng(seed)
    found = {}
    for name, tensor in tensors_of(config).items():
        shape = tensor.shape[::-1] if tensor.transposed else tensor.shape
        if name != "lm_head" or not config.tied:
            values = generator.standard_normal(shape, dtype=np.float32)
            found[tensor.stored[0]] = values * np.float32(shape[1] ** -0.5) if tensor.transposed else values
    return found


def make_model(directory, changes=None, seed=0):
    """Write config.json and model.safetensors of the tiny Llama; returns its `TextConfig` and stored tensors."""
    values = LLAMA | (changes or {})
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(values))
    config = parse_config(values, "config.json", directory.name).text
    tensors = stored_tensors(config, seed)
    write_safetensors(directory / "model.safetensors", tensors)
    return config, tensors
