"""Do answers that a second thread finds ahead of time change no figure, whether they come in time, late or never?"""

import itertools
from pathlib import Path

import numpy as np
import pytest
from dram_lists import EVENT, MEMORIES, new_memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import plena_emu
from plena_emu.errors import EmuError
from plena_emu.kernels import layout
from plena_emu.kernels.compiler.atomics import IS_ATOMIC
from plena_emu.kernels.dram import answers
from plena_emu.kernels.dram import foresight as kernels
from plena_emu.kernels.limits import TIME_LIMIT
from plena_emu.kernels.memory import following
from plena_emu.memory.engines import MemoStatistics
from plena_emu.running.followed_timing import FollowedTiming

BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"


def contents(memory, events):
    """Instants of the run and of each event, statistics, and what the memo did."""
    return (memory.now_ps, memory.last_event_ps, memory.bytes_read, memory.engine.statistics,
            events[:, layout.MEV_TOOK].tolist(), memory.engine.memo)


def events_of(parts):
    events = np.zeros((len(parts), layout.MEV_WIDTH), dtype=np.int64)
    events[:, :5] = np.array(list(parts))
    return events


def alone(rows, events, batches=(), **more):
    memory, own = new_memory(rows, True, **more), events.copy()
    for first, past in itertools.pairwise((0, *batches, len(events))):
        memory.advance(own[first:], past - first)
    return contents(memory, own)


def begun(rows, events, **more):
    """A memory, its follower, and the events of the batch that it has begun with."""
    memory, own = new_memory(rows, True, **more), events.copy()
    follower = memory.engine.follow(own, memory.descriptors)
    follower.begin()
    return memory, follower, own


@pytest.fixture(autouse=True)
def wrapping_integers():
    """As in a run: kernels that are not compiled multiply hashes in int64."""
    with np.errstate(over="ignore"):
        yield


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(EVENT, min_size=1, max_size=30), rows=st.sampled_from([1, 2, 16, 90]), again=st.integers(1, 4),
       followed=st.floats(0, 1), foreseen=st.floats(0, 1), revision=st.sampled_from(["base", "moe"]))
def test_figures_are_the_same_in_any_order(parts, rows, again, followed, foreseen, revision):
    """The follower runs some events, then some are answered that it has not come to, then it runs the rest."""
    events = events_of(parts * again)
    count, first = len(events), int(followed * len(events))
    memory, follower, own = begun(rows, events, revision=revision)
    follower.give(first)
    assert follower._follow(1) == follower.done == first
    follower._foresee(int(foreseen * count), count, 1)
    follower._give(count, following.ENDED, 0, 0)
    assert follower._follow(1) == follower.finish(count, int) == count
    assert contents(memory, own) == alone(rows, events, (first,), revision=revision)


def run_first(memory, follower):
    """Run the first event of a batch; its list is forgotten."""
    follower.give(1)
    assert follower._follow(1) == 1
    memory.engine._memory.memo.idle["sent"] = 0


@pytest.mark.parametrize("name", MEMORIES)
def test_answers_are_used(name):
    """Where the rows of a bank follow each other those that are foreseen are open: the pass itself times nothing."""
    events = events_of([(10**6, 0, 4096 * k, 0, 64) for k in range(200)])
    memory, follower, own = begun(8, events, dram=MEMORIES[name])
    run_first(memory, follower)
    assert follower._foresee(1, 200, 1) == 200
    follower._give(200, following.ENDED, 0, 0)
    assert follower._follow(1) == 200
    assert contents(memory, own) == alone(8, events, (1,), dram=MEMORIES[name])
    assert memory.engine._memory.memo.idle["sent"].sum() == 0
    assert memory.engine.memo.lookups >= 198  # at clock 0 the memory is not idle


def test_windows_and_pieces():
    """All events but the follower's are answered, window by window; the result is that of one thread, right or not."""
    rng = np.random.default_rng(5)
    count, rows = 600, 128
    events = events_of([(10**6, 0, 8192 * int(rng.integers(64)), 0, 64) for _ in range(count)])
    memory, follower, own = begun(rows, events)
    run_first(memory, follower)
    first, calls = 1, 0
    while 0 < first < count:
        first, calls = follower._foresee(first, count, 1), calls + 1
    assert first == count  # there was room for all
    assert 4 < calls == -(-(count - 1) // -(-kernels.WINDOW // (2 * rows)))
    assert (follower.answers.at >= 0).sum() == count - 2  # the first one that it may be in is left to the follower
    follower._give(count, following.ENDED, 0, 0)
    assert follower._follow(1) == count
    assert contents(memory, own) == alone(rows, events, (1,))


def test_wrong_rows_are_noticed():
    """Answers for rows that are not open are not taken."""
    rng = np.random.default_rng(3)
    events = events_of([(10**6, 0, 64 * int(rng.integers(1 << 14)), 0, 64 * int(rng.integers(1, 1 << 12)))
                        for _ in range(200)])
    memory, follower, own = begun(24, events)
    follower._foresee(0, 200, 1)
    text, at = follower.answers.text, follower.answers.at
    for start in at[at >= 0][::2].tolist():  # each second answer expects another row in its first bank
        text[start + answers.A_WIDTH + 1] += 1
    assert follower.answers.reg[answers.F_USED] > 0
    follower._give(200, following.ENDED, 0, 0)
    assert follower._follow(1) == 200
    assert contents(memory, own) == alone(24, events)
    assert memory.engine._memory.memo.idle["sent"].sum() > 0


def in_batches(rows, events, batches):
    """Contents after a run in which each batch is answered before the follower begins with it."""
    memory = new_memory(rows, True)
    own = np.zeros_like(events)
    follower, told = memory.engine.follow(own, memory.descriptors), []
    for first, past in itertools.pairwise((0, *batches, len(events))):
        own[: past - first] = events[first:past]
        follower.begin()
        follower._foresee(0, past - first, 1)
        follower._give(past - first, following.ENDED, 0, 0)
        assert follower._follow(1) == past - first
        told.extend(own[: past - first, layout.MEV_TOOK].tolist())
    own[: len(told), layout.MEV_TOOK] = told
    return contents(memory, own)


def test_no_room_for_answers(monkeypatch):
    monkeypatch.setattr(answers, "MOST_TEXT", 1 << 12)
    events = events_of([(10**6, 0, 4096 * k, 0, 64 * (1 + k % 90)) for k in range(300)])
    assert in_batches(16, events, (150,)) == alone(16, events, (150,))


def test_full_tables(monkeypatch):
    """Both memos fill up: the one that foresees begins anew with the next batch, that of the pass as it always does."""
    from plena_emu.memory import dram

    monkeypatch.setattr(dram.dram_memo, "SLOTS", 64)
    events = events_of([(10**6, 0, 4096 * (k % 77), 0, 64 * (1 + k % 90)) for k in range(400)])
    batches = (80, 160, 240, 320)
    found = in_batches(16, events, batches)
    assert found == alone(16, events, batches)
    assert found[-1].cleared > 0


@pytest.mark.skipif(not IS_ATOMIC, reason="kernels in plain Python run on one thread")
@pytest.mark.parametrize("step", [1, 7, 400])
@pytest.mark.parametrize("words", [answers.MOST_TEXT, 1 << 12])
def test_control_and_follower_on_two_threads(monkeypatch, step, words):
    """Events come `step` at a time, with room for all answers or for few; the figures do not tell who found what."""
    monkeypatch.setattr(answers, "MOST_TEXT", words)
    rng = np.random.default_rng(8)
    events = events_of([(10**6, int(rng.integers(3)), 64 * int(rng.integers(1 << 12)), 0, 64 * int(rng.integers(1, 90)))
                        for _ in range(400)])
    memory = new_memory(90, True)
    timing = FollowedTiming(memory.follow, memory.advance)
    timing.prepare()
    for first in range(0, 400, step):
        timing.take(events[first : first + step])
    timing.flush()
    timing.close()
    assert contents(memory, timing._events[:400]) == alone(90, events)


@pytest.mark.skipif(not IS_ATOMIC, reason="kernels in plain Python run on one thread")
def test_the_event_that_passes_the_time_limit_is_named():
    events = events_of([(10**6, 0, 4096 * k, 0, 64) for k in range(100)])
    events[:, layout.MEV_PC] = np.arange(100)
    events[77, layout.MEV_DELTA] = TIME_LIMIT
    memory = new_memory(8, True)
    timing = FollowedTiming(memory.follow, memory.advance)
    with pytest.raises(EmuError, match="pc=77: simulated time passes"):
        timing.take(events)
        timing.flush()
    timing.close()
    with pytest.raises(EmuError, match="pc=77: simulated time passes"):
        new_memory(8, True).advance(events, len(events))


def test_a_follower_that_is_stopped_leaves_the_rest():
    events = events_of([(10**6, 0, 4096 * k, 0, 64) for k in range(50)])
    memory, follower, own = begun(8, events)
    follower.give(20)
    assert follower._follow(1) == 20
    assert follower.finish(50, int) == 20  # nobody runs the others
    assert follower._follow(1) == 20
    memory.advance(own[20:], 30)
    assert contents(memory, own) == alone(8, events, (20,))


def test_only_where_nothing_waits_for_a_host():
    assert new_memory(2, True).engine.can_follow
    assert not new_memory(2, False).engine.can_follow
    assert not new_memory(2, True, "weight-stream", "hbm2").engine.can_follow
    assert not new_memory(2, True, dram="ddr4").engine.can_follow


@pytest.mark.parametrize("threads", [2, 3])
def test_runs_are_the_same(threads):
    """A whole program without data, with as many threads as one likes."""
    found = [plena_emu.run(str(BUILD), timing_only=True, threads=many) for many in (1, threads)]
    assert found[0].latency_ps == found[1].latency_ps
    assert found[0].dram_statistics == found[1].dram_statistics
    assert found[0].memo == found[1].memo and isinstance(found[0].memo, dict | MemoStatistics)
