"""Does the memo of the DRAM controller change no figure, whatever repeats and however soon the next list comes?"""

import msgspec
import numpy as np
import pytest
from dram_lists import EVENT, MEMORIES, PREFETCH, STORE, new_memory, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plena_emu.boards.dram_schema import load_dram
from plena_emu.kernels.dram import memo as dram_memo
from plena_emu.kernels.memory import memo_table as mt
from plena_emu.memory.dram import new_memo, new_state


@pytest.mark.parametrize("revision", ["base", "moe"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(EVENT, min_size=1, max_size=30), rows=st.sampled_from([1, 2, 16, 90]), again=st.integers(1, 4),
       size=st.sampled_from([1, 3, 1000]))
def test_figures_are_the_same(revision, parts, rows, again, size):
    events = np.array([[*part, 0, 0] for part in parts] * again)
    slices = [size] * (-(-len(events) // size))
    plain = run(new_memory(rows, False, revision=revision), events, slices)
    memory = new_memory(rows, True, revision=revision)
    assert run(memory, events, slices) == plain
    assert memory.engine.memo.lookups <= len(events)


def test_figures_are_the_same_behind_a_host():
    """Lists that wait for the host come between those that do not."""
    rng = np.random.default_rng(4)
    starts = rng.choice([0, 4096, 1 << 21, 1 << 22], 60)
    events = np.array([[2000, k % 3, start, 1 << 23, 64, 0, 0] for k, start in enumerate(starts)])
    found = [run(new_memory(16, memo, "weight-stream", "hbm2"), events, [60]) for memo in (False, True)]
    assert found[0] == found[1]


@pytest.mark.parametrize("descriptor", [PREFETCH, STORE])
def test_a_list_in_other_banks_is_answered_from_memory(descriptor):
    """Record, rank, bank group, bank and row move; what the accesses share stays the same."""
    moves = [0, 1 << 8, 1 << 9, 1 << 10, 1 << 12, 5 << 20, 9 << 20]
    events = np.array([[10**6, descriptor, move, 0, 1 << 17, 0, 0] for move in [0, *moves]])
    memory = new_memory(4, True)
    times, counted = run(memory, events, [len(events)])
    # At clock 0 no tick has passed yet, so the memory is not idle in the sense of the memo.
    assert memory.engine.memo.hits >= 4
    assert (times, counted) == run(new_memory(4, False), events, [len(events)])


@pytest.mark.parametrize("memory", MEMORIES)
def test_reads_that_were_never_seen(memory):
    """Rows that are open, closed or in conflict, banks in any order, lists longer than all queues; idle before each."""
    rng = np.random.default_rng(7)
    near, far = rng.integers(1, 1 << 7, 60), rng.integers(1, 1 << 14, 60)
    events = np.array([
        [1000 * int(rng.integers(200, 400)), int(rng.integers(2)), 64 * int(rng.integers(1 << 12)),
         64 * int(rng.integers(1 << 12)), 64 * int(step)] + [0, 0]
        for step in (*near, *far, 0, 1, 2048, 4096)
    ])
    for rows in (3, 24, 150):
        plain = run(new_memory(rows, False, dram=MEMORIES[memory]), events, [len(events)])
        remembering = new_memory(rows, True, dram=MEMORIES[memory])
        assert run(remembering, events, [len(events)]) == plain
        assert remembering.engine.memo.patterns > len(events) // 2


@pytest.mark.parametrize("memory", MEMORIES)
def test_lists_that_take_long(memory):
    """Rows of one bank in turn: a lane of 16 bits does not hold the clocks."""
    events = np.array([[10**6, PREFETCH, 0, 0, step, 0, 0] for step in (1 << 17, 1 << 18, 1 << 20)])
    plain = run(new_memory(2000, False, dram=MEMORIES[memory]), events, [len(events)])
    remembering = new_memory(2000, True, dram=MEMORIES[memory])
    assert run(remembering, events, [len(events)]) == plain
    assert plain[0][-1][0] > 3 * 2000 * 16 * MEMORIES[memory].period_ps


def test_too_soon_after_a_recalled_list():
    """The memory is not yet idle when the next list comes: the recalled one is run after all."""
    events = np.array([[delta, STORE, 0, 0, 64, 0, 0] for delta in [10**6] * 4 + [0, 10**6, 1000] * 5])
    memory = new_memory(16, True)
    assert run(memory, events, [len(events)]) == run(new_memory(16, False), events, [len(events)])
    assert 0 < memory.engine.memo.hits < len(events) - 2


def test_lists_that_never_repeat():
    """Most lists have no twin: the value of each is found from its pattern alone."""
    rng = np.random.default_rng(6)
    first, step = 64 * rng.integers(0, 1 << 24, 300), 64 * rng.integers(1, 1 << 14, 300)
    events = np.array([[10**6, PREFETCH, first[k], 0, step[k], 0, 0] for k in range(300)])
    memory = new_memory(16, True)
    assert run(memory, events, [len(events)]) == run(new_memory(16, False), events, [len(events)])
    memo = memory.engine.memo
    assert memo.hits < 5
    assert memo.patterns + memo.hits == memo.lookups > 290


def test_full_tables_are_emptied():
    events = np.array([[10**6, PREFETCH, 0, 0, 64 * k, 0, 0] for k in range(1, 40)] * 2)
    plain, counted = run(new_memory(40, False), events, [1] * len(events))
    memory, times = new_memory(40, True), []
    for k, event in enumerate(events):
        if k % 10 == 9:  # as if thousands of patterns had come before
            memory.engine._memory.memo.reg[mt.MEMO_USED] = dram_memo.ARENA - 8
        memory.advance(event[None, :], 1)
        times.append((memory.now_ps, memory.last_event_ps))
    assert times == plain
    assert memory.engine.statistics == counted
    assert memory.engine.memo.cleared > 0


def test_off_where_an_answer_depends_on_more():
    """Refresh goes by the clock, and requests of an access in banks of their own are related to each other."""
    hbm2 = load_dram("hbm2")
    spread = msgspec.structs.replace(hbm2.mapping, channel=(6, 7, 8), bankgroup=("10^4", "11^5"))
    for description, expected in (
        (hbm2, 1), (load_dram("ddr4"), 0), (msgspec.structs.replace(hbm2, mapping=spread), 0)
    ):
        assert new_memo(new_state(description)).reg[mt.MEMO_ON] == expected
    assert new_memo(new_state(hbm2), False).reg[mt.MEMO_ON] == 0
