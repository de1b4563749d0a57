"""A DRAM driven alone: what any memory must do, and its controller against a tick-by-tick one (spec §4)."""

import json
import pathlib

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import dram as oracle

from plena_emu.boards.dram_schema import Queues, WriteMode, load_dram
from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.kernels.dram import state as dram_state
from plena_emu.kernels.dram.front_end import place_of
from plena_emu.memory.dram import new_state, place
from plena_emu.memory.dram_replay import replay, replay_batches
from plena_emu.memory.dram_statistics import peak_bandwidth
from plena_emu.memory.dram_trace_files import read_trace

CONFIGS = {"hbm2": oracle.hbm2, "ddr4": oracle.ddr4}
# hbm2 with transfers of an access elsewhere: (changes of the description, of its mapping, channels of a record).
SPREADS = {
    "bank groups": ({}, {"channel": (6, 7, 8), "bankgroup": ("10^4", "11^5")}, 1),
    "one bank": ({}, {"channel": (6, 7, 8)}, 1),
    "channels apart": ({"transfer_bytes": 32}, {"column": (5, 14, 15, 16), "channel": (6, "7^5", 8)}, 1),
    "two channels": ({"transfer_bytes": 32}, {"column": (5, 14, 15, 16), "channel": ("6^5", 7, 8)}, 2),
    "short queues": (
        {"queues": Queues(read=6, write=6), "write_mode": WriteMode(high_watermark=5, low_watermark=1)}, {}, 4
    ),
}
MEMORIES = [("hbm2", "base"), ("hbm2", "moe"), ("ddr4", "base")]


def random_accesses(seed, count, *, span=1 << 30, step=500, writes=0.3):
    """times, addresses, is_write of random traffic."""
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.integers(0, step, count))
    return time, rng.integers(0, span // 64, count) * 64, rng.random(count) < writes


# --- any memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name, revision", MEMORIES)
@pytest.mark.parametrize("writes", [0.0, 0.3, 1.0])
def test_every_access_completes_once(name, revision, writes):
    time, address, is_write = random_accesses(1, 3000, writes=writes)
    found = replay(name, time, address, is_write, revision)
    assert (found.issue_ps == time).all()
    assert (found.accept_ps >= time).all()
    assert (found.done_ps >= found.accept_ps).all()
    description, counted = load_dram(name), found.statistics
    least = description.period_ps * (description.read_latency if name == "hbm2" else 1)
    forwarded = counted.forwarded_reads > 0
    assert forwarded or (found.done_ps - time)[~is_write].min(initial=1 << 60) >= least
    assert (counted.reads, counted.writes) == ((~is_write).sum(), is_write.sum())
    assert counted.bytes == 64 * 3000
    parts = 64 // description.transfer_bytes
    # Each transfer is a hit, a miss or a conflict once, unless it was forwarded or is a write still queued.
    counted_once = counted.row_hits + counted.row_misses + counted.row_conflicts + counted.forwarded_reads
    held_back = 33 * description.organisation.channel
    assert 3000 * parts - held_back <= counted_once <= 3000 * parts
    assert counted.last_event_ps >= found.done_ps.max()
    assert counted.bandwidth_bytes_per_s <= peak_bandwidth(description, revision)
    assert all(0 <= share <= 1 for share in counted.channel_busy_share)


@pytest.mark.parametrize("name, revision", MEMORIES)
def test_no_access_starves(name, revision):
    """One row conflicts with an endless stream of hits to another; writes come between: every read gets its turn."""
    count = 4000
    time = np.arange(count) * 1000
    address = (np.arange(count) % 64) * 64
    address[::100] = 5 << 20
    is_write = np.arange(count) % 7 == 3
    found = replay(name, time, address, is_write, revision)
    waited = np.diff(np.sort(found.done_ps))
    assert waited.max() < 2_000_000
    lone = found.done_ps[::100] - found.accept_ps[::100]
    assert lone.max() < 3_000_000


@pytest.mark.parametrize("name, revision, expected", [
    ("hbm2", "base", 64e9), ("hbm2", "moe", 128e9), ("ddr4", "base", 64e12 / (4 * 833)),
])  # fmt: skip
def test_peak_bandwidth(name, revision, expected):
    assert peak_bandwidth(load_dram(name), revision) == pytest.approx(expected)


@pytest.mark.parametrize("name, revision", MEMORIES)
def test_a_long_sequential_read_comes_near_the_peak(name, revision):
    count = 4096
    found = replay_batches(name, ["G"], [0], [0] * count, [0] * count, np.arange(count) * 64, revision)
    share = found.statistics.bandwidth_bytes_per_s / found.statistics.peak_bandwidth_bytes_per_s
    assert 0.5 < share <= 1


def test_unloaded_reads():
    assert replay("hbm2", [0], [0], [False]).done_ps.tolist() == [18_000]
    assert replay("ddr4", [0], [0], [False]).done_ps.tolist() == [29_988]


def test_without_accesses():
    found = replay("hbm2", [], [], [])
    assert len(found.done_ps) == 0
    assert found.statistics.bytes == 0
    assert found.statistics.read_latency_mean_ps == 0


# --- mapping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_mapping_is_that_of_the_specification(name):
    """Bank numbers of the kernels' tables keep rank, bank group and bank in bits of their own."""
    description, reference = load_dram(name), CONFIGS[name]()
    config = new_state(description).config[0]
    bank_bits = reference.counts[3].bit_length() - 1
    rng = np.random.default_rng(2)
    for address in [int(a) for a in rng.integers(0, 1 << 40, 2000) & ~(reference.transfer - 1)]:
        found = place(description, address)
        assert found == oracle.decode(reference, address)
        inside = address % 64 // config.sub_request_bytes
        packed = int(place_of(config, address & ~63) ^ config.sub_request_place[inside])
        record, bank = packed >> dram_state.PLACE_BANK_BITS & dram_state.CHANNEL_MASK, packed & dram_state.BANK_MASK
        assert (record, packed >> dram_state.PLACE_ROW) == (found.channel // config.lockstep_channels, found.row)
        assert bank == found.rank << int(config.rank_bits) | found.bankgroup << bank_bits | found.bank


@pytest.mark.parametrize("name", CONFIGS)
def test_mapping_is_a_bijection(name):
    """Address bits that address banks or channels, and some of the row: every transfer has a place of its own."""
    description = load_dram(name)
    span, step = 1 << 19, description.transfer_bytes
    places = {place(description, address) for address in range(0, span, step)}
    assert len(places) == span // step
    org = description.organisation
    assert len({found[:4] for found in places}) == org.channel * org.rank * org.bankgroup * org.bank
    assert {found.column for found in places} == set(range(1 << CONFIGS[name]().column_bits))


# --- against the plain model --------------------------------------------------------------------


@st.composite
def batches(draw):
    """(kinds, times, batch, op, address): overlapping tasks on few rows and banks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = draw(st.lists(st.sampled_from("GSI"), min_size=1, max_size=6))
    at_ps, times = 0, []
    for kind in kinds:
        gap = int(rng.choice([0, 0, 1, 833, 1000, 2500, 40_000, 9_000_000],
                             p=[0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.15, 0.05]))
        at_ps += gap
        times.append(at_ps if kind == "S" else gap)
    sizes = rng.integers(1, draw(st.sampled_from([4, 20, 120])) + 1, len(kinds))
    batch = np.repeat(np.arange(len(kinds)), sizes)
    op = (rng.random(len(batch)) < draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))).astype(int)
    address = rng.integers(0, draw(st.sampled_from([8, 256, 1 << 24])), len(batch)) * 64
    return kinds, times, batch, op, address


@pytest.mark.parametrize("name, revision", MEMORIES)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(trace=batches())
def test_against_the_tick_by_tick_model(name, revision, trace):
    kinds, times, batch, op, address = trace
    found = replay_batches(name, kinds, times, batch, op, address, revision)
    front, *columns = oracle.replay(CONFIGS[name](revision), kinds, times, batch, op, address)
    for wanted, instants in zip(columns, (found.issue_ps, found.accept_ps, found.done_ps), strict=True):
        assert instants.tolist() == wanted
    counted, channels = found.statistics, front.channels
    assert counted.row_hits == sum(channel.hits for channel in channels)
    assert counted.row_misses == sum(channel.misses for channel in channels)
    assert counted.row_conflicts == sum(channel.conflicts for channel in channels)
    assert counted.refreshes == sum(channel.refreshes for channel in channels)
    assert counted.rejected_attempts == sum(channel.rejected for channel in channels)
    if all(at_ps % 1000 == 0 for at_ps in times) and name == "hbm2" and front.read_latencies:
        latencies = sorted(front.read_latencies)
        assert counted.read_latency_mean_ps == pytest.approx(sum(latencies) / len(latencies))
        assert counted.read_latency_max_ps == latencies[-1]
        exact = latencies[-(-99 * len(latencies) // 100) - 1]
        assert exact <= counted.read_latency_p99_ps <= exact * (1 + 1 / 1024)


def crowded(seed):
    """A trace whose queues are full of reads and of writes for most of the time: retries, forwarded reads, ties."""
    rng = np.random.default_rng(seed)
    kinds = [str(kind) for kind in rng.choice(["G", "S", "S"], rng.integers(1, 4))]
    times, at_ps = [], 0
    for kind in kinds:
        gap = int(rng.choice([0, 1000, 2499, 100_000]))
        at_ps += gap
        times.append(at_ps if kind == "S" else gap)
    batch = np.repeat(np.arange(len(kinds)), rng.integers(100, 250, len(kinds)))
    op = (rng.random(len(batch)) < rng.choice([0.2, 0.5, 0.8])).astype(int)
    return kinds, times, batch, op, rng.integers(0, rng.choice([16, 300, 5000, 1 << 22]), len(batch)) * 64


@pytest.mark.parametrize("name, revision", MEMORIES)
@pytest.mark.parametrize("seed", range(12))
def test_full_queues_against_the_tick_by_tick_model(name, revision, seed):
    kinds, times, batch, op, address = crowded(seed)
    found = replay_batches(name, kinds, times, batch, op, address, revision)
    front, *columns = oracle.replay(CONFIGS[name](revision), kinds, times, batch, op, address)
    for wanted, instants in zip(columns, (found.issue_ps, found.accept_ps, found.done_ps), strict=True):
        assert instants.tolist() == wanted
    counted = found.statistics
    assert counted.rejected_attempts == sum(channel.rejected for channel in front.channels)


@pytest.mark.parametrize("spread", SPREADS)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(trace=batches())
def test_transfers_of_an_access_anywhere(spread, trace):
    changes, mapping, twins = SPREADS[spread]
    description = load_dram("hbm2")
    mapping = msgspec.structs.replace(description.mapping, **mapping)
    description = msgspec.structs.replace(description, mapping=mapping, **changes)
    assert new_state(description).config[0].lockstep_channels == twins
    config = oracle.hbm2()
    config.transfer, config.place = description.transfer_bytes, lambda address: place(description, address)
    config.queue = description.queues.read
    kinds, times, batch, op, address = trace
    found = replay_batches(description, kinds, times, batch, op, address)
    front, *columns = oracle.replay(config, kinds, times, batch, op, address)
    for wanted, instants in zip(columns, (found.issue_ps, found.accept_ps, found.done_ps), strict=True):
        assert instants.tolist() == wanted
    counted = found.statistics
    assert counted.row_hits == sum(channel.hits for channel in front.channels)
    assert counted.row_conflicts == sum(channel.conflicts for channel in front.channels)
    assert counted.rejected_attempts == sum(channel.rejected for channel in front.channels)


# --- malformed input ----------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, message", [
    (([5, 3], [0, 64], [0, 0]), "time_ps: found 3 behind 5, expected no falling values"),
    (([-1], [0], [0]), "time_ps[0]: found -1, expected an integer from 0 to"),
    (([0.5], [0], [0]), "time_ps[0]: found 0.5, expected an integer from 0 to"),
    (([0], [33], [0]), "address[0]: found 0x21, expected a multiple of 64"),
    (([0], [0, 64], [0]), "address: found 2 values, expected 1, as many as in time_ps"),
    (([0], [0], [0, 1]), "is_write: found 2 values, expected 1, as many as in time_ps"),
    (([0], [0], [2]), "is_write[0]: found 2, expected a bool, or 0 or 1"),
    (([0], [0], ["read"]), "is_write[0]: found 'read', expected a bool, or 0 or 1"),
    (([0], [0], "r"), "is_write: found str, expected a sequence, each a bool, or 0 or 1"),
    (([0], [[0]], [0]), "address[0]: found a list, expected an integer from 0 to"),
    (([0], [0], [[1], [1, 2]]), "is_write[0]: found a list, expected a bool, or 0 or 1"),
    (([0], np.zeros((1, 1), int), [0]), "address: found int64 of 2 dimensions, expected one dimension of integers"),
    (([0], np.zeros(1), [0]), "address: found float64 of 1 dimensions, expected one dimension of integers"),
    (([0], [0], np.zeros(1)), "is_write: found float64 of 1 dimensions, expected one dimension of bools"),
    (([0, 2**63], [0, 0], [0, 0]), "time_ps[1]: found 9223372036854775808, expected an integer from 0 to"),
    (([0], [2**64], [0]), "address[0]: found 18446744073709551616, expected an integer from 0 to 18446744073709551615"),
    (([10**5000], [0], [0]), "time_ps[0]: found an integer of 16610 bits, expected an integer from 0 to"),
    (([True], [0], [0]), "time_ps[0]: found true, expected an integer"),
    (([None], [0], [0]), "time_ps[0]: found null, expected an integer"),
    (([0], {0: 1}, [0]), "address: found dict, expected a sequence"),
])  # fmt: skip
def test_malformed_arrays(arguments, message):
    with pytest.raises(EmuError, match=r"^[^\n]*$") as error:
        replay("hbm2", *arguments)
    assert message in str(error.value) and len(str(error.value)) < 200


def test_arrays_of_any_kind():
    """Integers beyond int64 are addresses; ranges, tuples, generators and mixed flags are sequences."""
    high = 2**64 - 64
    found = replay("hbm2", range(2), (0, high), [True, 0])
    same = replay("hbm2", np.arange(2), np.array([0, high], np.uint64), np.array([1, 0]))
    assert (found.done_ps == same.done_ps).all()
    assert len(replay("hbm2", (k for k in range(3)), [0, 64, 128], [np.True_, np.int8(0), False]).done_ps) == 3


@pytest.mark.parametrize("arguments, message", [
    ((["X"], [0], [0], [0], [0]), "batch_kind[0]: found 'X', expected G, S or I"),
    ((["G"], [0], [1], [0], [0]), "batch[0]: found 1, expected less than 1"),
    ((["G", "G"], [0], [0], [0], [0]), "batch_t: found 1 values, expected 2"),
    ((["G", "I"], [1 << 61, (1 << 61) + 1], [0], [0], [0]), "batch_t: the waits of G and I batches add up to more"),
])  # fmt: skip
def test_malformed_batches(arguments, message):
    with pytest.raises(EmuError, match=r"^[^\n]*$") as error:
        replay_batches("hbm2", *arguments)
    assert message in str(error.value)


def test_bandwidth_is_that_of_what_moved():
    """Writes that nobody drained are no traffic: one read after 25 of them does not pass the peak."""
    found = replay("ddr4", [0] * 26, [64 * k for k in range(25)] + [1 << 20], [True] * 25 + [False]).statistics
    assert (found.bytes, found.writes) == (64 * 26, 25)
    assert 0 < found.bandwidth_bytes_per_s <= found.peak_bandwidth_bytes_per_s


@pytest.mark.parametrize("arguments, message", [
    ((5, [0], [0], [0]), "description: found int, expected a name, path or description"),
    ((None, [0], [0], [0]), "description: found NoneType, expected a name, path or description"),
    (("hbm2", None, [0], [0]), "time_ps: found NoneType, expected a sequence"),
    (("hbm2", [0], 7, [0]), "address: found int, expected a sequence"),
    (("hbm2", [0], [0], None), "is_write: found NoneType, expected a sequence"),
    (("hbm2", [0], [0], [0], "v2"), "revision: found 'v2', expected base or moe"),
    (("hbm2", [0], [0], [0], None), "revision: found null, expected base or moe"),
    (("hbm2", [0], [0], [0], ["base"]), "revision: found a list, expected base or moe"),
    (("nope", [0], [0], [0]), "unknown DRAM description 'nope'"),
])
def test_arguments_of_other_types(arguments, message):
    with pytest.raises(UsageError) as error:
        replay(*arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("arguments, message", [
    ((None, [0], [0], [0], [0]), "batch_kind: found NoneType, expected a sequence of G, S and I"),
    (("GS", [0], [0], [0], [0]), "batch_kind: found str, expected a sequence of G, S and I"),
    (([1], [0], [0], [0], [0]), "batch_kind[0]: found 1, expected G, S or I"),
    ((["G"], "0", [0], [0], [0]), "batch_t: found str"),
    ((["G"], [0], [0], ["w"], [0]), "op[0]: found 'w'"),
    ((["G"], [0], [0], [0], [1.0]), "addr[0]: found 1.0"),
    ((["S", "S"], [5, 4], [0, 1], [0, 0], [0, 0]), "batch_t of the S batches: found 4 behind 5"),
])  # fmt: skip
def test_batches_of_other_types(arguments, message):
    with pytest.raises(EmuError, match=r"^[^\n]*$") as error:
        replay_batches("hbm2", *arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("arguments, message", [
    (("hbm2", 0), "description: found str, expected a DramDescription"),
    ((None, 0), "description: found NoneType, expected a DramDescription"),
    ((load_dram("hbm2"), -1), "address: found -0x1, expected an integer from 0 to 2^64 - 1"),
    ((load_dram("hbm2"), 2**64), "address: found 0x10000000000000000, expected an integer"),
    ((load_dram("hbm2"), 2**200), "address: found an integer of 201 bits, expected"),
    ((load_dram("hbm2"), 0.0), "address: found float, expected an integer"),
    ((load_dram("hbm2"), True), "address: found bool, expected an integer"),
    ((load_dram("hbm2"), "0"), "address: found str, expected an integer"),
])  # fmt: skip
def test_places_that_are_none(arguments, message):
    with pytest.raises(EmuError) as error:
        place(*arguments)
    assert message in str(error.value)


def test_states_that_are_none():
    with pytest.raises(UsageError, match="description: found str, expected a DramDescription"):
        new_state("hbm2")


def test_both_latencies_are_told():
    """Reads that wait for the lock of an overloaded memory: the mean from issue is that of done - time."""
    time, address = np.zeros(5000, int), np.random.default_rng(0).integers(0, 1 << 24, 5000) * 64
    found = replay("ddr4", time, address, np.zeros(5000, int))
    waited = found.done_ps - time
    counted = found.statistics
    assert counted.read_latency_from_issue_mean_ps == waited.mean()
    assert counted.read_latency_from_issue_max_ps == waited.max()
    assert counted.read_latency_from_issue_p99_ps == np.sort(waited)[int(np.ceil(0.99 * 5000)) - 1]
    assert counted.read_latency_mean_ps < 0.1 * waited.mean()
    assert replay("ddr4", [0], [0], [1]).statistics.read_latency_from_issue_mean_ps == 0


def test_a_write_that_was_only_begun_counts():
    """Two writes to a closed bank, reads all the time: the row of one is opened, then reads come first."""
    time = [0, 0, *range(0, 40_000, 833)]
    address = [1 << 20, 2 << 20, *[64] * len(time[2:])]
    is_write = [1, 1, *[0] * len(time[2:])]
    counted = replay("ddr4", time, address, is_write).statistics
    begun = counted.row_hits + counted.row_misses + counted.row_conflicts
    assert len(time) - 2 <= begun <= len(time)


@pytest.mark.parametrize("text, message", [
    ("0,read,0\n1,rd,0\n", ":2: found 'rd', expected read or write"),
    ("0,read\n", ":1: found 2 fields, expected 3: time_ps,read|write,address"),
    ("# c\n\n1e3,read,0\n", ":3: time_ps: found '1e3', expected a decimal or 0x hexadecimal number"),
    ("0,read,ff\n", ":1: address: found 'ff', expected a decimal or 0x hexadecimal number"),
    ("0,read,0x10000000000000000\n", ":1: address: found '0x10000000000000000', expected at most"),
    ("0,read,8\n", ":1: address: found '8', expected a multiple of 64"),
    ("9,read,0\n3,write,64\n", ":2: time_ps: found 3 behind 9, expected no falling times"),
    ("time_ps,address\n", ":1: found header 'time_ps,address', expected time_ps,op,address"),
])  # fmt: skip
def test_malformed_csv(tmp_path, capsys, text, message):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    assert main(["dram", str(path), "-o", str(tmp_path / "out.csv")]) == 101
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"plena-emu dram: error: trace {path}{message}")
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def test_malformed_npz(tmp_path, capsys):
    path = tmp_path / "trace.npz"
    path.write_bytes(b"nothing")
    assert main(["dram", str(path)]) == 101
    assert "found no readable arrays, expected a .npz file" in capsys.readouterr().err
    np.savez(path, batch_kind=["G"], batch_t=[0], batch=[0], op=[0])
    assert main(["dram", str(path)]) == 101
    assert "array 'addr' is missing" in capsys.readouterr().err


def test_damaged_npz(tmp_path):
    """Whatever byte is damaged: arrays, or one line."""
    batches = {"batch_kind": ["G", "S"] * 50, "batch_t": np.arange(100), "batch": np.arange(100),
               "op": np.zeros(100, int), "addr": np.arange(100) * 64}
    path, refused = tmp_path / "trace.npz", 0
    np.savez_compressed(path, **batches)
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(400):
        damaged = np.frombuffer(whole, dtype=np.uint8).copy()
        damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            read_trace(str(path))
        except EmuError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


# --- the command --------------------------------------------------------------------------------


def test_command_on_csv(tmp_path, capsys):
    """Comments, header and hexadecimal addresses; the completions are a trace again and complete the same."""
    path, out = tmp_path / "trace.csv", tmp_path / "out.csv"
    path.write_text("# two accesses\ntime_ps,op,address\n0,read,0x40 # first\n\n50000, write ,128\n")
    assert main(["dram", str(path), "--dram", "ddr4", "-o", str(out)]) == 0
    assert "1 reads, 1 writes, 128 bytes" in capsys.readouterr().out
    found = replay("ddr4", [0, 50_000], [64, 128], [False, True])
    path.write_text("\N{BOM}" + path.read_text())
    assert read_trace(str(path)).addr.tolist() == [64, 128]
    rows = out.read_text().splitlines()
    assert rows[0] == "time_ps,op,address,accept_ps,done_ps"
    assert rows[1] == f"0,read,0x40,0,{found.done_ps[0]}"
    assert rows[2] == f"50000,write,0x80,{found.accept_ps[1]},{found.done_ps[1]}"


def test_a_copied_description_with_another_number(tmp_path):
    """A longer read latency makes each lone read later by just that."""
    text = pathlib.Path(load_dram("hbm2").source).read_text()
    path = tmp_path / "slow.yaml"
    path.write_text(text.replace("read_latency: 11", "read_latency: 16"))
    assert replay(path, [0], [0], [False]).done_ps.tolist() == [23_000]


def test_the_documented_example(tmp_path, capsys):
    """The figures of docs/dram.md are those of its trace."""
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "dram.md").read_text()
    path = tmp_path / "accesses.csv"
    start = text.index("    # two reads")
    path.write_text("\n".join(line.strip() for line in text[start:].split("\n\n")[0].splitlines()))
    assert main(["dram", str(path), "--json", "-", "-o", str(tmp_path / "out.csv")]) == 0
    done = [int(line.split(",")[-1]) for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    counted = json.loads(capsys.readouterr().out)
    assert f"# {done}" in text
    assert f"# {counted['row_conflicts']}: each access" in text
