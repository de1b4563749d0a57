"""Random small models: compiled, run without a dropped row or a read outside the HBM, and right (spec §9.7)."""

import json
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import plena_emu
from plena_emu.models.check import check_build
from plena_emu.models.compiler import compile as compile_model
from plena_emu.models.presets import PRESETS


@st.composite
def configs(draw):
    """A `config.json`: sizes that are no multiple of anything, every family."""
    kv_heads = draw(st.integers(1, 3))
    family = draw(st.sampled_from(("llama", "mistral", "qwen2", "qwen3", "llada")))
    return {
        "model_type": family, "vocab_size": draw(st.integers(5, 300)),
        "hidden_size": draw(st.sampled_from((24, 64, 72, 128, 200))),
        "intermediate_size": draw(st.sampled_from((8, 40, 64, 136, 320))),
        "num_hidden_layers": draw(st.integers(1, 2)), "num_key_value_heads": kv_heads,
        "num_attention_heads": kv_heads * draw(st.integers(1, 4)),
        "head_dim": draw(st.sampled_from((8, 16, 24, 32, 40, 64, 80, 128))), "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512, "tie_word_embeddings": draw(st.booleans()),
        "attention_bias": draw(st.booleans()) if family == "llama" else False,
    }  # fmt: skip


requests = st.fixed_dictionaries({
    "preset": st.sampled_from(sorted(PRESETS)), "prefill": st.sampled_from((1, 2, 3, 5, 16, 17, 33, 65, 100)),
    "batch": st.integers(1, 3), "logits": st.sampled_from(("last", "all", "none")),
})  # fmt: skip


def check(directory):
    """Run a build and check it."""
    result = plena_emu.run(directory, dump_dir=directory)
    assert result.dropped.vector_rows == result.dropped.hbm_bytes_read_outside == 0
    report = check_build(directory)  # within §9.7's bars, or as far off as rounding makes a model this small
    assert report.ok, report


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(config=configs(), request=requests)
def test_random_models(config, request):
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory, "config.json")
        model.write_text(json.dumps(config))
        prefill, step = str(Path(directory, "prefill")), str(Path(directory, "step"))
        compile_model(model, prefill, **request)
        check(prefill)
        if config["model_type"] != "llada":
            compile_model(model, step, preset=request["preset"], logits=request["logits"], cache_from=prefill)
            check(step)
