"""The parts of §10.2 against figures worked out by hand: each is written down here a second time."""

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from plena_emu.boards.dram_bandwidth import peak_bandwidth, refresh_share
from plena_emu.boards.dram_schema import load_dram
from plena_emu.memory.dram import place
from plena_emu.memory.dram_replay import replay, replay_batches


def part(**figures):
    return SimpleNamespace(**figures)


# `parts`: transfers of a 64-byte access, all in one bank; tCCD there; `banks` and `row` step by address.
PARTS = {
    "ddr3_800_x16": part(period=2500, parts=4, CL=6, burst=4, tRCD=6, tRP=6, tRAS=14, tRC=20, tCCD=4, tRTP=4, tFAW=16,
                         tRFC=104, tREFI=3120, row=1 << 14, ranks=1, peak=1.6e9, least=0.92),
    "ddr3_1600_x16": part(period=1250, parts=4, CL=11, burst=4, tRCD=11, tRP=11, tRAS=28, tRC=39, tCCD=4, tRTP=6,
                          tFAW=32, tRFC=208, tREFI=6240, row=1 << 14, ranks=1, peak=3.2e9, least=0.92),
    "hbm2e_3200": part(period=625, parts=2, CL=23, burst=2, tRCD=23, tRP=23, tRAS=53, tRC=76, tCCD=4, tRTP=6, tFAW=26,
                       tRFC=560, tREFI=6240, row=1 << 19, ranks=2, peak=819.2e9, least=0.90),
    "hbm2_2000": part(period=1000, parts=2, CL=14, burst=2, tRCD=14, tRP=14, tRAS=34, tRC=48, tCCD=4, tRTP=5, tFAW=16,
                      tRFC=350, tREFI=3900, row=1 << 18, ranks=2, peak=256e9, least=0.90),
}
EACH = pytest.mark.parametrize("name, t", PARTS.items(), ids=PARTS)


def reads(description, addresses):
    """Instants of the data of one batch of reads, in clocks, and the statistics."""
    found = replay_batches(description, ["G"], [0], np.zeros(len(addresses), int), np.zeros(len(addresses), int),
                           np.array(addresses, dtype=np.uint64))
    period = load_dram(description).period_ps if isinstance(description, str) else description.period_ps
    assert not (found.done_ps % period).any()
    return found.done_ps // period, found.statistics


def row_of_one_bank(name):
    """Addresses of the accesses to row 0 of bank 0, channel 0."""
    if name.startswith("ddr3"):
        return [64 * k for k in range(32)]
    low, first = (6, 15) if name == "hbm2e_3200" else (6, 14)
    channels = (1 << (4 if name == "hbm2e_3200" else 3)) - 1
    return [k << first | (k & channels) << low for k in range(16)]


@EACH
def test_a_lone_read(name, t):
    """ACT, tRCD, the access's bursts tCCD apart, CL and the last burst."""
    done, _ = reads(name, [0])
    assert done.tolist() == [t.tRCD + (t.parts - 1) * t.tCCD + t.CL + t.burst]


@EACH
def test_one_open_row_streams_a_burst_each_tccd(name, t):
    addresses = row_of_one_bank(name)
    assert {place(load_dram(name), address)[:5] for address in addresses} == {(0, 0, 0, 0, 0)}
    done, counted = reads(name, addresses)
    bursts = np.arange(1, len(addresses) + 1) * t.parts - 1
    assert done.tolist() == (t.tRCD + bursts * t.tCCD + t.CL + t.burst).tolist()
    assert (counted.row_misses, counted.row_hits) == (1, len(addresses) * t.parts - 1)


@EACH
def test_a_conflict_each_access(name, t):
    """Rows of one bank in turn: one access a tRC, or as long as its bursts, tRTP and tRP keep the bank."""
    between = max(t.tRC, max(t.tRAS, t.tRCD + (t.parts - 1) * t.tCCD + t.tRTP) + t.tRP)
    assert between == {"ddr3_800_x16": 28, "ddr3_1600_x16": 40}.get(name, t.tRC)
    done, counted = reads(name, [k * t.row for k in range(25)])
    assert np.diff(done).tolist() == [between] * 24
    assert (counted.row_misses, counted.row_conflicts) == (1, 24)


def without_tfaw(description):
    return msgspec.structs.replace(description, timing=msgspec.structs.replace(description.timing, tFAW=0))


def test_activates_of_hbm2e_are_bound_by_tfaw():
    """A new row each access, all banks of a pseudo-channel in turn: four accesses a tFAW."""
    found = load_dram("hbm2e_3200")
    addresses = [(k % 4) << 11 | (k // 4 % 4) << 13 | (k // 16) << 19 for k in range(160)]
    assert len({place(found, address)[:4] for address in addresses}) == 16
    done, _ = reads(found, addresses)
    assert np.diff(done.reshape(-1, 4).max(axis=1)).mean() == pytest.approx(26, rel=0.02)
    assert reads(without_tfaw(found), addresses)[0][-1] < 0.8 * done[-1]


def test_activates_of_ddr3_1600_are_bound_by_tfaw():
    """In a copy with bursts of one clock, as four bursts of four take longer than an activate.

    tRCD is such that no burst of an older access is due in the clock of an activate.
    """
    found = load_dram("ddr3_1600_x16")
    timing = msgspec.structs.replace(found.timing, tCCD=1, tRCD=8)
    quick = msgspec.structs.replace(found, burst_clocks=1, timing=timing)
    addresses = [k % 8 << 11 | k // 8 << 14 for k in range(160)]
    done, _ = reads(quick, addresses)
    assert np.diff(done[::4]).mean() == pytest.approx(32, rel=0.02)
    assert reads(without_tfaw(quick), addresses)[0][-1] < 0.9 * done[-1]
    slow = load_dram("ddr3_800_x16").timing
    assert 4 * slow.tRRD == slow.tFAW


@EACH
def test_a_sequential_read_comes_near_the_peak_less_refresh(name, t):
    count = 20_000 if name.startswith("ddr3") else 120_000
    _, counted = reads(name, 64 * np.arange(count))
    peak, share = peak_bandwidth(load_dram(name)), refresh_share(load_dram(name))
    assert peak == pytest.approx(t.peak) and share == t.tRFC / t.tREFI
    assert t.least * peak * (1 - share) <= counted.bandwidth_bytes_per_s <= peak * (1 - share) * 1.001
    intervals = counted.last_event_ps // (t.tREFI * t.period)
    channels = load_dram(name).organisation.channel
    assert intervals > 1 and abs(counted.refreshes - intervals * t.ranks * channels) <= t.ranks * channels


@EACH
def test_a_read_behind_a_refresh_waits_trfc(name, t):
    """The refresh of clock tREFI begins in an idle memory at once; the bank opens tRFC later."""
    found = replay(name, [t.tREFI * t.period], [0], [False])
    unloaded = t.tRCD + (t.parts - 1) * t.tCCD + t.CL + t.burst
    assert found.done_ps.tolist() == [(t.tREFI - 1 + t.tRFC + unloaded) * t.period]
    before = replay(name, [(t.tREFI - 2 - unloaded) * t.period], [0], [False])
    assert before.done_ps.tolist() == [(t.tREFI - 2) * t.period]


@EACH
def test_ddr_keeps_a_row_in_neighbouring_addresses(name, t):
    """The mapping of §10.2, bit by bit."""
    found = load_dram(name)
    if name.startswith("ddr3"):
        for address in (0x1234567, 0xABCDEF0, (1 << 29) - 1):
            expected = (0, 0, 0, address >> 11 & 7, address >> 14, address >> 4 & 127)
            assert place(found, address) == expected
        return
    wide = name == "hbm2e_3200"
    for address in (0x1234567, 0x5ABCDEF0, (1 << 33) - 1):
        top = address >> 10 if wide else address >> 9
        high = top >> 5 & 15
        channel = (address >> 6 & (15 if wide else 7)) ^ (high & (15 if wide else 7))
        expected = (channel, top & 1, top >> 1 & 3, top >> 3 & 3, top >> 9, (address >> 5 & 1) | high << 1)
        assert place(found, address) == expected


@EACH
@pytest.mark.parametrize("writes", [0.0, 0.5, 1.0])
def test_never_above_the_bus(name, t, writes):
    rng = np.random.default_rng(3)
    address = np.sort(rng.integers(0, 1 << 16, 6000)) * 64
    found = replay(name, np.zeros(6000, int), address, rng.random(6000) < writes).statistics
    assert 0.1 < found.bandwidth_bytes_per_s / t.peak <= 1
