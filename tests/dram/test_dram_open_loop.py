"""Do accesses that begin at instants of their own run as overlapping batches of one access do?

The one has an event loop of its own (`open_loop`), the other the event loop of any tasks (`event_order`), which
`test_dram_library` holds against the tick-by-tick model.
"""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.boards.dram_schema import Queues, WriteMode, load_dram
from plena_emu.memory.dram_replay import replay, replay_batches

MEMORIES = ["hbm2", "ddr4", "ddr3_800_x16", "hbm2_2000"]


def short_queues(name):
    return msgspec.structs.replace(load_dram(name), queues=Queues(read=2, write=3),
                                   write_mode=WriteMode(high_watermark=2, low_watermark=1))


def check(memory, time, address, op, revision="base"):
    found = replay(memory, time, address, op, revision)
    count = len(time)
    expected = replay_batches(memory, ["S"] * count, time, np.arange(count), op, address, revision)
    for instant in ("issue_ps", "accept_ps", "done_ps"):
        wrong = np.flatnonzero(getattr(found, instant) != getattr(expected, instant))
        assert not len(wrong), f"{instant} of {len(wrong)} differ, the first is {wrong[0]}"
    assert found.statistics == expected.statistics


@settings(deadline=None, max_examples=150)
@given(name=st.sampled_from(MEMORIES), short=st.booleans(), seed=st.integers(0, 1 << 32),
       gap=st.sampled_from([0, 100, 1000, 3000, 9000, 40_000]), step=st.sampled_from([1, 500, 833, 1000, 2500, 4000]),
       together=st.sampled_from([0, 0.5, 0.9]), blocks=st.sampled_from([4, 64, 1 << 10, 1 << 16]),
       writes=st.sampled_from([0, 0.2, 0.5, 0.9, 1]), revision=st.sampled_from(["base", "moe"]))
def test_random_traffic(name, short, seed, gap, step, together, blocks, writes, revision):
    rng = np.random.default_rng(seed)
    count = 300
    gaps = rng.integers(0, 2 * gap // step + 2, count) * step * (rng.random(count) >= together)
    address, op = rng.integers(0, blocks, count) * 64, rng.random(count) < writes
    check(short_queues(name) if short else name, np.cumsum(gaps), address, op, revision)


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(MEMORIES), short=st.booleans(), seed=st.integers(0, 1 << 32),
       parts=st.lists(st.tuples(st.integers(1, 90), st.sampled_from([0, 1, 500, 833, 1000, 20_000, 10**7])), min_size=1,
                      max_size=12), phase=st.sampled_from([0, 0, 1, 400]))
def test_bursts(name, short, seed, parts, phase):
    """So many accesses at one instant, then a gap: full queues on the clock's grid and beside it."""
    rng = np.random.default_rng(seed)
    time = np.repeat(phase + np.cumsum([gap for _, gap in parts]), [size for size, _ in parts])
    address, op = rng.integers(0, 1 << 12, len(time)) * 64, rng.random(len(time)) < rng.random()
    check(short_queues(name) if short else name, time, address, op)


@pytest.mark.parametrize("name", ["hbm2", "ddr4"])
@pytest.mark.parametrize("gap", [0, 900, 2000, 5000])
def test_a_long_overload(name, gap):
    rng = np.random.default_rng(gap)
    count = 8000
    check(name, np.cumsum(rng.integers(0, 2 * gap + 1, count)), rng.integers(0, 1 << 20, count) * 64,
          rng.random(count) < 0.3)


def test_nothing():
    assert replay("hbm2", [], [], []).statistics == replay_batches("hbm2", [], [], [], [], []).statistics
