"""Canonical names and shapes of a model's tensors, and the names under which files hold them (spec §9.1).

Canonical linears are (in, out), as the HBM holds them (§9.3); files hold them (out, in).
"""

import msgspec

from .configs import TextConfig, VisionConfig


class Tensor(msgspec.Struct, frozen=True):
    """A tensor of a model.

    `shape` is the canonical one, `stored` the possible names in a file, `transposed` whether the file holds a linear
    as (out, in); the patch convolution, (out, channels, row, column), counts as such a linear.
    """

    shape: tuple[int, ...]
    stored: tuple[str, ...]
    transposed: bool = False


# Canonical name in a layer -> usual name, LLaDA's own name.
_TEXT_LINEARS = {
    "q": ("self_attn.q_proj", "q_proj"), "k": ("self_attn.k_proj", "k_proj"), "v": ("self_attn.v_proj", "v_proj"),
    "o": ("self_attn.o_proj", "attn_out"), "gate": ("mlp.gate_proj", "ff_proj"), "up": ("mlp.up_proj", "up_proj"),
    "down": ("mlp.down_proj", "ff_out"),
}  # fmt: skip
_TEXT_NORMS = {"attn_norm": ("input_layernorm", "attn_norm"), "ffn_norm": ("post_attention_layernorm", "ff_norm")}
_VISION_LINEARS = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.out_proj",
    "fc1": "mlp.fc1", "fc2": "mlp.fc2",
}  # fmt: skip
_TEXT_ROOTS = ("model.", "model.text_model.")
_LLADA_ROOT = "model.transformer."
_VISION_ROOTS = ("model.vision_model.", "vision_model.")
_CONNECTORS = ("model.connector.", "connector.")


def tensors_of(config: TextConfig | VisionConfig) -> dict[str, Tensor]:
    """List the tensors of a model part.

    Returns
    -------
    dict of str to Tensor
        By canonical name, in the order of use. A tied LM head is in it, with the embedding's stored names.
    """
    return _text(config) if isinstance(config, TextConfig) else _vision(config)


def linear_shapes(config: TextConfig) -> dict[str, tuple[int, int]]:
    """List the (in, out) shapes of a text layer's linears.

    Returns
    -------
    dict of str to tuple
        By the name within the layer, in the order of use.
    """
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return {
        "q": (config.hidden, queries), "k": (config.hidden, keys), "v": (config.hidden, keys),
        "o": (queries, config.hidden), "gate": (config.hidden, config.intermediate),
        "up": (config.hidden, config.intermediate), "down": (config.intermediate, config.hidden),
    }  # fmt: skip


def _text(config):
    llada = config.family == "llada"

    def stored(usual, own):
        return (*(root + usual for root in _TEXT_ROOTS), *((_LLADA_ROOT + own,) if llada else ()))

    found = {"embed": Tensor((config.vocab, config.hidden), stored("embed_tokens.weight", "wte.weight"))}
    for layer in range(config.layers):
        def inner(names, what, layer=layer):
            return stored(f"layers.{layer}.{names[0]}.{what}", f"blocks.{layer}.{names[1]}.{what}")

        at = f"layers.{layer}."
        found[f"{at}attn_norm"] = Tensor((config.hidden,), inner(_TEXT_NORMS["attn_norm"], "weight"))
        for name, shape in linear_shapes(config).items():
            if name == "gate":
                found[f"{at}ffn_norm"] = Tensor((config.hidden,), inner(_TEXT_NORMS["ffn_norm"], "weight"))
            found[at + name] = Tensor(shape, inner(_TEXT_LINEARS[name], "weight"), transposed=True)
            if (name in "qkv" and config.qkv_bias) or (name == "o" and config.out_bias):
                found[f"{at}{name}_bias"] = Tensor(shape[1:], inner(_TEXT_LINEARS[name], "bias"))
        if config.qk_norm:
            for name in ("q_norm", "k_norm"):
                found[at + name] = Tensor((config.head_dim,), inner((f"self_attn.{name}", name), "weight"))
    found["final_norm"] = Tensor((config.hidden,), stored("norm.weight", "ln_f.weight"))
    head = ("lm_head.weight", *((f"{_LLADA_ROOT}ff_out.weight",) if llada else ()))
    head = found["embed"].stored if config.tied else head
    found["lm_head"] = Tensor((config.hidden, config.vocab), head, transposed=True)
    return found


def _vision(config):
    hidden, inter = config.hidden, config.intermediate
    shapes = dict.fromkeys("qkvo", (hidden, hidden)) | {"fc1": (hidden, inter), "fc2": (inter, hidden)}

    def stored(name):
        return tuple(root + name for root in _VISION_ROOTS)

    found = {
        "patch": Tensor((config.patch_size, hidden), stored("embeddings.patch_embedding.weight"), transposed=True),
        "patch_bias": Tensor((hidden,), stored("embeddings.patch_embedding.bias")),
        "positions": Tensor((config.side**2, hidden), stored("embeddings.position_embedding.weight")),
    }
    for layer in range(config.layers):
        at, root = f"layers.{layer}.", f"encoder.layers.{layer}."
        for number in "12":
            found[f"{at}norm{number}"] = Tensor((hidden,), stored(f"{root}layer_norm{number}.weight"))
            found[f"{at}norm{number}_bias"] = Tensor((hidden,), stored(f"{root}layer_norm{number}.bias"))
        for name, usual in _VISION_LINEARS.items():
            found[at + name] = Tensor(shapes[name], stored(f"{root}{usual}.weight"), transposed=True)
            found[f"{at}{name}_bias"] = Tensor(shapes[name][1:], stored(f"{root}{usual}.bias"))
    found["post_norm"] = Tensor((hidden,), stored("post_layernorm.weight"))
    found["post_norm_bias"] = Tensor((hidden,), stored("post_layernorm.bias"))
    shape = (hidden * config.connector_scale**2, config.text_hidden)
    names = tuple(f"{root}modality_projection.proj.weight" for root in _CONNECTORS)
    found["connector"] = Tensor(shape, names, transposed=True)
    return found
