"""Programs of whole models: their size, what they execute, what they leave alone (spec §9.2, §9.4, §9.5, §9.6)."""

import json
import tomllib

import numpy as np
import pytest

import plena_emu
from plena_emu.config.settings import load_settings
from plena_emu.errors import EmuError
from plena_emu.models.compiler import compile as compile_model
from plena_emu.models.machine import BLOCK, Machine
from plena_emu.models.passes.place import place
from plena_emu.models.presets import PRESETS, find_preset, settings_text
from plena_emu.models.results import read_results
from plena_emu.models.row_shape import RowShape
from plena_emu.models.sources import find_model
from plena_emu.models.text_graph import build_text_graph


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_machine_is_that_of_the_settings(name, tmp_path):
    machine = Machine.of(PRESETS[name], vector_rows=5000)
    path = tmp_path / "settings.toml"
    path.write_text(settings_text(PRESETS[name], 1 << 20, vector_sram_rows=5000))
    found = load_settings(str(path), "test")
    assert (found.mlen, found.blen, found.hlen, found.broadcast) == (machine.mlen, machine.blen, machine.hlen,
                                                                    machine.broadcast)
    config = tomllib.loads(path.read_text())["TRANSACTIONAL"]["CONFIG"]
    values = {name: entry["value"] for name, entry in config.items()}
    assert values["MATRIX_SRAM_SIZE"] // machine.mlen == machine.tiles
    assert values["HBM_V_Writeback_Amount"] == machine.write_back
    assert values["MAX_LOOP_INSTRUCTIONS"] == machine.max_loop_instructions
    assert values["VECTOR_SRAM_SIZE"] == machine.vector_rows and Machine.of(PRESETS[name]).vector_rows == 4_194_304


def counts(directory):
    return plena_emu.run(directory, timing_only=True).instruction_counts


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llada-8b"])
def test_size_of_a_large_model(model, tmp_path):
    build = compile_model(model, tmp_path / "build", preset="m256b64", prefill=512, weights="none")
    assert build.words <= 150_000


def test_size_does_not_grow_with_hidden_size_or_tokens(tmp_path):
    """But for loops whose iterations would exceed MAX_LOOP_INSTRUCTIONS, which are written out."""
    sizes = {}
    for model, prefill in (("clm60m", 64), ("llama-3.2-1b", 64), ("clm60m", 128), ("clm60m", 256)):
        build = compile_model(model, tmp_path / "build", preset="m256b64", prefill=prefill, layers=1, weights="none",
                              logits="none")
        sizes[model, prefill] = build.words
    assert max(sizes.values()) < 1.6 * min(sizes.values()), sizes


def test_stages_cover_every_word(tmp_path):
    build = compile_model("tiny", tmp_path / "build", prefill=5)
    stages = json.loads((tmp_path / "build/stages.json").read_text())["stages"]
    assert [stage["first_pc"] for stage in stages] == [0, *(stage["last_pc"] + 1 for stage in stages[:-1])]
    assert stages[-1]["last_pc"] == build.words - 1
    assert {stage["operator"] for stage in stages if stage["layer"] == 1} == {
        "norm", "attn.qkv", "attn.rope", "attn.kv_store", "attn.scores", "attn.softmax", "attn.values", "attn.out",
        "residual", "ffn.gate_up", "ffn.activation", "ffn.down"}
    text = (tmp_path / "build/generated_asm_code.asm").read_text()
    assert "; layer 1 ffn.down\n" in text and "; lm_head\n" in text


@pytest.mark.parametrize("tokens", [1, 16, 17, 33, 64])
def test_rows_are_padded_to_blen(tokens, tmp_path):
    """M_MM counts groups of 16 rows, and every weight tile is loaded once."""
    compile_model("tiny", tmp_path / "build", prefill=tokens, layers=1, weights="none", logits="none")
    groups, found = -(-tokens // 16), counts(tmp_path / "build")
    linears = 128 // 64 * (128 + 64 + 64 + 128 + 2 * 320) // 16 + 320 // 64 * 128 // 16
    rope, values = 3 * 2, 2 * 4  # half of rotate-half of three heads; two heads of 64 columns
    assert found["M_MM"] == groups * (linears + rope + values)
    tiles = 128 * (128 + 64 + 64 + 128 + 3 * 320) // 64**2
    assert found["H_PREFETCH_M"] == tiles + 1 + 2  # rotation; keys and values
    assert found["H_STORE_V"] == 2 * groups


def test_decode_stores_one_group_of_rows_and_leaves_the_cache_alone(tmp_path):
    first, step = tmp_path / "first", tmp_path / "step"
    compile_model("tiny", first, prefill=20, batch=2)
    plena_emu.run(first, dump_dir=first)
    compile_model("tiny", step, cache_from=str(first))
    result = plena_emu.run(step, dump_dir=step)
    assert result.instruction_counts["H_STORE_V"] == 2 * 2 * 2  # layers, K and V, sequences
    before, after = (stored_rows(directory) for directory in (first, step))
    for name, (codes, scales) in before.items():
        for old, new in zip((codes, scales), after[name], strict=True):
            np.testing.assert_array_equal(new[:, :20], old[:, :20])


def stored_rows(directory):
    """Codes and scales of each stored region, [sequences, rows, …]."""
    results, data, found, start = read_results(directory), (directory / "hbm_results.bin").read_bytes(), {}, 0
    for region in results.regions:
        values = np.frombuffer(data, np.uint8, region.bytes, start)
        count = region.rows * region.columns
        found[region.name] = (values[:count].reshape(2, -1, region.columns),
                              values[count:].reshape(2, -1, region.columns // BLOCK))
        start += region.bytes
    return found


def test_vector_sram_of_a_board(tmp_path):
    with pytest.raises(EmuError, match=r"needs \d+ rows of 64 elements, there are 300") as caught:
        compile_model("tiny", tmp_path / "build", prefill=20, vector_sram_rows=300)
    assert not (tmp_path / "build").exists()
    rows = int(str(caught.value).split(" rows")[0].split()[-1])
    build = compile_model("tiny", tmp_path / "build", prefill=20, vector_sram_rows=rows)
    assert build.vector_rows == rows
    assert plena_emu.run(tmp_path / "build", dump_dir=tmp_path / "build").dropped.vector_rows == 0


@pytest.mark.parametrize("model, preset, past", [("tiny", "m64b16", 0), ("qwen3-0.6b", "m256b64", 0),
                                                 ("qwen3-0.6b", "m16b4", 70), ("llama-3.1-8b", "m128b64", 5)])
def test_buffers_that_live_at_a_time_do_not_overlap(model, preset, past):
    machine, config = Machine.of(find_preset(preset)), find_model(model).text
    graph = build_text_graph(config, machine, RowShape(machine, batch=2, tokens=1 if past else 9, past=past), "last")
    placement = place(graph, machine)
    uses = {name: [] for name in graph.buffers}
    for number, operator in enumerate(graph.operators):
        for name in operator.buffers:
            uses[name].append(number)
    end = len(graph.operators) + 1
    lives = {name: range(0 if graph.buffers[name].alone else used[0], end if name in graph.kept else used[-1] + 1)
             for name, used in uses.items() if used}
    lives |= {name: range(end) for name, buffer in graph.buffers.items() if buffer.alone}
    places = {name: (place.address // machine.mlen, place.rows * graph.buffers[name].blocks)
              for name, place in placement.activations.items()}
    for one, life in lives.items():
        for other, its in lives.items():
            if one < other and life.start < its.stop and its.start < life.stop:
                (a, height), (c, its_height) = places[one], places[other]
                assert a + height <= c or c + its_height <= a, (one, other)
    ends = [tensor.address + tensor.size for tensor in placement.tensors.values()]
    starts = [tensor.address for tensor in placement.tensors.values()]
    assert all(start % 64 == 0 for start in starts)
    assert all(end <= start for end, start in zip(ends[:-1], starts[1:], strict=True))


def test_too_little_disk_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(EmuError, match=r"needs \d+ bytes, 1000 are free"):
        compile_model("tiny", tmp_path / "build")
    assert not list(tmp_path.iterdir())
