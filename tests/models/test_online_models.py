"""Whole models whose scores do not fit: the softmax goes online, and the answer stays the same (spec §9.2, §9.4)."""

import json

import pytest

import plena_emu
from plena_emu.errors import EmuError
from plena_emu.models.check import check_build
from plena_emu.models.compiler import compile as compile_model
from plena_emu.models.machine import Machine
from plena_emu.models.passes.attention_plan import plan_attention
from plena_emu.models.presets import find_preset
from plena_emu.models.row_shape import RowShape
from plena_emu.models.sources import find_model
from plena_emu.models.text_graph import build_text_graph


def least_rows(model, directory, **options):
    """Rows of the vector SRAM without which there is no program: what the error says."""
    with pytest.raises(EmuError, match=r"needs \d+ rows") as caught:
        compile_model(model, directory, weights="none", vector_sram_rows=1, **options)
    return int(str(caught.value).split(" rows")[0].split()[-1])


def right(directory):
    """Run and check a build."""
    result = plena_emu.run(directory, dump_dir=directory)
    assert result.dropped.vector_rows == result.dropped.hbm_bytes_read_outside == 0
    report = check_build(directory)
    assert report.ok, report


COMMON = {"vocab_size": 50, "rms_norm_eps": 1e-5}
CONFIGS = {
    "wide_group": COMMON | {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 12, "head_dim": 64,
                            "num_key_value_heads": 1, "intermediate_size": 64, "num_hidden_layers": 1},
    "bidirectional": COMMON | {"model_type": "llada", "hidden_size": 40, "num_attention_heads": 2, "head_dim": 24,
                               "num_key_value_heads": 1, "intermediate_size": 40, "num_hidden_layers": 2},
}


@pytest.mark.parametrize("name, preset, prefill, batch", [
    ("wide_group", "m16b4", 75, 2), ("wide_group", "m64b16", 260, 1), ("wide_group", "m256b64", 520, 1),
    ("bidirectional", "m16b4", 185, 2), ("bidirectional", "m64b16", 400, 1),
])
def test_as_few_rows_as_possible(name, preset, prefill, batch, tmp_path):
    """All scores of a KV head do not fit any more; a prefill and a step with its cache are right all the same."""
    model = tmp_path / "config.json"
    model.write_text(json.dumps(CONFIGS[name]))
    options = {"preset": preset, "batch": batch}
    rows = least_rows(model, tmp_path / "none", prefill=prefill, **options)
    free = compile_model(model, tmp_path / "free", prefill=prefill, weights="none", **options)
    assert rows < free.vector_rows
    build = compile_model(model, tmp_path / "build", prefill=prefill, vector_sram_rows=rows, **options)
    assert build.vector_rows == rows
    right(tmp_path / "build")
    if name == "wide_group":
        rows = least_rows(model, tmp_path / "none", past=prefill, **options)
        compile_model(model, tmp_path / "step", cache_from=str(tmp_path / "build"), vector_sram_rows=rows,
                      preset=preset)
        right(tmp_path / "step")


@pytest.mark.parametrize("prefill, past, chunk", [(64, 0, None), (512, 0, 8), (2048, 0, 32), (1, 4000, None),
                                                  (1, 8000, 32)])
def test_what_is_chosen(prefill, past, chunk):
    """All scores while that is small and fast, else the longest chunks that the matrix SRAM holds twice."""
    machine, config = Machine.of(find_preset("m64b16")), find_model("smollm2-135m").text
    shape = RowShape(machine, batch=1, tokens=prefill, past=past)
    graph, _ = plan_attention(lambda chunk: build_text_graph(config, machine, shape, "none", chunk), machine)
    assert {operator.chunk for operator in graph.operators if operator.stage == "attn.scores"} == {chunk}
