"""Is no call of a kernel deaf to Ctrl-C for long, and does cutting calls change nothing?"""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import plena_emu
from plena_emu.running import crew, simulation, work
from plena_emu.running.work import MOST_WORK, pieces
from plena_emu.running.workers import Worker

EXAMPLE_BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(1, 2 * MOST_WORK), min_size=4, max_size=4))
def test_pieces_hold_every_event_once_and_never_too_much_work(kinds, units):
    kinds, units = np.array(kinds, dtype=np.int64), np.array(units, dtype=np.int64)
    at = 0
    for first, past, heavy in pieces(kinds, units):
        total = int(units[kinds[first:past]].sum())
        assert first == at < past
        assert heavy == (total > MOST_WORK) and (not heavy or past - first == 1)
        at = past
    assert at == len(kinds)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("most", [1, 5000, 300_000])
def test_cut_calls_compute_the_same(monkeypatch, tmp_path, threads, most):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = plena_emu.run(EXAMPLE_BUILD, dump_dir=whole, dump_hbm=True, threads=1)
    monkeypatch.setattr(work, "MOST_WORK", most)
    result = plena_emu.run(EXAMPLE_BUILD, dump_dir=cut, dump_hbm=True, threads=threads)
    assert (result.latency_ps, result.bytes_read) == (expected.latency_ps, expected.bytes_read)
    assert {path.name: path.read_bytes() for path in cut.iterdir()} == {
        path.name: path.read_bytes() for path in whole.iterdir()
    }


def figures(memory_model, threads, monkeypatch, **fields):
    """Every call of a progress callback in a run with slices of 64 instructions."""
    monkeypatch.setattr(simulation, "SLICE", 64)
    seen = []
    result = plena_emu.run(EXAMPLE_BUILD, memory_model=memory_model, threads=threads, timing_only=True,
                           progress=lambda *call: seen.append(call), **fields)
    return seen, result


@pytest.mark.parametrize("memory_model", ["hbm", "resident", "weight-stream"])
def test_progress_shows_final_figures_in_order(memory_model, monkeypatch):
    alone, result = figures(memory_model, 1, monkeypatch)
    beside, _ = figures(memory_model, 2, monkeypatch)
    assert beside == alone and len(alone) > 20
    assert alone[-1][2:] == (result.instructions, result.end_ps)
    times = [picoseconds for *_, picoseconds in alone]
    assert times == sorted(times) and times[0] < times[-1]
    for _, _, executed, picoseconds in alone[:: len(alone) // 5]:
        stopped = plena_emu.run(EXAMPLE_BUILD, memory_model=memory_model, max_instructions=executed, timing_only=True)
        assert stopped.end_ps == picoseconds


def test_a_long_call_runs_beside_the_main_thread(monkeypatch):
    """Only waiting can be interrupted, so what takes long must not run on the thread that hears Ctrl-C."""
    names = []
    monkeypatch.setattr(work, "MOST_WORK", 1)
    real = crew.data_slice

    def spy(*arguments):
        names.append(threading.current_thread() is threading.main_thread())
        return real(*arguments)

    monkeypatch.setattr(crew, "data_slice", spy)
    plena_emu.run(EXAMPLE_BUILD, threads=1, max_instructions=40)
    assert names[0] is True and not any(names[1:])  # the first call has no events and only loads the kernel


def test_a_thread_warns_where_its_maker_does():
    seen = []
    with np.errstate(over="ignore", invalid="raise"):
        worker = Worker()
    try:
        worker.start(lambda: seen.append(np.geterr()))
        worker.join()
    finally:
        worker.stop()
    assert (seen[0]["over"], seen[0]["invalid"]) == ("ignore", "raise")
