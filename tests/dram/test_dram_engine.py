"""The DRAM as a memory engine, batch by batch, store by store, against the tick-by-tick model (spec §3.2, §4.9)."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import dram as oracle

from plena_emu.boards.dram_schema import load_dram
from plena_emu.kernels.dram import state as dram_state
from plena_emu.kernels.dram.engine import dram_batch, dram_store
from plena_emu.kernels.limits import OVERFLOW, TIME_LIMIT
from plena_emu.memory.dram import new_run, new_state

CONFIGS = {"hbm2": oracle.hbm2, "ddr4": oracle.ddr4}
MEMORIES = [("hbm2", "base"), ("hbm2", "moe"), ("ddr4", "base")]
READ_WRITE = (0, 1)


def issue(state, is_store, address, wait, link, now):
    """Instant at which the core goes on after one prefetch or store."""
    count = np.int64(len(address))
    if is_store:
        return np.int64(dram_store(state, address, wait, link, count, np.int64(now)))
    room = new_run(state, address, waits=len(address))
    held = np.count_nonzero(wait | link)
    return np.int64(dram_batch(state, room, address, wait, link, count, np.int64(held), np.int64(now)))


def engine_run(name, revision, program):
    """Instants at which the core goes on after each (is_store, gap, addresses, wait, link), and the last event."""
    state, now, ends = new_state(load_dram(name), revision), np.int64(0), []
    for is_store, gap, address, wait, link in program:
        now = issue(state, is_store, address, wait, link, now + np.int64(gap))
        ends.append(int(now))
    return ends, int(state.front[0].last_event)


def oracle_run(name, revision, program):
    """The same by the plain model: a store is a batch of the core's own accesses, each read before its write."""
    kinds, times, batch, op, addresses, waits, links = [], [], [], [], [], [], []
    for number, (is_store, gap, address, wait, link) in enumerate(program):
        kinds.append("I" if is_store else "G")
        times.append(gap)
        for a, w, k in zip(address.tolist(), wait.tolist(), link.tolist(), strict=True):
            for kind in READ_WRITE if is_store else (0,):
                batch.append(number)
                op.append(kind)
                addresses.append(a)
                waits.append(w if kind == 0 else 0)
                links.append(k if kind == 0 else 0)
    front, _, _, done = oracle.replay(CONFIGS[name](revision), kinds, times, batch, op, addresses, waits, links)
    ends, now = [], 0
    for number, gap in enumerate(times):
        now = max([now + gap, *(instant for instant, of in zip(done, batch, strict=True) if of == number)])
        ends.append(now)
    return ends, front.loop.now


def instruction(rng, *, most, span, store, waits):
    """One random (is_store, gap, addresses, wait, link)."""
    count = int(rng.integers(0, most + 1))
    gap = int(rng.choice([0, 0, 1, 500, 833, 1000, 2499, 7000, 300_000]))
    address = rng.integers(0, span, count) * 64
    wait = np.zeros(count, dtype=np.int64)
    link = np.zeros(count, dtype=np.int64)
    if waits:
        wait = rng.choice([0, 0, 1, 833, 1000, 2000, 15_500], count).astype(np.int64)
        link = rng.integers(0, 2, count)
    return bool(rng.random() < store), gap, address, wait, link


@st.composite
def programs(draw):
    """Prefetches and stores; a part of them with waits for the host."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    most = draw(st.sampled_from([3, 20, 150]))
    span = draw(st.sampled_from([8, 256, 1 << 24]))
    waits = draw(st.booleans())
    return [instruction(rng, most=most, span=span, store=0.4 if most < 100 else 0.2, waits=waits) for _ in range(5)]


@pytest.mark.parametrize("name, revision", MEMORIES)
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(program=programs())
def test_against_the_tick_by_tick_model(name, revision, program):
    ends, last = engine_run(name, revision, program)
    wanted, last_wanted = oracle_run(name, revision, program)
    assert ends == wanted
    # The plain model also counts the gap behind the last access as an event of the core.
    assert max(last, ends[-1]) == last_wanted


@pytest.mark.parametrize("name", ["hbm2", "ddr4"])
def test_a_queue_that_never_empties(name):
    """More reads in one batch than a queue has ages: they are numbered anew and nothing changes."""
    count = 9000 if name == "ddr4" else 600
    rng = np.random.default_rng(5)
    nothing = np.zeros(count, dtype=np.int64)
    program = [(False, 0, rng.integers(0, 1 << 20, count) * 64, nothing, nothing)]
    assert name != "ddr4" or count > dram_state.AGES
    assert engine_run(name, "base", program) == oracle_run(name, "base", program)


def traffic(seed, count=200):
    """A prefetch and a store of random blocks."""
    rng = np.random.default_rng(seed)
    nothing = np.zeros(count, dtype=np.int64)
    prefetch = (False, 5000, rng.integers(0, 1 << 20, count) * 64, nothing, nothing)
    return [prefetch, (True, 3000, rng.integers(0, 1 << 20, 20) * 64, nothing[:20], nothing[:20])]


def test_long_pauses_change_nothing():
    """hbm2 does not refresh: after a pause of 30 microseconds or of half an hour the same traffic takes as long."""
    durations = []
    for pause in (30_000_000, 2**31 * 1000, 2_000_000_000_000_000):
        (_, gap, *rest), store = traffic(2)
        ends, _ = engine_run("hbm2", "base", [*traffic(1), (False, gap + pause, *rest), store])
        durations.append((ends[2] - ends[1] - pause, ends[3] - ends[2]))
    assert durations[0] == durations[1] == durations[2]


def test_nothing_to_do_takes_no_time():
    none = np.zeros(0, dtype=np.int64)
    ends, last = engine_run("hbm2", "base", [(False, 7, none, none, none), (True, 5, none, none, none)])
    assert (ends, last) == ([7, 12], 0)


def test_one_read():
    """The unloaded reads of §4.1."""
    address, nothing = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    assert engine_run("hbm2", "base", [(False, 0, address, nothing, nothing)]) == ([18_000], 18_000)
    assert engine_run("ddr4", "base", [(False, 0, address, nothing, nothing)]) == ([29_988], 29_988)


@pytest.mark.parametrize("is_store", [False, True])
def test_a_wait_past_the_time_limit(is_store):
    state, one = new_state(load_dram("hbm2")), np.zeros(1, dtype=np.int64)
    assert issue(state, is_store, one, np.array([TIME_LIMIT]), one, 1) == OVERFLOW


def test_addresses_of_the_upper_half():
    """A u64 address travels as a bit pattern: its row is not that of a negative number."""
    nothing = np.zeros(2, dtype=np.int64)
    high = np.array([2**64 - 64, 2**63 + 64], dtype=np.uint64)
    program = [(False, 0, high.view(np.int64), nothing, nothing)]
    ends, _ = engine_run("hbm2", "base", program)
    front, _, _, done = oracle.replay(oracle.hbm2(), ["G"], [0], [0, 0], [0, 0], [int(a) for a in high])
    assert ends == [max(done)]


@pytest.mark.parametrize("gap, issued", [(0, 0), (9364 * 833 * 3, 3)])
def test_ddr4_refreshes_while_idle(gap, issued):
    """§4.7: one refresh each 9364 clocks; hbm2 never refreshes."""
    address, nothing = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    program = [(False, 0, address, nothing, nothing), (False, gap, address, nothing, nothing)]
    for name, expected in (("ddr4", issued), ("hbm2", 0)):
        state, now = new_state(load_dram(name)), np.int64(0)
        for _, pause, *arrays in program:
            now = issue(state, False, *arrays, now + pause)
        assert state.channels["count"][:, dram_state.REFRESHES].sum() == expected
    assert engine_run("ddr4", "base", program) == oracle_run("ddr4", "base", program)
