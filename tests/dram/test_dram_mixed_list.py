"""Does a gather task of reads and writes that is alone run as one that others may overlap does?

The one has a loop of its own (`mixed_list`), the other the event loop of any tasks (`event_order`). An empty batch
behind each makes the difference: it overlaps the list, and does nothing.
"""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.boards.dram_schema import Queues, WriteMode, load_dram
from plena_emu.memory import dram_replay
from plena_emu.memory.dram_replay import replay_batches

MEMORIES = ["hbm2", "ddr4", "ddr3_800_x16", "hbm2_2000", "spread"]


def memory(name, queue):
    """A description; `spread` is hbm2 with bursts of an access in channels that are not alike."""
    found = load_dram("hbm2" if name == "spread" else name)
    if name == "spread":
        mapping = msgspec.structs.replace(found.mapping, column=(5, 14, 15, 16), channel=(6, "7^5", 8))
        found = msgspec.structs.replace(found, transfer_bytes=32, mapping=mapping)
    if queue is None:
        return found
    room = max(queue, 8 * 64 // found.transfer_bytes)  # the least with which lists have a loop of their own
    return msgspec.structs.replace(found, queues=Queues(read=room, write=queue),
                                   write_mode=WriteMode(high_watermark=max(queue - 1, 2), low_watermark=1))


def check(description, waits, batch, address, op, revision="base"):
    found = replay_batches(description, ["G"] * len(waits), waits, batch, op, address, revision)
    kinds, times = ["G", "S"] * len(waits), np.ravel(np.column_stack((waits, np.zeros_like(waits))))
    expected = replay_batches(description, kinds, times, 2 * batch, op, address, revision)
    for instant in ("issue_ps", "accept_ps", "done_ps"):
        wrong = np.flatnonzero(getattr(found, instant) != getattr(expected, instant))
        assert not len(wrong), f"{instant} of {len(wrong)} differ, the first is {wrong[0]}"
    assert found.statistics == expected.statistics


@settings(deadline=None, max_examples=200)
@given(name=st.sampled_from(MEMORIES), queue=st.sampled_from([None, 3, 9]), seed=st.integers(0, 1 << 32),
       step=st.sampled_from([1, 500, 833, 1000, 10**6]), blocks=st.sampled_from([4, 64, 1 << 10, 1 << 16]),
       writes=st.sampled_from([0.1, 0.3, 0.5, 0.9, 1]), revision=st.sampled_from(["base", "moe"]))
def test_random_lists(name, queue, seed, step, blocks, writes, revision):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 150, 4)
    batch = np.repeat(np.arange(4), sizes)
    waits = rng.integers(0, 4, 4) * step
    address, op = rng.integers(0, blocks, len(batch)) * 64, rng.random(len(batch)) < writes
    check(memory(name, queue), waits, batch, address, op, revision)


@pytest.mark.parametrize("name", ["hbm2", "ddr4"])
def test_a_long_list_in_slices(monkeypatch, name):
    rng = np.random.default_rng(3)
    address, op = rng.integers(0, 1 << 20, 5000) * 64, rng.random(5000) < 0.3
    monkeypatch.setattr(dram_replay, "SLICE", 100)
    check(load_dram(name), np.array([7000]), np.zeros(5000, dtype=int), address, op)
