"""Regime planning: thresholds, layer limits, and bounds that hold for emulated runs (spec §3.9, §6.2, §6.3)."""

import json
import pathlib
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import goldens

import plena_emu
from plena_emu.boards import load_board
from plena_emu.boards.dram_pace import BURST_PS, READ_PS, TCK_PS, pace_of
from plena_emu.boards.dram_schema import load_dram
from plena_emu.cli.main import main
from plena_emu.errors import EmuError
from plena_emu.kernels import layout
from plena_emu.kernels.simple import batch as simple_batch
from plena_emu.manifests.capacity_regime import Choice, choose_regime, decide_regime
from plena_emu.manifests.footprint import first_regions, footprint, owned_lines
from plena_emu.manifests.schema import Manifest, Region, load_manifest
from plena_emu.memory.models import open_model
from plena_emu.profiler.compute_bound import compute_cycles_of
from plena_emu.running.board_part import Overlay
from plena_emu.running.planning import find_manifest, make_plan
from plena_emu.running.platform import available_capacity, resolve_bandwidth

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "manifests"
A7, NEXYS, V80 = load_board("custom_a7"), load_board("nexys_video"), load_board("v80")
# A board whose file names no part: its memory is the idealised DDR of §3.5, which the goldens were timed with.
IDEALISED = msgspec.structs.replace(A7, memory=msgspec.structs.replace(A7.memory, dram=None))
PARTS = ("ddr3_800_x16", "ddr3_1600_x16", "ddr4", "hbm2", "hbm2_2000", "hbm2e_3200")


def by_regime(plan):
    return {row.regime: row for row in plan.regimes}


def golden_runs():
    """(program, run) of every capacity-regime run with a manifest the generator made."""
    for folder in sorted(GOLDEN.glob("base_clm60m*")):
        for run in json.loads((folder / "expected.json").read_text())["runs"]:
            if run["model_statistics"] and run["model_statistics"].startswith("Capacity"):
                yield pytest.param(folder, run, id=f"{folder.name}-{run['id']}")


@pytest.mark.parametrize("folder, run", list(golden_runs()))
def test_bounds_hold_for_golden_runs(folder, run):
    """Every bound is below what the reference measured, and the regime is the one it chose."""
    args = dict(zip(run["args"][::2], run["args"][1::2], strict=True))
    manifest = load_manifest(str(folder / args["--weight-manifest"]))
    plan = make_plan(manifest, IDEALISED, Overlay(host_bandwidth=int(args["--host-bandwidth"])))
    assert plan.host_bandwidth == A7.host_bandwidth
    regime, swapped, streamed = re.match(
        r"Capacity model \[(.*)\] .* swapped bytes: (\d+) .* streamed bytes: (\d+)", run["model_statistics"]).groups()
    if args["--memory-model"] == "auto":
        assert regime == plan.regime
    row = by_regime(plan)[regime]
    assert row.link_bytes <= int(swapped) + int(streamed)
    assert row.run_ps <= run["latency_ps"]
    assert row.link_ns * 1000 <= run["latency_ps"]
    # No idle statement: the reads themselves are at least a tenth of each of these runs.
    assert row.run_ps * 10 > run["latency_ps"]


def test_the_published_case():
    plan = make_plan(load_manifest(str(GOLDEN / "base_clm60m_dec_L1_m256b64_a7" / "weight_manifest.json")), A7)
    rows = by_regime(plan)
    assert (plan.regime, plan.capacity_bytes, plan.capacity_from) == ("resident", 2**29, "weight manifest")
    bound = pace_of(load_dram("ddr3_800_x16")).bus_ps(4718592 // 64)
    assert rows["resident"].memory_ps == plan.memory_ps == plan.board_time_ps == bound
    assert rows["kv-swap"].link_bytes == 884736 and rows["kv-swap"].link_ns == 589824
    assert rows["weight-stream"].link_bytes == 3833856 and rows["weight-stream"].link_ns == 59904 * 42
    assert {name: row.possible_from_bytes for name, row in rows.items()} == {
        "resident": 4718592, "kv-swap": 3833856, "weight-stream": 0}


def test_a_revision_has_its_own_figures():
    """hbm2 moves twice as much with moe as with base (§10.2)."""
    manifest = load_manifest(str(GOLDEN / "base_clm60m_dec_L1_m256b64_a7" / "weight_manifest.json"))
    base, moe = (make_plan(manifest, A7, Overlay(dram="hbm2"), isa=isa) for isa in ("base", "moe"))
    assert (base.part.peak_bytes_per_s, moe.part.peak_bytes_per_s) == (64e9, 128e9)
    assert moe.memory_ps < 0.55 * base.memory_ps


def test_compute_grows_with_the_layers(tmp_path):
    """One layer four times is what four layers compute; without names of layers it is left out, with a word."""
    compute = {}
    for layers, name in ((1, "base_clm60m_dec_L1_m64b16_a7"), (4, "base_clm60m_dec_L4_m64b16")):
        archive = goldens.find(name)
        if archive is None:
            pytest.skip(f"{name} is not here")
        build = goldens.unpack(archive, tmp_path).directory
        compute[layers], warnings = compute_cycles_of(str(build), A7)
        assert compute[layers].layers == layers and warnings == []
        assert compute[layers].at(layers) == compute[layers].total
    assert compute[1].at(4) == pytest.approx(compute[4].total, rel=2e-3)
    plan = plena_emu.plan(build, "custom_a7", total_layers=8)
    far = plan.projected
    assert far.compute_ps == 10_000 * compute[4].at(8) and plan.compute_ps == 10_000 * compute[4].total
    assert all(row.run_ps == far.compute_ps + row.memory_ps for row in far.regimes)
    (build / "generated_asm_code.asm").unlink()
    far = plena_emu.plan(build, "custom_a7", total_layers=8).projected
    assert far.compute_ps is None and all(row.run_ps == row.memory_ps for row in far.regimes)


def test_constants_are_those_of_the_kernels():
    assert (TCK_PS, BURST_PS) == (simple_batch.TCK, simple_batch.BURST)
    assert READ_PS == simple_batch.TCK + simple_batch.CAS + simple_batch.BURST == 17493


# --- emulated: random manifests on the memory models themselves ---------------------------------------

KINDS = ("weight", "kv", "activation")


def read_descriptors(rows):
    """DMA descriptors of which every one reads `rows` rows of one 64-byte block."""
    descriptors = np.zeros((layout.NUM_DESCRIPTORS, layout.DESC_WIDTH), dtype=np.int64)
    columns = (layout.DESC_ROWS, layout.DESC_ELEMENTS, layout.DESC_ROW_BYTES, layout.DESC_RATIO)
    descriptors[:, columns] = rows, 64, 64, 1
    return descriptors


def emulate(manifest, capacity, bandwidth, addresses, rows, model="auto", dram=None):
    """The memory model after one prefetch of `rows` consecutive blocks at each address, in this order."""
    regime, counts = decide_regime(model, manifest, None, Choice(capacity, "plan"))
    memory = open_model(regime, manifest, read_descriptors(rows), capacity=counts.value, bandwidth=bandwidth,
                        dram=dram)
    events = np.zeros((len(addresses), layout.MEV_WIDTH), dtype=np.int64)
    events[:, layout.MEV_DESCRIPTOR] = layout.DESCRIPTOR_M_WEIGHT
    events[:, layout.MEV_STEP] = 64
    events[:, layout.MEV_INDEX] = addresses
    memory.advance(events, len(events))
    return memory


def check_bounds(manifest, board_capacity, bandwidth, addresses, rows, dram=None):
    board = msgspec.structs.replace(A7, memory=msgspec.structs.replace(A7.memory, dram=dram))
    for model in ("auto", "resident", "kv-swap", "weight-stream"):
        plan = make_plan(manifest, board, Overlay(ddr_capacity=board_capacity, host_bandwidth=bandwidth))
        memory = emulate(manifest, plan.capacity_bytes, bandwidth, addresses, rows, model, dram)
        found = memory.statistics
        if model == "auto":
            assert found.regime == plan.regime
        row = by_regime(plan)[found.regime]
        assert row.link_bytes <= found.kv_swapped_bytes + found.weight_streamed_bytes
        assert row.run_ps <= memory.now_ps
        assert 1000 * row.link_ns <= memory.now_ps


@st.composite
def tiled_manifests(draw):
    """Regions of whole prefetches, back to back or with gaps, and the prefetches that read them in some order."""
    rows = draw(st.sampled_from([1, 2, 4, 16]))
    regions, prefetches, offset = [], [], 0
    for _ in range(draw(st.integers(1, 8))):
        offset += 64 * rows * draw(st.integers(0, 3))
        count = draw(st.integers(1, 6))
        region = Region(draw(st.integers(0, 3)), offset, 64 * rows * count, draw(st.sampled_from(KINDS)))
        regions.append(region)
        prefetches += list(range(offset, region.end, 64 * rows))
        offset = region.end
    prefetches += draw(st.lists(st.sampled_from(prefetches), max_size=8))
    return Manifest(0, tuple(draw(st.permutations(regions)))), draw(st.permutations(prefetches)), rows


bandwidths = st.sampled_from([1, 4_750_000, 60_000_000, 1_500_000_000, 63_999_999_999, 10**18])


@settings(max_examples=120, deadline=None)
@given(tiled_manifests(), st.integers(0, 40000), bandwidths)
def test_bounds_hold_when_every_region_is_read(made, capacity, bandwidth):
    manifest, prefetches, rows = made
    check_bounds(manifest, capacity, bandwidth, prefetches, rows)


@settings(max_examples=60, deadline=None)
@given(tiled_manifests(), st.integers(0, 40000), bandwidths, st.sampled_from(PARTS))
def test_bounds_hold_on_every_part(made, capacity, bandwidth, dram):
    manifest, prefetches, rows = made
    check_bounds(manifest, capacity, bandwidth, prefetches, rows, dram)


@pytest.mark.parametrize("dram", PARTS)
def test_a_long_stream_is_near_the_bound_and_never_below(dram):
    """Refreshes included: 4 MiB in order are within a third of the bound (hbm2 and ddr4 as the reference has them)."""
    manifest = Manifest(0, (Region(0, 0, 1 << 22, "activation"),))
    memory = emulate(manifest, 1 << 30, 10**9, list(range(0, 1 << 22, 64 * 1024)), 1024, "resident", dram)
    bound = pace_of(load_dram(dram)).bus_ps(1 << 16)
    assert bound <= memory.now_ps < 1.4 * bound


def test_the_pace_of_a_part_by_hand():
    """ddr3_800_x16: 64 bytes at 1.6 GB/s are 40 ns; a refresh of 260 ns each 7.8 us once an interval has passed."""
    pace = pace_of(load_dram("ddr3_800_x16"))
    assert (pace.line_ps, pace.refresh_every_ps, pace.refresh_ps) == (40000, 7_800_000, 260_000)
    assert pace.bus_ps(195) == 7_800_000 and pace.bus_ps(195 + 188) == 15_320_000
    assert pace.bus_ps(195 + 189) == 15_360_000 + 260_000
    assert pace.read_ps == 5 * 2500 + 40000


region = st.builds(Region, st.integers(0, 3), st.integers(0, 900), st.integers(0, 700), st.sampled_from(KINDS))


@settings(max_examples=120, deadline=None)
@given(st.lists(region, max_size=7), st.integers(0, 3000), bandwidths, st.randoms())
def test_bounds_hold_for_regions_that_overlap_and_are_not_aligned(regions, capacity, bandwidth, random):
    blocks = list(range(0, 1664, 64))
    random.shuffle(blocks)
    check_bounds(Manifest(0, tuple(regions)), capacity, bandwidth, blocks, 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(region, max_size=8))
def test_owned_lines_against_every_block(regions):
    counts = [0] * len(regions)
    for block in range(0, 1664, 64):
        first = next((k for k, r in enumerate(regions) if r.offset <= block < r.offset + r.size), None)
        if first is not None:
            counts[first] += 1
    assert owned_lines(regions) == counts


def test_regions_up_to_the_end_of_the_address_space():
    regions = [Region(0, 2**64 - 128, 128, "weight"), Region(0, 0, 1, "kv")]
    assert owned_lines(regions) == [2, 1]
    assert first_regions(regions) == [(0, 1), (1, None), (2**64 - 128, 0)]
    assert owned_lines([Region(0, 0, 2**64, "kv")]) == [2**58]


# --- thresholds and layers ---------------------------------------------------------------------------

@settings(max_examples=100, deadline=None)
@given(st.lists(region, max_size=7), st.integers(-1, 1))
def test_regimes_begin_where_the_plan_says(regions, step):
    manifest = Manifest(0, tuple(regions))
    found = footprint(regions)
    for row in make_plan(manifest, A7).regimes:
        capacity = row.possible_from_bytes + step
        if capacity >= 0:
            chosen = make_plan(manifest, A7, Overlay(ddr_capacity=capacity)).regime
            assert chosen == choose_regime(found, capacity)
            order = ["weight-stream", "kv-swap", "resident"]
            reached = order.index(chosen) >= order.index(row.regime)
            assert reached == (step >= 0 or row.possible_from_bytes <= capacity)


@settings(max_examples=100, deadline=None)
@given(st.lists(region, min_size=1, max_size=7), st.integers(0, 20000))
def test_layer_limits(regions, capacity):
    """At the limit the regime still holds, with one layer more it does not."""
    manifest = Manifest(0, tuple(regions))
    plan = make_plan(manifest, A7, Overlay(ddr_capacity=capacity))

    def regime(layers):
        return make_plan(manifest, A7, Overlay(ddr_capacity=capacity), layers).projected.regime

    limits = (plan.resident_up_to_layers, {"resident"}), (plan.kv_swap_up_to_layers, {"resident", "kv-swap"})
    for limit, allowed in limits:
        if limit is None:
            assert regime(10**12) in allowed
        else:
            assert limit == 0 or regime(limit) in allowed
            assert regime(limit + 1) not in allowed


def test_four_layers_from_one():
    """The plan of one layer, asked for four, is the plan of the four-layer program."""
    one, four = (load_manifest(str(GOLDEN / f"base_clm60m_dec_{n}" / "weight_manifest.json"))
                 for n in ("L1_m64b16_a7", "L4_m64b16"))
    far, here = make_plan(one, A7, total_layers=4).projected, make_plan(four, A7)
    assert far.footprint == here.footprint and far.regimes == here.regimes and far.regime == here.regime
    assert here.layers == 4 and [row.layer_id for row in here.by_layer] == [0, 1, 2, 3]
    assert sum(row.total for row in here.by_layer) == here.footprint.total


# --- which value counts --------------------------------------------------------------------------------

FLAG = "--ddr-capacity"


def test_capacity_of_manifest_then_flag_then_board():
    """The reference's order; with a first choice, the board's that was named or what was asked, that one (§10.1)."""
    def capacity(own, flag, board, model="auto", first=None):
        asked = None if flag is None else Choice(flag, FLAG)
        return decide_regime(model, Manifest(0, (), own), asked, available_capacity(board), first).capacity

    board = Choice(5, "board mine")
    assert capacity(7, None, A7, first=board) == (
        5, "board mine", "the weight manifest's DDR capacity of 7 bytes is not used: board mine says 5")
    assert capacity(5, 9, A7, first=board) == capacity(None, 9, A7, "layer-swap", board) == (5, "board mine", None)

    for model in ("auto", "resident", "kv-swap", "weight-stream"):
        assert capacity(7, None, A7, model)[:2] == (7, "weight manifest")
        assert capacity(7, 7, A7, model).warning is None
        assert capacity(7, 9, A7, model) == (
            7, "weight manifest", "--ddr-capacity 9 is not used: the weight manifest states 7 bytes, which counts")
        assert capacity(None, 9, A7, model) == (9, "--ddr-capacity", None)
    assert capacity(None, 0, A7).value == 0
    assert capacity(None, None, V80) == (34359738368, "board v80", None)
    assert capacity(None, None, None) == (2**29, "default", None)
    assert capacity(7, None, A7, "layer-swap") == (A7.ddr_capacity_bytes, "board custom_a7", None)
    assert capacity(7, 9, A7, "layer-swap") == (9, "--ddr-capacity", None)
    assert capacity(7, 9, A7, "host-stream") is None


def test_bandwidth_of_flag_then_board():
    assert resolve_bandwidth(None, NEXYS) == (4750000, "board nexys_video", None)
    assert resolve_bandwidth(5, V80) == (5, "--host-bandwidth", None)
    assert resolve_bandwidth(None, V80) is None
    assert resolve_bandwidth(None, None) == (60_000_000, "default", None)


def test_a_board_without_a_link_leaves_times_open():
    plan = make_plan(Manifest(0, (Region(0, 0, 640, "weight"), Region(0, 640, 64, "kv"))), V80)
    rows = by_regime(plan)
    assert rows["resident"].run_ps == pace_of(load_dram("hbm2e_3200")).bus_ps(11)
    assert (rows["kv-swap"].run_ps, rows["weight-stream"].link_ns) == (None, None)
    assert (rows["kv-swap"].link_bytes, rows["weight-stream"].link_bytes) == (64, 640)


# --- command -------------------------------------------------------------------------------------------

def test_the_command(capsys):
    build = str(GOLDEN / "base_clm60m_dec_L1_m256b64_a7")
    assert main(["plan", build, "--board", "custom_a7", "--total-layers", "200"]) == 0
    text = capsys.readouterr().out
    for words in ("536,870,912 bytes = 512 MiB (board custom_a7)", "resident *", "884,736 B",
                  "resident up to 129, kv-swap up to 140", "regime weight-stream", "Bounds hold if every region"):
        assert words in text, words
    assert main(["plan", build, "--board", "custom_a7", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    plan = make_plan(load_manifest(f"{build}/weight_manifest.json"), A7, board_named=True)
    assert (data.pop("format"), data.pop("command")[:2]) == ("plena-emu plan 2", ["plena-emu", "plan"])
    assert data == json.loads(msgspec.json.encode(plan))
    assert data["regimes"][1]["link_bytes"] == 884736


def test_the_command_says_which_capacity_counts(capsys):
    file = str(GOLDEN / "base_clm60m_dec_L1_m256b64_a7" / "weight_manifest_ddr2M.json")
    assert main(["plan", file]) == 0
    assert "2,097,152 bytes = 2 MiB (weight manifest)" in capsys.readouterr().out
    assert main(["plan", file, "--ddr-capacity", "4M"]) == 0
    assert "the weight manifest's DDR capacity of 2097152 bytes is not used: --ddr-capacity says 4194304" in (
        capsys.readouterr().out)
    assert main(["plan", file, "--board", "custom_a7"]) == 0
    assert "is not used: board custom_a7 says 536870912" in capsys.readouterr().out


def test_a_build_without_a_manifest_is_planned_with_the_one_it_would_get(tmp_path, capsys):
    source = GOLDEN / "base_clm60m_dec_L1_m64b16_a7"
    for name in ("hbm_addrs.json", "hbm_sizes.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    manifest = find_manifest(tmp_path, A7)
    assert manifest.regions == load_manifest(str(source / "weight_manifest.json")).regions
    assert len(manifest.warnings) == 1 and manifest.ddr_capacity_bytes is None
    assert main(["plan", str(tmp_path), "--ddr-capacity", "2M", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["capacity_bytes"], data["regime"]) == (2 * 2**20, "weight-stream")
    assert not (tmp_path / "weight_manifest.json").exists()


@pytest.mark.parametrize("argument, words", [
    ("gone", "cannot read"), ("", "found neither weight_manifest.json nor hbm_addrs.json"), ("bad.json", "not JSON"),
])
def test_malformed_inputs(argument, words, tmp_path, capsys):
    (tmp_path / "bad.json").write_text("{")
    assert main(["plan", str(tmp_path / argument)]) == 101
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    with pytest.raises(EmuError):
        find_manifest(tmp_path / argument, A7)
