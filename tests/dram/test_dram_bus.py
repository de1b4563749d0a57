"""No description that is accepted moves more than its data buses can, whatever its rules (spec §10.2)."""

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plena_emu.boards.dram_schema import RowBits, WriteMode, checked, load_dram
from plena_emu.boards.dram_timing import TimingRow
from plena_emu.errors import EmuError
from plena_emu.memory.dram_replay import replay, replay_batches

BETWEEN = [("RD", "RD", 6), ("WR", "WR", 6), ("RD", "WR", 10), ("WR", "RD", 2)]


def two_ranks(rows=(), **changes):
    """ddr4 with two ranks, rank bit 17, and rows between them."""
    ddr4 = load_dram("ddr4")
    between = tuple(TimingRow(level="other_rank", preceding=a, following=b, clocks=clocks) for a, b, clocks in rows)
    return msgspec.structs.replace(
        ddr4, organisation=msgspec.structs.replace(ddr4.organisation, rank=2), timing=(*ddr4.timing, *between),
        mapping=msgspec.structs.replace(ddr4.mapping, rank=(17,), row=RowBits(first=18)), **changes,
    )  # fmt: skip


def moved(statistics):
    """Bytes that went over the buses."""
    return statistics.bandwidth_bytes_per_s * statistics.last_event_ps / 1e12


def most(description, last_event_ps):
    """Bytes the buses can move until then; a burst of each may begin before, and one end after."""
    org = description.organisation
    buses = org.channel * (org.rank if description.data_bus == "rank" else 1)
    clocks = last_event_ps // description.period_ps + 1
    return buses * description.transfer_bytes * (clocks / description.burst_clocks + 2)


def hits(count, ranks, seed=0):
    """Reads of one rank and writes of another in turn, few rows: (address, is_write)."""
    rng = np.random.default_rng(seed)
    rank = np.arange(count) % ranks
    return (rank << 17 | rng.integers(0, 64, count) << 6), rank == 1


def test_two_ranks_without_rows_between_them_are_refused():
    address, is_write = hits(100, 2)
    with pytest.raises(EmuError, match="1 from WR to RD in another rank, expected at least 8 together"):
        replay(two_ranks(write_mode=WriteMode(high_watermark=1, low_watermark=0)), [0] * 100, address, is_write)


@pytest.mark.parametrize("high, low", [(1, 0), (2, 1), (26, 6)])
def test_two_ranks_stay_under_the_peak_of_their_bus(high, low):
    description = two_ranks(BETWEEN, write_mode=WriteMode(high_watermark=high, low_watermark=low))
    address, is_write = hits(20_000, 2)
    found = replay(description, np.zeros(20_000, int), address, is_write).statistics
    assert found.bandwidth_bytes_per_s <= 64e12 / (4 * 833) * 1.001
    assert moved(found) <= most(description, found.last_event_ps)


@pytest.mark.parametrize("preceding, following, clocks", BETWEEN)
def test_rows_between_ranks_hold_back_the_other_rank_alone(preceding, following, clocks):
    """With one of them raised, a core that changes rank with each access waits longer; a stream of one rank not."""
    raised = [(a, b, 60 if (a, b) == (preceding, following) else c) for a, b, c in BETWEEN]
    address = np.array([0, 1 << 17, 0, 1 << 17]) | np.array([0, 0, 64, 64])
    is_write = np.array([preceding == "WR", following == "WR"] * 2).astype(int)
    spans = []
    for rows in (BETWEEN, raised):
        description = two_ranks(rows, write_mode=WriteMode(high_watermark=1, low_watermark=0))
        alone = replay(description, [0] * 400, np.arange(400) % 64 * 64, [preceding == "WR"] * 400)
        turns = replay_batches(description, ["I"], [0], [0] * 400, np.tile(is_write, 100), np.tile(address, 100))
        spans.append((alone.statistics.last_event_ps, turns.statistics.last_event_ps))
    assert spans[0][0] == spans[1][0]
    assert spans[1][1] > spans[0][1] + 200_000


@st.composite
def descriptions(draw):
    """Random column rules on hbm2 or ddr4 with two ranks; everything else is quick, so that the buses bind."""
    base = load_dram("hbm2") if draw(st.booleans()) else two_ranks(BETWEEN)
    clocks = st.integers(0, 9)
    rows = [msgspec.structs.replace(row, clocks=draw(clocks) if {row.preceding, row.following} <= {"RD", "WR"} else 1)
            for row in base.timing]
    rows = [row for row in rows if row.window == 1 and draw(st.integers(0, 9)) > 0]
    high = draw(st.integers(1, 26))
    return msgspec.structs.replace(
        base, timing=tuple(rows), revisions={}, burst_clocks=draw(st.integers(1, 5)), refresh=None,
        read_latency=draw(st.integers(1, 20)), data_bus=draw(st.sampled_from(["channel", "rank"])),
        write_mode=WriteMode(high_watermark=high, low_watermark=draw(st.integers(0, high - 1))),
    )  # fmt: skip


def test_random_descriptions_never_pass_their_buses():
    """Those that are refused are so for their buses; enough are not."""
    accepted = []

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(description=descriptions(), seed=st.integers(0, 1 << 16), writes=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    def check(description, seed, writes):
        rng = np.random.default_rng(seed)
        address = rng.integers(0, 256, 1500) * 64 + (rng.integers(0, 2, 1500) << 17)
        try:
            found = replay(description, np.zeros(1500, int), address, rng.random(1500) < writes).statistics
        except EmuError as error:
            assert "share a data bus" in str(error) or "burst_clocks" in str(error)
            return
        accepted.append(description)
        assert moved(found) <= most(description, found.last_event_ps)

    check()
    assert len(accepted) > 15


# --- descriptions made in Python ----------------------------------------------------------------


def changed(name, path, value):
    """A shipped description with a value at a path of fields replaced."""
    found = load_dram(name)
    stack = [found]
    for field in path[:-1]:
        stack.append(getattr(stack[-1], field))
    for holder, field in zip(reversed(stack), reversed(path), strict=True):
        value = msgspec.structs.replace(holder, **{field: value})
    return value


ODD = [None, -1, 0, 1, 3, 1024, 1 << 20, 1 << 70, 2.5, float("nan"), "x", True, (), [1], {}, object()]
PATHS = [("organisation", "channel"), ("organisation", "rank"), ("organisation", "bankgroup"), ("organisation", "bank"),
         ("transfer_bytes",), ("period_ps",), ("read_latency",), ("queues", "read"), ("queues", "write"),
         ("write_mode", "high_watermark"), ("write_mode", "low_watermark"), ("burst_clocks",), ("data_bus",),
         ("timing",), ("revisions",), ("refresh",), ("mapping", "bank"), ("mapping", "row"), ("mapping",), ("queues",),
         ("organisation",), ("name",), ("source",)]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=".".join)
@pytest.mark.parametrize("name", ["hbm2", "ddr4", "ddr3_800_x16"])
def test_odd_values_are_refused_or_harmless(name, path):
    """Nothing that was put into a description reaches the kernels unchecked."""
    refused = 0
    for value in ODD:
        description = changed(name, path, value)
        try:
            found = replay(description, [0, 0, 900], [0, 64, 1 << 17], [0, 0, 1])
        except EmuError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(error).startswith("description")
        else:
            assert (found.done_ps > 0).all()
            assert checked(description)
    assert refused >= 9


@pytest.mark.parametrize("change, message", [
    ((("organisation", "channel"), 3), "description: organisation.channel: found 3, expected a power of two"),
    ((("organisation", "channel"), 1 << 20), "description: organisation.channel: found 1048576, expected at most 256"),
    ((("transfer_bytes",), 0), "description: transfer_bytes: found 0, expected one of"),
    ((("timing",), None), "description: timing: found null, expected"),
    ((("timing",), (1, 2)), "description: timing"),
])  # fmt: skip
def test_odd_values_are_named(change, message):
    with pytest.raises(EmuError) as caught:
        replay(changed("hbm2", *change), [0], [0], [0])
    assert message in str(caught.value)
