"""`--schedule overlap`: the values of the plain schedule, bit for bit, and fewer stalls on the timeline (spec §7.9)."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_kernel import Kernel

import plena_emu
from plena_emu.cli.main import main
from plena_emu.models.compiler import compile as compile_model
from plena_emu.models.lowering.linear import linear, plain_runs
from plena_emu.models.machine import ceil_div
from plena_emu.models.passes.overlap import can_alternate, due, shares
from plena_emu.models.results import load_results


@given(st.integers(0, 60), st.integers(1, 20))
def test_shares_are_all_loads_in_all_iterations(loads, iterations):
    found = shares(loads, iterations)
    assert sum(times for times, _ in found) == iterations and sum(times * share for times, share in found) == loads
    assert len(found) <= 3 and all(times > 0 for times, _ in found)
    assert [share for _, share in found] == sorted((share for _, share in found), reverse=True)
    assert found[0][1] == ceil_div(loads, iterations)


@given(st.integers(0, 60), st.integers(1, 40))
def test_loads_of_slots_are_evenly_apart(loads, slots):
    found = [due(loads, slots, slot) for slot in range(slots)]
    assert sum(found) == loads and max(found) - min(found) <= 1
    assert found[0] == max(found)


def test_two_columns_have_to_fit():
    assert can_alternate(16, 8, 2) and not can_alternate(16, 9, 2) and not can_alternate(16, 1, 1)


def product(preset, rows, depth, columns, path, overlap, limit=None):
    """The kernel of a linear, the address of its result, and how it ran."""
    rng = np.random.default_rng(rows + depth)
    path.mkdir()
    kernel = Kernel(preset, path, hbm_size=1 << 21, vector_rows=4096)
    x = kernel.activation(rng.standard_normal((rows, depth)))
    weight, _ = kernel.tensor(rng.standard_normal((depth, columns)) / np.sqrt(depth))
    y = kernel.activation(np.zeros((rows, columns)))
    scratch = kernel.activation(np.zeros((x.rows, 1)))
    linear(kernel.b, kernel.machine, x, weight, plain_runs(kernel.machine, columns, y),
           groups=ceil_div(rows, kernel.machine.blen), partial=scratch.address, overlap=overlap)
    result = kernel.run()
    return kernel, y, result


# (preset, rows, depth, columns): one and several groups, one tile deep, as deep as half the matrix SRAM and deeper,
# column blocks in a loop, ragged columns, a single tile column.
SHAPES = [
    ("m16b4", 1, 16, 64), ("m16b4", 17, 112, 56), ("m16b4", 4, 16 * 128, 64), ("m16b4", 4, 16 * 129, 64),
    ("m64b16", 65, 130, 200), ("m64b16", 16, 64 * 9, 64 * 5), ("m64b16", 48, 64 * 22, 128), ("m64b16", 5, 64, 64),
    ("m256b64", 3, 300, 768),
]


@pytest.mark.parametrize("preset, rows, depth, columns", SHAPES)
def test_a_product_has_the_same_bits_and_transfers(preset, rows, depth, columns, tmp_path):
    plain, y, before = product(preset, rows, depth, columns, tmp_path / "plain", False)
    overlap, _, after = product(preset, rows, depth, columns, tmp_path / "overlap", True)
    assert plain.read(y, rows).tobytes() == overlap.read(y, rows).tobytes()
    assert np.abs(plain.read(y, rows)).min() > 0
    for name in ("H_PREFETCH_M", "M_MM", "M_MM_WO"):
        assert before.instruction_counts[name] == after.instruction_counts[name]
    assert before.bytes_read == after.bytes_read


@pytest.mark.parametrize("preset, rows, depth, columns", [
    ("m16b4", 1, 16, 64), ("m16b4", 17, 112, 64), ("m64b16", 16, 64 * 9, 64 * 5), ("m64b16", 48, 64 * 22, 128),
])
def test_loads_go_to_the_half_that_is_not_in_use(preset, rows, depth, columns, tmp_path):
    kernel, _, _ = product(preset, rows, depth, columns, tmp_path / "overlap", True)
    log = tmp_path / "log"
    plena_emu.run(plena_emu.RunRequest(
        opcode=str(kernel.path / "program.mem"), settings_path=str(kernel.path / "settings.toml"), timing_only=True,
        dump_dir=None, pc_log=str(log), pc_log_count=1_000_000))
    half = ceil_div(depth, kernel.machine.mlen) * kernel.machine.tile
    used, loaded, filled = None, [], {}
    for line in csv.reader(log.read_text().splitlines()[1:], delimiter="\t"):
        name = line[6].split(" ")[0]
        if name == "H_PREFETCH_M":
            tile = int(line[-3])
            assert used is None or tile // half != used // half
            loaded.append(tile)
            filled[tile] = len(loaded)
        elif name == "M_MM":
            used = int(line[-2])
            assert used // kernel.machine.tile * kernel.machine.tile in filled
    columns_of_tiles = ceil_div(columns, kernel.machine.mlen)
    assert len(loaded) == columns_of_tiles * half // kernel.machine.tile
    assert {tile // half for tile in loaded} == {0, 1}


@pytest.mark.parametrize("options", [
    {"preset": "m64b16", "prefill": 5}, {"preset": "m16b4", "prefill": 21, "logits": "all"},
    {"preset": "m64b16", "past": 7}, {"preset": "m64b16", "prefill": 3, "batch": 2},
], ids=str)
def test_a_model_has_the_same_results_and_fewer_stalls(options, tmp_path):
    results, runs = {}, {}
    for schedule in ("plain", "overlap"):
        build = str(tmp_path / schedule)
        compile_model("tiny", build, layers=1, schedule=schedule, **options)
        runs[schedule] = plena_emu.run(build, dump_dir=build, timing="rtl-v1", results=f"{build}/results.json")
        results[schedule] = load_results(build)
    assert results["plain"].keys() == results["overlap"].keys()
    for name, values in results["plain"].items():
        assert values.tobytes() == results["overlap"][name].tobytes(), name
    plain, overlap = (runs[schedule].hardware.timeline for schedule in ("plain", "overlap"))
    port = "hbm_request_port_busy"
    assert overlap["stall_cycles_by_reason"].get(port, 0) < plain["stall_cycles_by_reason"][port]
    assert overlap["total_makespan_cycles"] < plain["total_makespan_cycles"]
    assert runs["plain"].bytes_read == runs["overlap"].bytes_read


def test_the_command_line_takes_it(tmp_path, capsys):
    for schedule in ("plain", "overlap"):
        assert main(["compile", "tiny", "-o", str(tmp_path / schedule), "--layers", "1", "--prefill", "3", "--weights",
                     "none", "--schedule", schedule]) == 0
    words = [(tmp_path / schedule / "generated_machine_code.mem").read_text() for schedule in ("plain", "overlap")]
    assert words[0] != words[1]
