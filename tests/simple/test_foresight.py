"""Do two threads that time the idealised banks, one behind control and one ahead of it, change any figure (§3.5)?"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import plena_emu
from plena_emu.errors import EmuError
from plena_emu.kernels import layout
from plena_emu.kernels.compiler.atomics import IS_ATOMIC
from plena_emu.kernels.limits import TIME_LIMIT
from plena_emu.kernels.memory import following
from plena_emu.kernels.simple import foreseen as fs
from plena_emu.manifests.schema import Manifest
from plena_emu.memory.models import RegimeModel
from plena_emu.running.followed_timing import FollowedTiming
from plena_emu.running.gathered_timing import gather

BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"

EVENT = st.tuples(
    st.sampled_from([0, 1000, 5000, 13000, 50000, 10**6]), st.sampled_from([0, 1, 0, 1, 2]),
    st.sampled_from([0, 64, 30, 1024, 16300, 16320, 16384, 16448, 1 << 20]),
    st.sampled_from([0, 4096, 16376, 1 << 19, (1 << 20) - 8]), st.sampled_from([64, 1024, 16384, 384, 100]),
)
LISTS = {"parts": st.lists(EVENT, min_size=1, max_size=60), "rows": st.sampled_from([1, 3, 16, 40]),
         "again": st.integers(1, 3)}


@pytest.fixture(autouse=True)
def wrapping_integers():
    """As in a run: kernels that are not compiled multiply hashes in int64."""
    with np.errstate(over="ignore"):
        yield


def new_memory(rows=16, memo=True, model="resident"):
    """Prefetches of `rows` rows without scales (descriptor 0) and with (1), and a store (2)."""
    table = np.zeros((layout.NUM_DESCRIPTORS, layout.DESC_WIDTH), dtype=np.int64)
    table[:, layout.DESC_ROWS] = rows
    table[:, layout.DESC_ELEMENTS] = table[:, layout.DESC_ROW_BYTES] = 64
    table[:, layout.DESC_RATIO] = 8
    table[1, layout.DESC_SCALE_BYTES] = 8
    table[2, layout.DESC_STORE] = 1
    return RegimeModel(model, Manifest(activation_ceiling=0), table, 0, 60_000_000, memo=memo)


def events_of(parts, again=1):
    events = np.zeros((len(parts) * again, layout.MEV_WIDTH), dtype=np.int64)
    events[:, :5] = np.array(list(parts) * again)
    return events


def distinct_events(count):
    """Prefetches no two of which have one key, each with idle banks."""
    return events_of([(10**6, 0, 64 * (k % 256), 0, 64 * (1 + k)) for k in range(count)])


def contents(memory, events):
    """Figures of the run and of each event, and the memo to the last word."""
    memo = memory.engine._memory.memo
    return (memory.now_ps, memory.last_event_ps, memory.bytes_read, memory.bytes_written, memory.statistics,
            events[:, layout.MEV_TOOK].tolist(), memory.engine.memo, memo.table.tolist(), memo.arena.tolist())


def alone(rows, events):
    memory, events = new_memory(rows), events.copy()
    memory.advance(events, len(events))
    return contents(memory, events)


@settings(max_examples=60, deadline=None)
@given(**LISTS, followed=st.floats(0, 1), foreseen=st.floats(0, 1))
def test_figures_and_memo_are_the_same_in_any_order(parts, rows, again, followed, foreseen):
    """The follower runs some events, then some are foreseen that it has not come to or has, then it runs the rest."""
    events = events_of(parts, again)
    memory, own, count = new_memory(rows), events.copy(), len(events)
    follower = memory.engine.follow(own, memory.descriptors)
    follower.begin()
    first = int(followed * count)
    follower.give(first)
    assert follower._follow(1) == follower.done == first
    assert follower.finish(max(first, int(foreseen * count)), int) >= first or foreseen
    follower._give(count, following.ENDED)
    assert follower._follow(1) == count
    assert contents(memory, own) == alone(rows, events)


def test_foreseen_values_are_taken():
    """With all foreseen the follower simulates nothing itself; its memo counts the misses that there would be."""
    events = distinct_events(100)
    memory, own = new_memory(), events.copy()
    follower = memory.engine.follow(own, memory.descriptors)
    follower.begin()
    follower._give(100, following.ENDED)
    follower._foresee(100, 0)
    follower._give(100, following.ENDED)
    assert follower._follow(1) == 100
    assert memory.engine._memory.foreseen.reg[fs.F_PATTERNS] == memory.engine.memo.patterns > 90
    assert memory.engine._memory.told.reg[fs.F_PATTERNS] == 0
    assert contents(memory, own) == alone(16, events)


def test_what_the_follower_told_is_not_foreseen_again():
    events = np.concatenate([distinct_events(60), distinct_events(60)])
    memory = new_memory()
    follower = memory.engine.follow(events, memory.descriptors)
    follower.begin()
    follower.give(60)
    follower._follow(1)
    follower._give(120, following.ENDED)
    follower._foresee(120, 0)
    assert memory.engine._memory.told.reg[fs.F_PATTERNS] > 50
    assert memory.engine._memory.foreseen.reg[fs.F_PATTERNS] == 0


def test_full_tables(monkeypatch):
    """Neither thread tells more than there is room for; the next batch begins with empty tables."""
    monkeypatch.setattr(fs, "SLOTS", 64)
    events = distinct_events(200)
    memory, own = new_memory(), events.copy()
    follower = memory.engine.follow(own, memory.descriptors)
    for first in range(0, 200, 100):
        follower.begin()
        assert memory.engine._memory.foreseen.reg[fs.F_PATTERNS] == 0
        follower._give(first, following.OPEN)
        follower._shared[following.DONE] = first
        follower._give(first + 100, following.ENDED)
        follower._foresee(first + 100, 0)
        assert memory.engine._memory.foreseen.reg[fs.F_PATTERNS] == 32
        follower._give(first + 100, following.ENDED)
        assert follower._follow(1) == first + 100
        assert memory.engine._memory.told.reg[fs.F_PATTERNS] == 32
    assert contents(memory, own) == alone(16, events)


def test_the_follower_stops_when_it_is_told_to():
    memory, events = new_memory(), distinct_events(10)
    follower = memory.engine.follow(events, memory.descriptors)
    follower.begin()
    follower.give(10)
    follower.stop()
    assert follower._follow(1) == 0 and memory.now_ps == 0


def test_the_follower_stops_before_time_passes_its_limit():
    memory, events = new_memory(), distinct_events(10)
    events[4, layout.MEV_DELTA] = TIME_LIMIT
    follower = memory.engine.follow(events, memory.descriptors)
    follower.begin()
    follower.give(10)
    assert follower._follow(1) == 4
    assert follower.done == 4 and memory.now_ps == events[:4, [layout.MEV_DELTA, layout.MEV_TOOK]].sum()


# --- on two threads ---------------------------------------------------------------------------------

needs_threads = pytest.mark.skipif(not IS_ATOMIC, reason="kernels in plain Python run on one thread")


def timed_beside(memory, events, cuts):
    """Give events in slices, end batches where a cut is odd, and time them on two threads."""
    timing = FollowedTiming(memory.follow, memory.advance)
    try:
        timing.prepare()
        for first, past in zip([0, *cuts], [*cuts, len(events)], strict=True):
            timing.take(events[first:past])
            if past % 2:
                timing.flush()
        timing.flush()
    finally:
        timing.close()


@needs_threads
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(**LISTS, cuts=st.lists(st.floats(0, 1), max_size=4))
def test_threads_change_no_figure(parts, rows, again, cuts):
    events = events_of(parts, again)
    memory = new_memory(rows)
    timed_beside(memory, events, sorted(int(cut * len(events)) for cut in cuts))
    assert contents(memory, events)[:5] == alone(rows, events)[:5]
    assert contents(memory, events)[6:] == alone(rows, events)[6:]


@needs_threads
def test_more_events_than_a_batch_holds(monkeypatch):
    monkeypatch.setattr("plena_emu.running.followed_timing.MOST_EVENTS", 16)
    events = distinct_events(120)
    memory = new_memory()
    timed_beside(memory, events, [10, 20, 26, 60, 70])
    assert contents(memory, events)[:5] == alone(16, events)[:5]
    assert contents(memory, events)[6:] == alone(16, events)[6:]


@needs_threads
def test_an_overflow_names_its_event():
    events = distinct_events(40)
    events[:, layout.MEV_PC] = np.arange(40)
    events[25, layout.MEV_DELTA] = TIME_LIMIT
    with pytest.raises(EmuError, match="^pc=25: simulated time passes"):
        timed_beside(new_memory(), events, [16])


def test_who_is_followed():
    """Neither a memory whose memo is off nor one behind a host, nor anything on one thread."""
    def advance(events, count):
        raise AssertionError

    made = gather(new_memory(), 2, advance)
    assert isinstance(made, FollowedTiming) == (made is not None)
    if made is not None:
        made.close()
    assert gather(new_memory(), 1, advance) is None
    assert gather(new_memory(memo=False), 2, advance) is None
    assert gather(new_memory(model="host-stream"), 2, advance) is None
    assert gather(new_memory(rows=5000), 2, advance) is None


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_a_run_has_the_same_record(threads):
    """Memo counts included; only what was measured may differ."""
    def record(count):
        result = plena_emu.run(BUILD, timing_only=True, memory_model="resident", threads=count)
        return (result.latency_ps, result.end_ps, result.memo, result.bytes_read, result.bytes_written,
                result.model_statistics, result.instruction_counts)

    assert record(threads) == record(1)
