"""Latencies of compiled models against those of the reference's own compiler, on the same settings (spec §9.9)."""

import pytest

import plena_emu
from plena_emu.boards import load_board
from plena_emu.manifests.generate import make_manifest, manifest_json
from plena_emu.models.compiler import compile as compile_model

PROMPT, IMAGE = {"prefill": 64}, {"part": "vision", "image": 128}  # 64 patches


@pytest.mark.parametrize("model, layers, preset, request_, hbm, resident", [
    ("clm60m", 1, "m64b16", PROMPT, 670, 825), ("clm60m", 1, "m256b64", PROMPT, 200, 320),
    ("smollm2-135m", 1, "m64b16", PROMPT, 1150, 1550), ("smollm2-135m", 1, "m256b64", PROMPT, 225, 490),
    ("smollm2-135m", 30, "m64b16", PROMPT, 34_500, 46_500), ("clm60m", 1, "m64b16", {"past": 64}, 245, 380),
    ("clm60m", 1, "m64b16", {"past": 1024}, 260, 430), ("smolvlm2-256m", 1, "m64b16", IMAGE, 3300, 5000),
])
def test_rows(model, layers, preset, request_, hbm, resident, tmp_path):
    """Without LM head; microseconds that every program here stays below, and the reference's by far exceed."""
    build = tmp_path / "build"
    compile_model(model, build, preset=preset, layers=layers, weights="none", logits="none", **request_)
    (build / "weight_manifest.json").write_text(manifest_json(make_manifest(build, load_board("custom_a7"))))
    for memory, most in (("hbm", hbm), ("resident", resident)):
        assert plena_emu.run(build, timing_only=True, memory_model=memory).latency_ps <= most * 1e6, memory
