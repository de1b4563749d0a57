"""Time of batches of lines (spec §7.4): the golden points, and any batches on any memory against the oracles."""

import numpy as np
import pytest
from hardware_memory import LineMemory, descriptor_of, hbm2, plan_of
from hardware_runs import find
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st
from oracle import dram as oracle_dram
from oracle.hardware.channels import Memory, decode
from oracle.hardware.lines import Plan
from oracle.hardware.ticks import TickedMemory

from plena_emu.boards.dram_schema import load_dram
from plena_emu.memory.dram import place

POINTS = dict(np.load(find("dma_points.npz")))
COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256]


def point(number):
    """Values of a golden point by name, and the conditioner's batches."""
    values = {name: column[number] for name, column in POINTS.items() if name not in ("cond", "cond_off")}
    lines = POINTS["cond"][POINTS["cond_off"][number] : POINTS["cond_off"][number + 1]].tolist()
    return values, [lines[k : k + 8] for k in range(0, len(lines), 8)]


def planned(p):
    store = p["opcode"] == "H_STORE_V"
    bits, scale_bits, block = int(p["element_bits"]), int(p["scale_bits"]), int(p["block"])
    descriptor = descriptor_of(int(p["amount"]), int(p["dim"]), bits, scale_bits, block, store)
    return plan_of(descriptor, int(p["element_base"]), int(p["scale_base"]), int(p["stride_bytes"]) * 8 // bits)


def run_point(memory, conditioner, reads, writes):
    now = 0
    for lines in conditioner:
        now = memory.batch(lines, False, now)
    end = memory.batch(reads, False, now)
    return memory.batch(writes, True, end) - now


@pytest.mark.parametrize("channels", sorted(set(POINTS["channels"].tolist())))
def test_every_golden_point(channels):
    description = hbm2(channels)
    for number in np.flatnonzero(POINTS["channels"] == channels):
        p, conditioner = point(number)
        reads, writes = planned(p)
        partial = int(p["partial_lines"])
        full = len(writes or reads) - partial
        assert (len(reads), len(writes), full) == (p["read_lines"], p["write_lines"], p["full_lines"])
        assert run_point(LineMemory(description), conditioner, reads, writes) == 1000 * p["latency_ns"], p["id"]
        if len(reads) + len(writes) < 2000:
            assert Plan(tuple(reads), tuple(writes), full, partial).fingerprint == p["lines_hash"]


@pytest.mark.parametrize("number", np.argsort(POINTS["read_lines"] + POINTS["write_lines"])[:1200:40].tolist())
def test_the_oracle_on_golden_points(number):
    """What the other tests rely on must itself be right."""
    p, conditioner = point(number)
    reads, writes = planned(p)
    assert run_point(Memory(int(p["channels"])), conditioner, reads, writes) == 1000 * p["latency_ns"]


@pytest.mark.parametrize("channels", COUNTS)
def test_places_follow_the_general_rule(channels):
    description = hbm2(channels)
    for address in np.random.default_rng(channels).integers(0, 2**40, 300):
        found = place(description, int(address))
        bank = (found.rank * 4 + found.bankgroup) * 4 + found.bank
        assert (found.channel, bank, found.row) == decode(int(address), channels)


@st.composite
def batches(draw):
    """A few batches: (lines, write, instant after the end of the one before)."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        stride = draw(st.sampled_from([64, 128, 4096, 1 << 17, 1 << 20]))
        first = 64 * draw(st.integers(0, 1 << 16))
        some = draw(st.lists(st.integers(0, 1 << 14).map(lambda k: 64 * k), max_size=10))
        run = [first + stride * k for k in range(draw(st.integers(0, 60)))]
        found.append((sorted({*some, *run}), draw(st.booleans()), draw(st.integers(0, 60_000))))
    return found


@given(st.sampled_from(COUNTS), batches())
@configure(max_examples=60, deadline=None)
def test_hbm2_with_any_number_of_channels(channels, some):
    memory, expected = LineMemory(hbm2(channels)), Memory(channels)
    now = 0
    for lines, write, pause in some:
        end = memory.batch(lines, write, now)
        assert end == expected.batch(lines, write, now)
        now = end + pause


@given(st.sampled_from(["hbm2", "ddr4"]), batches(), st.data())
@configure(max_examples=30, deadline=None)
def test_any_part_with_lines_that_wait_for_the_host(name, some, data):
    """Refresh in idle ticks; swaps that delay single lines; lines behind the host link, one after the other."""
    memory = LineMemory(load_dram(name), "base")
    expected = TickedMemory(getattr(oracle_dram, name)())
    now = 0
    for lines, write, pause in some:
        held = []
        if not write and data.draw(st.booleans()):
            streamed = data.draw(st.booleans())
            wait = data.draw(st.sampled_from([1, 700, 1000, 9300]))
            chosen = [data.draw(st.integers(0, 3)) == 0 for _ in lines]
            factors = [1 if streamed else data.draw(st.integers(1, 3)) for _ in lines]
            waits = [wait * factor * flag for factor, flag in zip(factors, chosen, strict=True)]
            held = [waits, [flag * streamed for flag in chosen]]
        end = memory.batch(lines, write, now, *held)
        assert end == expected.batch(lines, write, now, *held)
        now = end + pause


def test_one_line_of_a_closed_bank():
    """19 ns at the start and right after another batch, 18 ns at any other whole nanosecond (§7.4)."""
    memory = LineMemory(hbm2())
    assert memory.batch([0], False, 0) == 19_000
    assert memory.batch([1 << 12], False, 19_000) == 38_000
    assert memory.batch([1 << 13], False, 50_000) == 68_000


def test_a_write_is_complete_a_clock_after_its_command():
    assert LineMemory(hbm2()).batch([0], True, 0) == 9_000
