"""Memory models (§3.2-§3.10): lists of accesses, regimes and statistics against the event-loop oracle."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import control, goldens, memory

from plena_emu.config.units import parse_size
from plena_emu.errors import EmuError
from plena_emu.kernels import layout
from plena_emu.kernels.memory.accesses import list_accesses
from plena_emu.manifests.capacity_regime import Choice, decide_regime
from plena_emu.manifests.schema import Manifest, load_manifest, parse_manifest
from plena_emu.memory.models import MEMORY_MODELS, first_regions, most_accesses, open_model, transfer_ns
from plena_emu.result import scientific
from plena_emu.running.utilization import utilization

U64 = 2**64
DDR_MODELS = [model for model in MEMORY_MODELS if model != "hbm"]


def signed(value):
    """u64 as the int64 bit pattern of the kernels."""
    return value - U64 if value >= 2**63 else value


def events_of(transfers):
    """Shape table and memory events of a list of `control.Transfer`."""
    descriptors = np.zeros((max(1, len(transfers)), layout.DESC_WIDTH), dtype=np.int64)
    events = np.zeros((max(1, len(transfers)), layout.MEV_WIDTH), dtype=np.int64)
    for row, event, t in zip(descriptors, events, transfers, strict=False):
        row[layout.DESC_ROWS], row[layout.DESC_ELEMENTS] = t.rows, t.n
        row[layout.DESC_ROW_BYTES], row[layout.DESC_SCALE_BYTES] = t.type.row_bytes(t.n), t.type.scale_bytes(t.n)
        row[layout.DESC_RATIO], row[layout.DESC_STORE] = t.type.ratio, int(t.store)
        event[layout.MEV_DELTA], event[layout.MEV_STEP], event[layout.MEV_PC] = t.delta_ps, t.step, t.pc
        event[layout.MEV_INDEX], event[layout.MEV_SCALE] = signed(t.index), signed(t.scale_index)
    events[:, layout.MEV_DESCRIPTOR] = np.arange(len(events))
    return descriptors, events


def operations_of(transfers, tail_ps=0):
    """The same for the oracle."""
    done = [("store" if t.store else "prefetch", t.delta_ps, control.access_list(t)) for t in transfers]
    return [*done, ("prefetch", tail_ps, [])]


def oracle_run(model, manifest, transfers, tail_ps, capacity, bandwidth):
    core, regime, last = memory.simulate(model, manifest, operations_of(transfers, tail_ps), capacity, bandwidth)
    return max(last, core.end), core.line(), regime.line()


def decided_model(model, manifest, descriptors, capacity, bandwidth):
    """The model that a run with these flags opens; `capacity` is what a flag asked for."""
    regime, counts = decide_regime(model, manifest, Choice(capacity, "--ddr3-capacity"), Choice(1 << 29, "default"))
    return open_model(regime, manifest, descriptors, capacity=counts and counts.value, bandwidth=bandwidth)


def product_run(model, manifest, transfers, tail_ps, capacity, bandwidth, slices=1):
    descriptors, events = events_of(transfers)
    board = decided_model(model, manifest, descriptors, capacity, bandwidth)
    for part in np.array_split(events[: len(transfers)], slices):
        board.advance(part, len(part))
    end = board.now_ps + tail_ps
    rate = scientific(utilization(board.bytes_read, board.bytes_written, end))
    line = f"Bytes read: {board.bytes_read} | Bytes written: {board.bytes_written} | Utilization: {rate} bytes/sec"
    return max(end, board.last_event_ps), line, board.statistics.line


# --- lists of accesses -----------------------------------------------------------------------------

types = st.one_of(
    st.sampled_from([control.MxType(8, 8, 8), control.MxType(8, 16, 8), control.MxType(4, 8, 8), control.MxType(16)]),
    st.builds(control.MxType, st.sampled_from([4, 8, 16]), st.sampled_from([4, 8, 16, 32]), st.just(8)),
)
u32 = st.one_of(st.integers(0, 300), st.integers(0, 2**32 - 1))
u64 = st.one_of(st.integers(0, 5000), st.integers(0, U64 - 1), st.integers(U64 - 5000, U64 - 1), st.just(2**63 - 40))


def transfers(index=u64, step=u32, most_rows=5):
    return st.builds(
        control.Transfer,
        delta_ps=st.integers(0, 70).map(lambda n: 1000 * n),
        unit=st.just("V"),
        store=st.integers(0, 4).map(lambda n: n == 0),
        kv=st.just(False),
        index=index,
        scale_index=index,
        step=step,
        rows=st.integers(1, most_rows),
        n=st.sampled_from([16, 32, 64, 256]),
        type=types,
        pc=st.integers(0, 99),
    )


@given(transfers(most_rows=200))
@settings(max_examples=300, deadline=None)
def test_lists_are_those_of_the_specification(transfer):
    descriptors, events = events_of([transfer])
    addr = np.zeros(most_accesses(descriptors), dtype=np.int64)
    count = list_accesses(descriptors[0], events[0], addr)
    assert [int(a) % U64 for a in addr[:count]] == control.access_list(transfer)


def test_scale_addresses_are_computed_in_f32():
    """Above 2^24 the product of row and step is rounded: an exact offset would be another block."""
    transfer = control.Transfer(0, "M", False, False, 0, 0, 0xFFFFFFFB, 64, 64, control.MxType(8, 8, 8), 0)
    exact = [(row * 0xFFFFFFFB // 8) // 64 * 64 for row in range(64)]
    scales = control.access_list(transfer)[1::2]
    assert scales != exact
    descriptors, events = events_of([transfer])
    addr = np.zeros(most_accesses(descriptors), dtype=np.int64)
    assert addr[: list_accesses(descriptors[0], events[0], addr)].tolist()[1::2] == scales


# --- regions and transfer times --------------------------------------------------------------------

edges = st.one_of(st.integers(0, 40).map(lambda n: 64 * n), st.integers(0, 3000))
kinds = st.sampled_from(["weight", "kv", "activation"])
regions = st.fixed_dictionaries(
    {"layer_id": st.integers(0, 3), "offset": edges, "size": st.one_of(edges, st.just(0))}, optional={"kind": kinds}
)
manifests = st.fixed_dictionaries(
    {"activation_ceiling": edges, "regions": st.lists(regions, max_size=7)},
    optional={"ddr_capacity_bytes": st.integers(0, 6000)},
)


def checked(document):
    return parse_manifest(json.dumps(document).encode())


@given(st.lists(regions, max_size=9))
def test_segments_are_first_regions(listed):
    manifest = checked({"activation_ceiling": 0, "regions": listed})
    pieces = first_regions(manifest.regions)
    assert pieces[0][0] == 0
    for (first, owner), (end, _) in zip(pieces, [*pieces[1:], (first_end(listed), None)], strict=True):
        for addr in {first, end - 1}:
            assert memory.region_of({"regions": listed}, addr)[0] == owner


def first_end(listed):
    return max([region["offset"] + region["size"] for region in listed], default=0) + 9999


def test_segments_reach_the_end_of_the_address_space():
    document = {
        "activation_ceiling": 0,
        "regions": [
            {"layer_id": 0, "offset": U64 - 64, "size": 64, "kind": "kv"},
            {"layer_id": 1, "offset": 2**63, "size": 2**63},
        ],
    }
    assert first_regions(checked(document).regions) == [(0, None), (2**63, 1), (U64 - 64, 0)]


@pytest.mark.parametrize(
    "size, bandwidth, ns",
    [(64, 60_000_000, 1066), (1, 10**9 + 1, 0), (U64 - 1, 1, (U64 - 1) * 10**9), (U64 - 1, U64 - 1, 10**9)],
)
def test_transfer_times_are_exact(size, bandwidth, ns):
    assert transfer_ns(size, bandwidth) == ns


# --- models against the oracle ---------------------------------------------------------------------

near = st.one_of(st.integers(0, 3000), st.integers(0, 50).map(lambda n: 64 * n))
capacities = st.one_of(st.integers(0, 6000), st.sampled_from([0, U64 - 1]))
bandwidths = st.sampled_from([1, 10**6, 4_750_000, 60_000_000, 10**9, 10**11, 64 * 10**9 + 1, U64 - 1])


@given(
    st.sampled_from(DDR_MODELS), manifests, st.lists(transfers(near, st.integers(0, 400)), max_size=5),
    st.integers(0, 60_000), capacities, bandwidths, st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_models_follow_the_event_loop(model, document, moved, tail_ps, capacity, bandwidth, slices):
    expected = oracle_run(model, document, moved, tail_ps, capacity, bandwidth)
    assert product_run(model, checked(document), moved, tail_ps, capacity, bandwidth, slices) == expected


@given(st.sampled_from(["layer-swap", "kv-swap", "auto"]), st.data())
@settings(max_examples=150, deadline=None)
def test_sizes_up_to_u64_are_exact(model, data):
    """Capacity decisions with sums beyond 64 bits."""
    big = st.sampled_from([2**62, 2**63 - 1, 2**63, U64 - 1, 2**32, 2**32 - 1, 100])
    document = {
        "activation_ceiling": 0,
        "regions": [
            {
                "layer_id": data.draw(st.integers(0, 3)),
                "offset": 64 * k,
                "size": data.draw(st.one_of(st.just(64), big.map(lambda size, k=k: min(size, U64 - 64 * k)))),
                "kind": data.draw(kinds),
            }
            for k in range(6)
        ],
    }
    capacity = data.draw(st.one_of(big, st.sampled_from([2**63 + 64, U64 - 65])))
    step = st.sampled_from([64, 128, 0])
    moved = data.draw(st.lists(transfers(st.integers(0, 12).map(lambda n: 64 * n), step), min_size=1, max_size=5))
    expected = oracle_run(model, document, moved, 0, capacity, U64 - 1)
    assert product_run(model, checked(document), moved, 0, capacity, U64 - 1) == expected


# --- rules worth a test of their own ---------------------------------------------------------------


def one_read_a_row(*addresses):
    """A prefetch of 64 plain bytes from every address, one instruction each."""
    bytes_ = control.MxType(8)
    return [control.Transfer(0, "V", False, False, a, 0, 64, 1, 64, bytes_, k) for k, a in enumerate(addresses)]


def board(model, document, moved, capacity=1 << 29, bandwidth=60_000_000):
    descriptors, events = events_of(moved)
    memory_model = decided_model(model, checked(document), descriptors, capacity, bandwidth)
    memory_model.advance(events, len(moved))
    return memory_model


LAYERS = {
    "activation_ceiling": 128,
    "ddr_capacity_bytes": 128,
    "regions": [
        {"layer_id": 0, "offset": 0, "size": 128, "kind": "activation"},
        {"layer_id": 1, "offset": 128, "size": 64},
        {"layer_id": 1, "offset": 192, "size": 64, "kind": "kv"},
    ],
}


@pytest.mark.parametrize(
    "capacity, regime",
    [(256, "resident"), (255, "kv-swap"), (64, "kv-swap"), (63, "weight-stream"), (0, "weight-stream")],
)
def test_auto_settles_by_footprint(capacity, regime):
    document = {key: value for key, value in LAYERS.items() if key != "ddr_capacity_bytes"}
    assert board("auto", document, [], capacity).regime == regime


def test_the_manifests_capacity_beats_the_flag_only_in_capacity_regimes():
    for model in ("auto", "resident", "kv-swap", "weight-stream"):
        assert board(model, LAYERS, [], 1 << 29).capacity == 128
    assert board("layer-swap", LAYERS, [], 1 << 20).capacity == 1 << 20
    assert board("auto", {**LAYERS, "ddr_capacity_bytes": 0}, []).regime == "weight-stream"


def test_layers_are_dropped_oldest_first():
    swapped = board("layer-swap", LAYERS, one_read_a_row(0, 128, 0, 64, 192), capacity=255).statistics
    assert (swapped.swaps, swapped.swapped_bytes, swapped.swap_ns) == (4, 512, 4 * 2133)
    kept = board("layer-swap", LAYERS, one_read_a_row(0, 128, 0, 64, 192), capacity=256).statistics
    assert kept.swaps == 2


def test_what_never_fits_is_swapped_in_with_a_warning():
    model = board("layer-swap", LAYERS, one_read_a_row(0, 64, 128), capacity=100)
    assert model.statistics.swaps == 2
    assert model.warnings() == [
        f"layer {layer} has 128 bytes, the DDR holds 100: it does not fit and was swapped in all the same (1 times)"
        for layer in (0, 1)
    ]
    model = board("kv-swap", LAYERS, one_read_a_row(192, 0, 192))
    assert model.warnings() == [
        "activation region at offset 0 has 128 bytes, the DDR holds 64: it does not fit and was swapped in all the"
        " same (1 times)"
    ]


def test_a_run_of_nothing():
    model = board("resident", LAYERS, [])
    assert (model.now_ps, model.last_event_ps, model.bytes_read) == (0, 0, 0)
    assert model.statistics.line.startswith("Capacity model [resident] - resident bytes: 0 | ")


def test_a_transfer_longer_than_time_itself_is_refused():
    document = {"activation_ceiling": 0, "regions": [{"layer_id": 7, "offset": 0, "size": 2**63}]}
    with pytest.raises(EmuError, match=r"^pc=1: simulated time passes 4611686018427387904 ps .* 1 bytes/s$"):
        board("layer-swap", document, one_read_a_row(U64 - 64, 64), bandwidth=1)
    store = control.Transfer(0, "V", True, False, 64, 0, 64, 1, 64, control.MxType(8), 0)
    with pytest.raises(EmuError, match="^pc=0: simulated time passes"):
        board("layer-swap", document, [store], bandwidth=1)
    assert board("resident", document, one_read_a_row(0), bandwidth=1).now_ps == 30821


def test_bad_arguments():
    descriptors = np.zeros((1, layout.DESC_WIDTH), np.int64)
    for wrong in ("ssd", "auto"):  # `auto` is decided before
        with pytest.raises(EmuError, match=f"memory model '{wrong}': expected one of hbm"):
            open_model(wrong, Manifest(0), descriptors, capacity=0, bandwidth=1)
    with pytest.raises(EmuError, match="host bandwidth: found 0"):
        open_model("resident", Manifest(0), descriptors, capacity=0, bandwidth=0)


# --- goldens ---------------------------------------------------------------------------------------

BASE = [path for path in goldens.archives() if goldens.name_of(path).startswith("base")]


def golden_outcome(golden):
    """Control side of a golden program by the plain interpreter."""
    settings_file = control.Settings.load(golden.directory / golden.flag("--settings"))
    size = golden.flag("--hbm-size")
    settings_file.hbm_size = parse_size(size) if size else settings_file.hbm_size
    intsram = golden.flag("--intsram")
    preload = control.read_ints(golden.directory / intsram) if intsram else ()
    words = control.read_words(golden.directory / golden.flag("--opcode"))
    return control.Control(words, settings_file, golden.isa, preload).run()


def flags_of(golden, run):
    """(capacity, bandwidth) of a run."""
    capacity, bandwidth = golden.flag("--ddr3-capacity", run), golden.flag("--host-bandwidth", run)
    return parse_size(capacity or "512M"), int(bandwidth or 60_000_000)


def golden_differences(golden):
    """One line for every board-DDR run of a golden program that differs."""
    outcome = golden_outcome(golden)
    for run in golden.runs:
        model = golden.flag("--memory-model", run)
        if model in (None, "hbm"):
            continue
        found = product_run(
            model, load_manifest(golden.directory / golden.flag("--weight-manifest", run)), outcome.transfers,
            outcome.tail_ps, *flags_of(golden, run),
        )
        expected = (run["latency_ps"], run["hbm_statistics"], run["model_statistics"])
        if found != expected:
            yield f"{golden.name} {run['id']}: found {found}, expected {expected}"


@pytest.mark.parametrize("archive", BASE, ids=goldens.name_of)
def test_vendored_goldens(archive, tmp_path):
    assert list(golden_differences(goldens.unpack(archive, tmp_path))) == []


def test_every_golden_up_to_a_megabyte(tmp_path):
    """All programs of the full set whose archive is small: every run, to the picosecond."""
    archives = [path for path in goldens.archives(shared=True) if goldens.name_of(path).startswith("base")]
    if not archives:
        pytest.skip("the full set of goldens is not there (../shared/golden/programs)")
    checked_programs = 0
    for archive in archives:
        if archive.stat().st_size < 1 << 20:
            assert list(golden_differences(goldens.unpack(archive, tmp_path))) == []
            checked_programs += 1
    assert checked_programs >= 100


def test_the_oracle_agrees_with_a_golden(tmp_path):
    golden = goldens.unpack(BASE[0], tmp_path)
    outcome = golden_outcome(golden)
    for run in golden.runs:
        model = golden.flag("--memory-model", run)
        if model in (None, "hbm"):
            continue
        document = json.loads((golden.directory / golden.flag("--weight-manifest", run)).read_text())
        found = oracle_run(model, document, outcome.transfers, outcome.tail_ps, *flags_of(golden, run))
        assert found == (run["latency_ps"], run["hbm_statistics"], run["model_statistics"])
