"""Figures by stage, region and opcode of golden programs: they add up to the run, exactly, in every mode."""

import itertools
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from oracle import goldens
from support import write_settings

from plena_emu.api import run
from plena_emu.config.build_dir import fields_of
from plena_emu.config.settings import find_settings
from plena_emu.isa import BY_MNEMONIC
from plena_emu.program.assembler import assemble, mem_text
from plena_emu.program.decode import decode, read_words
from plena_emu.request import RunRequest
from plena_emu.result import FIELDS, Figures, StageTable
from plena_emu.running.attribution.loops import static_total
from plena_emu.running.attribution.operators import OTHER

BY_HAND = ("base_direct_v_shift_v", "base_direct_h_store")  # their work has no comment
FEW_WORDS = 3000  # programs up to this size run with data in every mode, larger ones on two threads
DDR = ("auto", "resident", "weight-stream", "kv-swap", "layer-swap", "host-stream")


def with_comments():
    """Archives of compiled programs: random ones hold no comments."""
    found = goldens.archives(shared=True) or goldens.archives()
    return [path for path in found if path.name.split("_")[1] not in ("fz", "sp", "st")]


def random_ones():
    found = goldens.archives(shared=True) or goldens.archives()
    return [path for path in found if path.name.split("_")[1] in ("fz", "sp", "st")][::8]


def unpacked(archive, into):
    """The build directory of a program, without what it should leave behind."""
    name = goldens.name_of(archive)
    with tarfile.open(archive) as tar:
        tar.extractall(into, [member for member in tar if "expected_dumps" not in member.name], filter="data")
    folder = into / name
    expected = json.loads((folder / "expected.json").read_text())
    run = expected["runs"][0]
    size = run["args"][run["args"].index("--hbm-size") + 1] if "--hbm-size" in run["args"] else None
    return str(folder), {"isa": expected["isa"], "hbm_size": None if size is None else int(size)}


def check_sums(result):
    """Every grouping adds up to the run."""
    table = result.stages
    run_figures = {
        "instructions": result.instructions, "compute_ps": result.compute_ps, "memory_ps": result.memory_ps,
        "bytes_read": result.bytes_read, "bytes_written": result.bytes_written,
    }
    link_bytes, swaps, link_ps = link_of(result)
    run_figures |= {"link_bytes": link_bytes, "swaps": swaps}
    for names in (("layer", "operator"), ("operator",), ("layer",), ("opcode",), ("region",)):
        total = Figures()
        for row in table.by(*names):
            total.add(row.figures)
        found = {name: getattr(total, name) for name in run_figures}
        if names == ("region",):
            found |= {"instructions": result.instructions, "compute_ps": result.compute_ps}
        assert found == run_figures, names
        assert total.matrix_ps + total.vector_ps + total.scalar_ps == total.compute_ps
        if link_ps is not None:
            assert total.link_ps == link_ps
        if result.dram_statistics is not None:
            statistics = result.dram_statistics
            found_rows = total.row_hits, total.row_misses, total.row_conflicts
            assert [count or 0 for count in found_rows] == [  # None where there is no row at all
                statistics["row_hits"], statistics["row_misses"], statistics["row_conflicts"]]
    assert {row.key[0]: row.figures.instructions for row in table.opcodes} == result.instruction_counts
    assert result.end_ps == table.total.time_ps
    return table


def link_of(result):
    """(bytes over the host link, swaps, ps on the link or None) by the model's own statistics."""
    statistics = result.model_statistics
    if result.regime in ("host-stream",):
        return statistics["weight_bytes"], 0, None
    if result.regime == "layer-swap":
        return statistics["swapped_bytes"], statistics["swaps"], 1000 * statistics["swap_ns"]
    if result.model == "hbm":
        return 0, 0, 0
    return statistics["kv_swapped_bytes"] + statistics["weight_streamed_bytes"], statistics["kv_swaps"], None


def rows(table: StageTable):
    return [(row.key, row.figures) for part in (table.stages, table.regions, table.opcodes) for row in part]


ALONE = [{"timing_only": True, "threads": threads, "memo": memo} for threads in (1, 2) for memo in (True, False)]
WITH_DATA = [{"threads": threads, "memo": memo} for threads in (1, 2) for memo in (True, False)]


def modes(folder, fields, model, **more):
    """Runs without data (loops skipped) and with it, on one thread and two, with the memo and without: all say the
    same, and each adds up."""
    first = None
    needs_data = "V_TOPK" in Path(folder, "generated_asm_code.asm").read_text()
    words = len(Path(folder, "generated_machine_code.mem").read_text().split())
    for mode in [] if needs_data else ALONE:
        table = check_sums(run(folder, memory_model=model, **fields, **mode, **more))
        first = first or table
        assert rows(table) == rows(first), mode
    for mode in WITH_DATA if words <= FEW_WORDS else WITH_DATA[2:3]:
        table = check_sums(run(folder, memory_model=model, **fields, **mode, **more))
        first = first or table
        assert rows(table) == rows(first), mode
    return first


@pytest.mark.parametrize("archive", with_comments(), ids=goldens.name_of)
def test_compiled_programs(archive, tmp_path):
    """At most 2 % of the time is `other`; stages come from the comments; sums in all modes."""
    folder, fields = unpacked(archive, tmp_path)
    table = modes(folder, fields, "hbm")
    other_model = DDR[with_comments().index(archive) % len(DDR)]
    by_manifest = modes(folder, fields | {"weight_manifest": manifest_of(folder)}, other_model, ddr_capacity=60_000)
    assert [(row.key, row.figures.compute_ps, row.figures.bytes_read) for row in by_manifest.stages] == [
        (row.key, row.figures.compute_ps, row.figures.bytes_read) for row in table.stages]
    assert table.source.endswith("generated_asm_code.asm") and table.warnings == []
    others = [row.figures.time_ps for row in table.by("operator") if row.key == (OTHER,)]
    assert (sum(others) <= 0.02 * table.total.time_ps) == (goldens.name_of(archive) not in BY_HAND)
    settings = find_settings(f"{folder}/plena_settings.toml", {})
    table_of_words = decode(read_words(f"{folder}/generated_machine_code.mem"), fields["isa"], settings).table
    assert static_total(table_of_words) in (None, table.total.instructions)


@pytest.mark.parametrize("name", ["base_aten_linear", "base_sliced_layer_m64b16_h64", "base_aten_rope"])
@pytest.mark.parametrize("model", DDR)
def test_models_of_board_ddr(name, model, tmp_path):
    archive = goldens.find(name)
    if archive is None:
        pytest.skip(f"{name} is not here")
    folder, fields = unpacked(archive, tmp_path)
    fields["weight_manifest"] = manifest_of(folder)
    table = modes(folder, fields, model, ddr_capacity=60_000)
    assert model in ("resident", "auto") or table.total.link_ps > 0 or model == "kv-swap"


def manifest_of(folder):
    """The manifest of the build, or the one made up for the test (`golden/README.md`)."""
    for name in ("weight_manifest.json", "manifest.json"):
        try:
            with open(f"{folder}/{name}") as file:
                document = json.load(file)
        except FileNotFoundError:
            continue
        document.pop("ddr_capacity_bytes", None)
        with open(f"{folder}/free.json", "w") as file:
            json.dump(document, file)
        return f"{folder}/free.json"
    offsets, lengths = {"a": 0, "b": 4608, "c": 20480}, {"a": 4608, "b": 8192, "c": 1 << 20}  # where no table says
    if Path(folder, "hbm_addrs.json").exists():
        offsets, lengths = (json.loads(Path(folder, name).read_text()) for name in ("hbm_addrs.json", "hbm_sizes.json"))
    regions = [{"layer_id": k, "offset": offsets[tensor], "size": lengths[tensor], "kind": kind}
               for k, (tensor, kind) in enumerate(zip(offsets, itertools.cycle(("weight", "kv", "activation"))))]
    with open(f"{folder}/free.json", "w") as file:
        json.dump({"activation_ceiling": 0, "regions": regions}, file)
    return f"{folder}/free.json"


@pytest.mark.parametrize("archive", random_ones(), ids=goldens.name_of)
def test_random_programs(archive, tmp_path):
    """Programs that no compiler would write: loops left early, addresses outside, stores over each other."""
    folder, fields = unpacked(archive, tmp_path)
    model = "hbm" if fields["isa"] == "moe" else "resident"
    if model != "hbm":
        fields["weight_manifest"] = f"{folder}/no.json"
        with open(fields["weight_manifest"], "w") as file:
            file.write('{"activation_ceiling": 0, "regions": []}')
    first = None
    for mode in WITH_DATA:
        table = check_sums(run(folder, memory_model=model, **mode, **fields))
        first = first or table
        assert rows(table) == rows(first), mode
    if not {"V_TOPK", "S_LD_INT"} <= {row.key[0] for row in first.opcodes}:
        for mode in ALONE:
            assert rows(check_sums(run(folder, memory_model=model, **mode, **fields))) == rows(first), mode


def test_a_part_of_a_run_and_loops(tmp_path):
    """A run that is stopped half way adds up as well; the outermost loops and what lies outside make up everything."""
    folder, fields = unpacked(goldens.find("base_aten_linear"), tmp_path)
    check_sums(run(folder, max_instructions=1000, **fields))
    table = check_sums(run(folder, loops=True, **fields))
    outer = Figures()
    for row in table.by("loop"):
        if "/" not in row.key[0]:
            outer.add(row.figures)
    assert 0.5 < outer.time_ps / table.total.time_ps <= 1
    assert outer.instructions < table.total.instructions


def test_multiply_adds_of_a_linear_layer(tmp_path):
    """A product of [64 x 128] with [128 x 128] has that many, however it is tiled."""
    folder, fields = unpacked(goldens.find("base_aten_linear"), tmp_path)
    table = run(folder, **fields).stages
    counts = {row.key[0]: row.figures.multiply_adds for row in table.opcodes if row.figures.multiply_adds}
    geometry = run(folder, timing_only=True, **fields).geometry
    each = geometry.blen**2 * geometry.mlen
    products = {row.key[0]: row.figures.instructions for row in table.opcodes if row.figures.multiply_adds}
    assert counts == {name: each * number for name, number in products.items()}
    assert set(counts) <= {"M_MM", "M_TMM"} and table.total.multiply_adds == sum(counts.values())


def test_no_stages_where_nobody_asks(tmp_path):
    folder, fields = unpacked(goldens.find("base_aten_linear"), tmp_path)
    assert run(folder, stages=False, **fields).stages is None
    request = RunRequest(**fields_of(folder, {"dump_dir": None}))
    assert request.stages


def test_tables(tmp_path):
    folder, fields = unpacked(goldens.find("base_aten_linear"), tmp_path)
    result = run(folder, **fields)
    table = result.stages
    turned = [row.key[::-1] for row in table.by("layer", "operator")]
    assert [row.key for row in table.by("operator", "layer")] == turned
    assert repr(table).startswith("<StageTable") and "linear" in repr(table)
    assert "<td>linear<td>" in table._repr_html_()
    for bad in ((), ("layer", "layer"), ("opcode", "layer"), ("colour",)):
        with pytest.raises(ValueError, match="grouping by"):
            table.by(*bad)
    assert table.by("layer,operator") == table.by("layer", "operator")
    with pytest.raises(ValueError, match="loops=True"):
        table.by("loop")
    assert run(folder, loops=True, **fields).stages.by("loop")
    stored = json.loads(result.to_json())["stages"]
    assert stored["loops"] is None
    assert stored["stages"][0]["key"] == [None, "embed"]
    assert set(stored["stages"][0]["figures"]) == set(FIELDS)
    assert {row["key"][0] for row in stored["opcodes"]} <= set(BY_MNEMONIC)


def test_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    folder, fields = unpacked(goldens.find("base_aten_linear"), tmp_path)
    result = run(folder, **fields)
    table = result.stages
    frame = table.to_pandas()
    assert list(frame.columns[:2]) == ["layer", "operator"] and isinstance(frame, pandas.DataFrame)
    assert list(table.to_pandas("layer,operator").columns) == list(frame.columns)
    assert int(frame["compute_ps"].sum()) == result.compute_ps
    assert np.isclose(frame["array_utilization"].max(), max(map(table.array_utilization, (
        row.figures for row in table.stages))))


def test_regions_are_called_by_their_tensors(tmp_path):
    """Reads of a weight are those of its bytes; each is loaded once for a layer of 64 rows."""
    archive = goldens.find("base_clm60m_dec_L1_m256b64_a7")
    if archive is None:
        pytest.skip("the program is not here")
    folder, fields = unpacked(archive, tmp_path)
    with open(f"{folder}/hbm_addrs.json") as addresses, open(f"{folder}/hbm_sizes.json") as file:
        offsets, sizes = json.load(addresses), json.load(file)
    for model in ("hbm", "auto"):
        table = run(folder, timing_only=True, memory_model=model, **fields).stages
        found = {row.key[0]: row.figures for row in table.regions}
        assert set(found) - {"outside"} <= set(offsets)
        # Scales come in blocks of 64 bytes a row: a row of 256 elements reads 320 bytes for its 288.
        assert found["W_q_0"].bytes_read * 9 >= 10 * sizes["W_q_0"] * 0.8
        assert found["K_stored_0_h0"].bytes_written > 0 and found["W_q_0"].bytes_written == 0


@pytest.mark.parametrize("name", ["base_aten_linear", "base_sliced_layer_m64b16_h64"])
@pytest.mark.parametrize("model, more", [
    ("hbm", {}), ("layer-swap", {}), ("kv-swap", {"dram": "ddr4"}), ("host-stream", {"dram": "ddr4"}),
    ("weight-stream", {}), ("hbm", {"timing": "rtl-v1"}), ("resident", {"timing": "rtl-v1"}),
])
def test_hardware_timing(name, model, more, tmp_path):
    """Production DMA is charged to the byte, the picosecond and the row hit; a timeline leaves the serial figures."""
    archive = goldens.find(name)
    if archive is None:
        pytest.skip(f"{name} is not here")
    folder, fields = unpacked(archive, tmp_path)
    if model != "hbm":
        fields["weight_manifest"] = manifest_of(folder)
        more = {**more, "ddr_capacity": 60_000}
    table = modes(folder, fields, model, dma="production", **more)
    assert table.total.bytes_read > 0 and table.total.memory_ps > 0


def test_slices_beside_the_timeline_of_the_hardware(tmp_path):
    """Figures and log are those of the serial run, with and without the scoreboard; slices are those of the units."""
    archive = goldens.find("base_aten_linear")
    if archive is None:
        pytest.skip("base_aten_linear is not here")
    folder, fields = unpacked(archive, tmp_path)
    asked = {"dma": "production", "timing_only": True, **fields}
    serial, placed = (run(folder, timing=timing, timeline=str(tmp_path / f"{timing}.json"), **asked)
                      for timing in ("serial", "rtl-v1"))
    assert placed.hardware.timeline is not None and placed.hardware.serial_latency_ps == serial.latency_ps
    assert rows(check_sums(placed)) == rows(check_sums(serial))
    assert placed.timeline.slices > 0
    lines = []
    for timing in ("serial", "rtl-v1"):
        log = tmp_path / f"{timing}.tsv"
        run(folder, timing=timing, pc_log=str(log), pc_log_from="count=20", pc_log_count=50, **asked)
        lines.append(log.read_text())
    assert lines[0] == lines[1] and lines[0].count("\n") == 51


@pytest.mark.parametrize("model", ["hbm", "resident"])
def test_a_board_in_its_own_time(model, tmp_path):
    """Sums hold with a core cycle that is none of 1000 ps, and utilisation counts that cycle."""
    archive = goldens.find("base_aten_linear")
    if archive is None:
        pytest.skip("base_aten_linear is not here")
    folder, fields = unpacked(archive, tmp_path)
    if model != "hbm":
        fields["weight_manifest"] = manifest_of(folder)
    result = run(folder, memory_model=model, board="custom_a7", timing_only=True, **fields)
    table = check_sums(result)
    assert table.core_period_ps == result.board.core_period_ps != 1000
    cycles = table.total.time_ps / table.core_period_ps
    assert table.array_utilization(table.total) == pytest.approx(
        table.total.multiply_adds / (table.array_size * cycles), rel=1e-12)


PRODUCTS = {  # multiply-adds and cycles, the overhead of 3 included: MLEN 16, BLEN 4, 4 heads of 4 (§1.4)
    "M_MM 0, gp0, gp0": (4 * 4 * 16, 19), "M_TMM 0, gp0, gp0": (4 * 4 * 16, 19), "M_MV 0, gp0, gp0": (4 * 16, 16),
    "M_TMV 0, gp0, gp0": (4 * 16, 16), "M_BMM 0, gp0, gp0": (16 * 16 * 16, 19),
    "M_BTMM 0, gp0, gp0": (16 * 16 * 16, 19), "M_BMV 0, gp0, gp0": (16 * 16, 4), "M_BTMV 0, gp0, gp0": (16 * 16, 4),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_array_utilization_of_each_product(product, tmp_path):
    """Between 0 and 1 for every product, by its multiply-adds and cycles; half of it where half the time is other."""
    adds, cycles = PRODUCTS[product]
    words = [product] + ["V_ADD_VV gp0, gp0, gp0"] * 4
    (tmp_path / "p.mem").write_text(mem_text(assemble("\n".join(words))))
    write_settings(tmp_path / "s.toml")
    request = RunRequest(opcode=tmp_path / "p.mem", settings_path=tmp_path / "s.toml", timing_only=True, dump_dir=None)
    table = run(request).stages
    figures = {row.key[0]: row.figures for row in table.opcodes}[product.split()[0]]
    assert figures.multiply_adds == adds and figures.compute_ps == 1000 * cycles
    begun = 16 * 16 if product.startswith("M_B") else 4 * 4
    assert figures.broadcast_multiply_adds == (adds if product.startswith("M_B") else 0)
    assert table.array_utilization(figures) == pytest.approx(adds / begun / cycles)
    assert 0 < table.array_utilization(figures) <= 16 / 19
    whole = cycles + 4 * 5
    assert table.array_utilization(table.total) == pytest.approx(adds / begun / whole)


def test_array_utilization_of_goldens_is_a_share(tmp_path):
    """Also where scores are broadcast products of several heads."""
    for archive in with_comments()[::4]:
        folder, fields = unpacked(archive, tmp_path)
        if "V_TOPK" not in Path(folder, "generated_asm_code.asm").read_text():
            table = run(folder, timing_only=True, **fields).stages
            assert all(0 <= table.array_utilization(row.figures) <= 1 for row in (*table.stages, *table.opcodes))
