"""Do answers that a second thread finds ahead of time change no figure, whether they come in time, late or never?"""

import threading
from pathlib import Path

import numpy as np
import pytest
from dram_lists import EVENT, MEMORIES, new_memory, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import plena_emu
from plena_emu.errors import EmuError
from plena_emu.kernels.dram import answers
from plena_emu.kernels.limits import TIME_LIMIT
from plena_emu.memory import foresight
from plena_emu.memory.engines import MemoStatistics

BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"


def figures(memory, events, batches=1):
    """Instants after each batch, statistics, and what the memo did."""
    times, contents = run(memory, events, [-(-len(events) // batches)] * batches)
    return times, contents, memory.engine.memo


def foreseeing(rows, **more):
    memory = new_memory(rows, True, **more)
    memory.engine.foresee()
    return memory


class AtOnce:
    """Runs a job when it is handed over: every answer is there before the timing pass begins."""

    def __init__(self, engine):
        self._foresight = engine.foresight
        engine.foresight._thread = threading.current_thread()
        engine.foresight._jobs = self

    def put(self, job):
        if job is not None:
            self._foresight._at = -1
            job()
            self._foresight._idle.set()


@pytest.fixture(autouse=True)
def wrapping_integers():
    """As in a run: kernels that are not compiled multiply hashes in int64."""
    with np.errstate(over="ignore"):
        yield


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(foresight, "PART", 8)
    monkeypatch.setattr(foresight, "LEAST", 16)
    monkeypatch.setattr(foresight, "WINDOW", 4)


@pytest.mark.parametrize("at_once", [True, False])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(EVENT, min_size=1, max_size=30), rows=st.sampled_from([1, 2, 16, 90]), again=st.integers(1, 4),
       batches=st.integers(1, 3), revision=st.sampled_from(["base", "moe"]))
def test_figures_are_the_same(small_parts, at_once, parts, rows, again, batches, revision):
    events = np.array([[*part, 0, 0] for part in parts] * again)
    memory = foreseeing(rows, revision=revision)
    if at_once:
        AtOnce(memory.engine)
    found = figures(memory, events.copy(), batches)
    memory.engine.close()
    assert found == figures(new_memory(rows, True, revision=revision), events, batches)


@pytest.mark.parametrize("name", MEMORIES)
def test_answers_are_used(small_parts, name):
    """Where the rows of a bank follow each other those that are foreseen are open: the pass itself times nothing."""
    events = np.array([[10**6, 0, 4096 * k, 0, 64, 0, 0] for k in range(200)])
    memory = foreseeing(8, dram=MEMORIES[name])
    AtOnce(memory.engine)
    found = figures(memory, events.copy())
    assert found == figures(new_memory(8, True, dram=MEMORIES[name]), events)
    assert memory.engine._memory.memo.idle["sent"].sum() == 0
    assert found[2].lookups >= 198  # at clock 0 the memory is not idle


def test_wrong_rows_are_noticed(small_parts):
    """Answers for rows that are not open are not taken."""
    rng = np.random.default_rng(3)
    events = np.array([[10**6, 0, 64 * int(rng.integers(1 << 14)), 0, 64 * int(rng.integers(1, 1 << 12)), 0, 0]
                       for _ in range(200)])
    memory = foreseeing(24)
    AtOnce(memory.engine)
    begin = memory.engine.foresight._begin

    def misled(*arguments):
        begin(*arguments)
        text, used = memory.engine.foresight.answers.text, int(memory.engine.foresight.answers.reg[answers.F_USED])
        at = memory.engine.foresight.answers.at
        for start in at[at >= 0][::2].tolist():  # each second answer expects another row in its first bank
            text[start + answers.A_WIDTH + 1] += 1
        assert used > 0

    memory.engine.foresight._begin = misled
    assert figures(memory, events.copy()) == figures(new_memory(24, True), events)
    assert memory.engine._memory.memo.idle["sent"].sum() > 0


def test_no_room_for_answers(small_parts, monkeypatch):
    monkeypatch.setattr(answers, "MOST_TEXT", 1 << 12)
    events = np.array([[10**6, 0, 4096 * k, 0, 64 * (1 + k % 90), 0, 0] for k in range(300)])
    memory = foreseeing(16)
    AtOnce(memory.engine)
    assert figures(memory, events.copy(), 2) == figures(new_memory(16, True), events, 2)


def test_full_tables(small_parts, monkeypatch):
    """Both memos fill up: the one that foresees begins anew with the next batch, that of the pass as it always does."""
    from plena_emu.kernels.dram import memo
    from plena_emu.memory import dram

    monkeypatch.setattr(dram.dram_memo, "SLOTS", 64)
    events = np.array([[10**6, 0, 4096 * (k % 77), 0, 64 * (1 + k % 90), 0, 0] for k in range(400)])
    memory = foreseeing(16)
    assert len(memory.engine._memory.memo.table) == memo.SLOTS == 64
    AtOnce(memory.engine)
    found = figures(memory, events.copy(), 5)
    assert found == figures(new_memory(16, True), events, 5)
    assert found[2].cleared > 0


def test_what_fails_on_the_other_thread_is_told(small_parts):
    events = np.array([[10**6, 0, 4096 * k, 0, 64, 0, 0] for k in range(100)])
    memory = foreseeing(8)

    def broken(*arguments):
        raise ZeroDivisionError

    memory.engine.foresight._foresee = broken
    with pytest.raises(ZeroDivisionError):
        for _ in range(2):  # the pass may be faster once
            memory.advance(events, len(events))
            memory.engine.foresight._idle.wait()
    memory.engine.close()


def test_the_event_that_passes_the_time_limit_is_named(small_parts):
    events = np.array([[10**6, 0, 4096 * k, 0, 64, k, 0] for k in range(100)])
    events[77, 0] = TIME_LIMIT
    memory = foreseeing(8)
    with pytest.raises(EmuError, match="pc=77: simulated time passes"):
        memory.advance(events, len(events))
    memory.engine.close()


def test_only_where_nothing_waits_for_a_host():
    assert new_memory(2, True).engine.can_foresee
    assert not new_memory(2, False).engine.can_foresee
    assert not new_memory(2, True, "weight-stream", "hbm2").engine.can_foresee
    assert not new_memory(2, True, dram="ddr4").engine.can_foresee


@pytest.mark.parametrize("threads", [2, 3])
def test_runs_are_the_same(threads, small_parts):
    """A whole program without data, with as many threads as one likes."""
    found = [plena_emu.run(str(BUILD), timing_only=True, threads=many) for many in (1, threads)]
    assert found[0].latency_ps == found[1].latency_ps
    assert found[0].dram_statistics == found[1].dram_statistics
    assert found[0].memo == found[1].memo and isinstance(found[0].memo, dict | MemoStatistics)
