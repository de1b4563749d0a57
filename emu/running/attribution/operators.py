"""The names of operators: what a layer of a model consists of (spec §9.6)."""

EMBED = "embed"
NORM = "norm"
QKV = "attn.qkv"
ROPE = "attn.rope"
KV_STORE = "attn.kv_store"
SCORES = "attn.scores"
SOFTMAX = "attn.softmax"
VALUES = "attn.values"
ATTENTION_OUT = "attn.out"
RESIDUAL = "residual"
GATE_UP = "ffn.gate_up"
ACTIVATION = "ffn.activation"
DOWN = "ffn.down"
FINAL_NORM = "final_norm"
LM_HEAD = "lm_head"

# Of a vision encoder.
PATCH = "patch"
FC1 = "ffn.fc1"
FC2 = "ffn.fc2"
POST_NORM = "post_norm"
CONNECTOR = "connector"

# Of programs that are no model of §9.1: the choice of experts, and a product on its own.
ROUTER = "ffn.router"
LINEAR = "linear"

NAMES = (EMBED, NORM, QKV, ROPE, KV_STORE, SCORES, SOFTMAX, VALUES, ATTENTION_OUT, RESIDUAL, GATE_UP, ACTIVATION, DOWN,
         FINAL_NORM, LM_HEAD, PATCH, FC1, FC2, POST_NORM, CONNECTOR, ROUTER, LINEAR)
OTHER = "other"  # whatever no rule and no file names
