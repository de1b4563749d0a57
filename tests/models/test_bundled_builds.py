"""Every bundled description compiles without weights, within the sizes of spec §9.5, and its timing ends."""

import json

import pytest

import plena_emu
from plena_emu.models.compiler import compile as compile_model
from plena_emu.models.descriptions import bundled_names, load_description

MOST_WORDS = 150_000  # 32 layers of an 8B model
PARTS = [(name, "text") for name in bundled_names()] + [("smolvlm2-256m", "vision")]


@pytest.mark.parametrize("name, part", PARTS)
def test_whole_models_compile(name, part, tmp_path):
    options = {"prefill": 512} if part == "text" else {"part": part, "image": 128}
    build = compile_model(name, tmp_path / "build", preset="m256b64", weights="none", **options)
    assert 0 < build.words <= MOST_WORDS
    assert not (tmp_path / "build" / "hbm_for_behave_sim.bin").exists()
    config = load_description(name).part(part)
    stages = json.loads((tmp_path / "build" / "stages.json").read_text())["stages"]
    assert stages[0]["first_pc"] == 0 and stages[-1]["last_pc"] == build.words - 1
    assert {stage["layer"] for stage in stages} - {None} == set(range(config.layers))
    assert all(before["last_pc"] + 1 == after["first_pc"] for before, after in zip(stages, stages[1:], strict=False))


@pytest.mark.parametrize("options", [{"prefill": 64}, {"prefill": 300, "batch": 3}, {"past": 64}], ids=str)
@pytest.mark.parametrize("preset", ["m16b4", "m16b8", "m32b8", "m64b4", "m64b16", "m128b64"])
def test_32_layers_of_an_8b_model(preset, options, tmp_path):
    """Heads of 128 elements are 8 tiles wide on the smallest machine."""
    build = compile_model("llama-3.1-8b", tmp_path / "build", preset=preset, weights="none", **options)
    assert build.words <= MOST_WORDS


@pytest.mark.parametrize("model, preset, lengths, most", [
    ("tiny", "m64b16", (64, 128, 512, 2048), 1.15), ("smollm2-135m", "m64b16", (64, 512, 2048, 8192), 1.15),
    ("llama-3.1-8b", "m256b64", (64, 512, 8192), 1.2),
])
def test_program_size_does_not_grow_with_tokens(model, preset, lengths, most, tmp_path):
    """Nor with sequences: the attention of short prompts has fewer loops, which is all the difference there is."""
    words = [compile_model(model, tmp_path / "build", weights="none", preset=preset, prefill=tokens).words
             for tokens in lengths]
    words.append(compile_model(model, tmp_path / "build", weights="none", preset=preset, prefill=300, batch=4).words)
    assert max(words) < most * min(words), words


def test_many_query_heads_of_one_kv_head(tmp_path):
    """More than one iteration of a loop may do: a step takes a share of them."""
    config = {"model_type": "llama", "vocab_size": 64, "hidden_size": 64, "intermediate_size": 64, "head_dim": 64,
              "num_hidden_layers": 1, "num_key_value_heads": 1, "num_attention_heads": 64, "rms_norm_eps": 1e-5,
              "max_position_embeddings": 8192}
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = [compile_model(tmp_path / "config.json", tmp_path / "build", weights="none", prefill=tokens).words
             for tokens in (64, 2048, 8192)]
    assert max(words) < 1.3 * min(words), words


@pytest.mark.parametrize("model, preset, lengths, most", [
    ("tiny", "m64b16", (1, 64, 2047), 1.2), ("smollm2-135m", "m64b16", (64, 1000, 8191), 1.15),
])
def test_a_step_does_not_grow_with_its_cache(model, preset, lengths, most, tmp_path):
    words = [compile_model(model, tmp_path / "build", weights="none", preset=preset, past=past).words
             for past in lengths]
    assert max(words) < most * min(words), words


@pytest.mark.parametrize("past", [None, 63, 64])
def test_timing_of_a_whole_small_model_ends(past, tmp_path):
    length = {"prefill": 64} if past is None else {"past": past}
    compile_model("clm60m", tmp_path / "build", weights="none", **length)
    result = plena_emu.run(tmp_path / "build", timing_only=True)
    assert result.latency_ps > 0 and result.warnings == []
